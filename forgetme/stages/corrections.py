"""Applies one more click to a mask: only the neighbourhood of the click changes.

A segmenter that is asked again with all clicks may answer with another object altogether. Of its
answer only that is taken which mends the mask where the last click says that it is wrong.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from forgetme.stages.proposals import enlarge

MOST = 0.5  # of a mask; a click that takes away more did not mend it
SURE = 0.2  # how much surer than its border an answer must be, each room around the click farther
SPOT = 0.5  # of that room: what changes where the model does not heed the click


def mended(
    before: np.ndarray,
    answers: list[np.ndarray],
    points_xy: np.ndarray,
    labels: np.ndarray,
) -> np.ndarray:
    """Mends a mask at the last click.

    A click on the object only adds, one off it only takes away: the connected part under it of
    what an answer changes, as far as it lies nearer to this click than to an earlier one that says
    the opposite, and not far from it. How far depends on how deep the click lies in what it
    changes, and on how sure the answer is: who clicks close to the outline means a small error
    there, and on it that pixel alone. So earlier clicks stay satisfied, and the mask is not thrown
    away. Where no answer heeds the click, a spot changes.

    Args:
        before: (H, W) bool, not empty.
        answers: masks (H, W) to take the change from, the best first: bool, or float, above 0 the
            mask and from 0.5 on sure.
        points_xy: (N, 2) pixels inside the image, the last click last.
        labels: (N,), 1 on the object, 0 off it.

    Returns:
        (H, W) bool; `before` where the last click is satisfied already.
    """
    x, y = points_xy[-1].astype(int)
    adds = bool(labels[-1])
    if before[y, x] == adds:
        return before
    room = _room(before != adds, x, y)
    reach = math.ceil(room * (1 + 0.5 / SURE))  # no answer goes farther
    window = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    corner = np.array([window[1].start, window[0].start])
    places, open_ = points_xy.astype(int) - corner, before[window] != adds
    x, y = places[-1]
    allowed = open_ & _nearer(open_.shape, places[-1], places[labels != labels[-1]])
    away = _distance(open_.shape, x, y)
    change = _part_at(allowed & (away <= SPOT * room), x, y)
    for answer in (one[window] for one in answers):
        sure = np.where(answer, 0.5, -0.5) if answer.dtype == bool else np.clip(answer, -0.5, 0.5)
        sure = sure if adds else -sure
        near = (sure > 0) & (sure * room >= SURE * (away - room))
        part = _part_at(allowed & near, x, y)
        if part.any() and (adds or part.sum() <= MOST * before.sum()):
            change = part
            break
    after = before.copy()
    after[window] ^= change
    return after


def corrected(
    fine: torch.Tensor, before: np.ndarray, points: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The mask `before`, mended at the clicks by the answer `fine`.

    What changes is settled in the model's frame, which costs the same for an image of any size;
    everywhere else each pixel stays as it was.

    Args:
        fine: (1, h, w) the answer in the model's frame, the parts above 0.
        before: (H, W) bool.
        points: (N, 2) pixels of the image, the newest last.
        labels: (N,), 1 on the object and 0 off it.

    Returns:
        (H, W) bool.
    """
    height, width = before.shape
    answer = fine[0].cpu().numpy()
    frame = np.array(answer.shape[::-1])
    small = known = cv2.resize(before.view(np.uint8), frame.tolist()) > 0
    clicks = np.minimum(points * (frame / (width, height)), frame - 1)
    for i in range(len(clicks)):  # only those that the mask contradicts change it
        last = [*range(i), *range(i + 1, len(clicks)), i]
        known = mended(known, [answer], clicks[last], labels[last])
    if answer.shape == before.shape:
        return known
    mask, (whole,) = before.copy(), enlarge(fine, before.shape)
    for adds in (True, False):
        change = (known != small) & (known == adds)
        if change.any():
            wide = cv2.dilate(change.view(np.uint8), np.ones((3, 3), np.uint8))  # the border's
            unheeded = (change & ((answer > 0) != adds)).view(np.uint8)
            wide, unheeded = (
                cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST) > 0
                for part in (wide, unheeded)
            )
            mask[wide & (whole == adds) | unheeded] = adds
    x, y = points.astype(int).T
    mask[y, x] = labels == 1
    return mask


def _room(mask: np.ndarray, x: int, y: int) -> float:
    """Returns the radius, in pixels, of the largest disc around a pixel of a mask inside of it."""
    inside = np.pad(mask, 1).astype(np.uint8)  # beyond the image is outside
    return float(cv2.distanceTransform(inside, cv2.DIST_L2, 5)[y + 1, x + 1]) - 1


def _distance(shape: tuple[int, int], x: int, y: int) -> np.ndarray:
    """Returns how far each pixel (H, W) lies from one of them."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - y, columns - x)


def _nearer(shape: tuple[int, int], here: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tells the pixels (H, W) that are nearer to one click than to any of others (N, 2)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = (columns - here[0]) ** 2 + (rows - here[1]) ** 2
    nearer = np.ones(shape, bool)
    for x, y in np.unique(others, axis=0):
        nearer &= distance < (columns - x) ** 2 + (rows - y) ** 2
    return nearer


def _part_at(mask: np.ndarray, x: int, y: int) -> np.ndarray:
    """Returns the connected part of a mask under a pixel; nothing where the pixel is not in it."""
    if not mask[y, x]:
        return np.zeros_like(mask)
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return parts == parts[y, x]
