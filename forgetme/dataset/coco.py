"""The format `coco`: instance masks as compressed run lengths, with the backgrounds beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from forgetme.dataset.found import Found, Listing, inside, record_of
from forgetme.dataset.quadruple import Quadruple
from forgetme.dataset.rle import rle_mask, rle_string
from forgetme.dataset.splits import SPLITS
from forgetme.errors import ForgetmeError
from forgetme.record.masks import box_xywh

_PICTURES = ("original", "background")


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
    all its annotations together. Images are looked for beside the annotations, in the folders
    above, and in `original`, `images` or one named as the annotations' split.

    Args:
        src: a folder, or one file of annotations.

    Raises:
        ForgetmeError: there are no annotations, or they are damaged.
    """
    if src.is_file():
        root, files = src.parent.parent if src.parent.name == "annotations" else src.parent, [src]
    else:
        root, files = src, sorted({*src.glob("*.json"), *src.glob("annotations/*.json")})
    parts = [(path, part) for path in files if (part := _load(path)) is not None]
    if not parts:
        raise ForgetmeError(
            f"{src} holds no COCO annotations (JSON with images, annotations and categories); "
            "name the folder or the file that holds them"
        )
    rows = [
        (path, image, concept, shapes)
        for path, part in parts
        for image, concept, shapes in _by_concept(part)
    ]
    return Listing(len(rows), (_found(root, *row) for row in rows))


def _load(path: Path) -> dict[str, Any] | None:
    try:
        part = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ForgetmeError(f"{path} is no whole JSON file ({error}); get it again") from error
    lists = ("images", "annotations", "categories")
    if isinstance(part, dict) and all(isinstance(part.get(name), list) for name in lists):
        return part
    return None


def _by_concept(part: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, list[Any]]]:
    """Yields each image once for every concept that is annotated in it."""
    names = {_id(one): str(one.get("name", "")) for one in part["categories"] if _id(one)}
    grouped: dict[Any, dict[str, list[Any]]] = {}
    for one in part["annotations"]:
        if isinstance(one, dict):
            concept = names.get(str(one.get("category_id")), "")
            grouped.setdefault(str(one.get("image_id")), {}).setdefault(concept, []).append(one)
    for image in part["images"]:
        for concept, shapes in grouped.get(_id(image), {}).items():
            yield image, concept, shapes


def _id(line: Any) -> str:
    return str(line["id"]) if isinstance(line, dict) and "id" in line else ""


def _found(root: Path, path: Path, image: dict[str, Any], concept: str, shapes: list[Any]) -> Found:
    where = str(image.get("file_name", "an image without file_name"))
    try:
        mask = np.logical_or.reduce([_mask(one, image) for one in shapes])
        original = _picture(root, path, where)
        background = image.get("background_file_name")
        record = record_of(image["forgetme"]) if "forgetme" in image else None
        return Found(
            where,
            name=Path(where).stem,
            original=original,
            background=None if background is None else inside(root, str(background)),
            mask=mask,
            record=record,
            concept=concept or None,
            source=str(original),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Found(where, problem=str(error))


def _picture(root: Path, path: Path, name: str) -> Path:
    """Finds an image where COCO's users keep them."""
    split = path.stem.removeprefix("instances_")
    for folder in ("", "original", "images", split, f"images/{split}"):
        try:
            return inside(root, f"{folder}/{name}" if folder else name)
        except ValueError:
            continue
    raise ValueError(f"its image is not in {root}, nor in original, images or {split} there")


def _mask(annotation: dict[str, Any], image: dict[str, Any]) -> np.ndarray:
    shape = annotation.get("segmentation")
    if isinstance(shape, dict):
        return rle_mask(shape)
    if not isinstance(shape, list):
        raise ValueError("an annotation has no segmentation")
    try:
        from pycocotools import mask as vendor
    except ImportError as error:
        raise ForgetmeError("polygons need pycocotools: pip install pycocotools") from error
    height, width = int(image["height"]), int(image["width"])
    polygons = [[float(value) for value in one] for one in shape if len(one) >= 6]
    if not polygons:
        raise ValueError("an annotation has no polygon of three corners or more")
    return vendor.decode(vendor.merge(vendor.frPyObjects(polygons, height, width))).astype(bool)
