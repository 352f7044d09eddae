"""The store's promise: what was acknowledged is there, on the disk, also when it is full.

For kill -9 and Ctrl-C see test_endurance.py.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from small_store import add, filled, hold, leave, picture, prepare, proposed, step
from sqlalchemy import event

from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.store import Store

pytest_plugins = ["small_postgres"]
TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **pipes, env=ENVIRONMENT)


COMMENTER = """
import sys
sys.path.insert(0, sys.argv[2])
from small_store import add, step
from forgetme.errors import StaleVersionError
from forgetme.store import Store

with Store(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    stale = 0
    for turn in range(25):
        add(store, turn)
        while True:
            row = store.sample(sys.argv[3])
            try:
                step(store, row, "commented", {"text": f"{sys.argv[4]}.{turn}"})
                break
            except StaleVersionError:
                stale += 1
    print(stale)
"""


def test_store_two_processes_write_at_once_and_lose_nothing(tmp_path):
    with Store(tmp_path) as store:
        shared = add(store, 1000)
        writers = [run(COMMENTER, tmp_path, TESTS, shared.id, name) for name in "ab"]
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n", writer.stderr.read().decode()
        for writer in writers:
            writer.stdin.write(b"go\n")
            writer.stdin.flush()
        for writer in writers:
            _, errors = writer.communicate(timeout=60)
            assert (writer.returncode, errors.decode()) == (0, "")
        events = store.events(shared.id)
        assert [event.version for event in events] == list(range(1, 52))
        texts = {event.payload["text"] for event in events[1:]}
        assert texts == {f"{name}.{turn}" for name in "ab" for turn in range(25)}
        assert sum(store.counts().values()) == 26
        assert store.check() == []


FULL_DISK = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import numpy as np
from small_store import add, prepare, step
from forgetme.errors import DiskFullError
from forgetme.store import Store

disk = Path(sys.argv[1])
(disk / "ballast").write_bytes(bytes(400_000))
noise = np.random.default_rng(0)
with Store(disk / "store") as store:
    first = prepare(store, add(store, 0))
    kept, failed = [first], 0
    while True:
        image = noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        try:
            kept.append(store.import_image(image, name="x", concept="cat", by="ann"))
        except DiskFullError as error:
            assert "free some disk space" in str(error), error
            break
    while True:  # no room for a blob; go on until there is none for an event
        try:
            first = step(store, first, "commented", {"text": "y" * 2000})
        except DiskFullError as error:
            assert "free some disk space" in str(error), error
            break
    kept[0] = first
    assert store.samples(limit=None) == kept, "what was acknowledged can be read"
    assert store.check() == []
    os.unlink(disk / "ballast")
    kept.append(add(store, 10**6))
    step(store, first, "accepted", {"how": "human"})
with Store(disk / "store") as store:
    assert [row.id for row in store.samples(limit=None)] == [row.id for row in kept]
    assert store.check() == []
    assert not list(disk.rglob("*.tmp")), "a failed write leaves nothing behind"
print("survived", len(kept))
"""


def mount_command(disk: Path) -> list[str] | None:
    """A shell that has a tiny disk of its own, where this system lets us make one."""
    mount = f'mount -t tmpfs -o size=2m tmpfs "{disk}" && exec "$@"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None:
        return None
    works = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else None


def test_store_survives_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = mount_command(disk)
    if command is None:
        pytest.skip("this system lets us mount no small disk (unshare --mount --map-root-user)")
    done = subprocess.run(
        [*command, sys.executable, "-c", FULL_DISK, str(disk), str(TESTS)],
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRONMENT,
    )
    assert done.stdout.startswith("survived"), done.stderr


def test_store_writes_no_event_whose_image_could_not_be_written(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        row = step(store, add(store, 1), "proposed", proposed())
        before = store.events()

        def fail(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        for write in (
            lambda: add(store, 2),
            lambda: step(store, row, "chosen", {"index": 1}),
            lambda: store.put_image(picture(3)),
        ):
            with pytest.raises(DiskFullError):
                write()
        monkeypatch.undo()
        assert store.events() == before
        assert store.sample(row.id) == row
        assert store.check() == []
        assert step(store, row, "chosen", {"index": 1}).chosen == 1


@pytest.mark.skipif(os.name != "posix", reason="only POSIX lets a folder be synced")
def test_store_has_an_image_on_the_disk_before_the_event_that_names_it(tmp_path, monkeypatch):
    steps = []
    sync, rename = os.fsync, os.replace

    def note_sync(handle):
        steps.append(("on disk", os.fstat(handle).st_ino))
        sync(handle)

    def note_rename(old, new):
        steps.append(("named", os.stat(old).st_ino))
        rename(old, new)

    with Store(tmp_path) as store:
        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(os, "replace", note_rename)
        event.listen(store._database.engine, "commit", lambda _: steps.append("commit"))
        row = add(store, 1)
        monkeypatch.undo()
        path = store.blob_path(row.image_sha)
    image, folder = path.stat().st_ino, path.parent.stat().st_ino
    wanted = [("on disk", image), ("named", image), ("on disk", folder), "commit"]
    assert [one for one in steps if one in wanted] == wanted


def test_store_waits_for_the_disk_for_everything_but_leases(place):
    with Store(**place) as store:
        sqlite = store._database.is_sqlite
        ask = "PRAGMA synchronous" if sqlite else "SHOW synchronous_commit"
        durable, soon = (2, 1) if sqlite else ("on", "off")
        levels = []
        note = lambda one: levels.append(one.exec_driver_sql(ask).scalar())  # noqa: E731
        first = add(store, 1)
        event.listen(store._database.engine, "commit", note)
        for act, level in (
            (lambda: hold(store, first.id, "ann"), soon),
            (lambda: step(store, first, "rejected"), durable),
            (lambda: store.undo("ann"), durable),
            (lambda: leave(store, first.id, "ann"), soon),
            (lambda: add(store, 2), durable),
            (lambda: store.people.add("ann", "curator", "a long password"), durable),
            (store.rebuild, durable),
        ):
            levels.clear()
            act()
            assert levels[-1] == level


def test_store_writes_an_event_and_its_row_together_or_not_at_all(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        row = prepare(store, add(store, 1))
        payload = filled(store, row, seed=3)

        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("forgetme.store.log.values_of", interrupt)
        with pytest.raises(KeyboardInterrupt):
            step(store, row, "refined", payload)
        with pytest.raises(KeyboardInterrupt):
            add(store, 2)
        monkeypatch.undo()
        assert store.sample(row.id) == row
        assert len(store.events()) == 3
        assert step(store, row, "refined", payload).version == 4


READ_ONLY = """
import os, sys
import numpy as np
from forgetme.errors import ForgetmeError
from forgetme.store import Store
if os.geteuid() == 0:  # root may write everywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for write in (
    lambda store: store.append(sys.argv[2], "skipped", {}, by="ann", expected_version=1),
    lambda store: store.put_image(np.zeros((20, 20), np.uint8)),
):
    try:
        with Store(sys.argv[1]) as store:
            write(store)
    except ForgetmeError as error:
        print(error)
"""


def test_store_without_write_rights_says_so():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)  # other users come as far as the store
        with Store(root / "store") as store:
            row = add(store, 1)
        everything = [root / "store", *(root / "store").rglob("*")]
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        said, errors = run(READ_ONLY, root / "store", row.id).communicate(timeout=60)
        for path in everything:
            path.chmod(0o755)
    assert said.count(b"may not be written") == 2, errors.decode()


def test_store_waits_for_a_busy_writer_and_then_says_who(tmp_path, monkeypatch):
    monkeypatch.setattr("forgetme.store.database.BUSY_SECONDS", 0.2)
    with Store(tmp_path) as store, Store(tmp_path) as other:
        row = add(store, 1)
        with other._database.write(), pytest.raises(ForgetmeError, match="another process"):
            step(store, row, "skipped")
        assert step(store, row, "skipped").state == "skipped"
