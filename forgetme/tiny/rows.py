"""What the checks of the bundled models are made of: rows, and measures of one picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from forgetme.record.masks import box_xywh, dilate, fill_margin, iou
from forgetme.record.sample import Proposal
from forgetme.stages.models import Models

TEXTURE_PX = 16  # how far around a hole its surroundings reach


@dataclass(frozen=True)
class Row:
    """One measured value: its bound (None = reported only) and whether more is better."""

    name: str
    value: float
    n: int
    bound: float | None = None
    higher_is_better: bool = True

    @property
    def holds(self) -> bool:
        """True when the bound is kept or there is none."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.higher_is_better else self.value <= self.bound


def mean_row(name: str, values: Iterable[float], bound: float | None = None) -> Row:
    """The mean of values, NaN of none, as a row whose bound is a lower one."""
    values = list(values)
    return Row(name, float(np.mean(values)) if values else float("nan"), len(values), bound)


def as_proposal(mask: np.ndarray) -> Proposal:
    """The true mask as if a segmenter had proposed it."""
    return Proposal(mask, box_xywh(mask), 1.0, 1.0, "truth")


def middle(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask that is farthest from its border."""
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return int(x), int(y)


def clicked_ious(image: np.ndarray, truth: np.ndarray, models: Models, clicks: int) -> list[float]:
    """IoU after each of `clicks` simulated clicks: the next at the middle of the largest error."""
    points, labels, found = [middle(truth)], [1], []
    current = None
    for _ in range(clicks):
        answer = models.segmenter.click(image, np.array(points), np.array(labels), mask=current)
        current = answer[0].mask if answer else np.zeros_like(truth)
        found.append(iou(current, truth))
        missing, surplus = truth & ~current, current & ~truth
        label = int(missing.sum() >= surplus.sum())
        wrong = _largest(missing if label else surplus)
        if not wrong.any():
            return found + [found[-1]] * (clicks - len(found))
        points.append(middle(wrong))
        labels.append(label)
    return found


def _largest(mask: np.ndarray) -> np.ndarray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else mask


def hole_rmse(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """Root mean square difference inside the hole, of (H, W, 3) uint8 pictures, in 0..255."""
    return float(np.sqrt(((filled[hole].astype(float) - truth[hole]) ** 2).mean()))


def filler_row(triples: Iterable, models: Models, bound: float | None, name: str = "") -> Row:
    """Mean RMSE of our fills over mean RMSE of OpenCV's Telea, radius 3, on the same holes."""
    ours, telea = [], []
    for image, mask, truth in triples:
        hole = grown(mask)
        ours.append(hole_rmse(models.inpainter(image, hole), truth, hole))
        other = cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        telea.append(hole_rmse(other, truth, hole))
    name = f"filler, RMSE in the hole relative to Telea{name}"
    return Row(name, float(np.mean(ours) / np.mean(telea)), len(ours), bound, False)


def grown(mask: np.ndarray) -> np.ndarray:
    """The hole of a mask: a little wider, as the fills make it."""
    return dilate(mask, fill_margin(mask))


def texture(filled: np.ndarray, hole: np.ndarray) -> float:
    """Energy of the Laplacian in a hole relative to around it; 1 = as much texture.

    Args:
        filled: (H, W, 3) uint8.
        hole: (H, W) bool.

    Returns:
        Mean squared Laplacian of the grey picture in the hole, its border pixels left out, over
        that of the 16 px around it; NaN where there is no hole, or nothing but flat colour around.
    """
    grey = cv2.cvtColor(filled, cv2.COLOR_RGB2GRAY).astype(np.float32)
    energy = cv2.Laplacian(grey, cv2.CV_32F) ** 2
    inner = cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    around = dilate(hole, TEXTURE_PX) & ~dilate(hole, 2)
    if not inner.any() or not around.any() or energy[around].mean() < 1.0:
        return float("nan")
    return float(energy[inner].mean() / energy[around].mean())


def calibration_error(sure: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error: how far confidence is from the share that is right.

    Args:
        sure: (N,) confidences in [0, 1].
        right: (N,) whether each was right.
        bins: of equal width.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    sure, right = np.asarray(sure, float), np.asarray(right, float)
    places = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [abs(sure[places == b].sum() - right[places == b].sum()) for b in range(bins)]
    return float(sum(gaps) / max(1, len(sure)))
