"""CLIP scores of a removal: CLIP distance of the region, and CLIP@k of the concept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from forgetme.record.masks import box_xywh

PAD = 0.10  # of the box's longer side, on each side
MIN_SIDE = 32  # px

Embed = Callable[[Sequence[np.ndarray]], np.ndarray]  # pictures to (N, D) unit vectors
Recognise = Callable[[Sequence[np.ndarray], Sequence[str]], np.ndarray]  # (N, L) probabilities


def crop_of(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cuts the padded box of a mask out of an image (H, W, 3), at least 32 px where there are."""
    x, y, width, height = box_xywh(mask)
    margin = round(PAD * max(width, height))
    spans = []
    for start, length, limit in ((y, height, image.shape[0]), (x, width, image.shape[1])):
        size = min(limit, max(length + 2 * margin, MIN_SIDE))
        first = min(max(0, start + length // 2 - size // 2), limit - size)
        spans.append(slice(first, first + size))
    return image[spans[0], spans[1]]


def clip_distance(
    embed: Embed,
    original: np.ndarray,
    edited: np.ndarray,
    mask: np.ndarray,
    *,
    region: Literal["box", "image", "outside"] = "box",
    form: Literal["cosine", "l2"] = "cosine",
) -> float:
    """How far an edit moved a picture in CLIP's space.

    Args:
        embed: pictures to unit vectors.
        original: (H, W, 3) uint8.
        edited: (H, W, 3) uint8.
        mask: (H, W) bool, what was removed.
        region: "box" = the padded box of the mask, higher is better (the concept is gone); "image"
            = all; "outside" = all but the mask, which is grey: lower is better.
        form: "cosine" = 1 - cos, 0..2; "l2" = the chord sqrt(2 - 2 cos), 0..2.

    **Source**: Yildirim et al. 2023 (Inst-Inpaint), named in ForgetMe section 4.3; that theirs is
    of the box is not confirmed by either text.
    """
    pairs = [original, edited]
    if region == "box":
        pairs = [crop_of(one, mask) for one in pairs]
    elif region == "outside":
        grey = np.uint8([124, 116, 104])
        pairs = [np.where(mask[..., None], grey, one) for one in pairs]
    first, second = np.asarray(embed(pairs), np.float64)
    cosine = float(np.clip(first @ second, -1, 1))
    return 1 - cosine if form == "cosine" else float(np.sqrt(2 - 2 * cosine))


def box_on_black(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cuts the box of a mask, without any margin, out of an image; a square, the rest black."""
    x, y, width, height = box_xywh(mask)
    side = max(width, height)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image[y : y + height, x : x + width]
    return square


def clip_at(
    recognise: Recognise,
    original: np.ndarray,
    edited: np.ndarray,
    mask: np.ndarray,
    labels: Sequence[str],
    ks: Sequence[int] = (1, 3, 5),
) -> dict[int, bool]:
    """Whether what CLIP saw in the region is out of its k best guesses for the edited one.

    What was there is CLIP's own best guess for the original, whatever it is called by people, so
    an untouched copy never passes.

    Args:
        recognise: zero-shot probabilities.
        original: (H, W, 3) uint8.
        edited: (H, W, 3) uint8.
        mask: (H, W) bool, what was removed; its unpadded box on black is what CLIP sees.
        labels: what CLIP chooses from: the classes of the test set, more than max(ks) of them.
        ks: how many guesses.

    Returns:
        For each k whether it is out; their means over pictures are CLIP@k, higher is better.

    Raises:
        ValueError: the labels are so few that a k says nothing.

    **Source**: Yildirim et al. 2023 (Inst-Inpaint), its released `eval/clip_accuracy.py`; CLIPAway
    and ForgetMe section 4.3 name it. Departures: the box is squared on black, where theirs loses
    what CLIP's middle square cuts off; prompts and network are the recogniser's own (theirs: "a
    photo of a {}", ViT-B/32).
    """
    if max(ks) >= len(labels):
        raise ValueError(f"k = {max(ks)} says nothing about {len(labels)} labels; give more labels")
    crops = [box_on_black(one, mask) for one in (original, edited)]
    before, after = recognise(crops, labels)
    guesses = np.argsort(-np.asarray(after), kind="stable")
    place = int(np.flatnonzero(guesses == np.argmax(before))[0])
    return {k: place >= k for k in ks}
