"""The items of a comparison: accepted samples of a store, or a folder of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from forgetme.dataset import folders
from forgetme.dataset.foreign import csv_rows
from forgetme.errors import EmptyRegionError, ForgetmeError
from forgetme.record import masks
from forgetme.record.concept import plain
from forgetme.record.images import array_sha, read_image, read_mask
from forgetme.scenes import SceneRow
from forgetme.store import Store

SMALLEST_PX = 3  # by which a mask is grown at least before its hole is filled
GROW = 0.02  # the same as a part of the longest side


@dataclass(frozen=True)
class Subject:
    """One row of a comparison, by its files.

    Attributes:
        name: for people.
        original: image with the object.
        mask: of the object.
        sample: the store's id of it; None for a folder's.
        truth: what is really behind the object; None where nobody knows.
    """

    name: str
    original: Path
    mask: Path
    sample: str | None = None
    truth: Path | None = None


@dataclass(frozen=True, eq=False)
class View:
    """One row's pixels.

    Attributes:
        image: (H, W, 3) uint8 RGB, the original.
        mask: (H, W) bool, the object.
        hole: (H, W) bool, the mask grown: what every column fills, and what is scored.
        truth: (H, W, 3) uint8 RGB, what is really behind the object, or None.
        key: names image, mask and hole by their content.
    """

    image: np.ndarray
    mask: np.ndarray
    hole: np.ndarray
    truth: np.ndarray | None
    key: str

    def check(self) -> None:
        """Refuses what no column can fill.

        Raises:
            EmptyRegionError: the mask is empty, or grown it covers the whole image.
        """
        if not self.mask.any():
            raise EmptyRegionError("the mask is empty, so there is no hole to fill; draw the mask")
        if self.hole.all():
            raise EmptyRegionError(
                "the mask, grown to be filled, covers the whole image, so nothing is left to fill "
                "it from; shrink the mask or leave the picture out"
            )


def subjects_of_store(store: Store, concept: str) -> list[Subject]:
    """Returns the accepted samples of a concept, in the order of import.

    Raises:
        ForgetmeError: none is accepted.
    """
    rows = store.samples(state="accepted", concept=concept, limit=None, light=True)
    if not rows:
        raise ForgetmeError(
            f"the store has no accepted sample of {concept!r}; accept some first, "
            "or name a folder with --data"
        )
    return [
        Subject(row.name, store.blob_path(row.image_sha), store.blob_path(row.mask_sha), row.id)
        for row in rows
    ]


def subjects_of_folder(folder: Path, concept: str) -> list[Subject]:
    """Returns a concept's pictures of a folder with `original/ background/ mask/`.

    Where the folder was drawn by `scenes`, its backgrounds are the truth; those of other folders
    are fills themselves.

    Raises:
        ForgetmeError: it is no such folder, or has no picture of the concept.
    """
    rows = folders.readable(folder)
    wanted = plain(concept).casefold()
    drawn = is_drawn(folder)
    subjects = [
        Subject(row.name, row.original, row.mask, None, row.background if drawn else None)
        for row in rows
        if row.concept_named is None or plain(row.concept_named).casefold() == wanted
    ]
    if not subjects:
        held = ", ".join(sorted({row.concept_named for row in rows if row.concept_named}))
        raise ForgetmeError(f"{folder} has no picture of {concept!r}; it has: {held}")
    return subjects


def is_drawn(folder: Path) -> bool:
    """Tells whether a folder was drawn by `scenes`, so that its backgrounds are the truth."""
    index = folder / "index.csv"
    if not index.is_file():
        return False
    _, row, _ = next(csv_rows(index), (0, {}, ""))
    return list(row) == [field.name for field in fields(SceneRow)]


def concepts_of_folder(folder: Path) -> Sequence[str]:
    """Returns the concepts that a folder's index names."""
    named = (row.concept_named for row in folders.read(folder).rows)
    return sorted({name for name in named if name})


def view_of(subject: Subject, dilate_px: int | None = None) -> View:
    """Reads a row's pixels.

    Args:
        subject: the row.
        dilate_px: grows the mask to the hole; None = max(3, round(2 % of the longest side)).

    Raises:
        BrokenImageError: a file cannot be read.
        ForgetmeError: image, mask and truth are not of one size.
    """
    image, mask = read_image(subject.original), read_mask(subject.mask)
    truth = None if subject.truth is None else read_image(subject.truth)
    for name, other in (("mask", mask), ("background", truth)):
        if other is not None and other.shape[:2] != image.shape[:2]:
            (height, width), (h, w) = image.shape[:2], other.shape[:2]
            raise ForgetmeError(
                f"{subject.name}: the {name} is {w}x{h} px and the image {width}x{height} px; "
                "layers must be of one size, make them again"
            )
    px = max(SMALLEST_PX, round(GROW * max(image.shape[:2]))) if dilate_px is None else dilate_px
    hole = masks.dilate(mask, px) if mask.any() else mask
    key = f"{array_sha(image)} {array_sha(mask)} {array_sha(hole)}"
    return View(image, mask, hole, truth, key)
