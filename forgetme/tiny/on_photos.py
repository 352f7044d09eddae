"""Measures the bundled models on real photos that none of them was trained on."""

from __future__ import annotations

import cv2
import numpy as np

from forgetme.curate import pipeline
from forgetme.errors import ForgetmeError
from forgetme.record.masks import box_xywh, iou
from forgetme.scenes import CONCEPTS
from forgetme.stages.models import Models
from forgetme.tiny.bank import Photo
from forgetme.tiny.rows import (
    Row,
    as_proposal,
    calibration_error,
    clicked_ious,
    filler_row,
    grown,
    mean_row,
    texture,
)

CLICKS = {1: 0.66, 3: 0.78, 5: 0.82}  # how many, and the mean IoU after them at least
GOOD_IOU = 0.75  # a selected mask this close is the object
MOSTLY = 0.5  # of a selected mask must lie in the object, or another object was selected
COCO_WORDS = (
    "airplane", "apple", "backpack", "banana", "baseball bat", "baseball glove", "bear", "bed",
    "bench", "bicycle", "bird", "boat", "book", "bottle", "bowl", "broccoli", "bus", "cake",
    "car", "carrot", "cat", "cell phone", "chair", "clock", "couch", "cow", "cup", "dining table",
    "dog", "donut", "elephant", "fire hydrant", "fork", "frisbee", "giraffe", "hair drier",
    "handbag", "horse", "hot dog", "keyboard", "kite", "knife", "laptop", "microwave",
    "motorcycle", "mouse", "orange", "oven", "parking meter", "person", "pizza", "potted plant",
    "refrigerator", "remote", "sandwich", "scissors", "sheep", "sink", "skateboard", "skis",
    "snowboard", "spoon", "sports ball", "stop sign", "suitcase", "surfboard", "teddy bear",
    "tennis racket", "tie", "toaster", "toilet", "toothbrush", "traffic light", "train", "truck",
    "tv", "umbrella", "vase", "wine glass", "zebra",
)  # fmt: skip


def _best_iou(image: np.ndarray, truth: np.ndarray, models: Models) -> float:
    return max((iou(p.mask, truth) for p in models.segmenter(image)), default=0.0)


def photo_rows(photos: list[Photo], models: Models) -> list[Row]:
    """Masks, fills, names and the automatic loop on photos, longest side 256 px."""
    small = [_shrink(p) for p in photos]
    return [
        *_mask_rows(small, models),
        *_filler_rows(small, models),
        *_naming_rows(small, models),
        *_loop_rows(small, models),
    ]


def _mask_rows(small: list[Photo], models: Models) -> list[Row]:
    """The segmenter's proposals and clicks, beside two baselines."""
    best = [_best_iou(p.image, p.mask, models) for p in small]
    clicks = np.array([clicked_ious(p.image, p.mask, models, max(CLICKS)) for p in small])
    rows = [mean_row("best proposal, mean IoU", best, 0.75)]
    rows += [
        mean_row(f"{k} simulated clicks, mean IoU", clicks[:, k - 1], bound)
        for k, bound in CLICKS.items()
    ]
    rows.append(mean_row("baseline: best Felzenszwalb region, mean IoU", map(_felzenszwalb, small)))
    rows.append(mean_row("baseline: GrabCut from the true box, mean IoU", map(_grabcut, small)))
    return rows


def _filler_rows(photos: list[Photo], models: Models) -> list[Row]:
    """Holes of another photo's shape, where the truth is known, and holes of the own object."""
    moved = [
        (
            p.image,
            cv2.resize(photos[i - 1].mask.astype(np.uint8), p.image.shape[1::-1]) > 0,
            p.image,
        )
        for i, p in enumerate(photos)
    ]
    usable = [t for t in moved if 0 < t[1].mean() < 0.5]
    shares = []
    for photo in photos:
        hole = grown(photo.mask)
        if 0 < hole.mean() < 0.5:
            shares.append(texture(models.inpainter(photo.image, hole), hole))
    shares = [share for share in shares if np.isfinite(share)]
    middle_one = float(np.median(shares)) if shares else float("nan")
    name = "filler, texture in the hole relative to around it, median of its own fills"
    return [
        filler_row(usable, models, 0.90, ", holes of another photo's shape"),
        Row(name, middle_one, len(shares), 0.5),
    ]


def _naming_rows(photos: list[Photo], models: Models) -> list[Row]:
    """The ranker on the true masks: few words, COCO's words, and all of its words."""
    ranker = models.ranker
    few, first, fifth, sure, right = [], [], [], [], []
    for photo in photos:
        if not photo.mask.any() or not ranker.knows(photo.category):
            continue
        one, word = [as_proposal(photo.mask)], photo.category
        if word in ("bird", "cat", "dog"):
            chances = ranker.view_probabilities(photo.image, one, CONCEPTS)[0]
            few.append(CONCEPTS[int(chances.argmax())] == word)
        if word in COCO_WORDS:
            best = np.argsort(-ranker.view_probabilities(photo.image, one, COCO_WORDS)[0])[:5]
            first.append(COCO_WORDS[best[0]] == word)
            fifth.append(word in [COCO_WORDS[k] for k in best])
        chances = ranker.view_probabilities(photo.image, one, ranker.labels(word))[0]
        sure.append(float(chances.max()))
        right.append(int(chances.argmax()) == 0)
    error = calibration_error(sure, right)
    return [
        mean_row("ranker, bird, cat, dog among the 12 concepts, top-1", few, 0.92),
        mean_row("ranker, COCO's 80 words, top-1", first, 0.60),
        mean_row("ranker, COCO's 80 words, top-5", fifth, 0.82),
        mean_row("ranker, among all of its words, top-1", right),
        Row("ranker, expected calibration error of these", error, len(sure), None, False),
    ]


def _loop_rows(photos: list[Photo], models: Models) -> list[Row]:
    """The automatic loop on photos whose concept the ranker knows."""
    good, wrong = [], []
    for photo in photos:
        if not photo.mask.any() or not models.ranker.knows(photo.category):
            continue
        proposed = pipeline.propose(photo.image, photo.category, models)
        chosen = proposed.chosen
        found = None if chosen is None else proposed.ranked[chosen].proposal.mask
        share = 0.0 if found is None else iou(found, photo.mask)
        good.append(share >= GOOD_IOU)
        wrong.append(found is not None and (found & photo.mask).sum() < MOSTLY * found.sum())
    name = f"automatic loop, selected with IoU ≥ {GOOD_IOU}"
    other = float(np.mean(wrong)) if wrong else float("nan")
    return [
        mean_row(name, good, 0.55),
        Row("automatic loop, another object selected", other, len(wrong), 0.05, False),
    ]


def _shrink(photo: Photo) -> Photo:
    """The photo with its longest side at 256 px."""
    scale = 256 / max(photo.mask.shape)
    size = tuple(max(8, round(n * scale)) for n in photo.mask.shape[::-1])
    image = cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(photo.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return Photo(image, mask, photo.category, photo.name)


def _felzenszwalb(photo: Photo) -> float:
    """IoU of the best of all Felzenszwalb regions at four scales."""
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise ForgetmeError(
            "the photo baselines need scikit-image; pip install -r requirements-dev.txt"
        ) from error
    best = 0.0
    for scale in (50, 150, 400, 1000):
        regions = felzenszwalb(photo.image, scale=scale, sigma=0.8, min_size=50)
        best = max(best, *(iou(regions == k, photo.mask) for k in np.unique(regions)))
    return best


def _grabcut(photo: Photo) -> float:
    """IoU of OpenCV's GrabCut, five rounds from the true box."""
    labels = np.zeros(photo.mask.shape, np.uint8)
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    box = box_xywh(photo.mask)
    if box[2] >= photo.mask.shape[1] - 1 and box[3] >= photo.mask.shape[0] - 1:
        return iou(np.ones_like(photo.mask), photo.mask)
    cv2.grabCut(photo.image, labels, box, models[0], models[1], 5, cv2.GC_INIT_WITH_RECT)
    return iou((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), photo.mask)
