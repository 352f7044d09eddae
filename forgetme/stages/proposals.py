"""Filters the masks of an image: area, overlap, parts of a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from segment_anything.utils.amg import batched_mask_to_box
from torchvision.ops import nms


@dataclass(frozen=True)
class ProposalSettings:
    """How a grid of clicks becomes a list of masks; names as in SamAutomaticMaskGenerator."""

    points_per_side: int = 16
    points_per_batch: int = 64  # clicks decoded at once; on a CPU at most 4
    pred_iou_thresh: float = 0.86
    stability_score_thresh: float = 0.92
    stability_score_offset: float = 1.0  # logits between the high and the low cut, halved
    box_nms_thresh: float = 0.7  # of two boxes that overlap more, the better mask stays
    mask_nms_thresh: float = 0.9  # and so of two masks
    merge_thresh: float = 1.0  # a kept mask is averaged with those that overlap it more; 1 = none
    snap_radius: int = 0  # pixels of the frame; borders follow the image's edges so near; 0 = none
    snap_smooth: float = 1e-4  # variance of colours (0..1) below which a place has no edge
    min_mask_region_area: int = 100  # smaller holes and specks go; pixels of the model's frame
    min_area: float = 0.002  # parts of the image that a mask may cover
    max_area: float = 0.8
    min_side: int = 16  # pixels of the box's longer side; below 256 px a sixteenth of the image
    max_proposals: int = 48


def plausible(
    masks: torch.Tensor, image_hw: tuple[int, int], settings: ProposalSettings
) -> torch.Tensor:
    """Tells which masks can be an object by size and by the borders they cover.

    A border counts as touched when the mask covers more than a tenth of it; a mask that touches
    three looks like background.

    Args:
        masks: (N, h, w) bool, at any scale of the image.
        image_hw: the image's size in pixels.
        settings: the limits.

    Returns:
        (N,) bool.
    """
    area = masks.flatten(1).float().mean(1)
    boxes = batched_mask_to_box(masks)  # (N, 4) xyxy, last pixel included
    longest = max(image_hw)
    side = (boxes[:, 2:] - boxes[:, :2] + 1).amax(1) * (longest / max(masks.shape[1:]))
    edges = (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1])
    touched = sum((edge.float().mean(1) > 0.1).int() for edge in edges)
    return (
        (area >= settings.min_area)
        & (area <= settings.max_area)
        & (side >= min(settings.min_side, longest / 16))
        & (touched < 3)
    )


def distinct(masks: torch.Tensor, iou: torch.Tensor, settings: ProposalSettings) -> torch.Tensor:
    """Indices of the masks (N, h, w) that stay when near-duplicates go, best `iou` first."""
    order = nms(batched_mask_to_box(masks).float(), iou, settings.box_nms_thresh)
    flat = masks[order].flatten(1).float()
    shared = flat @ flat.T
    area = flat.sum(1)
    overlap = (shared / (area[:, None] + area - shared)).cpu().numpy()
    kept: list[int] = []
    for i in range(len(order)):
        if not kept or overlap[i, kept].max() <= settings.mask_nms_thresh:
            kept.append(i)
    return order[kept]


def merged(low: torch.Tensor, keep: torch.Tensor, threshold: float, overlap: float) -> torch.Tensor:
    """Averages the logits (N, h, w) of each kept mask with those of its near-duplicates.

    Clicks on different parts of one object err at different places; their mean errs less.
    """
    flat = (low > threshold).flatten(1).float()
    shared = flat[keep] @ flat.T  # (K, N)
    area = flat.sum(1)
    alike = (shared / (area[keep][:, None] + area - shared) > overlap).float()
    alike[torch.arange(len(keep)), keep] = 1
    mean = alike @ low.flatten(1) / alike.sum(1, keepdim=True)
    return mean.view(len(keep), *low.shape[1:])


def enlarge(fine: torch.Tensor, image_hw: tuple[int, int]) -> np.ndarray:
    """Masks (N, H, W) bool of the image's size from (N, h, w) of which the parts above 0 count.

    Values between are bilinear, as `Sam.postprocess_masks` has them, but only the surroundings of
    each mask are computed: with many megapixels that is most of the work.
    """
    masks = np.zeros((len(fine), *image_hw), bool)
    for mask, values in zip(masks, fine.cpu().numpy(), strict=True):
        ys, xs = (np.flatnonzero((values > 0).any(axis)) for axis in (1, 0))
        if len(ys):
            (rows, above), (columns, beside) = (
                _between(line[0], line[-1], small, large)
                for line, small, large in zip((ys, xs), values.shape, image_hw, strict=True)
            )
            mask[rows, columns] = above @ values @ beside.T > 0
    return masks


def _between(first: int, last: int, small: int, large: int) -> tuple[slice, np.ndarray]:
    """Bilinear weights (n, small) of those of `large` places that touch `first`..`last`."""
    start = max(0, int((first - 0.5) * large / small) - 1)
    stop = min(large, int((last + 1.5) * large / small) + 2)
    at = np.clip((np.arange(start, stop) + 0.5) * small / large - 0.5, 0, small - 1)
    low = at.astype(int)
    weights = np.zeros((stop - start, small), np.float32)
    row = np.arange(stop - start)
    weights[row, low] = 1 - (at - low)
    weights[row, np.minimum(low + 1, small - 1)] += at - low
    return slice(start, stop), weights
