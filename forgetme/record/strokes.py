"""Draws brush strokes and polygons on a mask, as exact sets of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from forgetme.record.masks import dilate

Mode = Literal["add", "erase"]
FAR_PX = 100_000  # a point further out than this is no place on any image


@dataclass(frozen=True)
class Stroke:
    """One stroke of a round brush.

    Attributes:
        mode: whether it adds to the mask or takes from it.
        radius: in pixels of the image, at least 0.
        points: the brush's way, (x, y) in pixels of the image; may leave the image.
    """

    mode: Mode
    radius: float
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Refuses what cannot be drawn."""
        _check_mode(self.mode)
        if not 0 <= self.radius <= FAR_PX:
            raise ValueError(f"radius must be 0 to {FAR_PX} px, got {self.radius}; take another")
        _checked(self.points, 1)


def paint(mask: np.ndarray, strokes: Sequence[Stroke]) -> np.ndarray:
    """Draws strokes on a mask, one after the other.

    A stroke covers every pixel within `radius` of the pixels on the straight lines between its
    points (Euclidean distance between pixels), so a radius of 0 is one pixel wide.

    Args:
        mask: (H, W) bool.
        strokes: in the order in which they were drawn.

    Returns:
        (H, W) bool, a new array.
    """
    drawn = mask.copy()
    for stroke in strokes:
        where, inside = _covered(mask.shape, stroke)
        drawn[where][inside] = stroke.mode == "add"
    return drawn


def fill_polygon(mask: np.ndarray, points: Sequence[Sequence[float]], mode: Mode) -> np.ndarray:
    """Adds the inside of a polygon to a mask, or takes it away.

    A pixel is inside where the polygon winds around its centre, so parts that a hand crossed
    over twice are in as well (the non-zero rule).

    Args:
        mask: (H, W) bool.
        points: 3 or more corners (x, y); pixel (0, 0) covers 0 to 1. May leave the image.
        mode: "add" or "erase".

    Returns:
        (H, W) bool, a new array.

    Raises:
        ValueError: fewer than 3 corners, or impossible ones.
    """
    _check_mode(mode)
    corners = _checked(points, 3)
    height, width = mask.shape
    top, bottom = _span(corners[:, 1], height)
    left, right = _span(corners[:, 0], width)
    turns = np.zeros((bottom - top, right - left + 1), np.int32)  # of the winding, by column
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        _cross(turns, start - (left, top), end - (left, top))
    drawn = mask.copy()
    drawn[top:bottom, left:right][np.cumsum(turns, axis=1)[:, :-1] != 0] = mode == "add"
    return drawn


def _cross(turns: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    """Marks in each row the first pixel whose centre lies right of an edge, by its direction."""
    down = end[1] > start[1]
    (x0, y0), (x1, y1) = (start, end) if down else (end, start)
    # rows whose centres lie in [y0, y1): a corner on a centre belongs to one of its two edges
    first, last = np.clip(np.ceil((y0 - 0.5, y1 - 0.5)), 0, turns.shape[0]).astype(int)
    rows = np.arange(first, last)
    if len(rows):
        x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        columns = np.clip(np.ceil(x - 0.5), 0, turns.shape[1] - 1).astype(int)
        turns[rows, columns] += 1 if down else -1


def _covered(shape_hw: tuple[int, int], stroke: Stroke) -> tuple[tuple[slice, slice], np.ndarray]:
    """The part of an image that a stroke can reach, and which of its pixels are covered."""
    height, width = shape_hw
    way = np.floor(_checked(stroke.points, 1)).astype(np.int64)
    reach = int(np.ceil(stroke.radius))
    low, high = way.min(0) - reach, way.max(0) + reach + 1
    left, top = np.clip(low, 0, (width, height))
    right, bottom = np.clip(high, (left, top), (width, height))
    where = (slice(top, bottom), slice(left, right))
    if left == right or top == bottom:
        return where, np.zeros((bottom - top, right - left), bool)
    # the line itself may run outside, up to the brush's reach
    line = np.zeros((bottom - top + 2 * reach, right - left + 2 * reach), bool)
    placed = way - (left - reach, top - reach)
    for start, end in zip(placed, [*placed[1:], placed[-1]], strict=True):
        _line(line, start, end)
    wide = dilate(line, stroke.radius)
    return where, wide[reach : reach + bottom - top, reach : reach + right - left]


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    """Sets the pixels of a straight line, one a step along its longer side, where they are inside.

    The way of a line does not depend on where the canvas cuts it, as OpenCV's would.
    """
    way = end - start
    steps = max(1, int(np.abs(way).max()))
    x, y = start[:, None] + (2 * np.arange(steps + 1) * way[:, None] + steps) // (2 * steps)
    inside = (x >= 0) & (x < canvas.shape[1]) & (y >= 0) & (y < canvas.shape[0])
    canvas[y[inside], x[inside]] = True


def _span(values: np.ndarray, limit: int) -> tuple[int, int]:
    """The whole pixels between the least and the greatest of `values`, within 0 … limit."""
    first = int(np.clip(np.floor(values.min()), 0, limit))
    return first, int(np.clip(np.ceil(values.max()), first, limit))


def _check_mode(mode: str) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")


def _checked(points: Sequence[Sequence[float]], least: int) -> np.ndarray:
    """Turns points into (N, 2) float64."""
    try:
        array = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least:
        raise ValueError(
            f"points must be a list of {least} or more [x, y], got {str(points)[:80]}; "
            "draw it again"
        )
    if not (np.abs(array) <= FAR_PX).all():  # false for NaN too
        raise ValueError(f"points must be near the image, got {str(points)[:80]}; draw it again")
    return array
