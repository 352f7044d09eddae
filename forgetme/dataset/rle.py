"""COCO's compressed run-length encoding (RLE) of masks: written, and read within bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from forgetme.dataset.foreign import RunLengths, read_as
from forgetme.record.images import MAX_PIXELS
from forgetme.record.masks import rle_decode

MOST_RUNS = 4_000_000  # of a mask; each takes some 40 bytes while it is read
_FIRST = 48  # the text's digits are the 64 characters from "0" on


def rle_string(mask: np.ndarray) -> dict[str, Any]:
    """Writes a mask as COCO's compressed run lengths.

    Args:
        mask: (H, W) bool.

    Returns:
        `{"size": [H, W], "counts": text}`.

    Example:
        >>> rle_string(np.array([[True, False], [True, True]]))
        {'size': [2, 2], 'counts': '021O'}
    """
    from pycocotools import mask as vendor

    rle = vendor.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def rle_mask(rle: Any, size_hw: tuple[int, int]) -> np.ndarray:
    """Reads run lengths, compressed (a text) or not (a list of numbers).

    pycocotools is not asked: it writes past the mask where the runs are longer than it.

    Args:
        rle: `{"size": [H, W], "counts": text or list}`, from outside.
        size_hw: the size that the mask must have.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: they are damaged, of another size, or do not fill it.
    """
    try:
        runs = read_as(RunLengths, rle)
        if runs.size != tuple(size_hw):
            raise ValueError(f"for {runs.size[0]}x{runs.size[1]}, not {size_hw[0]}x{size_hw[1]} px")
        px = size_hw[0] * size_hw[1]
        if px > MAX_PIXELS:
            raise ValueError(f"a mask of {px:,} px, at most {MAX_PIXELS:,} are read")
        counts = _unpack(runs.counts) if isinstance(runs.counts, str) else runs.counts
        if len(counts) > min(px + 1, MOST_RUNS):
            raise ValueError(f"a mask of {px:,} px with {len(counts):,} runs")
        return rle_decode({"size": size_hw, "counts": counts})
    except (OverflowError, ValueError) as error:
        raise ValueError(f"the mask's run lengths are damaged ({error})") from error


def _unpack(text: str) -> list[int]:
    """Reads each count as its difference from the one before the last, five bits a character."""
    counts: list[int] = []
    value = shift = 0
    for char in text:
        bits = ord(char) - _FIRST
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"unexpected {char!r}")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            if len(counts) > MOST_RUNS:
                raise ValueError(f"more than {MOST_RUNS:,} runs")
            value = shift = 0
    if shift:
        raise ValueError("the text ends in the middle of a number")
    return counts
