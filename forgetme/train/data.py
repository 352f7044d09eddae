"""The layers that a run learns from: accepted samples of a store, or a folder of four layers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from forgetme.dataset import folders
from forgetme.errors import ForgetmeError
from forgetme.record.images import array_sha, read_image, read_mask
from forgetme.store import Store

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Item:
    """One quadruple by its files; `caption` and `concept` may be ""."""

    name: str
    original: Path
    background: Path
    mask: Path
    caption: str = ""
    concept: str = ""


@dataclass(frozen=True)
class Retained:
    """A picture of something that must stay, and the prompt that it answers."""

    picture: Path
    caption: str


def items_of_store(store: Store, concept: str) -> list[Item]:
    """Returns the accepted samples of a concept, in the order of import.

    Raises:
        ForgetmeError: none is accepted.
    """
    rows = store.samples(state="accepted", concept=concept, limit=None, light=True)
    items = [
        Item(
            row.name,
            store.blob_path(row.image_sha),
            store.blob_path(row.tries[row.picked_try]["image_sha"]),
            store.blob_path(row.mask_sha),
            row.caption,
            concept,
        )
        for row in rows
    ]
    if not items:
        raise ForgetmeError(
            f"the store has no accepted sample of {concept!r}; accept some first, "
            "or name a folder with --data"
        )
    return items


def items_of_folder(folder: Path) -> list[Item]:
    """Returns the quadruples of a folder with `original/ background/ mask/`, by name.

    Captions come from its `metadata.jsonl` or `index.csv`, see `folders.read`. A row that cannot
    be read is left out, and told in the log with its reason.

    Raises:
        ForgetmeError: a layer is missing, or no row can be read.
    """
    return [
        Item(row.name, row.original, row.background, row.mask, row.caption, row.concept_named or "")
        for row in folders.readable(folder)
    ]


def retained_of_folder(folder: Path) -> list[Retained]:
    """Returns captioned pictures: the originals of a dataset's folder, or any beside their texts.

    Args:
        folder: as `export` and `scenes` write it, or with `NAME.png` and its caption in `NAME.txt`.

    Raises:
        ForgetmeError: there is no picture, or one has no caption.
    """
    if (folder / "original").is_dir():
        found = [Retained(row.original, row.caption) for row in folders.readable(folder)]
    else:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        paths = [path for path in paths if path.suffix.lower() in PICTURES]
        found = [Retained(path, _beside(path)) for path in paths]
    if not found:
        raise ForgetmeError(
            f"{folder} holds no picture that must stay; expected {', '.join(PICTURES)} files, each "
            "with its caption in a .txt beside it, or a dataset's folder"
        )
    bare = next((one for one in found if not one.caption), None)
    if bare is not None:
        raise ForgetmeError(
            f"{bare.picture} has no caption, so nobody knows which prompt must go on drawing it; "
            f"write one into {bare.picture.with_suffix('.txt').name} beside it, or into the "
            "dataset's metadata"
        )
    return found


def _beside(path: Path) -> str:
    text = path.with_suffix(".txt")
    try:
        return " ".join(text.read_text(encoding="utf-8").split()) if text.is_file() else ""
    except UnicodeDecodeError as error:
        raise ForgetmeError(f"{text} is not UTF-8 text ({error}); save it as such") from error


def fingerprint_of_retained(retained: Sequence[Retained]) -> str:
    """Names pictures with their captions: equal pixels and words, equal name (16 hex digits)."""
    digest = hashlib.sha256()
    for one in retained:
        digest.update(f"{array_sha(read_image(one.picture))} {one.caption}\n".encode())
    return digest.hexdigest()[:16]


def fingerprint(items: list[Item]) -> str:
    """Names the data of a run: equal pixels in equal order, equal name (16 hex digits)."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(array_sha(read_image(item.original)).encode())
        digest.update(array_sha(read_image(item.background)).encode())
        digest.update(np.packbits(read_mask(item.mask)).tobytes())
    return digest.hexdigest()[:16]


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Cuts the middle square of an image (H, W, 3) and scales it to `side` pixels."""
    height, width = image.shape[:2]
    edge = min(height, width)
    y, x = (height - edge) // 2, (width - edge) // 2
    part = image[y : y + edge, x : x + edge]
    how = cv2.INTER_AREA if edge > side else cv2.INTER_CUBIC
    return cv2.resize(part, (side, side), interpolation=how)
