"""The store's promise: what was acknowledged is there after kill -9, Ctrl-C or a full disk."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from small_store import accept, add, filled, picture, prepare, proposed, step

from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.store import Store

TESTS = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
ROUNDS = 10

# Curates without end; says each event's id after the store has returned, and only then.
CURATOR = """
import itertools, os, sys
sys.path.insert(0, sys.argv[2])
from small_store import add, filled, proposed, step
from forgetme.store import Store

def say(row):
    global seen
    for event in store.events(row.id, after=seen):
        os.write(1, f"{event.id} {event.kind}\\n".encode())
        seen = event.id
    return row

with Store(sys.argv[1]) as store:
    seen = 0
    start = len(store.events())
    os.write(1, b"ready\\n")
    for seed in itertools.count(start):
        row = say(add(store, seed))
        row = say(step(store, row, "proposed", proposed()))
        row = say(step(store, row, "filled", filled(store, row, seed=seed)))
        row = say(step(store, row, "accepted", {"how": "human"}))
        row = say(store.undo("ann"))
"""


def run(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **pipes, env=ENVIRONMENT)


def curate_and_stop(folder: Path, stop: signal.Signals, moment: float) -> list[tuple[int, str]]:
    """Curates, stops the process at any point of its work, and returns what it was told."""
    curator = run(CURATOR, folder, TESTS)
    try:
        assert curator.stdout.readline() == b"ready\n", curator.stderr.read().decode()
        said = b"".join(curator.stdout.readline() for _ in range(int(moment * 20)))
        time.sleep(moment / 50)  # somewhere inside the next write
    finally:
        curator.send_signal(stop)
        rest, _ = curator.communicate(timeout=60)
    said += rest
    whole = said[: said.rfind(b"\n") + 1].decode().splitlines()
    return [(int(number), kind) for number, kind in (line.split() for line in whole)]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_store_keeps_every_acknowledged_event(tmp_path, stop):
    moments = random.Random(7)
    folder = tmp_path / "store"
    told = []
    for _ in range(ROUNDS if stop == signal.SIGKILL else 3):
        said = curate_and_stop(folder, stop, moments.random())
        told += said
        with Store(folder) as store:
            kept = {event.id: event.kind for event in store.events()}
            assert set(told) <= set(kept.items())
            assert store.check() == []
    assert len(told) > 20, "the curator never got to work"
    with Store(folder) as store:
        rows = store.samples(limit=None)
        assert store.rebuild() == len(rows)
        assert store.samples(limit=None) == rows
        assert accept(store, add(store, 10**6)).state == "accepted"


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
