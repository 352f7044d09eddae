"""What a curator does to a sample's mask: picks, points, boxes, brushes, polygons, and undo.

Every act ends in one event, `chosen` or `mask_edited` with `how`; together they are one history
that undo and redo walk, whatever tool made the steps. `Review` has all of them as methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forgetme.curate.mask_history import MaskStep, Pasts
from forgetme.errors import EmptyRegionError, ForgetmeError
from forgetme.record import masks, strokes
from forgetme.record.decoded import Decoded
from forgetme.stages import corrections
from forgetme.store import SampleRow, Store

if TYPE_CHECKING:
    from forgetme.stages.models import Models

MAX_POINTS = 200  # clicks on one mask
FAR_PX = 1_000_000  # what lies this far out is no place on any image


class MaskActs:
    """The mask acts of a Review. Each takes `seen`, the version that the curator looked at."""

    store: Store
    models: Models
    _pasts: Pasts
    _masks: Decoded

    # ---------------------------------------------------------------- prompts
    def choose(self, sample_id: str, index: int, *, seen: int | None = None) -> SampleRow:
        """Makes proposal `index` (0-based, best first) the mask: event `chosen`; does not fill."""
        row = self._row(sample_id, seen)
        self._need_proposal(row, index)
        return self._append(row, "chosen", {"index": index})

    def click(
        self,
        sample_id: str,
        points: Sequence[Sequence[float]],
        mend: bool | None = None,
        *,
        seen: int | None = None,
    ) -> SampleRow:
        """Mends the mask at the last of all its points: event `mask_edited`; does not fill.

        Args:
            sample_id: The sample.
            points: All the points of this mask so far, each `[x, y, label]` in pixels of the
                original, label 1 on the object, 0 off it; see `points(row)`.
            mend: Whether the points mend the current mask, whoever made it, or ask for the object
                there anew. None: a single point on the object asks anew, unless the mask was
                drawn or imported; all else mends.
            seen: The version that the curator looked at.

        Raises:
            ForgetmeError: There is nothing to mend, or nothing was found there.
        """
        row = self._row(sample_id, seen)
        image = self._image(row)
        clicked = _checked_points(points, image)
        labels = clicked[:, 2].astype(int)
        before = self.mask(row)
        if before is None and not labels.any():
            raise ForgetmeError(
                f"A point off the {row.concept} needs a mask to cut from; click the {row.concept} "
                "first."
            )
        if mend is None:
            drawn = row.chosen is None and not self.points(row)
            mend = len(clicked) > 1 or not labels.any() or drawn
        mask = self._pointed(image, clicked[:, :2], labels, before if mend else None)
        if mask is None or not mask.any():
            raise ForgetmeError(
                f"Nothing was found there; click nearer the middle of the {row.concept}."
            )
        return self._edit(row, mask, "points", points=clicked.tolist())

    def box(
        self, sample_id: str, box_xywh: Sequence[float], *, seen: int | None = None
    ) -> SampleRow:
        """Asks for the object in a box (x, y, width, height in pixels): event `mask_edited`."""
        row = self._row(sample_id, seen)
        image = self._image(row)
        box = _checked_box(box_xywh, image)
        nowhere = np.empty((0, 2)), np.empty(0, int)
        found = self.models.segmenter.click(image, *nowhere, box_xywh=box)
        if not found or not found[0].mask.any():
            raise ForgetmeError(
                f"Nothing was found in that box; draw it closely around the {row.concept}."
            )
        return self._edit(row, found[0].mask, "box", box_xywh=list(box))

    # ---------------------------------------------------------------- drawing
    def paint(
        self, sample_id: str, drawn: Sequence[strokes.Stroke], *, seen: int | None = None
    ) -> SampleRow:
        """Draws brush strokes on the mask: event `mask_edited`, `how` "brush" or "erase".

        Erasing all of it leaves no mask; strokes that change nothing leave no event.
        """
        row = self._row(sample_id, seen)
        adds = any(stroke.mode == "add" for stroke in drawn)
        mask = strokes.paint(self._canvas(row, adds), drawn)
        return self._drawn(row, mask, "brush" if adds else "erase")

    def polygon(
        self,
        sample_id: str,
        points: Sequence[Sequence[float]],
        mode: strokes.Mode = "add",
        *,
        seen: int | None = None,
    ) -> SampleRow:
        """Adds the inside of a polygon to the mask, or cuts it away: event `mask_edited`."""
        row = self._row(sample_id, seen)
        mask = strokes.fill_polygon(self._canvas(row, mode == "add"), points, mode)
        return self._drawn(row, mask, "polygon")

    # ---------------------------------------------------------------- the whole mask
    def grow(self, sample_id: str, px: int, *, seen: int | None = None) -> SampleRow:
        """Grows the mask by `px` pixels, or shrinks it where negative: event `mask_edited`."""
        row = self._row(sample_id, seen)
        mask = masks.grow(self._need_mask(row), px)
        if not mask.any() or mask.all():
            raise EmptyRegionError(
                f"{abs(px)} px is too much: the mask would be "
                f"{'the whole image' if mask.any() else 'empty'}; take fewer"
            )
        return self._drawn(row, mask, "grow" if px >= 0 else "shrink")

    def fill_holes(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Fills the holes inside the mask: event `mask_edited`, unless there are none."""
        row = self._row(sample_id, seen)
        return self._drawn(row, masks.fill_holes(self._need_mask(row)), "fill_holes")

    def keep_largest(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Keeps the largest part of the mask: event `mask_edited`, unless it has only one."""
        row = self._row(sample_id, seen)
        return self._drawn(row, masks.largest_part(self._need_mask(row)), "largest")

    def smooth(self, sample_id: str, sigma: float, *, seen: int | None = None) -> SampleRow:
        """Smooths the mask's outline by `sigma` pixels: event `mask_edited`."""
        row = self._row(sample_id, seen)
        mask = masks.smooth(self._need_mask(row), sigma)
        if not mask.any():
            raise EmptyRegionError(
                f"The mask is too small to be smoothed by {sigma:g} px: nothing would be left; "
                "take fewer, or draw it with the brush"
            )
        return self._drawn(row, mask, "smooth")

    # ---------------------------------------------------------------- its history
    def clear_mask(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Drops the hand's edits: back to the proposal last chosen, or to no mask at all."""
        row = self._row(sample_id, seen)
        past = self._pasts.get(self.store, row.id)
        chosen = [step for step in past.steps[: past.at + 1] if step.index is not None]
        return self._go(row, chosen[-1] if chosen else MaskStep(), "clear")

    def undo_mask(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Goes back to the mask before this one (a new event; nothing is deleted)."""
        row = self._row(sample_id, seen)
        past = self._pasts.get(self.store, row.id)
        if past.at == 0:
            raise ForgetmeError("There is no earlier mask.")
        return self._go(row, past.steps[past.at - 1], "undo")

    def redo_mask(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Takes the last `undo_mask` back."""
        row = self._row(sample_id, seen)
        past = self._pasts.get(self.store, row.id)
        if past.at == len(past.steps) - 1:
            raise ForgetmeError("There is no later mask.")
        return self._go(row, past.steps[past.at + 1], "redo")

    # ---------------------------------------------------------------- reads
    def mask(self, row: SampleRow) -> np.ndarray | None:
        """The current mask, (H, W) bool and read-only, or None."""
        if row.mask_sha is None:
            return None
        return self._masks.get(row.mask_sha, self.store.get_mask)

    def outline(self, row: SampleRow, tolerance: float = 0.0) -> list[list[tuple[int, int]]]:
        """The current mask's outline: polygons in pixels of the original; [] without a mask."""
        mask = self.mask(row)
        return [] if mask is None else masks.outline(mask, tolerance)

    def points(self, row: SampleRow) -> list[list[float]]:
        """The clicks that made the current mask, `[[x, y, label], …]`; [] for a proposal."""
        past = self._pasts.get(self.store, row.id)
        return [list(point) for point in past.steps[past.at].points]

    def can_undo_mask(self, row: SampleRow) -> tuple[bool, bool]:
        """Whether there is a mask to go back to, and one to go forward to."""
        past = self._pasts.get(self.store, row.id)
        return past.at > 0, past.at < len(past.steps) - 1

    def note(self, row: SampleRow) -> str:
        """What the machine could not do here, in one sentence; "" where there is a mask."""
        return "" if row.mask_sha else self._pasts.get(self.store, row.id).note

    # ---------------------------------------------------------------- below the acts
    def _pointed(
        self, image: np.ndarray, xy: np.ndarray, labels: np.ndarray, known: np.ndarray | None
    ) -> np.ndarray | None:
        """The mask that points ask for; `known` is the one that they mend.

        Where the answer to all of them does not heed the last one, what lies under that one alone
        is added or taken away.
        """
        found = self.models.segmenter.click(image, xy, labels, mask=known)
        if known is None or not known.any():
            return found[0].mask if found else None
        answers = [one.mask for one in found[:1]]
        x, y = xy[-1].astype(int)
        if not answers or answers[0][y, x] != bool(labels[-1]):
            alone = self.models.segmenter.click(image, xy[-1:], np.ones(1, int))
            under = [one.mask for one in alone if one.mask[y, x]]
            parts = sorted(under, key=lambda one: one.sum() >= known.sum())  # smaller ones first
            answers += parts if labels[-1] else [~one for one in parts]
        return corrections.mended(known, answers, xy, labels)

    def _canvas(self, row: SampleRow, adds: bool) -> np.ndarray:
        """The mask to draw on; an empty one where there is none yet."""
        self._need_image(row)
        mask = self.mask(row)
        if mask is None and not adds:
            raise ForgetmeError("There is no mask to erase from. Draw one, or pick a proposal.")
        return np.zeros((row.height, row.width), bool) if mask is None else mask

    def _drawn(self, row: SampleRow, mask: np.ndarray, how: str) -> SampleRow:
        """Keeps a drawn mask; no event where nothing changed, and no mask where it is empty.

        Points that it does not contradict still hold, and go to the segmenter with the next one.
        """
        before = self.mask(row)
        if np.array_equal(mask, np.zeros_like(mask) if before is None else before):
            return row
        if mask.all():
            raise EmptyRegionError(
                "The mask would be the whole image, and nothing would be left to fill it from; "
                "draw less"
            )
        if not mask.any():
            return self._append(row, "mask_edited", {"mask_sha": None, "how": how, "points": []})
        held = [one for one in self.points(row) if mask[int(one[1]), int(one[0])] == one[2]]
        return self._edit(row, mask, how, points=held)

    def _edit(
        self,
        row: SampleRow,
        mask: np.ndarray,
        how: str,
        *,
        points: Sequence[Sequence[float]] = (),
        **more: Any,
    ) -> SampleRow:
        sha = self.store.put_image(mask)
        self._masks.put(sha, mask)  # what is asked for next
        payload = {"mask_sha": sha, "how": how, "points": list(points), **more}
        return self._append(row, "mask_edited", payload)

    def _go(self, row: SampleRow, step: MaskStep, how: str) -> SampleRow:
        if step.index is not None:
            return self._append(row, "chosen", {"index": step.index, "how": how})
        points = [list(point) for point in step.points]
        payload = {"mask_sha": step.mask_sha, "how": how, "points": points}
        return self._append(row, "mask_edited", payload)

    def _need_mask(self, row: SampleRow) -> np.ndarray:
        mask = self.mask(row)
        if mask is None:
            raise ForgetmeError(f"There is no mask yet. Click the {row.concept} first.")
        return mask

    def _need_proposal(self, row: SampleRow, index: int) -> list[dict[str, Any]]:
        if not 0 <= index < len(row.proposals):
            raise ForgetmeError(f"There is no mask {index + 1}; there are {len(row.proposals)}.")
        return row.proposals

    def _need_image(self, row: SampleRow) -> None:
        if row.image_sha is None:
            raise ForgetmeError(f"{row.name} cannot be read ({row.error}); replace it or reject it")


def _checked_points(points: Sequence[Sequence[float]], image: np.ndarray) -> np.ndarray:
    """Turns what the page sent into (N, 3) floats: x, y, label."""
    try:
        clicked = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        clicked = np.empty(0)
    if clicked.ndim != 2 or clicked.shape[1:] != (3,) or not 0 < len(clicked) <= MAX_POINTS:
        raise ForgetmeError(
            f"points must be a list of 1 to {MAX_POINTS} [x, y, label], got {str(points)[:80]!r}; "
            "click the image again"
        )
    height, width = image.shape[:2]
    x, y, label = clicked.T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # false for NaN too
    if not inside.all() or not np.isin(label, (0, 1)).all():
        raise ForgetmeError(
            f"points must lie in the image of {width}x{height} px with label 1 or 0, "
            f"got {clicked[~inside | ~np.isin(label, (0, 1))][0].tolist()}; click inside the image"
        )
    return clicked


def _checked_box(box_xywh: Sequence[float], image: np.ndarray) -> tuple[int, int, int, int]:
    """Turns what the page sent into whole pixels inside the image."""
    height, width = image.shape[:2]
    try:
        x, y, w, h = np.nan_to_num(np.asarray(box_xywh, dtype=float), nan=-FAR_PX)
        left, right = np.clip((np.floor(x), np.ceil(x + w)), 0, width).astype(int)
        top, bottom = np.clip((np.floor(y), np.ceil(y + h)), 0, height).astype(int)
        found = min(x, y) > -FAR_PX and min(w, h) > 0 and right - left >= 2 and bottom - top >= 2
    except (TypeError, ValueError):
        found = False
    if not found:
        raise ForgetmeError(
            f"a box must be [x, y, width, height] with 2 px or more of the image of "
            f"{width}x{height} px in it, got {str(box_xywh)[:80]}; draw it again"
        )
    return int(left), int(top), int(right - left), int(bottom - top)
