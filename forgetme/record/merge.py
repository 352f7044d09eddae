"""The side story: put a foreground back over its own background, or over any other one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from forgetme.record.masks import box_xywh, check_mask, dilate, distance_to, erode

if TYPE_CHECKING:
    from scipy import sparse

Method = Literal["feather", "poisson"]

MAX_UNKNOWNS = 100_000  # pixels solved exactly; about a second
OUTSIDE_PX = 32  # known pixels around the ring, so that some are left after five halvings


@dataclass(frozen=True, eq=False)
class _Placed:
    """The part of a foreground that lies in the background's frame.

    Attributes:
        rgb: (h, w, 3) float32, 0..255.
        opacity: (h, w) float32 in [0, 1], the foreground's own alpha.
        mask: (h, w) bool.
        window: rows and columns of the background that it covers.
    """

    rgb: np.ndarray
    opacity: np.ndarray
    mask: np.ndarray
    window: tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Blended:
    """A merged picture, and how it came about where the foreground lies.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, where the foreground lies.
        window: rows and columns around it that the two below cover; empty if nothing lies inside.
        over: (h, w, 3) float32, what was laid over: the foreground and its own surroundings, with
            Poisson's shift.
        weight: (h, w) float32 in [0, 1], how much of it shows.
    """

    image: np.ndarray
    mask: np.ndarray
    window: tuple[slice, slice]
    over: np.ndarray
    weight: np.ndarray


def merge(
    foreground: np.ndarray,
    background: np.ndarray,
    mask: np.ndarray,
    *,
    offset_xy: tuple[int, int] = (0, 0),
    scale: float = 1.0,
    feather_px: int = 2,
    method: Method = "feather",
    ring_px: int | None = None,
) -> np.ndarray:
    """Places a foreground over a background by its position mask and blends the edges.

    A background of the foreground's size is aligned pixel on pixel. One of another size gets
    the whole foreground frame fitted into its middle, so that the concept keeps its place.

    Merging a sample's own layers gives back the original: byte-identical wherever the matte is
    1 and, since nothing outside the mask is touched, wherever the background equals it.

    Args:
        foreground: (H, W, 4) uint8 RGBA.
        background: (H', W', 3) uint8 RGB of any size.
        mask: (H, W) bool, where the concept is in the foreground.
        offset_xy: moves the concept right and down, in pixels of the background.
        scale: resizes the concept around the middle of its box, > 0.
        feather_px: width of the soft edge, see ``matte``; 0 is a hard edge.
        method: "feather" keeps the foreground's colours; "poisson" also shifts them smoothly,
            so that the foreground's surroundings would match the background's.
        ring_px: for "poisson", how far from the mask the surroundings are compared; at least
            the pixels by which the fill was dilated, or the sample's own layers do not come
            back exactly. None = max(3, round(0.02 * longest side)) + 1.

    Returns:
        (H', W', 3) uint8 RGB; a copy of the background where no foreground falls.

    Raises:
        ValueError: a shape, dtype or option is wrong, or "poisson" is asked of a foreground
            whose colours around the mask are gone (all black under alpha 0).

    Source:
        ForgetMe, section 3.2. The edge is feathered inwards, see ``matte``. Poisson is the
        membrane form of Perez et al. 2003, "Poisson Image Editing", Eq. 4, solved on the mask
        and a ring around it, and then feathered like the rest.
    """
    return blend(
        foreground, background, mask,
        offset_xy=offset_xy, scale=scale, feather_px=feather_px, method=method, ring_px=ring_px,
    ).image  # fmt: skip


def blend(
    foreground: np.ndarray,
    background: np.ndarray,
    mask: np.ndarray,
    *,
    offset_xy: tuple[int, int] = (0, 0),
    scale: float = 1.0,
    feather_px: int = 2,
    method: Method = "feather",
    ring_px: int | None = None,
    margin_px: int = 0,
) -> Blended:
    """Does what ``merge`` does, and tells how; its arguments are ``merge``'s.

    Args:
        foreground: (H, W, 4) uint8 RGBA.
        background: (H', W', 3) uint8 RGB of any size.
        mask: (H, W) bool, where the concept is in the foreground.
        offset_xy: moves the concept right and down, in pixels of the background.
        scale: resizes the concept around the middle of its box, > 0.
        feather_px: width of the soft edge.
        method: "feather" or "poisson".
        ring_px: for "poisson", how far from the mask the surroundings are compared.
        margin_px: how far around the mask ``Blended.over`` must reach at least.
    """
    _check(foreground, background, mask, scale, method)
    merged, covered = background.copy(), np.zeros(background.shape[:2], bool)
    if ring_px is None:
        ring_px = max(3, round(0.02 * max(background.shape[:2]))) + 1
    if method == "poisson":
        margin_px = max(margin_px, ring_px + OUTSIDE_PX)
    placed = None
    if mask.any():
        placed = _place(foreground, mask, background.shape[:2], offset_xy, scale, margin_px)
    if placed is None:
        nothing = np.zeros((0, 0, 3), np.float32)
        return Blended(merged, covered, (slice(0, 0), slice(0, 0)), nothing, nothing[..., 0])
    under = merged[placed.window].astype(np.float32)
    over = placed.rgb
    if method == "poisson":
        _check_surroundings(foreground, mask)
        over = over + _membrane(under - over, dilate(placed.mask, ring_px))
    weight = matte(placed.mask, feather_px) * placed.opacity
    blended = under + weight[..., None] * (over - under)
    merged[placed.window] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    covered[placed.window] = placed.mask
    return Blended(merged, covered, placed.window, over, weight)


def matte(mask: np.ndarray, feather_px: int = 2) -> np.ndarray:
    """Turns a mask into opacity with a soft edge that lies inside the mask.

    The ramp runs inwards because outside its mask a foreground holds no concept: an outward
    ramp would carry the old surroundings along as a halo. Parts thinner than the ramp (a tail,
    a whisker) are scaled up, so that their middle stays opaque. The image's border is no edge.

    Args:
        mask: (H, W) bool.
        feather_px: pixels >= 0 over which the opacity rises from the edge.

    Returns:
        (H, W) float32 in [0, 1]: exactly 0 outside the mask; exactly 1 on
        ``masks.erode(mask, feather_px)`` and on any pixel that is the deepest within
        ``feather_px`` (square window).

    Raises:
        ValueError: ``feather_px`` is negative.
    """
    import cv2

    if feather_px < 0:
        raise ValueError(f"feather_px must be 0 or more, got {feather_px}")
    depth = distance_to(~mask)  # edge pixels: 1
    depth[erode(mask, feather_px)] = feather_px + 1
    window = np.ones((2 * feather_px + 1, 2 * feather_px + 1), np.uint8)
    deepest = cv2.dilate(depth, window)
    return np.divide(depth, deepest, out=np.zeros_like(depth), where=mask)


def _check(
    foreground: np.ndarray, background: np.ndarray, mask: np.ndarray, scale: float, method: str
) -> None:
    for name, image, depth in (("foreground", foreground, 4), ("background", background, 3)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != depth:
            raise ValueError(
                f"{name} must be HxWx{depth} uint8, got {image.shape} {image.dtype}; "
                "sample.Layers.cut makes foregrounds, images.read_image reads backgrounds"
            )
    check_mask(mask, foreground)
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale must be more than 0, got {scale}")
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")


def _check_surroundings(foreground: np.ndarray, mask: np.ndarray) -> None:
    if not (mask.all() or foreground[~mask][:, :3].any()):
        raise ValueError(
            "poisson compares the colours around the mask, but the foreground is black there; "
            "use a foreground of sample.Layers.cut, or method='feather'"
        )


def _place(
    foreground: np.ndarray,
    mask: np.ndarray,
    size_hw: tuple[int, int],
    offset_xy: tuple[int, int],
    scale: float,
    margin_px: int,
) -> _Placed | None:
    """Cuts out the mask's box and a margin, scales and moves it; None if it falls outside."""
    height, width = mask.shape
    fit = min(size_hw[0] / height, size_hw[1] / width) if mask.shape != size_hw else 1.0
    factor = fit * scale
    margin = ceil(margin_px / factor)
    x, y, w, h = box_xywh(mask)
    x0, y0 = max(x - margin, 0), max(y - margin, 0)
    x1, y1 = min(x + w + margin, width), min(y + h + margin, height)
    rgba, mask = foreground[y0:y1, x0:x1], np.pad(mask[y0:y1, x0:x1], 1)
    # One pixel more, so that a concept cut off by its frame has an edge inside a larger frame.
    rgba, x0, y0 = np.pad(rgba, ((1, 1), (1, 1), (0, 0)), mode="edge"), x0 - 1, y0 - 1
    rgb, opacity = rgba[..., :3].astype(np.float32), rgba[..., 3].astype(np.float32) / 255
    if factor != 1:
        rgb, opacity, mask = _resize(rgb, opacity, mask, factor)

    # The middle of the mask's box stays in place, then moves by the offset.
    middle = np.array([x + w / 2, y + h / 2])
    target = (middle - [width / 2, height / 2]) * fit + np.array(size_hw[::-1]) / 2 + offset_xy
    left, top = np.rint(target - (middle - [x0, y0]) * factor).astype(int).tolist()
    rows = slice(max(top, 0), min(top + mask.shape[0], size_hw[0]))
    cols = slice(max(left, 0), min(left + mask.shape[1], size_hw[1]))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return None
    here = (slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left))
    return _Placed(rgb[here], opacity[here], mask[here], (rows, cols))


def _resize(
    rgb: np.ndarray, opacity: np.ndarray, mask: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scales by ``factor``; colours from outside the mask do not run into it."""
    import cv2

    height, width = (max(1, round(side * factor)) for side in mask.shape)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR

    def scaled(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values, (width, height), interpolation=how)

    weight = opacity * mask
    visible, cover = scaled(weight), scaled(mask.astype(np.float32))
    inside = scaled(rgb * weight[..., None]) / np.maximum(visible, 1e-6)[..., None]
    rgb = np.where(visible[..., None] > 1e-3, inside, scaled(rgb))
    return rgb, np.clip(visible / np.maximum(cover, 1e-6), 0, 1), cover >= 0.5


def _membrane(difference: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Spreads the difference on the region's outer edge smoothly over the region.

    Solves Laplace's equation on ``region``: fixed to ``difference`` on the 4-neighbours outside
    it, free at the array's border; 0 if the region fills the array. The solution is smooth, so
    a region of more than ``MAX_UNKNOWNS`` is solved at half size.

    Args:
        difference: (h, w, 3) float32.
        region: (h, w) bool.

    Returns:
        (h, w, 3) float32, 0 outside the region.
    """
    from scipy import ndimage
    from scipy.sparse.linalg import splu

    edge = ndimage.binary_dilation(region) & ~region  # 4-neighbours
    spread = np.zeros_like(difference)
    if not difference[edge].any():
        return spread
    if np.count_nonzero(region) > MAX_UNKNOWNS:
        inside, known = region[::2, ::2, None], difference[::2, ::2]
        half = np.where(inside, _membrane(known, inside[..., 0]), known)
        spread[region] = _double(half, region.shape)[region]
        return spread
    laplacian, known = _laplace(difference, region)  # (n, n), (n, 3)
    solver = splu(laplacian, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    spread[region] = solver.solve(known)
    return spread


def _laplace(difference: np.ndarray, region: np.ndarray) -> tuple[sparse.csc_array, np.ndarray]:
    """Writes Laplace's equation on ``region`` as matrix (n, n) and right-hand side (n, 3)."""
    from scipy import sparse

    n = int(np.count_nonzero(region))
    number = np.full(region.shape, -1)
    number[region] = np.arange(n)
    known = np.zeros((n, difference.shape[2]))
    degree = np.zeros(n)
    rows, cols = [], []
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        here = _shifted(region.shape, -dy, -dx)  # pixels that have this neighbour
        there = _shifted(region.shape, dy, dx)
        mine, theirs = number[here], number[there]
        inner = (mine >= 0) & (theirs >= 0)
        rows.append(mine[inner])
        cols.append(theirs[inner])
        border = (mine >= 0) & (theirs < 0)
        known[mine[border]] += difference[there][border]
        degree[mine[mine >= 0]] += 1
    row, col = np.concatenate(rows), np.concatenate(cols)
    neighbours = sparse.coo_array((np.ones(len(row)), (row, col)), (n, n))
    return (sparse.diags_array(degree) - neighbours).tocsc(), known


def _double(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolates values at the even pixels to all of them."""
    import cv2

    ys, xs = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / 2
    return cv2.remap(coarse, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shifted(shape: tuple[int, int], dy: int, dx: int) -> tuple[slice, slice]:
    """Selects the pixels (y + dy, x + dx) for all (y, x) for which both are in the array."""
    return (
        slice(max(dy, 0), shape[0] + min(dy, 0)),
        slice(max(dx, 0), shape[1] + min(dx, 0)),
    )
