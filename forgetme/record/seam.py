"""The seam score: how much of the old surroundings shows along the edge after a merge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetme.record.masks import dilate, erode
from forgetme.record.merge import Blended

RIM_PX = 2  # width of the edge that is looked at, inside the mask
DEEP_PX = 8  # the object's own colour is taken this far from its edge, or as far as there is
OUT_PX = 3  # its old surroundings' colour this far outside it
MARGIN_PX = 8  # what `merge.blend` must carry along for that
VISIBLE = 0.06  # of full scale: a difference that an eye finds along an edge
ALIKE = 8.0  # colours nearer than this are the same


@dataclass(frozen=True, eq=False)
class Seam:
    """The edge of a merged foreground.

    Attributes:
        score: share of the edge where nothing of the old surroundings shows, [0, 1], higher is
            better; 1 without an edge.
        rim: (H, W) bool, the edge.
        shows: (H, W) bool, where the old surroundings show.
    """

    score: float
    rim: np.ndarray
    shows: np.ndarray

    def words(self) -> str:
        """Says it in a plain phrase, with what to do."""
        share = round(100 * (1 - self.score))
        if share < 5:
            return "nothing of the old surroundings was found along the edge"
        much = "a little" if share < 25 else "much"
        return (
            f"{much} of the old surroundings shows, along {share} % of the edge; "
            "feather more, take Poisson, or shrink the mask"
        )


def seam(blended: Blended, background: np.ndarray) -> Seam:
    """Finds where a merge carries the foreground's old surroundings along.

    A pixel of the edge shows them as far as its colour lies on the way from the object's colour to
    that of the old surroundings, as far as the merge lets it through, and as far as the old
    surroundings differ from the background beneath.

    Args:
        blended: of `merge.blend` with at least `MARGIN_PX` around the mask.
        background: (H, W, 3) uint8 RGB, what was merged over.

    Source: ours. Colour along an edge as a mixture of two is the matting equation; the share of
    the old surroundings in it is what cut-outs are betrayed by.
    """
    rim, shows = np.zeros_like(blended.mask), np.zeros_like(blended.mask)
    mask = blended.mask[blended.window]
    if not mask.any() or mask.all():
        return Seam(1.0, rim, shows)
    edge = mask & ~erode(mask, RIM_PX)
    old = _nearest(blended.over, ~dilate(mask, OUT_PX - 1), edge)
    deep = _nearest(blended.over, _core(mask), edge)
    under = background[blended.window].astype(np.float32)[edge]  # (n, 3), as all below
    way, here = old - deep, blended.over[edge] - deep
    length, far = np.linalg.norm(way, axis=1), np.linalg.norm(here, axis=1)
    along = (way * here).sum(1)
    share = np.clip(along / np.maximum(length**2, 1), 0, 1)
    # How straight the way is: a third colour, such as an outline, lies beside it.
    straight = np.clip(along / np.maximum(length * far, 1), 0, 1) ** 4
    foreign = np.sqrt(((old - under) ** 2).mean(1)) / 255
    seen = np.where(length > ALIKE, share * straight * blended.weight[edge] * foreign, 0)
    visible = seen >= VISIBLE
    rim[blended.window] = edge
    shows[rim] = visible
    return Seam(float(1 - visible.mean()), rim, shows)


def _core(mask: np.ndarray) -> np.ndarray:
    """The inner part of a mask; of a thin one, what is deepest."""
    for px in range(DEEP_PX, 0, -1):
        inner = erode(mask, px)
        if inner.any():
            return inner
    return mask


def _nearest(values: np.ndarray, among: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The values (n, 3) of the pixels of `among` nearest to those of `at`."""
    from scipy import ndimage

    if not among.any():  # the mask reaches the border all around
        return values[at]
    ys, xs = ndimage.distance_transform_edt(~among, return_distances=False, return_indices=True)
    return values[ys[at], xs[at]]
