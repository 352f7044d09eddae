"""Reads mask files of any tool: black and white, a colour, a class index, an alpha layer.

What can mean one thing only is taken, and said where it is not plain black and white. Several
classes, trimaps, drawings on white and photos are refused with the values that they hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

FEW = 32  # levels: classes and drawn layers have fewer, blurred and lossy edges more
CLASS_IDS = 64  # three and more levels up to here are classes, not soft edges
NEAR = 24  # levels by which the pixels of one colour may differ
VISIBLE = 8  # alpha from which a pixel's colour counts
_ROWS = 256  # taken at a time, so that nothing large is made of a large picture


def marked(picture: Image.Image) -> tuple[np.ndarray, list[str]]:
    """Returns the pixels that a mask file marks, and notes on what was taken.

    Args:
        picture: mode 1, L, I;16, I, RGB or RGBA; masks with a palette come as their colours.

    Returns:
        (H, W) bool, and notes; none for plain black and white.

    Raises:
        ValueError: what it marks is not clear; the message names what it holds.
    """
    if picture.mode == "1":
        return np.array(picture), []
    if picture.mode in ("RGB", "RGBA"):
        return _of_colours(np.asarray(picture))
    values = np.asarray(picture)
    if values.dtype != np.uint8:
        values = values.astype(np.uint16)
    return _of_levels(values, np.iinfo(values.dtype).max)


# ------------------------------------------------------------------------------ levels


def _of_levels(values: np.ndarray, full: int, what: str = "") -> tuple[np.ndarray, list[str]]:
    """Reads one channel; `full` is what plain white has, `what` the colour that the levels are of.

    Raises:
        ValueError: several classes, a trimap or a photo.
    """
    counts = _histogram(values)
    levels = np.flatnonzero(counts)
    low, top = int(levels[0]), int(levels[-1])
    if len(levels) == 1:
        if top and top not in (1, full):
            raise ValueError(_refusal(counts, "every pixel has one value"))
        return values != 0, []
    plain = top in (1, full) and not what
    note = [] if plain else [f"{what or f'value {top}'} is taken as the object"]
    if len(levels) == 2:
        if low and not low <= full // 2 < top:
            raise ValueError(_refusal(counts, "neither value is 0"))
        return values == top, note
    if top <= CLASS_IDS or (full > 255 and top <= 255):
        raise ValueError(_refusal(counts, "they look like several classes"))
    slack = top // 32 if len(levels) > FEW else 0  # a lossy file's black is not quite 0
    between = [level for level in levels if low + slack < level < top - slack]
    if low > top // 4:
        raise ValueError(_refusal(counts, "nothing in it is black"))
    if len(levels) <= FEW and any(_has_area(values == level) for level in between):
        raise ValueError(_refusal(counts, "they look like several classes, or a trimap"))
    if len(levels) > FEW and counts[between].sum() > values.size / 2:
        raise ValueError(_refusal(counts, "it looks like a photo"))
    return values > (top - 1) // 2, note


def _histogram(values: np.ndarray) -> np.ndarray:
    counts = np.zeros(int(np.iinfo(values.dtype).max) + 1, np.int64)
    for part in _parts(values):
        counts += np.bincount(part.ravel(), minlength=len(counts))
    return counts


def _has_area(on: np.ndarray) -> bool:
    """Tells whether 3x3 pixels are on somewhere: an area, not the soft edge of one."""
    import cv2

    return bool(cv2.erode(on.astype(np.uint8), np.ones((3, 3), np.uint8)).any())


def _refusal(counts: np.ndarray, why: str) -> str:
    shares = 100 * counts / counts.sum()
    most = np.argsort(-counts, kind="stable")[:6]
    values = ", ".join(f"{value} ({shares[value]:.2g} %)" for value in most if counts[value])
    return _unclear(why, f"values {values}", int((counts > 0).sum()))


def _unclear(why: str, values: str, number: int) -> str:
    more = f" and {number - 6} more" if number > 6 else ""
    return (
        f"it is not clear what this mask marks, {why}: it has the {values}{more}; save it as "
        "black and white, white on the object"
    )


# ------------------------------------------------------------------------------ colours


def _of_colours(pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Reads (H, W, 3 or 4) uint8: one colour on black, or a layer of one colour.

    Raises:
        ValueError: several colours.
    """
    if pixels.shape[2] == 4:
        alpha = np.ascontiguousarray(pixels[..., 3])
        if alpha.min() != alpha.max():
            return _of_layer(pixels, alpha)
        pixels = pixels[..., :3]
    values = np.empty(pixels.shape[:2], np.uint8)
    for into, part in zip(_parts(values), _parts(pixels), strict=True):
        into[...] = part.max(axis=2)
    colour = _strongest(pixels, values)
    if colour is None:  # all black
        return values != 0, []
    if _has_area(~_is_shade(pixels, values, colour)):
        raise ValueError(_colours_refusal(pixels))
    gray = len(set(colour)) == 1
    return _of_levels(values, 255, "" if gray else f"the colour {colour}")


def _of_layer(pixels: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Reads a layer: painted in one colour, or black and white with transparent pixels."""
    seen = alpha >= VISIBLE
    colours = pixels[..., :3][seen]
    if not len(colours) or int(np.ptp(colours.astype(np.int16), axis=0).max()) <= NEAR:
        counts = _histogram(alpha)
        strokes = [level for level in range(VISIBLE, 256) if counts[level] and level < 255]
        # the thinnest paint that covers an area counts, so that a second stroke hides none
        painted = [level for level in strokes[:FEW] if _has_area(alpha == level)]
        least = min(painted) if painted and len(strokes) <= FEW else int(alpha.max())
        note = ["the painted pixels of the layer are taken as the object"]
        return alpha >= max(VISIBLE, (least + 1) // 2), note if least < 255 else []
    on_black = pixels[..., :3].copy()
    on_black[alpha < 128] = 0
    return _of_colours(on_black)


def _strongest(pixels: np.ndarray, values: np.ndarray) -> tuple[int, int, int] | None:
    """Returns the colour that most of the brighter pixels have, None where all are black."""
    top = int(values.max())
    if not top:
        return None
    step = max(1, values.size // 2**20)
    few = pixels.reshape(-1, pixels.shape[2])[::step]
    few = few[few.max(axis=1) * 2 >= top]
    if not len(few):
        few = pixels[values * np.uint16(2) >= top]
    found, counts = np.unique(few, axis=0, return_counts=True)
    r, g, b = (int(part) for part in found[counts.argmax()])
    return r, g, b


def _is_shade(pixels: np.ndarray, values: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Tells for each pixel whether it lies between black and a colour."""
    wanted = np.array(colour) / max(colour)
    fits = np.empty(values.shape, bool)
    for into, part, value in zip(_parts(fits), _parts(pixels), _parts(values), strict=True):
        into[...] = (np.abs(part - value[..., None] * wanted) <= NEAR).all(axis=2)
    return fits


def _colours_refusal(pixels: np.ndarray) -> str:
    step = max(1, pixels.shape[0] * pixels.shape[1] // 2**20)
    few = pixels.reshape(-1, pixels.shape[2])[::step]
    found, counts = np.unique(few, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:6]
    values = ", ".join(
        f"{tuple(map(int, found[one]))} ({100 * counts[one] / len(few):.2g} %)" for one in order
    )
    return _unclear("there is more than one colour on black", f"colours {values}", len(found))


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[top : top + _ROWS] for top in range(0, len(array), _ROWS))
