"""One byte turned, anywhere: noticed where it is read and by `store check`, or harmless."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import small_comparison
import torch
from small_store import accept, add, picture, step
from typer.testing import CliRunner

from forgetme import cli
from forgetme.compare import saved
from forgetme.compare.cache import Cache, key_of
from forgetme.compare.report import write_table
from forgetme.errors import ForgetmeError
from forgetme.evaluate import as_job
from forgetme.evaluate.grid import Cell, Drawing, draw_grid
from forgetme.record.images import png_bytes
from forgetme.record.sample import Verdict
from forgetme.record.summed import sealed
from forgetme.stages.answers import AnswerCache
from forgetme.stages.embeddings import EmbeddingFolder
from forgetme.store import Store
from forgetme.train import checkpoint, latents, runs
from forgetme.train.adapters import Wardrobe
from forgetme.train.folder import RunFolder
from forgetme.train.patch import read_patch, write_delta
from forgetme.train.settings import RunSettings


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[tuple[Path, Path]]:
    """A small store: as it is closed, and as a killed process leaves it, all in its log."""
    root = tmp_path_factory.mktemp("damage")
    with Store(root / "store") as store:
        for seed in range(2):
            accept(store, add(store, seed))
        step(store, store.samples()[0], "commented", {"text": "a fine one"})
        store.people.add("ann", "lead", "a long password")
        store.people.set_preference("ann", "keys", {"accept": "y"})
        store.people.begin_session("ann")
        store.looks.novelty(store.samples()[0], np.array([1.0, 2.0]), "clip-small")
        job = store.jobs.add("export", {"format": "coco"}, "ann", heavy=False)
        store.jobs.end(job.id, "done")
        shutil.copytree(root / "store", root / "killed")
    yield root / "store", root / "killed"
    shutil.rmtree(root)


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return shutil.copytree(made[0], tmp_path / "store")


def everything(store: Store) -> tuple:
    """All that people did and said, as the store reads it."""
    people = [(one, store.people.preference(one.name, "keys")) for one in store.people.list()]
    jobs = store.jobs.rows()
    if any(job.error is not None for job in jobs):
        raise ForgetmeError(jobs[0].error)
    ids = [row.id for row in store.samples(limit=None, light=True)]
    return store.events(), [store.sample(one) for one in ids], people, jobs, store.table1()


def turned(data: bytes, at: int, bit: int = 3) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def check(folder: Path) -> list[str]:
    done = CliRunner().invoke(cli.app, ["store", "check", "--store", str(folder), "--json"])
    assert done.stdout, done.output or done.exception
    found = json.loads(done.stdout)
    assert done.exit_code == (0 if found["ok"] else 1), done.output
    return found["problems"]


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as database:
        database.execute(statement)
        database.commit()


# The database


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET payload = replace(payload, 'cat', 'cet') WHERE id = 1",
        "UPDATE event SET payload = substr(payload, 2) WHERE id = 1",
        "UPDATE event SET payload = CAST(x'7b22ff223a317d' AS TEXT) WHERE id = 1",
        "UPDATE event SET actor = 'bnn' WHERE id = 1",
        "UPDATE event SET at = replace(at, '20', '21') WHERE id = 1",
        "UPDATE event SET kind = 'flagged' WHERE kind = 'accepted'",
        "UPDATE event SET digest = replace(digest, substr(digest, 1, 1), 'x') WHERE id = 1",
        "DELETE FROM event WHERE id = 2",
    ],
)
def test_an_event_that_is_not_what_was_written_is_noticed_where_it_is_read(folder, statement):
    change(folder, statement)
    with Store(folder) as store:
        with pytest.raises(ForgetmeError, match="bring back a backup"):
            store.rebuild()
        assert any("damaged" in words or "missing" in words for words in store.check())
        assert len(store.samples()) == 2  # the rows are still there to look at
        if statement.startswith("UPDATE"):
            with pytest.raises(ForgetmeError, match="damaged.*bring back a backup"):
                store.events()


@pytest.mark.parametrize("column", ["name", "source", "tries", "proposals", "state", "decided_by"])
def test_a_row_that_differs_from_its_events_is_read_as_they_say_and_made_again(
    folder, column, caplog
):
    with Store(folder) as store:
        before = everything(store)
    change(folder, f"UPDATE sample SET {column} = substr({column}, 2) WHERE seq = 1")  # noqa: S608
    with Store(folder) as store:
        first = before[1][0]
        assert store.sample(first.id) == first
        assert "run `python -m forgetme store rebuild`" in caplog.text
        (problem,) = store.check()
        assert "differs from its events; run rebuild" in problem
        again = step(store, store.sample(first.id), "commented", {"text": "as it was"})
        assert again.name == first.name
        store.rebuild()
        assert store.check() == []
        assert store.sample(first.id) == again


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [
        ("person", "role", "people remove ann"),
        ("person", "password", "people remove ann"),
        ("person", "active", "people remove ann"),
        ("preference", "value", "run rebuild, which removes it"),
        ("session", "person", "run rebuild, which removes it"),
        ("access_token", "person", "run rebuild, which removes it"),
        ("job", "arguments", "run rebuild, which removes it"),
        ("look", "vector", "run rebuild, which removes it"),
    ],
)
def test_a_line_beside_the_log_that_is_not_what_was_written_is_never_taken_for_true(
    folder, table, column, said
):
    with Store(folder) as store:
        token, made = store.people.begin_session("ann"), store.tokens.add("ann", "agent")
        ids = [row.id for row in store.samples()]
    values = {"value": """'{"accept": "x"}'""", "arguments": "'{}'", "vector": "x'0040'"}
    values |= {"role": "'viewer'", "active": "0"}
    new = values.get(column, f"substr({column}, 2)")
    change(folder, f"UPDATE {table} SET {column} = {new}")  # noqa: S608
    with Store(folder) as store:
        assert all(said in words for words in store.check())
        assert store.check()
        if table == "person":
            for read in (store.people.list, lambda: store.people.of_session(token)):
                with pytest.raises(ForgetmeError, match="nobody signs in to it"):
                    read()
            with pytest.raises(ForgetmeError, match="nobody signs in"):
                store.people.check_password("ann", "a long password")
            store.people.remove("ann")
            store.people.add("ann", "lead", "a long password")
        elif table == "preference":
            assert store.people.preference("ann", "keys") is None
        elif table == "session":
            assert store.people.of_session(token) is None
        elif table == "access_token":
            assert store.tokens.owner(made) is None
        elif table == "job":
            (job,) = store.jobs.rows()
            assert (job.outcome, job.arguments) == ("failed", {})
            assert "damaged; ask for the work anew" in job.error
        else:
            other = store.sample(ids[1])
            assert store.looks.novelty(other, np.array([1.0, 2.0]), "clip-small") == 1.0
        store.rebuild()
        assert store.check() == []


def noticed(folder: Path, before: tuple) -> bool:
    """Whether damage is noticed, on opening, on reading or by the check; else nothing differs."""
    try:
        with Store(folder) as store:
            if everything(store) == before and not store.check():
                return False
            assert store.check(), "it differs, and nobody says so"
    except ForgetmeError:
        pass
    return True


def test_no_turned_byte_of_the_database_is_read_as_true(made, tmp_path):
    with Store(made[0]) as store:
        before = everything(store)
    whole = (made[0] / "store.db").read_bytes()
    shutil.copytree(made[0] / "blobs", tmp_path / "blobs")
    rng = np.random.default_rng(11)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))  # free space is zeros
    found = mended = 0
    for at in rng.choice(used, 24, replace=False):
        for path in tmp_path.glob("store.db*"):
            path.unlink()
        (tmp_path / "store.db").write_bytes(turned(whole, at, rng.integers(8)))
        if noticed(tmp_path, before):
            found += 1
            try:
                with Store(tmp_path, damaged=True) as store:
                    store.rebuild()
                    mended += not store.check() and everything(store)[:2] == before[:2]
            except ForgetmeError:  # an event, or SQLite's own structure: a backup is needed
                pass
    assert found > 12
    assert mended > 2


def test_no_turned_byte_of_the_log_of_the_database_loses_a_saved_write_in_silence(made, tmp_path):
    killed = shutil.copytree(made[1], tmp_path / "whole")
    with Store(killed) as store:
        before = everything(store)
    database, log = ((made[1] / f"store.db{end}").read_bytes() for end in ("", "-wal"))
    count = (made[1] / "store.db-count").read_bytes()
    assert len(log) > 20 * 4096
    shutil.copytree(made[0] / "blobs", tmp_path / "blobs")
    last = len(log) - 4096 - 24  # the frame of the last commit
    rng = np.random.default_rng(12)
    places = [0, 9, 17, 25, last, last + 4, last + 8, last + 12, last + 17, last + 100]
    lost = 0
    for at in [*places, *rng.integers(32, len(log), 8)]:
        for path in tmp_path.glob("store.db*"):
            path.unlink()
        (tmp_path / "store.db").write_bytes(database)
        (tmp_path / "store.db-wal").write_bytes(turned(log, at))
        (tmp_path / "store.db-count").write_bytes(count)
        try:
            with Store(tmp_path) as store:
                assert everything(store) == before, at
                continue
        except ForgetmeError as error:
            assert "writes that were saved" in str(error), error  # noqa: PT017
        lost += 1
        (saved,) = (tmp_path / "backups").glob("damaged-*.db-wal")
        assert saved.read_bytes() == turned(log, at)
        saved.unlink()
        with Store(tmp_path, damaged=True) as store:
            assert "writes that were saved" in store.check()[0]
            store.rebuild()
        with Store(tmp_path) as store:
            assert store.check() == []
            events = store.events()
            assert events == before[0][: len(events)]
    assert lost > 12


def test_an_older_copy_of_the_database_or_a_damaged_count_is_said(folder):
    old = (folder / "store.db").read_bytes()
    with Store(folder) as store:
        accept(store, add(store, 7))
    whole = (folder / "store.db").read_bytes()
    (folder / "store.db").write_bytes(old)
    assert "lacks the last 4 of" in check(folder)[0]
    with pytest.raises(ForgetmeError, match="an older copy was put in its place"):
        Store(folder)
    (folder / "store.db").write_bytes(whole)
    path = folder / "store.db-count"
    for at in range(path.stat().st_size - 1):
        path.write_bytes(turned(path.read_bytes(), at))
        with Store(folder) as store:  # nothing is lost
            assert "store.db-count is damaged; run rebuild" in store.check()[0]
            store.rebuild()
            assert store.check() == []


# Images


@pytest.mark.parametrize("at", [0, 20, 50, -30, -2, None])
def test_a_damaged_or_lost_image_is_made_again_or_said(folder, tmp_path, at):
    photo = tmp_path / "photo.png"
    photo.write_bytes(png_bytes(picture(7)))
    with Store(folder) as store:
        row = store.import_image(picture(7), name="p", concept="cat", by="ann", source=str(photo))
        accepted = store.samples()[0]
        fill = accepted.tries[accepted.picked_try]["image_sha"]
        shas = (row.image_sha, accepted.mask_sha, fill)
        arrays = [store.get_image(sha) for sha in shas]
        for sha in shas:
            path = store.blob_path(sha)
            if at is None:
                path.unlink()
            else:
                path.write_bytes(turned(path.read_bytes(), at))
        found = store.check()
        if at not in (-2, -30):  # behind the pixels a turned byte may change none of them
            assert len(found) == 3
        for sha, array in zip(shas[:2], arrays, strict=False):  # from its file, from its proposal
            assert np.array_equal(store.get_image(sha), array)
        try:
            assert np.array_equal(store.get_image(fill), arrays[2])
        except ForgetmeError as error:
            words = str(error)
            assert "bring the file back from a backup" in words  # noqa: PT017 (either may come)
        assert store.put_image(arrays[2]) == fill  # the same image again mends it
        assert store.check() == []


# What lies beside the database


@dataclass(frozen=True)
class Beside:
    """A file, and how it is read where it is used."""

    path: Path
    read: Callable[[], object]
    again: bool = False  # reading gives None: what is lost is made again


def a_run(store: Store) -> dict[str, Beside]:
    settings = RunSettings(method="esd", concept="cat", steps=2)
    run = runs.ask(store, "cat-esd", settings, [], preset="tiny", probe_pictures=1, by="ann")
    kept_run = RunFolder(run.folder, {**settings.record(), "data": ""})
    kept_run.claim()
    for number in (1, 2):
        kept_run.write({"step": number, "seconds": 1.5, "loss": 0.25})
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 4, bias=False)
    before = {"weight": layer.weight.detach().clone()}
    chosen = {"weight": layer.weight}
    optimizer = torch.optim.Adam(chosen.values())
    layer(torch.ones(4)).sum().backward()
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    checkpoint.save(run.folder, 2, chosen, optimizer, scaler)
    record = {**settings.record(), "method": "esd", "trains": "xattn", "base": "tiny/diffusion"}
    delta = {name: value.detach() - before[name] for name, value in chosen.items()}
    write_delta(run.folder / "patch", delta, {**record, "steps_done": 2})
    base = torch.nn.ModuleDict({"unet": torch.nn.Linear(4, 4, bias=False)})
    cached = run.folder / latents.FOLDER / "retain-0-1.safetensors"
    latents._kept(cached, torch.ones(1, 4, 2, 2))
    strip = run.folder / "probes" / "000000 cat.png"
    strip.parent.mkdir()
    strip.write_bytes(png_bytes(picture(5)))

    def of_run() -> list:
        found = runs.run_of(store, "cat-esd")
        rows = runs.rows(found.folder, "")["rows"]
        if len(rows) < 2:
            raise ForgetmeError("rows are left out")
        return [found.asked, found.record, rows]

    def patch() -> tuple:
        found = read_patch(run.folder)
        Wardrobe(type("Pipe", (), {"unet": base["unet"]})()).wear(found)
        return found.record

    def load() -> list:
        fresh = torch.nn.Linear(4, 4, bias=False)
        other = {"weight": fresh.weight}
        done = checkpoint.load(run.folder, other, torch.optim.Adam(other.values()), scaler)
        return [done, fresh.weight.tolist()]

    return {
        "run.json": Beside(run.folder / "run.json", of_run),
        "asked.json": Beside(run.folder / "asked.json", of_run),
        "log.jsonl": Beside(run.folder / "log.jsonl", of_run),
        "checkpoint": Beside(run.folder / checkpoint.NAME, load),
        "patch weights": Beside(run.folder / "patch" / "patch.safetensors", patch),
        "patch record": Beside(run.folder / "patch" / "patch.json", patch),
        "latents": Beside(cached, lambda: listed(latents._read(cached)), again=True),
        "probe picture": Beside(
            strip, lambda: runs.picture(runs.run_of(store, "cat-esd"), 0, 0).name
        ),
    }


def listed(tensor: torch.Tensor | None) -> list | None:
    return None if tensor is None else tensor.tolist()


def a_comparison(store: Store) -> dict[str, Beside]:
    made = small_comparison.make(store, count=1, size=64)
    cache = Cache(store.folder / "comparisons" / "cache")
    cache.keep("ab" * 32, {"d": 0.5})
    sha = cache.keep_picture(picture(9))
    table = json.loads((made / "table.json").read_text())
    shown = sorted((made / "pictures").glob("*.png"))
    write_table(made, table)
    return {
        "table": Beside(made / "table.json", lambda: saved.read_table(store, made.name)),
        "comparison picture": Beside(shown[0], lambda: png_array(shown[0])),
        "cached score": Beside(
            cache._path("ab" * 32, "json"), lambda: cache.record("ab" * 32), again=True
        ),
        "cached picture": Beside(cache.file(sha), lambda: cache.picture(sha).tolist()),
    }


def an_evaluation(store: Store) -> dict[str, Beside]:
    folder = as_job.evaluations_folder(store)
    cache, report = Cache(folder / as_job.CACHE), folder / "cats" / "report.json"
    cell = Cell("forget", "cat", "a cat", 0)
    drawing, shown = Drawing("P", "S", 96, (4, 12, 12), 1, 7.5, "float32"), picture(11)
    key = key_of(model="m", prompt=cell.prompt, seed=cell.seed, **asdict(drawing))
    sha = cache.keep_picture(shown)
    cache.keep(key, {"picture": sha, "seconds": 1.0})
    report.parent.mkdir()
    report.write_text(json.dumps(sealed({"version": 1, "models": ["base", "cat-lora"]})))

    def drawn() -> list | None:
        try:
            found = draw_grid("m", nothing, [cell], drawing, cache, lambda done: None)
        except LookupError:  # it asks for the pipeline, to draw again
            return None
        return found.pictures[0].tolist()

    def nothing() -> None:
        raise LookupError

    return {
        "evaluation": Beside(report, lambda: as_job.read_evaluation(store, "cats")),
        "drawn picture": Beside(cache.file(sha), drawn, again=True),
        "drawn record": Beside(cache._path(key, "json"), drawn, again=True),
    }


def png_array(path: Path) -> bytes:
    from forgetme.record.images import read_image

    return read_image(path).tobytes()


def what_was_computed(store: Store, home: Path) -> dict[str, Beside]:
    shelf = EmbeddingFolder(store.embeddings, "sam-small")
    sha = "cd" * 32
    shelf.put(sha, torch.arange(12.0).reshape(3, 4))
    path = home / ".cache" / "forgetme" / "verdicts.db"
    answers = AnswerCache(path)
    answers.put("asked", Verdict(True, 0.75, "a whole cat", "llava"))
    return {
        "embedding": Beside(shelf._path(sha), lambda: listed(shelf.get(sha)), again=True),
        "answer": Beside(path, lambda: answers.get("asked", "llava"), again=True),
    }


FILES = [
    "run.json", "asked.json", "log.jsonl", "checkpoint", "patch weights", "patch record",
    "latents", "probe picture", "table", "comparison picture", "cached score", "cached picture",
    "evaluation", "drawn picture", "drawn record",
    "embedding", "answer",
]  # fmt: skip


@pytest.fixture(scope="module")
def beside(made, tmp_path_factory) -> Iterator[tuple[Path, dict[str, Beside]]]:
    home = tmp_path_factory.mktemp("home")
    folder = shutil.copytree(made[0], home / "store")
    with pytest.MonkeyPatch.context() as patch, Store(folder) as store:
        patch.setenv("HOME", str(home))
        files = (
            a_run(store)
            | a_comparison(store)
            | an_evaluation(store)
            | what_was_computed(store, home)
        )
        assert list(files) == FILES
        assert check(folder) == []
        yield folder, files


@pytest.mark.parametrize("kind", FILES)
def test_a_turned_byte_of_a_file_beside_the_database_is_noticed_and_named(beside, kind, caplog):
    folder, files = beside
    one = files[kind]
    whole, right = one.path.read_bytes(), one.read()
    assert right is not None
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    places = np.random.default_rng(3).choice(used, 12, replace=False)
    noticed = said = 0
    try:
        for number, at in enumerate(places):
            caplog.clear()
            one.path.write_bytes(turned(whole, at))
            try:
                found = one.read()
                assert found == right or caplog.text, at
                assert not one.again or found in (right, None), at
                is_noticed = found != right or bool(caplog.text)
            except ForgetmeError as error:
                assert str(error)  # noqa: PT017
                is_noticed = True
            noticed += is_noticed
            there = one.path.is_file()  # what can be made again is removed
            if is_noticed and there and (said < 2 or number == len(places) - 1):  # it is slow
                said += 1
                assert any(one.path.name in words for words in check(folder)), at
    finally:
        one.path.write_bytes(whole)
    assert noticed >= (1 if kind == "answer" else 5), noticed
    assert check(folder) == []
