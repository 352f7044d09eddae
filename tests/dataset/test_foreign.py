"""Files as other tools and damaged disks leave them: a bad row is a row with its reason."""

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_store import SIZE, picture, square

from forgetme.dataset import coco, folders, import_dataset, unpacking
from forgetme.dataset.foreign import csv_rows, json_rows
from forgetme.dataset.rle import rle_string
from forgetme.errors import ForgetmeError
from forgetme.record.images import png_bytes
from forgetme.record.masks import rle_encode

H, W = SIZE
BOX = [5, 4, 11, 4, 11, 10, 5, 10]  # what `square()` has, as a polygon


def photo(path: Path, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(picture(seed)))
    return path


def image(name: str = "a.png", number: object = 1, **more: object) -> dict:
    return {"id": number, "file_name": name, "width": W, "height": H} | more


def annotation(shape: object = None, number: object = 1, of: object = 1, **more: object) -> dict:
    shape = [BOX] if shape is None else shape
    return {"id": number, "image_id": of, "category_id": 1, "segmentation": shape} | more


def write_coco(path: Path, images: list, annotations: list, categories: list | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {"images": images, "annotations": annotations}
    categories = [{"id": 1, "name": "cat"}] if categories is None else categories
    path.write_text(json.dumps({**parts, "categories": categories}))
    return path


def rows_of(src: Path) -> tuple[dict[str, int], list[str]]:
    """Pixels by "name concept" of what can be taken, and all reasons."""
    taken, why = {}, []
    listing = coco.read(src)
    rows = list(listing.rows)
    assert listing.total == len(rows)
    for row in rows:
        why += [row.problem] if row.problem else row.left_out
        if row.problem is None:
            taken[f"{row.name} {row.concept}"] = int(row.mask.sum())
    return taken, why


# ------------------------------------------------------------------------------ COCO's shapes

NAN, INF, HUGE = float("nan"), float("inf"), 10**400


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ([[NAN, *BOX[1:]]], "finite"),
        ([[INF, *BOX[1:]]], "finite"),
        ([[HUGE, *BOX[1:]]], "finite|number"),
        ([[1e9, *BOX[1:]]], "far outside"),
        ([[-1e9, *BOX[1:]]], "far outside"),
        ([[0, 0, W, H] * 100_000], "px long"),
        ([[*BOX, 3]], "no pairs"),
        ([[1, 2, 3, 4]], "three corners"),
        ([["x", *BOX[1:]]], "damaged"),
        ([[None, *BOX[1:]]], "damaged"),
        ([], "no outline"),
        (None, "no outline"),
        ("polygon", "no outline"),
        ({"size": [200_000, 200_000], "counts": [4 * 10**10]}, "200000x200000"),
        ({"size": [-H, W], "counts": [H * W]}, "greater than 0"),
        ({"size": [NAN, W], "counts": [H * W]}, "size"),
        ({"size": [H, W], "counts": [1, 2]}, "damaged"),
        ({"size": [H, W], "counts": [INF]}, "counts"),
        ({"size": [H, W], "counts": "o" * 40}, "damaged"),
        ({"size": [H, W], "counts": [H * W + 10**6]}, "damaged"),
        ({"size": "big", "counts": 7}, "size"),
    ],
)
def test_one_bad_annotation_is_told_and_the_good_ones_stay(tmp_path, shape, why):
    photo(tmp_path / "a.png")
    bad = annotation(number=2) | {"segmentation": shape}
    write_coco(tmp_path / "x.json", [image()], [annotation(), bad])
    taken, told = rows_of(tmp_path)
    assert taken == {"a cat": 36}
    assert len(told) == 1
    assert told[0].startswith("annotation 2: ")
    assert re.search(why, told[0])


@pytest.mark.parametrize(
    "shape",
    [
        [BOX],
        BOX,
        [[float(one) for one in BOX]],
        [BOX, [1, 2, 3, 4]],
        rle_encode(square()),
        rle_string(square()),
    ],
)
@pytest.mark.parametrize(
    ("number", "of", "sizes"),
    [
        (1, 1, {}),
        (1, 1.0, {"width": float(W)}),
        ("1", "1.0", {"width": str(W), "height": str(H)}),
        (1.0, "1", {"width": None}),
    ],
)
def test_the_same_annotation_in_other_words_is_the_same_mask(tmp_path, shape, number, of, sizes):
    photo(tmp_path / "a.png")
    one = annotation(shape, of=of, category_id="1.0")
    write_coco(tmp_path / "x.json", [image(number=number, **sizes)], [one])
    assert rows_of(tmp_path) == ({"a cat": 36}, [])


def test_an_image_without_sizes_is_its_files(tmp_path):
    photo(tmp_path / "a.png")
    write_coco(tmp_path / "x.json", [{"id": 1, "file_name": "a.png"}], [annotation()])
    assert rows_of(tmp_path) == ({"a cat": 36}, [])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("a.png", "an object"),
        (None, "Input should be an object, got None"),
        (["a.png"], "an object"),
        ({"id": 2}, "file_name"),
        (image("b.png", 2, width=-5), "width"),
        (image("b.png", 2, height=NAN), "height"),
        (image("b.png", 2, width=200_000, height=200_000), "for 200000x200000 px"),
        (image("missing.png", 2), "is not in"),
        (image("a\0.png", 2), "is not in"),
        (image("x" * 5000, 2), "is not in"),
        (image("b.png", True), "id"),
        (image(7, 2), "file_name"),
    ],
)
def test_one_bad_image_is_told_once_and_the_good_ones_stay(tmp_path, bad, why):
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png", 2)
    shapes = [annotation(), annotation(number=2, of=2)]
    if not isinstance(bad, dict) or bad.get("id") is True:
        shapes.pop()
    write_coco(tmp_path / "x.json", [image(), bad], shapes)
    taken, told = rows_of(tmp_path)
    assert taken == {"a cat": 36}
    assert len(told) == 1
    assert why in told[0]


def test_what_an_id_means_twice_is_told_and_not_guessed(tmp_path):
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png", 2)
    write_coco(
        tmp_path / "x.json",
        [image(), image("b.png", 2), image("c.png", "2.0")],
        [annotation(), annotation(of=2), annotation(of=9), annotation(category_id=5)],
        [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}, {"id": 5.0, "name": "cow"}, None],
    )
    taken, told = rows_of(tmp_path)
    assert taken == {"a cat": 36}
    for words in (
        "'dog' and 'cow' have one id",
        "several images have the id 2",
        "'9' is not among",
    ):
        assert sum(words in one for one in told) == 1
    assert len(told) == 4  # and the category that is none


@pytest.mark.parametrize(
    "text",
    ["[" * 10_000, '{"images": ' * 10_000, "[1" + "0" * 5000 + "]", "\xff\xfe", "", "null", "[]"],
)
def test_a_file_of_annotations_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(ForgetmeError, match="holds no COCO annotations") as raised:
        coco.read(tmp_path)
    assert "\n" not in str(raised.value)
    photo(tmp_path / "a.png")
    write_coco(tmp_path / "good.json", [image()], [annotation()])
    assert rows_of(tmp_path)[0] == {"a cat": 36}


def test_annotations_of_no_image_are_not_zero_samples_in_silence(tmp_path):
    write_coco(tmp_path / "x.json", [image()], [])
    with pytest.raises(ForgetmeError, match="1 images and no annotation"):
        coco.read(tmp_path)


# ------------------------------------------------------------------------------ COCO's images


@pytest.mark.parametrize(
    ("where", "annotations", "name"),
    [
        ("images/a.png", "result.json", "images\\a.png"),
        ("images/a.png", "result.json", "..\\..\\data\\upload\\1\\a.png"),
        ("images/a.png", "result.json", "../../images/a.png"),
        ("images/a.png", "result.json", "/data/upload/1/a.png"),
        ("images/a.png", "result.json", "/data/local-files/?d=images/a.png"),
        ("images/a b.png", "result.json", "images/a%20b.png"),
        ("images/a.png", "result.json", "C:\\Users\\x\\a.png"),
        ("data/a.png", "labels.json", "a.png"),
        ("train/data/a.png", "train/labels.json", "a.png"),
        ("train/a.png", "train/_annotations.coco.json", "a.png"),
        ("images/default/a.png", "annotations/instances_default.json", "a.png"),
        ("val/a.png", "annotations/instances_val.json", "a.png"),
        ("deep/er/a.png", "annotations/instances_val.json", "er/a.png"),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_images_are_found_where_other_tools_keep_them(tmp_path, where, annotations, name, mark):
    photo(tmp_path / "set" / where)
    photo(tmp_path / "a.png", 9)  # beside the dataset: never taken
    path = write_coco(tmp_path / "set" / annotations, [image(name)], [annotation()])
    path.write_bytes(mark + path.read_bytes())
    (found,) = coco.read(tmp_path / "set").rows
    assert found.problem is None
    assert found.original == (tmp_path / "set" / where).resolve()


def test_an_image_that_may_be_one_of_two_is_not_guessed(tmp_path):
    photo(tmp_path / "x" / "a.png")
    photo(tmp_path / "y" / "a.png", 2)
    photo(tmp_path / "x" / "c.png", 3)
    photo(tmp_path.parent / "outside.png", 4)
    (tmp_path / "link.png").symlink_to(tmp_path.parent / "outside.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    names = ["q/a.png", "q/c.png", "r/c.png", "../outside.png", "q/link.png", "loop.png"]
    write_coco(
        tmp_path / "annotations" / "n.json",
        [image(name, number) for number, name in enumerate(names)],
        [annotation(of=number) for number in range(len(names))],
    )
    taken, told = rows_of(tmp_path)
    assert taken == {}
    assert "it may be" in told[0]
    assert "is meant by another image" in told[1]
    assert "is meant by another image" in told[2]
    assert len(told) == len(names)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_annotations_of_the_stored_photo_are_turned_with_it(tmp_path, orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(picture(1))
    stored.save(tmp_path / "a.png", exif=exif)
    shape = [BOX] if form == "polygon" else rle_string(square())
    write_coco(tmp_path / "x.json", [image()], [annotation(shape)])
    (found,) = coco.read(tmp_path).rows
    mask = Image.fromarray(square().astype(np.uint8))
    mask.getexif()[0x0112] = orientation
    turned = orientation >= 5  # where the sizes cannot tell, the photo as it is seen is meant
    flips = {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    expected = mask.transpose(Image.Transpose[flips[orientation]]) if turned else mask
    assert np.array_equal(found.mask, np.asarray(expected) > 0)


def test_outlines_on_the_upright_photo_with_the_stored_sizes_are_understood(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1)).save(tmp_path / "a.png", exif=exif)
    tall = [2, 2, 10, 2, 10, W - 2, 2, W - 2]  # higher than the stored photo is
    write_coco(tmp_path / "x.json", [image()], [annotation([tall])])
    (found,) = coco.read(tmp_path).rows
    assert found.mask.shape == (W, H)
    assert found.mask[2 : W - 2, 2:10].all()
    assert found.mask.sum() == (W - 4) * 8


# ------------------------------------------------------------------------------ folders


def layers(folder: Path, *stems: str) -> Path:
    for number, stem in enumerate(stems):
        mask, original = square(), picture(number)
        background = np.where(mask[..., None], picture(number + 100), original)
        pictures = {"original": original, "background": background, "mask": mask}
        for layer, pixels in pictures.items():
            (folder / layer).mkdir(parents=True, exist_ok=True)
            (folder / layer / f"{stem}.png").write_bytes(png_bytes(pixels))
    return folder


def line(stem: str, **more: object) -> bytes:
    names = {f"{layer}_file_name": f"{layer}/{stem}.png" for layer in folders.NEEDED}
    return json.dumps({**names, "concept": "cat", **more}, ensure_ascii=False).encode() + b"\n"


BAD_LINES = [
    b"[" * 10_000,
    b'{"a": ' * 10_000,
    b"[1, 2]",
    b"7",
    b"nonsense",
    b"\xff\xfe\x00",
    b'"' + b"x" * (9 * 2**20),
    b'{"original_file_name": ["a"]}',
    line("b", concept=["cat"])[:-1],
    line("b", caption={"en": "x"})[:-1],
    line("b", provenance="[" * 10_000)[:-1],
    line("b", original_file_name="../../etc/passwd")[:-1],
    line("b", original_file_name="original/" + "x" * 3000)[:-1],
    line("b", original_file_name="loop.png")[:-1],
    '{"caption": "latin-1: \xe4"}'.encode("latin-1"),
]


@pytest.mark.parametrize("bad", BAD_LINES, ids=range(len(BAD_LINES)))
def test_one_bad_line_of_metadata_is_told_and_the_rest_is_read_everywhere(tmp_path, caplog, bad):
    from forgetme.compare.items import subjects_of_folder
    from forgetme.train import items_of_folder

    src = layers(tmp_path / "set", "a", "b", "c")
    (src / "loop.png").symlink_to(src / "loop.png")
    said = "a cat\u2028on\u0085a mat"
    lines = b"\xef\xbb\xbf" + line("a", caption=said) + b"\n" + bad + b"\r\n" + line("c") + b"\n \n"
    (src / "metadata.jsonl").write_bytes(lines)
    rows = list(folders.read(src).rows)
    assert [row.name for row in rows if row.problem is None] == ["a", "c"]
    assert sum(row.problem is not None for row in rows) == 1
    assert rows[0].caption == said
    assert [item.name for item in items_of_folder(src)] == ["a", "c"]
    assert items_of_folder(src)[0].caption == said
    assert "left out: " in caplog.text
    assert [one.name for one in subjects_of_folder(src, "cat")] == ["a", "c"]


def test_bad_lines_of_an_index_are_told_with_their_stem(tmp_path):
    src = layers(tmp_path / "set", "a", "b", "c", "d")
    rows = [
        b"stem,concept,caption",
        'a,cat,"one\n\ntwo\u2028three"'.encode(),
        "b,cat,gr\xfcn".encode("latin-1"),
        b"c,cat," + b"x" * 140_000,
        b"d",
        b"",
    ]
    (src / "index.csv").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(rows))
    found = {row.where: row for row in folders.read(src).rows}
    assert (found["a"].concept, found["a"].caption) == ("cat", "one\n\ntwo\u2028three")
    assert "not UTF-8" in found["b"].problem
    assert any("field larger" in (row.problem or "") for row in found.values())
    assert (found["c"].concept, found["d"].concept) == (None, None)


def test_litter_and_twin_suffixes_are_no_rows(tmp_path):
    src = layers(tmp_path / "set", "a", "b")
    for layer in folders.NEEDED:
        for name in (".DS_Store", "Thumbs.db", "._a.png", "desktop.ini"):
            (src / layer / name).write_bytes(b"\0\0\0\1Bud1")
        (src / layer / ".ipynb_checkpoints").mkdir()
        (src / layer / "folder.png").mkdir()
    (src / "mask" / "b.jpg").write_bytes(b"")
    found = {row.where: row.problem for row in folders.read(src).rows}
    assert found == {"a": None, "b": "mask has b.jpg and b.png"}
    assert [row.name for row in folders.readable(src)] == ["a"]
    (src / "background" / "a.png").write_bytes(png_bytes(picture(3))[:200])
    with pytest.raises(ForgetmeError, match=r"no quadruple that can be read.*a: .*damaged"):
        folders.readable(src)


def test_lines_are_read_one_by_one(tmp_path):
    (tmp_path / "x").write_bytes(b'{"a": 1}\n' + b"\0" * (9 * 2**20) + b'\n{"a": 2}')
    assert [(number, row.get("a")) for number, row, _ in json_rows(tmp_path / "x")] == [
        (1, 1), (2, None), (3, 2),
    ]  # fmt: skip
    assert "longer than" in list(csv_rows(tmp_path / "x"))[-1][2]


# ------------------------------------------------------------------------------ archives


def empty_name() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x", b"data")
    return (
        out.getvalue()
        .replace(b"x", b"")
        .replace(struct.pack("<HH", 1, 0), struct.pack("<HH", 0, 0))
    )


def lzma_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x", b"data" * 100)
    data = bytearray(out.getvalue())
    data[40:60] = b"\xff" * 20
    return bytes(data)


def tarred(pax: dict[str, str] | None = None, cut: int | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("a.json")
        entry.size, entry.pax_headers = 600, pax or {}
        tar.addfile(entry, io.BytesIO(b"{" + b" " * 598 + b"}"))
    return out.getvalue()[:cut]


@pytest.mark.parametrize(
    ("end", "data"),
    [
        (".zip", empty_name()),
        (".zip", lzma_zip()),
        (".zip", zipfile.ZipFile.__doc__.encode()),
        (".tar", tarred(cut=900)),
        (".tar", tarred({"GNU.sparse.map": "abc,1"})),
        (".tar", tarred({"GNU.sparse.size": "1e9", "GNU.sparse.name": "b"})),
        (".tar", tarred({"size": "-5"})),
    ],
)
def test_damaged_archives_are_one_line_and_nothing_is_taken(store, tmp_path, end, data):
    with unpacking.incoming(store) as (path, file):
        file.write(data)
        file.flush()
        with pytest.raises(ForgetmeError, match="pack"):
            unpacking.unpack(store, f"x{end}", path)
    if end == ".tar":
        (tmp_path / "x.tar").write_bytes(data)
        with pytest.raises(ForgetmeError, match="no whole tar") as raised:
            import_dataset(store, tmp_path / "x.tar", "webdataset", concept="cat")
        assert "\n" not in str(raised.value)
    assert store.samples() == []
