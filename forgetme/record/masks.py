"""Operations on masks: ``HxW bool`` arrays in which True marks the concept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

LUMA_601 = (0.299, 0.587, 0.114)


def check_mask(mask: np.ndarray, image: np.ndarray) -> None:
    """Checks that a mask is ``HxW bool`` and has its image's size.

    Args:
        mask: array to check.
        image: (H, W) or (H, W, C) array that the mask belongs to.

    Raises:
        ValueError: the mask has another dtype, number of axes or size.
    """
    height, width = image.shape[:2]
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.shape != (height, width):
        got = "x".join(map(str, mask.shape)) or "a scalar"
        hint = (
            "make it bool with masks.as_mask"
            if mask.shape[:2] == (height, width)
            else "resize it with masks.resize_mask"
        )
        raise ValueError(
            f"mask must be HxW bool of the image's size {height}x{width}, "
            f"got {got} {mask.dtype}; {hint}"
        )


def as_mask(array: np.ndarray) -> np.ndarray:
    """Turns any usual kind of mask into ``HxW bool``: on at half of full scale or more.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array: bool; integers in {0, 1} or
            0..full scale of their dtype, of those wider than 16 bits 0..255 or 0..65535; floats
            in [0, 1]. Colours are read as Rec. 601 luma and an alpha channel is ignored.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: the shape is none of the above, or floats leave [0, 1].
    """
    array = np.asarray(array)
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise ValueError(
            f"mask must be HxW or HxWx1, x3 or x4, got {array.shape}; give one mask at a time"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype == np.bool_:
        return array if array.ndim == 2 else array[..., :3].any(axis=2)
    if array.dtype.kind not in "uif":
        raise ValueError(f"mask must be bool, integer or float, got {array.dtype}")
    values = array.astype(np.float64)
    if array.ndim == 3:
        values = values[..., :3] @ np.array(LUMA_601)
    if array.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
            raise ValueError("a float mask must lie in [0, 1]; divide it by its full scale")
        return values >= 0.5
    top = array.max(initial=0)
    scales = [1, *(255, 65535) * (array.dtype.itemsize > 2), np.iinfo(array.dtype).max]
    return values >= 0.5 * next(scale for scale in scales if top <= scale)


def box_xywh(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Finds the smallest box around a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        (x, y, width, height) in pixels; (0, 0, 0, 0) for an empty mask.
    """
    ys = np.flatnonzero(mask.any(axis=1))
    xs = np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        return (0, 0, 0, 0)
    return (int(xs[0]), int(ys[0]), int(xs[-1] - xs[0] + 1), int(ys[-1] - ys[0] + 1))


def distance_to(mask: np.ndarray) -> np.ndarray:
    """Measures how far each pixel is from the nearest pixel of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) float32, exact Euclidean distance in pixels, 0 on the mask; inf where the mask is
        empty.
    """
    import cv2

    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    off = np.ascontiguousarray(~mask, dtype=np.uint8)
    about = cv2.distanceTransform(off, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # its last bits hang on where the array lies in memory; squares of distances are whole numbers
    return np.sqrt(np.rint(np.square(about, dtype=np.float64))).astype(np.float32)


def fill_margin(mask: np.ndarray) -> int:
    """Says by how many pixels a mask is grown before its hole is filled: 2 % of the longer side."""
    return max(3, round(0.02 * max(mask.shape)))


def dilate(mask: np.ndarray, px: float) -> np.ndarray:
    """Adds every pixel within ``px`` of the mask (Euclidean, so corners become round).

    Args:
        mask: (H, W) bool.
        px: pixels >= 0.

    Returns:
        (H, W) bool, a superset of the mask.

    Raises:
        ValueError: ``px`` is negative.
    """
    _check_px(px)
    return distance_to(mask) <= px + 1e-3  # float32 noise of the distance


def erode(mask: np.ndarray, px: int) -> np.ndarray:
    """Removes every pixel within ``px`` of the outside; the image's border is not an outside.

    Args:
        mask: (H, W) bool.
        px: pixels >= 0.

    Returns:
        (H, W) bool, a subset of the mask.

    Raises:
        ValueError: ``px`` is negative.
    """
    return ~dilate(~mask, px)


def grow(mask: np.ndarray, px: int) -> np.ndarray:
    """Dilates by ``px`` pixels, or erodes by ``-px`` where ``px`` is negative."""
    return dilate(mask, px) if px >= 0 else erode(mask, -px)


def _check_px(px: float) -> None:
    if px < 0:
        raise ValueError(f"px must be 0 or more, got {px}; to shrink a mask use masks.grow")


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Fills what the mask encloses completely (holes that do not reach the image's border)."""
    from scipy import ndimage

    return ndimage.binary_fill_holes(mask)


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Keeps the largest 8-connected part of a mask; an empty mask stays empty."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask, dtype=np.uint8), connectivity=8
    )
    if count == 1:
        return np.zeros(mask.shape, bool)
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def smooth(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Smooths a mask's outline: each pixel goes with the majority of its surroundings.

    Teeth, specks and gaps much narrower than `sigma` go; straight edges stay where they are. The
    image's border counts as if the mask went on beyond it.

    Args:
        mask: (H, W) bool.
        sigma: pixels > 0, how far the surroundings reach (of a Gaussian).

    Returns:
        (H, W) bool.

    Raises:
        ValueError: ``sigma`` is not positive.
    """
    import cv2

    if not sigma > 0:
        raise ValueError(f"sigma must be more than 0 px, got {sigma}; take 1 or more")
    x, y, width, height = box_xywh(mask)
    if not width:
        return mask.copy()
    reach = 4 * math.ceil(sigma)
    rows, columns = (
        slice(max(0, y - reach), y + height + reach),
        slice(max(0, x - reach), x + width + reach),
    )
    soft = mask[rows, columns].astype(np.float32)
    soft = cv2.GaussianBlur(soft, (2 * reach + 1,) * 2, sigma, borderType=cv2.BORDER_REPLICATE)
    smoothed = np.zeros_like(mask)
    smoothed[rows, columns] = soft > 0.5
    return smoothed


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Measures the overlap of two masks, intersection over union.

    Args:
        a: (H, W) bool.
        b: (H, W) bool, same size.

    Returns:
        In [0, 1], higher is better; 1 for two empty masks.

    Raises:
        ValueError: the sizes differ.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"masks must have one size, got {a.shape} and {b.shape}; "
            "resize one with masks.resize_mask"
        )
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def resize_mask(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resizes a mask by the nearest pixel.

    Args:
        mask: (H, W) bool.
        size_hw: wanted (height, width) in pixels; ``image.shape[:2]`` fits.

    Returns:
        (height, width) bool.
    """
    height, width = size_hw
    rows = (np.arange(height) + 0.5) * mask.shape[0] / height  # centres of the wanted pixels
    cols = (np.arange(width) + 0.5) * mask.shape[1] / width
    return mask[rows.astype(int)[:, None], cols.astype(int)[None]]


def rle_encode(mask: np.ndarray) -> dict[str, list[int]]:
    """Writes a mask as COCO's uncompressed run lengths.

    Args:
        mask: (H, W) bool.

    Returns:
        ``{"size": [H, W], "counts": [off, on, off, ...]}``, runs in column-major order, the
        first one off (0 where the first pixel is on). JSON-ready.

    Example:
        >>> import numpy as np
        >>> rle_encode(np.array([[True, False], [True, True]]))
        {'size': [2, 2], 'counts': [0, 2, 1, 1]}
    """
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    if flat.size and flat[0]:
        runs = [0, *runs]
    return {"size": [int(side) for side in mask.shape], "counts": runs}


def rle_decode(rle: Mapping[str, Any]) -> np.ndarray:
    """Reads COCO's uncompressed run lengths.

    Args:
        rle: ``{"size": [H, W], "counts": [off, on, off, ...]}`` in column-major order.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: the runs do not fill the size, or they are COCO's compressed string.
    """
    height, width = rle["size"]
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        raise ValueError(
            "rle must be uncompressed (counts is a list), got COCO's compressed string; "
            "decode it with pycocotools first"
        )
    counts = np.asarray(counts, dtype=np.int64)
    if (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(
            f"rle counts must add up to {height}x{width}={height * width}, got {counts.sum()}"
        )
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape((height, width), order="F"))


def rle_outline(rle: Mapping[str, Any], tolerance: float = 0.0) -> list[list[tuple[int, int]]]:
    """Traces the outlines of a mask in run lengths, without decoding more than its own box.

    Args:
        rle: as ``rle_encode`` writes it.
        tolerance: as of ``outline``.

    Returns:
        As ``outline`` of the decoded mask.
    """
    height, width = rle["size"]
    ends = np.cumsum(np.asarray(rle["counts"], dtype=np.int64))
    starts, ends = ends[:-1:2], ends[1::2]  # of the runs that are on
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return []
    last = ends - 1
    left, right = int(starts[0]) // height, int(last[-1]) // height + 1
    wraps = (starts // height != last // height).any()  # a run that goes on in the next column
    top = 0 if wraps else int((starts % height).min())
    bottom = height if wraps else int((last % height).max()) + 1
    steps = np.zeros((right - left) * height + 1, np.int8)
    steps[starts - left * height] = 1
    steps[ends - left * height] -= 1
    columns = np.cumsum(steps[:-1], dtype=np.int8).reshape(right - left, height)
    part = columns[:, top:bottom].T > 0
    return [[(x + left, y + top) for x, y in ring] for ring in outline(part, tolerance)]


def outline(mask: np.ndarray, tolerance: float = 0.0) -> list[list[tuple[int, int]]]:
    """Traces the mask's outlines, outer ones and those of its holes.

    Args:
        mask: (H, W) bool.
        tolerance: pixels by which a polygon may miss the outline, for fewer points; outlines
            that shrink to a line go. 0 keeps every corner.

    Returns:
        Closed polygons, each a list of (x, y) pixel positions on the mask's edge (holes: on the
        pixels around the hole); the first point is not repeated. Longest first.
    """
    import cv2

    found, _ = cv2.findContours(
        np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    if tolerance > 0:
        found = [cv2.approxPolyDP(contour, tolerance, closed=True) for contour in found]
        found = [contour for contour in found if len(contour) > 2] or list(found[:1])
    polygons = [[(int(x), int(y)) for x, y in contour.reshape(-1, 2)] for contour in found]
    return sorted(polygons, key=len, reverse=True)
