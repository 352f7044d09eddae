"""The format `coco`: instance masks as compressed run lengths, with the backgrounds beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from forgetme.dataset.file_finder import Finder, inside, is_litter
from forgetme.dataset.foreign import (
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    load_file,
    one_id,
    read_as,
)
from forgetme.dataset.outlines import Outline, drawn_for, frame_of, read_outline, union
from forgetme.dataset.quadruple import Quadruple
from forgetme.dataset.rle import rle_string
from forgetme.dataset.rows_in import Found, Listing, record_of
from forgetme.dataset.splits import SPLITS
from forgetme.errors import ForgetmeError
from forgetme.record.masks import box_xywh

_PICTURES = ("original", "background")
_PLACES = (  # of annotations: COCO's own, Roboflow's, FiftyOne's, Label Studio's; a folder a split
    "*.json", "annotations/*.json", "*/annotations/*.json",
    "*/_annotations.coco.json", "*/labels.json", "*/result.json",
)  # fmt: skip

Entry = TypeVar("Entry", bound=BaseModel)


def write(quadruples: Iterable[Quadruple], folder: Path, *, shard_bytes: int) -> None:
    """Writes `original/ background/` and `annotations/instances_{split}.json`.

    Mask and foreground follow from an annotation and the original, so they are no files. The ids
    of images and annotations come from the samples' own, so they stay when the store grows.

    Args:
        quadruples: what to write.
        folder: an empty folder.
        shard_bytes: not used; every image is a file.
    """
    for layer in (*_PICTURES, "annotations"):
        (folder / layer).mkdir()
    parts: dict[str, list[tuple[str, dict[str, Any], dict[str, Any]]]] = {}
    for one in quadruples:
        for layer in _PICTURES:
            (folder / layer / f"{one.stem}.png").write_bytes(one.png(layer))
        line = (one.record.concept, _image(one), _annotation(one))
        parts.setdefault(one.record.split, []).append(line)
    concepts = sorted({concept for part in parts.values() for concept, _, _ in part})
    categories = [{"id": number, "name": name} for number, name in enumerate(concepts, start=1)]
    for split, part in parts.items():
        whole = {
            "info": {"description": "ForgetMe"},
            "images": [image for _, image, _ in part],
            "annotations": [
                {**annotation, "category_id": concepts.index(concept) + 1}
                for concept, _, annotation in part
            ],
            "categories": categories,
        }
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")


def _image(one: Quadruple) -> dict[str, Any]:
    height, width = one.layers.mask.shape
    return {
        "id": _number(one),
        "file_name": f"original/{one.stem}.png",
        "background_file_name": f"background/{one.stem}.png",
        "width": width,
        "height": height,
        "forgetme": asdict(one.record),
    }


def _annotation(one: Quadruple) -> dict[str, Any]:
    return {
        "id": _number(one),
        "image_id": _number(one),
        "segmentation": rle_string(one.layers.mask),
        "area": int(np.count_nonzero(one.layers.mask)),
        "bbox": list(box_xywh(one.layers.mask)),
        "iscrowd": 0,
    }


def _number(one: Quadruple) -> int:
    return int(one.record.id[:13], 16)  # 52 bits: what JSON's numbers hold exactly


def load_line(folder: Path) -> str:
    """Returns the line of Python that loads it."""
    annotations = folder / "annotations"
    paths = [annotations / f"instances_{split}.json" for split in SPLITS]
    return f"pycocotools.coco.COCO({str(next(path for path in paths if path.is_file()))!r})"


# ------------------------------------------------------------------------------ from outside


def read(src: Path) -> Listing:
    """Reads our own COCO, or another maker's instance annotations.

    Another maker's has no backgrounds: each concept of an image becomes a sample whose mask is
    all its annotations together. An image is looked for beside the annotations, in the folder and
    in its `original`, `images`, `data` or one named as the annotations' split; then for the only
    file below the folder whose path ends as its name does.

    Args:
        src: a folder, or one file of annotations.

    Raises:
        ForgetmeError: there are no annotations, or none of an image.
    """
    if src.is_file():
        root, files = src.parent.parent if src.parent.name == "annotations" else src.parent, [src]
    else:
        found = {path for place in _PLACES for path in src.glob(place)}
        root, files = src, sorted(one for one in found if not is_litter(one.name) and one.is_file())
    parts, damaged = [], []
    for path in files:
        try:
            if (part := _load(path)) is not None:
                parts.append((path, part))
        except (ForgetmeError, ValueError) as error:
            damaged.append(Found(path.name, problem=str(error)))
    if not parts:
        why = f"; {damaged[0].where}: {damaged[0].problem}; get it again" if damaged else ""
        raise ForgetmeError(
            f"{src} holds no COCO annotations (JSON with images, annotations and categories); "
            f"name the folder or the file that holds them{why}"
        )
    finder = Finder(root)
    told = [*damaged]
    pictures: list[_Picture] = []
    for path, part in parts:
        some, bad = _pictures(finder, root, path, part)
        pictures += some
        told += bad
    total = len(told) + sum(len(one.shapes) for one in pictures)
    if not total:
        counts = ", ".join(f"{len(part['images'])} images" for _, part in parts)
        raise ForgetmeError(f"{src} has {counts} and no annotation of them; export it again")
    rows = (found for picture in pictures for found in _found(root, picture))
    return Listing(total, chain(told, rows))


def _load(path: Path) -> dict[str, Any] | None:
    part = load_file(path)
    lists = ("images", "annotations", "categories")
    if isinstance(part, dict) and all(isinstance(part.get(name), list) for name in lists):
        return part
    return None


@dataclass(eq=False)
class _Picture:
    """One image, with what is annotated in it by concept; `file` is why it has none, or where."""

    image: CocoImage
    file: Path | str
    near: bool = True  # found under the name that it has
    shapes: dict[str, list[CocoAnnotation]] = field(default_factory=dict)


def _pictures(
    finder: Finder, root: Path, path: Path, part: dict[str, Any]
) -> tuple[list[_Picture], list[Found]]:
    """Returns the annotated images of one file, and what in it cannot be read."""
    told: list[Found] = []
    categories = _entries(CocoCategory, path, part, "categories", told)
    names: dict[str, str] = {}
    unclear = set()
    for one in categories:
        if names.setdefault(one.id, one.name) != one.name:
            words = f"{names[one.id]!r} and {one.name!r} have one id, so that it means neither"
            told.append(Found(f"{path.name}, categories {one.id[:40]}", problem=words))
            unclear.add(one.id)
    images: dict[str, _Picture] = {}
    told_of = set()  # images whose annotations need no word of their own
    for image in _entries(CocoImage, path, part, "images", told, told_of):
        if image.id in images and images[image.id].image.file_name != image.file_name:
            words = f"several images have the id {image.id}; whose its annotations are is unknown"
            told.append(Found(f"{path.name}, images {image.id[:40]}", problem=words))
            told_of.add(image.id)
        images.setdefault(image.id, _Picture(image, ""))
    for one in _entries(CocoAnnotation, path, part, "annotations", told):
        if one.image_id in told_of or one.category_id in unclear:
            continue
        if one.image_id in images:
            concept = names.get(one.category_id or "", "")
            images[one.image_id].shapes.setdefault(concept, []).append(one)
        else:
            words = f"its image {one.image_id[:40]!r} is not among the images"
            told.append(Found(_named(path, "annotations", one.id), problem=words))
    annotated = [one for one in images.values() if one.shapes]
    _locate(finder, root, path, annotated)
    return annotated, told


def _entries(
    model: type[Entry],
    path: Path,
    part: dict[str, Any],
    name: str,
    told: list[Found],
    bad: set[str] | None = None,
) -> list[Entry]:
    """Reads one of the lists; tells of what does not fit, and adds its ids to `bad`."""
    read = []
    for number, one in enumerate(part[name], start=1):
        try:
            read.append(read_as(model, one))
        except ValueError as error:
            known = one.get("id") if isinstance(one, dict) else None
            told.append(
                Found(_named(path, name, number if known is None else known), problem=str(error))
            )
            if bad is not None:
                bad.add(str(one_id(known)))
    return read


def _named(path: Path, name: str, number: Any) -> str:
    return f"{path.name}, {name} {str(number)[:40]}"


def _locate(finder: Finder, root: Path, path: Path, pictures: list[_Picture]) -> None:
    """Finds the images: by their names, else by how these end where no other image is meant."""
    split = path.stem.removeprefix("instances_")
    here = path.parent
    folders = [here, here / "images", here / "data"]
    near = ("", split, f"images/{split}", f"data/{split}", "original", "images", "data")
    folders += [root / one for one in near]
    for one in pictures:
        name = one.image.file_name
        try:
            file = finder.exact(name, folders)
            one.near = file is not None
            one.file = (
                file
                or finder.by_ending(name)
                or (f"its image is not in {root}, nor in original, images, data or {split} there")
            )
        except ValueError as error:
            one.file = str(error)
    meant = Counter((one.file, one.image.file_name) for one in pictures)
    named = Counter(file for file, _ in meant if isinstance(file, Path))
    for one in pictures:
        if not one.near and named[one.file] > 1:
            words = "its image is not there under its name, and {} is meant by another image"
            one.file = words.format(one.file.relative_to(root.resolve()))


def _found(root: Path, picture: _Picture) -> Iterator[Found]:
    image, where = picture.image, picture.image.file_name
    try:
        if isinstance(picture.file, str):
            raise ValueError(picture.file)
        frame = frame_of(picture.file)
        background = image.background_file_name and inside(root, image.background_file_name)
        record = None if image.forgetme is None else record_of(image.forgetme)
        outlines, unread = _outlines(picture)
        declared = None if None in (image.height, image.width) else (image.height, image.width)
        every = [outline for few in outlines.values() for _, outline in few]
        size = drawn_for(every, declared, frame)
    except ValueError as error:
        yield from (Found(where, problem=str(error)) for _ in picture.shapes)
        return
    for concept, named in outlines.items():
        mask, told = union(named, size, frame)
        told = [*unread[concept], *told]
        if mask is None:
            yield Found(where, problem="; ".join(told))
            continue
        yield Found(
            where,
            name=picture.file.stem,
            original=picture.file,
            background=background,
            mask=mask,
            record=record,
            concept=concept or None,
            source=str(picture.file),
            left_out=tuple(told),
        )


def _outlines(
    picture: _Picture,
) -> tuple[dict[str, list[tuple[str, Outline]]], dict[str, list[str]]]:
    """Returns the outlines of each concept, by what names them; and those that cannot be read."""
    read: dict[str, list[tuple[str, Outline]]] = {}
    unread: dict[str, list[str]] = {}
    for concept, shapes in picture.shapes.items():
        read[concept], unread[concept] = [], []
        for number, one in enumerate(shapes, start=1):
            name = f"annotation {number if one.id is None else str(one.id)[:40]}"
            try:
                read[concept].append((name, read_outline(one.segmentation)))
            except ValueError as error:
                unread[concept].append(f"{name}: {error}")
    return read, unread
