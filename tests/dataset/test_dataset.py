"""Accepted samples as a folder: exact, loadable by others, and never at the cost of other files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_store import accept, add, filled, picture, prepare, proposed, square, step

from forgetme.dataset import export
from forgetme.dataset.atomic_folder import MARKER
from forgetme.dataset.quadruple import LAYERS
from forgetme.errors import DiskFullError, ForgetmeError


def pixels(folder: Path, layer: str, stem: str) -> np.ndarray:
    return np.asarray(Image.open(folder / layer / f"{stem}.png"))


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_export_writes_four_exact_layers_for_each_accepted_sample(store, tmp_path):
    row = accept(store, add(store, 1))
    prepare(store, add(store, 2))
    step(store, prepare(store, add(store, 3)), "rejected")
    report = export(store, tmp_path / "out")
    assert (report.exported, report.by_concept, report.left_out) == (1, {"cat": 1}, ())
    out = tmp_path / "out"
    assert {path.name for layer in LAYERS for path in (out / layer).iterdir()} == {"beach_1.png"}
    original, mask = pixels(out, "original", "beach_1"), pixels(out, "mask", "beach_1")
    foreground = pixels(out, "foreground", "beach_1")
    background = pixels(out, "background", "beach_1")
    assert np.array_equal(original, picture(1))
    assert np.array_equal(mask, np.where(square(), 255, 0))
    assert mask.dtype == np.uint8
    assert np.array_equal(foreground[..., :3][square()], original[square()])
    assert np.array_equal(foreground[..., 3], mask)
    assert np.array_equal(background, store.get_image(row.tries[0]["image_sha"]))
    hole = square(3, 9)
    assert np.array_equal(background[~hole], original[~hole])
    assert not np.array_equal(background, original)


def test_export_writes_the_picked_try(store, tmp_path):
    row = prepare(store, add(store, 1))
    row = step(store, row, "refined", filled(store, row, seed=5))
    row = step(store, row, "chosen", {"try": 0})
    step(store, row, "accepted", {"how": "human"})
    export(store, tmp_path / "out")
    background = pixels(tmp_path / "out", "background", "beach_1")
    assert np.array_equal(background[5], store.get_image(row.tries[0]["image_sha"])[5])


@pytest.mark.parametrize("path", ["data_dir", "data_files"])
def test_export_is_loaded_by_the_datasets_library(store, tmp_path, monkeypatch, path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    accept(store, add(store, 1))
    row = step(store, add(store, 2, name='a "cat" 🐈'), "mask_edited", {
        "mask_sha": store.put_image(square(4)), "how": "points", "points": [[8, 8, 1]]
    })  # fmt: skip
    row = step(store, row, "filled", filled(store, row))
    step(store, row, "accepted", {"how": "policy"}, by="policy")
    out = export(store, tmp_path / "out").folder
    where = {"data_dir": str(out), "data_files": str(out / "metadata.jsonl")}[path]
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset("imagefolder", **{path: where}, cache_dir=cache)["train"]
    assert loaded.num_rows == 2
    assert all(isinstance(loaded.features[layer], datasets.Image) for layer in LAYERS)
    assert np.array_equal(np.asarray(loaded[1]["original"]), picture(2))
    assert loaded[0]["foreground"].mode == "RGBA"
    assert loaded["concept"][:] == ["cat", "cat"]
    assert loaded["segmented_by"][:] == ["sam-small", "ann (points)"]
    assert loaded["entangled_d"][:] == [0.5, 0.5]


@pytest.mark.parametrize("form", ["folders", "parquet", "webdataset"])
def test_export_load_line_works_where_names_are_patterns_or_splits(
    store, tmp_path, monkeypatch, form
):
    """`datasets` reads "train_7.png" as the split train when it is given a folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for seed, name in enumerate(("COCO_val2014_7", "cat_test_01", "train")):
        accept(store, add(store, seed, name=name))
    report = export(store, tmp_path / "my [cats] * and ?", form)
    loaded = eval(report.load, {"datasets": datasets})
    assert sum(split.num_rows for split in loaded.values()) == 3
    layers = {f"{layer}.png" for layer in LAYERS} if form == "webdataset" else set(LAYERS)
    assert all(layers < set(split.column_names) for split in loaded.values())


def test_export_says_what_made_each_quadruple(store, tmp_path):
    row = accept(store, add(store, 1), by="bob")
    export(store, tmp_path / "out")
    (line,) = lines(tmp_path / "out")
    for layer in LAYERS:
        assert (tmp_path / "out" / line[f"{layer}_file_name"]).is_file()
    assert line["source"] == "/photos/beach_1.png"
    assert (line["segmented_by"], line["verified_by"], line["inpainted_by"]) == (
        "sam-small",
        "clip",
        "lama-small",
    )
    assert (line["prompt"], line["seed"]) == ("sand", 99)
    assert (line["variant"], line["low"]) == ("paper", False)
    assert (line["low_d"], line["low_s"]) == (0.35, 0.6)
    assert (line["decided_by"], line["decided_how"]) == ("bob", "human")
    details = json.loads(line["provenance"])
    assert details["image_sha"] == row.image_sha
    assert details["settings"] == row.tries[0]["settings"]
    assert details["scores"] == row.tries[0]["scores"]
    assert details["proposal"]["score"] == 0.8
    assert details["proposal"]["verdict"]["reason"] == "a whole cat"
    assert "rle" not in details["proposal"]
    assert details["preset"] == "tiny"
    assert details["decided_at"] == store.events(row.id)[-1].at
    assert details["versions"]["forgetme"]


def test_export_columns_have_one_type_in_every_row(store, tmp_path):
    accept(store, add(store, 1))
    row = step(store, add(store, 2), "mask_edited", {"mask_sha": store.put_image(square(4))})
    bare = filled(store, row) | {"settings": {}}
    step(store, step(store, row, "filled", bare), "accepted")
    export(store, tmp_path / "out")
    first, second = lines(tmp_path / "out")
    types = {key: type(value) for key, value in first.items()}
    assert {key: type(value) for key, value in second.items()} == types
    assert type(None) not in types.values()


def test_export_stems_are_the_sources_own_where_unique(store, tmp_path):
    accept(store, add(store, 1, name="beach.png"))
    accept(store, add(store, 2, name="BEACH.jpg", concept="dog"))
    accept(store, add(store, 3, name="../../up", concept="../dog"))
    out = export(store, tmp_path / "out").folder
    stems = [Path(line["original_file_name"]).stem for line in lines(out)]
    assert stems == ["beach", "BEACH-dog", "_.._up"]
    assert sorted(path.stem for path in (out / "mask").iterdir()) == sorted(stems)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]
    only = export(store, tmp_path / "dogs", concept="dog").folder
    assert [Path(line["original_file_name"]).stem for line in lines(only)] == ["BEACH"]


def test_export_stems_do_not_move_when_more_is_accepted(store, tmp_path):
    add(store, 1, name="beach")
    accept(store, add(store, 2, name="beach", concept="dog"))
    before = lines(export(store, tmp_path / "out").folder)
    accept(store, store.samples()[0])
    after = lines(export(store, tmp_path / "out").folder)
    assert before[0]["original_file_name"] == after[1]["original_file_name"]


def test_export_again_replaces_the_earlier_export(store, tmp_path):
    accept(store, add(store, 1))
    gone = accept(store, add(store, 2))
    first = export(store, tmp_path / "out")
    before = content(tmp_path / "out")
    assert export(store, tmp_path / "out").replaced
    assert content(tmp_path / "out") == before, "the same store gives the same bytes"
    store.undo("ann", sample_id=gone.id)
    report = export(store, tmp_path / "out")
    assert (first.replaced, report.replaced, report.exported) == (False, True, 1)
    assert not (tmp_path / "out" / "mask" / "beach_2.png").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_export_keeps_files_that_are_not_its_own(store, tmp_path):
    accept(store, add(store, 1))
    out = tmp_path / "out"
    export(store, out)
    (out / "README.md").write_text("my card")
    (out / "notes" / "deep").mkdir(parents=True)
    (out / "notes" / "deep" / "a.txt").write_text("kept")
    (out / "mask" / "mine.png").write_text("kept too")
    (out / "link").symlink_to(tmp_path / "store", target_is_directory=True)
    accept(store, add(store, 2))
    export(store, out)
    assert (out / "README.md").read_text() == "my card"
    assert (out / "notes" / "deep" / "a.txt").read_text() == "kept"
    assert (out / "mask" / "mine.png").read_text() == "kept too"
    assert (out / "link").is_symlink()
    assert (tmp_path / "store" / "store.db").is_file()
    assert len(lines(out)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_export_refuses_to_put_its_file_over_one_that_is_not_its_own(store, tmp_path):
    accept(store, add(store, 1))
    out = tmp_path / "out"
    export(store, out)
    (out / "mask" / "beach_2.png").write_text("mine")
    accept(store, add(store, 2))
    before = content(out)
    with pytest.raises(ForgetmeError, match="move it away"):
        export(store, out)
    assert content(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


@pytest.mark.parametrize("what", ["folder", "file", "broken marker"])
def test_export_refuses_a_place_that_is_no_export(store, tmp_path, what):
    accept(store, add(store, 1))
    out = tmp_path / "out"
    if what == "file":
        out.write_text("precious")
    else:
        out.mkdir()
        (out / "precious.txt").write_text("precious")
        if what == "broken marker":
            (out / MARKER).write_text("{}")
    with pytest.raises(ForgetmeError, match="new or empty folder"):
        export(store, out)
    assert (out if what == "file" else out / "precious.txt").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_export_never_writes_into_the_store(store, tmp_path):
    accept(store, add(store, 1))
    with pytest.raises(ForgetmeError, match="new or empty folder"):
        export(store, tmp_path / "store")
    assert store.check() == []


def test_export_files_are_copies_so_that_editing_them_leaves_the_store_whole(store, tmp_path):
    row = accept(store, add(store, 1))
    out = export(store, tmp_path / "out").folder
    with (out / "original" / "beach_1.png").open("r+b") as file:
        file.write(b"edited")
    assert store.check() == []
    assert np.array_equal(store.get_image(row.image_sha), picture(1))


def test_export_of_nothing_says_what_to_do(store, tmp_path):
    add(store, 1)
    with pytest.raises(ForgetmeError, match="accept some"):
        export(store, tmp_path / "out")
    accept(store, store.samples()[0])
    with pytest.raises(ForgetmeError, match="concept 'dog'"):
        export(store, tmp_path / "out", concept="dog")
    assert not (tmp_path / "out").exists()


def test_export_leaves_out_what_is_not_sound_and_says_why(store, tmp_path):
    accept(store, add(store, 1))
    row = step(store, add(store, 2), "proposed", proposed())
    leaky = filled(store, row) | {"image_sha": store.put_image(picture(77))}
    step(store, step(store, row, "filled", leaky), "accepted")
    lost = accept(store, add(store, 3))
    store.blob_path(lost.image_sha).unlink()
    report = export(store, tmp_path / "out")
    assert report.exported == 1
    assert "beach_2: its background differs" in report.left_out[0]
    assert "beach_3: the store has no image" in report.left_out[1]
    assert len(lines(tmp_path / "out")) == 1
    assert not (tmp_path / "out" / "mask" / "beach_2.png").exists()


def test_export_that_is_all_unsound_leaves_the_earlier_one(store, tmp_path):
    row = accept(store, add(store, 1))
    out = export(store, tmp_path / "out").folder
    before = content(out)
    store.blob_path(row.image_sha).unlink()
    with pytest.raises(ForgetmeError, match="no accepted sample is sound"):
        export(store, out)
    assert content(out) == before


def test_export_that_fails_midway_leaves_the_earlier_one(store, tmp_path, monkeypatch):
    accept(store, add(store, 1))
    out = export(store, tmp_path / "out").folder
    before = content(out)
    accept(store, add(store, 2))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="untouched"):
        export(store, out)
    assert content(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


@pytest.mark.parametrize("killed", ["before the second rename", "after it"])
def test_export_mends_a_swap_that_was_killed_in_the_middle(store, tmp_path, killed):
    accept(store, add(store, 1))
    out = export(store, tmp_path / "out").folder
    (out / "README.md").write_text("my card")
    previous = tmp_path / ".out.previous"
    if killed == "after it":
        shutil.copytree(out, previous)
    else:
        out.rename(previous)
    accept(store, add(store, 2))
    assert export(store, out).replaced
    assert (out / "README.md").read_text() == "my card"
    assert len(lines(out)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(16, "Device or resource busy"), ForgetmeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["busy", "Ctrl-C"],
)
def test_export_restores_the_earlier_one_when_the_swap_fails(
    store, tmp_path, monkeypatch, error, seen
):
    accept(store, add(store, 1))
    out = export(store, tmp_path / "out").folder
    before = content(out)
    rename = Path.rename

    def fail(self, target):
        if self.suffix == ".new":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(seen):
        export(store, out)
    monkeypatch.undo()
    assert content(out) == before


KILLED = """
import os, sys
from forgetme.dataset import export
from forgetme.store import Store
with Store(sys.argv[1]) as store:
    export(store, sys.argv[2], on_progress=lambda *_: os.kill(os.getpid(), 9))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs locks that end with their process")
def test_what_a_killed_export_leaves_is_named_and_removed(store, tmp_path):
    accept(store, add(store, 1))
    accept(store, add(store, 2))
    kept = store.folder / "exports" / "cats"
    for out in (kept, tmp_path / "out"):
        subprocess.run([sys.executable, "-c", KILLED, tmp_path / "store", out], check=False)
        (half,) = out.parent.glob(f".{out.name}.*.new")
    checked = []
    export(store, kept.with_name("dogs"), on_progress=lambda *_: checked.append(store.check()))
    for problems in (*checked, store.check()):  # a living export's folder is none of them
        (problem,) = problems
        assert "`store rebuild` removes it" in problem
        assert ".cats." in problem
    assert store.rebuild() == 2
    assert store.check() == []
    export(store, tmp_path / "out")  # beside other folders the next export clears up
    assert not half.exists()


def test_exports_to_one_folder_at_once_end_in_one_whole_one_and_strangers_files_stay(
    store, tmp_path
):
    accept(store, add(store, 1))
    out = tmp_path / "out"

    def meanwhile(*_):
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        (out / "late.txt").write_text("later")

    report = export(store, out, on_progress=meanwhile)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "late.txt").read_text() == "later"
    assert len(lines(report.folder)) == 1

    def others(*_):
        export(store, out, "parquet")
        (out / "notes.txt").write_text("mine, changed")
        (out / "mask").mkdir()
        (out / "mask" / "my.png").write_text("mine too")

    export(store, out, on_progress=others)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    layers = {f"{layer}/beach_1.png" for layer in LAYERS}
    strangers = {"notes.txt", "late.txt", "mask/my.png"}
    assert files == layers | strangers | {"metadata.jsonl", ".forgetme-export.json"}
    assert (out / "notes.txt").read_text() == "mine, changed"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out", "store"}


def test_a_file_written_while_the_folders_are_swapped_is_not_lost(store, tmp_path, monkeypatch):
    accept(store, add(store, 1))
    out = export(store, tmp_path / "out").folder
    (out / "notes.txt").write_text("mine")
    rename = Path.rename

    def late(self, target):
        if target == tmp_path / ".out.previous":  # after the strangers' files were carried over
            (out / "late.txt").write_text("late")
            (out / "notes.txt").unlink()
            (out / "notes.txt").write_text("changed")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    export(store, out)
    assert (out / "late.txt").read_text() == "late"
    assert (out / "notes.txt").read_text() == "changed"
    assert len(lines(out)) == 1


def test_export_tells_its_progress(store, tmp_path):
    for seed in range(3):
        accept(store, add(store, seed))
    told = []
    export(store, tmp_path / "out", on_progress=lambda *one: told.append(one))
    assert told == [(n, 3, f"read beach_{n - 1}") for n in (1, 2, 3)]


def test_export_leaves_out_what_is_taken_back_while_it_runs(store, tmp_path):
    accept(store, add(store, 1))
    last = accept(store, add(store, 2))
    report = export(
        store, tmp_path / "out", on_progress=lambda *_: store.undo("ann", sample_id=last.id)
    )
    assert (report.exported, report.left_out) == (1, ())
    assert not (tmp_path / "out" / "mask" / "beach_2.png").exists()


def test_export_can_be_read_by_others(store, tmp_path):
    accept(store, add(store, 1))
    out = export(store, tmp_path / "out").folder
    assert os.stat(out).st_mode & 0o055 == 0o055
