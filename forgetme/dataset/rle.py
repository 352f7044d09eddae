"""COCO's compressed run lengths: one short text for a mask, read by pycocotools and its kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from forgetme.record.images import MAX_PIXELS
from forgetme.record.masks import rle_decode, rle_encode

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
    rle = rle_encode(mask)
    return {"size": rle["size"], "counts": _pack(rle["counts"])}


def rle_mask(rle: Any) -> np.ndarray:
    """Reads run lengths, compressed (a text) or not (a list of numbers).

    Args:
        rle: `{"size": [H, W], "counts": text or list}`, from outside.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: they are damaged, or do not fill the size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        if isinstance(counts, str):
            counts = _unpack(counts)
        if min(height, width) < 1 or height * width > MAX_PIXELS:
            raise ValueError(f"a mask of {height}x{width} px, at most {MAX_PIXELS:,} are read")
        if len(counts) > min(height * width + 1, MOST_RUNS):
            raise ValueError(f"a mask of {height}x{width} px with {len(counts)} runs")
        return rle_decode({"size": [height, width], "counts": counts})
    except (KeyError, TypeError, IndexError, OverflowError, ValueError) as error:
        raise ValueError(f"the mask's run lengths are damaged ({error})") from error


def _pack(counts: list[int]) -> str:
    """Writes each count as its difference from the one before the last, five bits a character."""
    text = bytearray()
    for index, count in enumerate(counts):
        left = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = left & 0x1F
            left >>= 5
            more = left != (-1 if bits & 0x10 else 0)  # the top bit of the last five is the sign
            text.append((bits | 0x20 if more else bits) + _FIRST)
    return text.decode("ascii")


def _unpack(text: str) -> list[int]:
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
