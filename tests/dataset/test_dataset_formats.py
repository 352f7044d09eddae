"""Datasets out and in again, in every format: pixels exact, provenance kept, bytes the same."""

import io
import json
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from small_store import SIZE, accept, add, filled, picture, prepare, proposed, square, step

from forgetme.dataset import (
    SPLITS,
    Shares,
    export,
    exports,
    import_dataset,
    split_of,
)
from forgetme.dataset.importing import recognise
from forgetme.dataset.quadruple import LAYERS, Record
from forgetme.dataset.rle import rle_mask, rle_string
from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.record.images import png_bytes
from forgetme.record.masks import rle_encode
from forgetme.store import Store

COUNT = 12  # enough for each split to have some, with these pixels
FORMATS = tuple(exports)


def fill_store(store):
    """Samples of two concepts, chosen and drawn, by people and the policy, one refined."""
    for seed in range(COUNT - 3):
        accept(
            store, add(store, seed, concept=("cat", "dog")[seed % 2]), by="bob", d=0.4 + seed / 50
        )
    accept(store, add(store, 90, name="beach_1", concept="cat"), how="policy", by="policy")
    drawn = step(
        store, add(store, 91, name='a "cat".v2 🐈'), "mask_edited",
        {"mask_sha": store.put_image(square(7, 9)), "how": "points"},
    )  # fmt: skip
    drawn = step(store, drawn, "filled", filled(store, drawn))
    drawn = step(store, drawn, "refined", filled(store, drawn, seed=5, s=0.9))
    step(store, drawn, "commented", {"text": "nice\nwhiskers"})
    step(store, store.sample(drawn.id), "accepted")
    lineage = {
        "foreground": drawn.id, "background": "uploaded", "place": {"x": 3, "scale": 1.5},
        "photo_sha": drawn.image_sha,
    }  # fmt: skip
    made = store.import_image(
        picture(92), name="merged", concept="cat", by="ann", caption="a cat", lineage=lineage,
        notes=["grayscale"],
    )  # fmt: skip
    accept(store, made)
    prepare(store, add(store, 93))
    step(store, prepare(store, add(store, 94)), "rejected")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("full") / "store") as store:
        fill_store(store)
        yield store


@pytest.fixture(scope="module")
def exported(full, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return {name: export(full, folder / name, name) for name in FORMATS}


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def truth(store) -> dict[str, dict[str, np.ndarray]]:
    """The four layers of each accepted sample, from the store's own images."""
    found = {}
    for row in store.samples(state="accepted", limit=None):
        original, mask = store.get_image(row.image_sha), store.get_mask(row.mask_sha)
        background = store.get_image(row.tries[row.picked_try]["image_sha"])
        alpha = np.where(mask, 255, 0).astype(np.uint8)
        layers = (original, np.dstack([original, alpha]), background, alpha)
        found[row.id] = dict(zip(LAYERS, layers, strict=True))
    return found


# ------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_taken_into_a_new_store_exports_to_the_same_bytes(full, exported, tmp_path, name):
    with Store(tmp_path / "other") as other:
        report = import_dataset(other, exported[name].folder, name)
        assert (report.imported, report.failed) == (COUNT, ())
        assert report.by_concept == exported[name].by_concept
        mine, theirs = truth(full), truth(other)
        assert mine.keys() == theirs.keys()
        for sample_id, layers in mine.items():
            for layer in LAYERS:
                assert np.array_equal(layers[layer], theirs[sample_id][layer]), (sample_id, layer)
        again = export(other, tmp_path / "again", name)
        assert content(again.folder) == content(exported[name].folder)
        assert other.check() == []


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_recognised_when_it_comes_back(exported, tmp_path, name):
    assert recognise(exported[name].folder) == name
    with Store(tmp_path / "other") as other:
        assert import_dataset(other, exported[name].folder).imported


@pytest.mark.parametrize("name", FORMATS)
def test_an_import_writes_ordinary_events_that_a_rebuild_gives_again(exported, tmp_path, name):
    with Store(tmp_path / "other") as other:
        import_dataset(other, exported[name].folder, name)
        rows = other.samples(limit=None)
        assert {row.state for row in rows} == {"accepted"}
        assert {event.by for event in other.events()} == {"import"}
        kinds = [event.kind for event in other.events(rows[0].id)]
        assert kinds == ["imported", "mask_edited", "filled", "accepted"]
        assert {row.decided_how for row in rows} == {"human", "policy"}
        assert (
            next(row for row in rows if row.name.startswith("a _cat_")).comment == "nice\nwhiskers"
        )
        assert next(row for row in rows if row.name == "merged").lineage["place"] == {
            "x": 3,
            "scale": 1.5,
        }
        other.rebuild()
        assert other.samples(limit=None) == rows


@pytest.mark.parametrize("name", FORMATS)
def test_a_rebuilt_store_exports_to_the_same_bytes(full, exported, tmp_path, name):
    with Store(full.backup(tmp_path / "copy")) as copy:
        copy.rebuild()
        assert content(export(copy, tmp_path / "out", name).folder) == content(
            exported[name].folder
        )


def test_importing_again_takes_nothing_twice(exported, tmp_path):
    with Store(tmp_path / "other") as other:
        import_dataset(other, exported["parquet"].folder, "dataset")
        events = other.events()
        report = import_dataset(other, exported["parquet"].folder, "parquet")
        assert (report.imported, report.there_already, report.failed) == (0, COUNT, ())
        assert other.events() == events


def test_an_import_that_was_killed_is_finished_by_the_next(exported, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    append = Store.append
    left = [6]  # events; in the middle of the second sample

    def some(self, *arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return append(self, *arguments, **named)

    with Store(tmp_path / "other") as other:
        monkeypatch.setattr(Store, "append", some)
        with pytest.raises(Killed):
            import_dataset(other, exported["folders"].folder)
        monkeypatch.undo()
        report = import_dataset(other, exported["folders"].folder)
        assert (report.imported, report.there_already) == (COUNT - 2, 2)
        again = export(other, tmp_path / "again", "folders")
        assert content(again.folder) == content(exported["folders"].folder)


def test_work_on_an_imported_sample_is_exported_as_such(exported, tmp_path):
    with Store(tmp_path / "other") as other:
        import_dataset(other, exported["folders"].folder)
        row = next(row for row in other.samples(limit=None) if row.name == "merged")
        row = step(
            other, row, "mask_edited", {"mask_sha": other.put_image(square(9)), "how": "brush"}
        )
        row = step(other, row, "filled", filled(other, row, d=0.7))
        step(other, row, "accepted", by="cleo")
        out = export(other, tmp_path / "out").folder
        lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
        line = next(line for line in lines if line["name"] == "merged")
        assert (line["decided_by"], line["segmented_by"]) == ("cleo", "ann (brush)")
        assert line["entangled_d"] == 0.7


def test_a_comment_and_a_review_after_an_import_are_exported(exported, tmp_path):
    with Store(tmp_path / "other") as other:
        import_dataset(other, exported["folders"].folder)
        row = next(row for row in other.samples(limit=None) if row.name == "merged")
        row = step(other, row, "commented", {"text": "look again"})
        step(other, row, "reviewed", {"verdict": "approved", "text": ""}, by="lea")
        out = export(other, tmp_path / "out").folder
        lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
        details = json.loads(next(line for line in lines if line["name"] == "merged")["provenance"])
        assert (details["comment"], details["reviewed_by"]) == ("look again", "lea")


def test_copies_for_a_second_opinion_are_not_exported(store, tmp_path):
    first = accept(store, add(store, 1))
    twin = store.import_image(
        picture(1), name=first.name, concept="cat", by="ann", twin_of=first.id
    )
    accept(store, twin)
    assert export(store, tmp_path / "out").exported == 1


# ------------------------------------------------------------------------------ other readers


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return library


def test_parquet_is_loaded_by_the_datasets_library_as_pictures(full, exported, datasets):
    report = exported["parquet"]
    loaded = eval(report.load, {"datasets": datasets})
    assert {split: part.num_rows for split, part in loaded.items()} == {
        split: count for split, count in report.by_split.items() if count
    }
    mine, rows = truth(full), {row.id: row for row in full.samples(limit=None)}
    for split, part in loaded.items():
        assert list(part.features)[:4] == list(LAYERS)
        assert all(isinstance(part.features[layer], datasets.Image) for layer in LAYERS)
        for line in part:
            assert line["split"] == split == split_of(rows[line["id"]])
            for layer in LAYERS:
                assert np.array_equal(np.asarray(line[layer]), mine[line["id"]][layer])
    assert loaded["train"].features["entangled_d"].dtype == "float64"
    assert loaded["train"].features["low"].dtype == "bool"


def test_a_folder_of_parquet_is_loaded_by_its_name_alone(exported, datasets):
    loaded = datasets.load_dataset(str(exported["parquet"].folder))
    counts = {split: part.num_rows for split, part in loaded.items()}
    assert counts == {split: n for split, n in exported["parquet"].by_split.items() if n}


def test_webdataset_is_loaded_by_the_datasets_library(full, exported, datasets):
    loaded = eval(exported["webdataset"].load, {"datasets": datasets})
    mine, seen = truth(full), set()
    for split, part in loaded.items():
        for line in part:
            assert line["json"]["split"] == split
            seen.add(line["__key__"])
            for layer in LAYERS:
                pixels = np.asarray(line[f"{layer}.png"])
                assert np.array_equal(pixels, mine[line["__key__"]][layer])
    assert seen == mine.keys()


def test_coco_is_opened_by_pycocotools(full, exported, capsys):
    library = pytest.importorskip("pycocotools.coco")
    mine = truth(full)
    folder, seen = exported["coco"].folder, {}
    for path in (folder / "annotations").iterdir():
        coco = library.COCO(str(path))
        for number, image in coco.imgs.items():
            (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
            sample_id = image["forgetme"]["id"]
            mask = mine[sample_id]["mask"] > 0
            assert np.array_equal(coco.annToMask(annotation) > 0, mask)
            assert annotation["area"] == mask.sum()
            assert coco.cats[annotation["category_id"]]["name"] == image["forgetme"]["concept"]
            original = np.asarray(Image.open(folder / image["file_name"]))
            assert np.array_equal(original, mine[sample_id]["original"])
            seen[sample_id] = annotation["bbox"]
    assert seen.keys() == mine.keys()
    assert seen[next(iter(seen))] == [5, 4, 6, 6]


def test_parquet_has_a_page_index_small_groups_and_shards_by_size(full, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    report = export(full, tmp_path / "out", "parquet", shard_bytes=8_000)
    shards = sorted(path.name for path in (report.folder / "data").iterdir())
    train = [name for name in shards if name.startswith("train-")]
    assert len(train) > 1
    assert train == [f"train-{n:05}-of-{len(train):05}.parquet" for n in range(len(train))]
    for name in shards:
        with pq.ParquetFile(report.folder / "data" / name) as file:
            column = file.metadata.row_group(0).column(0)
            assert column.has_offset_index
            assert column.compression == "UNCOMPRESSED"
    whole = import_rows(report.folder, tmp_path)
    assert whole == import_rows(export(full, tmp_path / "one", "parquet").folder, tmp_path)


def import_rows(folder: Path, tmp_path: Path) -> set[str]:
    with Store(tmp_path / f"store-{folder.name}") as store:
        assert import_dataset(store, folder, "dataset").failed == ()
        return {row.id for row in store.samples(limit=None)}


def test_tars_are_cut_by_size(full, tmp_path):
    report = export(full, tmp_path / "out", "webdataset", shard_bytes=10_000)
    tars = sorted((report.folder / "data").glob("train-*.tar"))
    assert len(tars) > 1
    names = []
    for path in tars:
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert len(names) == len(set(names)) == 5 * report.by_split["train"]


# ------------------------------------------------------------------------------ splits


def test_splits_do_not_change_when_the_store_grows(store, tmp_path):
    def lines():
        path = export(store, tmp_path / "out").folder / "metadata.jsonl"
        return {row["id"]: row["split"] for row in map(json.loads, path.read_text().splitlines())}

    for seed in range(5):
        accept(store, add(store, seed))
    before = lines()
    for seed in range(5, 9):
        accept(store, add(store, seed))
    assert before.items() < lines().items()


def test_all_samples_of_one_photo_are_in_one_split(store, tmp_path):
    for seed in range(12):
        cat = accept(store, add(store, seed, concept="cat"))
        accept(store, add(store, seed, concept="dog", name=f"again_{seed}"))
        merged = store.import_image(
            picture(100 + seed), name=f"merged_{seed}", concept="cat", by="ann",
            lineage={"foreground": cat.id, "photo_sha": cat.image_sha},
        )  # fmt: skip
        accept(store, merged)
    lines = (export(store, tmp_path / "out").folder / "metadata.jsonl").read_text().splitlines()
    parts: dict[str, set[str]] = {}
    for line in map(json.loads, lines):
        details = json.loads(line["provenance"])
        photo = (details["lineage"] or {}).get("photo_sha", details["image_sha"])
        parts.setdefault(photo, set()).add(line["split"])
    assert len(lines) == 36
    assert len(parts) == 12
    assert {len(one) for one in parts.values()} == {1}
    assert len(set.union(*parts.values())) > 1, "the photos themselves are spread"


def test_splits_have_about_the_shares_that_were_asked_for():
    shares = Shares(0.5, 0.2, 0.3)
    photos = [SimpleNamespace(id="", image_sha=f"{n:064x}", lineage=None) for n in range(20_000)]
    splits = [split_of(one, shares) for one in photos]
    for split in SPLITS:
        assert splits.count(split) / len(splits) == pytest.approx(getattr(shares, split), abs=0.02)


def test_all_may_be_train(full, tmp_path):
    report = export(full, tmp_path / "out", "parquet", shares=Shares.parse("100/0/0"))
    assert report.by_split == {"train": COUNT, "validation": 0, "test": 0}
    assert [path.name for path in (report.folder / "data").iterdir()] == [
        "train-00000-of-00001.parquet"
    ]


@pytest.mark.parametrize("text", ["80/10", "80/10/20", "a/b/c", "-10/100/10", "nan/0/0", ""])
def test_shares_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="80/10/10|0.8, 0.1, 0.1"):
        Shares.parse(text)


# ------------------------------------------------------------------------------ run lengths


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools and numpy's `copy`
@given(arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_lengths_are_those_of_pycocotools(mask):
    vendor = pytest.importorskip("pycocotools.mask")
    mine = rle_string(mask)
    assert np.array_equal(vendor.decode(mine), mask)
    assert np.array_equal(rle_mask(mine, mask.shape), mask)
    assert np.array_equal(rle_mask(rle_encode(mask), mask.shape), mask)


def test_run_lengths_of_a_large_mask_come_back():
    mask = np.zeros((3000, 4000), bool)
    mask[100:2900, 7:3990] = True
    mask[1000:1010, 50] = False
    assert np.array_equal(rle_mask(rle_string(mask), mask.shape), mask)


@pytest.mark.parametrize(
    "rle",
    [
        None,
        {},
        {"size": [2, 2], "counts": "\x00"},
        {"size": [2, 2], "counts": "o"},
        {"size": [2, 2], "counts": "5"},
        {"size": [2, 2], "counts": "o" * 30},
        {"size": [2**20, 2**20], "counts": [1]},
        {"size": [-2, -2], "counts": [4]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [2, 2], "counts": {"a": 1}},
        {"size": "ab", "counts": [4]},
        {"size": [46_340, 46_340], "counts": [46_340**2]},
        {"size": [2, 2], "counts": [1, 2**39, 5]},
        {"size": [2, 2], "counts": "0" * 100},
        {"size": [2, 2], "counts": [float("nan"), 4]},
    ],
)
def test_damaged_run_lengths_are_refused(rle):
    with pytest.raises(ValueError, match="damaged"):
        rle_mask(rle, (2, 2))


# ------------------------------------------------------------------------------ other makers


def quadruple_files(folder: Path, stem: str, seed: int, *, background=None, mask=None) -> None:
    """A quadruple as the paper's authors lay it out: the foreground on black."""
    mask = square() if mask is None else mask
    original = picture(seed)
    if background is None:
        background = np.where(mask[..., None], picture(seed + 100), original)
    layers = {
        "original": original,
        "foreground": np.where(mask[..., None], original, 0).astype(np.uint8),
        "background": background,
        "mask": mask,
    }
    for layer, pixels in layers.items():
        (folder / layer).mkdir(parents=True, exist_ok=True)
        (folder / layer / f"{stem}.png").write_bytes(png_bytes(pixels))


def test_folders_of_the_papers_authors_are_taken_as_they_are(store, tmp_path):
    src = tmp_path / "authors"
    quadruple_files(src, "bird_1", 1)
    noisy = np.clip(picture(2).astype(int) + 3, 0, 255).astype(np.uint8)
    quadruple_files(src, "bird_2", 2, background=noisy)
    report = import_dataset(store, src, concept="bird")
    assert (report.imported, report.by_concept, report.failed) == (2, {"bird": 2}, ())
    first, second = store.samples()
    assert (first.name, first.state, first.decided_how) == ("bird_1", "accepted", "policy")
    assert first.source == str((src / "original" / "bird_1.png").resolve())
    assert np.array_equal(store.get_mask(first.mask_sha), square())
    assert np.array_equal(
        store.get_image(first.tries[0]["image_sha"])[square()], picture(101)[square()]
    )
    assert first.tries[0]["made_by"] == "imported"
    assert first.tries[0]["scores"]["d"]["s_outer"] == 0
    assert "pixels outside the mask changed" in second.tries[0]["scores"]["words"]
    report = export(store, tmp_path / "out")
    assert (report.exported, report.left_out) == (2, ())


def test_folders_scores_are_those_of_entangled(store, tmp_path):
    from forgetme.record.entangled import entangled_d, entangled_s

    quadruple_files(tmp_path / "a", "x", 1)
    import_dataset(store, tmp_path / "a", concept="bird")
    (row,) = store.samples()
    background = store.get_image(row.tries[0]["image_sha"])
    assert row.score_d == entangled_d(picture(1), background, square()).score
    assert row.score_s == entangled_s(background, square()).score


def test_folders_stems_without_a_partner_are_told(store, tmp_path):
    src = tmp_path / "authors"
    quadruple_files(src, "a", 1)
    quadruple_files(src, "b", 2)
    (src / "mask" / "b.png").unlink()
    (src / "background" / "c.png").write_bytes(png_bytes(picture(3)))
    report = import_dataset(store, src, concept="bird")
    assert report.imported == 1
    assert report.failed == (
        "b: no file of this name in mask",
        "c: no file of this name in original and mask",
    )


def test_folders_side_files_are_no_pictures_and_other_metadata_is_passed_over(store, tmp_path):
    src = tmp_path / "authors"
    quadruple_files(src, "a", 1)
    (src / "mask" / "._a.png").write_bytes(b"what another system leaves behind")
    (src / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "of another tool"}\n')
    report = import_dataset(store, src, concept="bird")
    assert (report.imported, report.failed) == (1, ())


def test_drawn_scenes_are_taken_with_their_captions(store, drawn):
    report = import_dataset(store, drawn)
    assert (report.imported, report.by_concept) == (4, {"cat": 4})
    assert all("cat" in row.caption for row in store.samples())


def test_a_dataset_that_names_no_concept_asks_for_it(store, tmp_path):
    quadruple_files(tmp_path / "a", "x", 1)
    report = import_dataset(store, tmp_path / "a")
    assert report.failed == ("x: it does not say its concept; name it with --concept",)
    assert store.samples() == []


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            lambda src: (src / "mask" / "x.png").write_bytes(png_bytes(np.zeros(SIZE, bool))),
            "empty",
        ),
        (lambda src: (src / "mask" / "x.png").write_bytes(png_bytes(np.ones(SIZE, bool))), "full"),
        (
            lambda src: (src / "mask" / "x.png").write_bytes(png_bytes(np.eye(30, dtype=bool))),
            "size",
        ),
        (
            lambda src: (src / "background" / "x.png").write_bytes(png_bytes(picture(1)[:-1])),
            "size",
        ),
        (lambda src: (src / "original" / "x.png").write_bytes(b"<svg onload=alert(1)>"), "SVG"),
        (lambda src: (src / "background" / "x.png").write_bytes(b""), "0 bytes"),
    ],
)
def test_a_row_that_does_not_fit_is_told_and_the_rest_is_taken(store, tmp_path, spoil, why):
    src = tmp_path / "a"
    quadruple_files(src, "x", 1)
    quadruple_files(src, "y", 2)
    spoil(src)
    report = import_dataset(store, src, concept="bird")
    assert report.imported == 1
    (line,) = report.failed
    assert line.startswith("x: ")
    assert why in line
    assert [row.name for row in store.samples()] == ["y"]


def test_a_decision_in_the_store_is_never_changed_by_an_import(store, tmp_path):
    rejected = step(store, prepare(store, add(store, 1, concept="bird")), "rejected")
    other = accept(store, add(store, 2, concept="bird"), by="bob")
    open_one = prepare(store, add(store, 3, concept="bird"))
    for seed in (1, 2, 3):
        quadruple_files(tmp_path / "a", f"beach_{seed}", seed, mask=square(2, 5))
    report = import_dataset(store, tmp_path / "a", concept="bird")
    assert report.imported == 1
    assert "rejected by ann" in report.failed[0]
    assert "another mask" in report.failed[1]
    assert "accepted by bob" in report.failed[1]
    assert store.sample(rejected.id) == rejected
    assert store.sample(other.id) == other
    assert store.sample(open_one.id).state == "accepted"


def test_a_full_disk_ends_an_import(store, tmp_path, monkeypatch):
    quadruple_files(tmp_path / "a", "x", 1)

    def full(*_, **__):
        raise DiskFullError("no room left")

    monkeypatch.setattr(Store, "put_image", full)
    with pytest.raises(DiskFullError):
        import_dataset(store, tmp_path / "a", concept="bird")


def coco_file(path: Path, segmentations: list, *, categories=("bird",)) -> None:
    whole = {
        "images": [{"id": 7, "file_name": "one.png", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": 1 + n % len(categories), "segmentation": one}
            for n, one in enumerate(segmentations)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, start=1)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole))


def test_coco_of_others_becomes_masks_that_wait_for_their_fill(store, tmp_path):
    src = tmp_path / "coco"
    polygon = [[5, 4, 11, 4, 11, 10, 5, 10]]
    coco_file(src / "annotations" / "instances_val.json", [polygon, rle_encode(square(12))])
    (src / "val").mkdir()
    (src / "val" / "one.png").write_bytes(png_bytes(picture(1)))
    report = import_dataset(store, src, "coco")
    assert (report.imported, report.to_fill, report.failed) == (0, 1, ())
    (row,) = store.samples()
    assert (row.state, row.concept, row.name) == ("prepared", "bird", "one")
    assert np.array_equal(store.get_mask(row.mask_sha), square() | square(12))
    events = store.events()
    again = import_dataset(store, src / "annotations" / "instances_val.json", "coco")
    assert (again.there_already, again.failed) == (1, ())
    assert store.events() == events
    coco_file(src / "annotations" / "instances_val.json", [rle_encode(square(8))])
    hands = {"mask_sha": store.put_image(square(3)), "how": "painted"}
    for by_hand in (False, True):
        row = step(store, row, "mask_edited", hands) if by_hand else store.sample(row.id)
        (told,) = import_dataset(store, src, "coco").failed
        assert "with another mask, not decided yet; that is kept" in told
        assert store.sample(row.id) == row


def test_coco_makes_a_sample_of_each_concept_of_an_image(store, tmp_path):
    coco_file(
        tmp_path / "a.json", [rle_string(square()), rle_string(square(12))], categories=("a", "b")
    )
    (tmp_path / "one.png").write_bytes(png_bytes(picture(1)))
    import_dataset(store, tmp_path / "a.json", "coco")
    masks = {row.concept: store.get_mask(row.mask_sha) for row in store.samples()}
    assert np.array_equal(masks["a"], square())
    assert np.array_equal(masks["b"], square(12))


# ------------------------------------------------------------------------------ hostile input


def test_names_in_a_dataset_lead_to_no_file_outside_of_it(exported, store, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png_bytes(picture(5)))
    src = tmp_path / "copy"
    shutil.copytree(exported["folders"].folder, src)
    (src / "link.png").symlink_to(secret)
    lines = (src / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines[:3]]
    rows[0]["original_file_name"] = "../secret.png"
    rows[1]["original_file_name"] = str(secret)
    rows[2]["original_file_name"] = "link.png"
    (src / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = import_dataset(store, src)
    assert report.imported == 0
    assert all("outside" in line for line in report.failed)
    coco_file(tmp_path / "coco" / "a.json", [rle_string(square())])
    path = tmp_path / "coco" / "a.json"
    path.write_text(path.read_text().replace("one.png", "../secret.png"))
    report = import_dataset(store, tmp_path / "coco", "coco")
    assert (report.to_fill, len(report.failed)) == (0, 1)
    assert store.samples() == []


def test_a_tar_from_outside_writes_no_file(store, tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        link = tarfile.TarInfo("k.original.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, data in (("../../k.mask.png", png_bytes(square())), ("/abs.json", b"[1]")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    before = content(tmp_path)
    report = import_dataset(store, tmp_path / "evil.tar", "webdataset", concept="cat")
    assert (report.imported, len(report.failed)) == (0, 2)
    after = content(tmp_path)
    assert {name for name in after if not name.startswith("store/")} == {
        name for name in before if not name.startswith("store/")
    }


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_such_dataset_is_refused_with_words(store, tmp_path, name):
    with pytest.raises(ForgetmeError, match="not there"):
        import_dataset(store, tmp_path / "nothing", name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ForgetmeError, match="name the"):
        import_dataset(store, tmp_path / "empty", name)
    with pytest.raises(ValueError, match="folders"):
        import_dataset(store, tmp_path, "xml")
    with pytest.raises(ValueError, match="folders"):
        export(store, tmp_path / "out", "xml")


@pytest.mark.parametrize("name", ["dataset", "webdataset", "coco"])
def test_a_damaged_file_is_refused_with_words(store, tmp_path, name):
    suffix = {"dataset": "parquet", "webdataset": "tar", "coco": "json"}[name]
    (tmp_path / f"bad.{suffix}").write_bytes(b"\x00nothing of the kind" * 100)
    with pytest.raises(ForgetmeError, match="get it again"):
        import_dataset(store, tmp_path / f"bad.{suffix}", name)


def test_a_record_from_outside_must_have_the_right_types(exported):
    path = exported["folders"].folder / "metadata.jsonl"
    row = json.loads(path.read_text().splitlines()[0])
    assert asdict(Record.read(row)).items() <= row.items()
    for wrong in (
        {"seed": "7"},
        {"seed": True},
        {"concept": None},
        {"low": 1},
        {"provenance": "[]"},
        {"provenance": "{"},
        {"entangled_d": "high"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Record.read(row | wrong)


def test_a_background_that_does_not_fit_its_filled_mask_is_refused(exported, store, tmp_path):
    src = tmp_path / "copy"
    shutil.copytree(exported["folders"].folder, src)
    (src / "background" / "beach_0.png").write_bytes(png_bytes(picture(400)))
    report = import_dataset(store, src)
    assert report.imported == COUNT - 1
    assert "outside the filled mask" in report.failed[0]


def test_scores_of_another_shape_are_computed_anew(exported, store, tmp_path):
    src = tmp_path / "copy"
    shutil.copytree(exported["folders"].folder, src)
    row = json.loads((src / "metadata.jsonl").read_text().splitlines()[0])
    details = json.loads(row["provenance"])
    details |= {"scores": [1], "settings": "x", "notes": 5, "lineage": "y", "versions": None}
    row["provenance"] = json.dumps(details)
    (src / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    report = import_dataset(store, src)
    assert (report.imported, report.failed) == (1, ())
    (sample,) = store.samples()
    assert sample.score_d is not None
    assert (sample.notes, sample.lineage, sample.tries[0]["settings"]) == ([], None, {})


def test_an_unused_proposal_is_no_part_of_the_record(store, tmp_path):
    row = step(store, add(store, 1), "proposed", proposed(count=2, chosen=1))
    step(store, step(store, row, "filled", filled(store, row)), "accepted")
    out = export(store, tmp_path / "out").folder
    line = json.loads((out / "metadata.jsonl").read_text())
    assert json.loads(line["provenance"])["proposal"]["box_xywh"] == [5, 5, 6, 6]
