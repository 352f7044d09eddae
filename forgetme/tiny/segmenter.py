"""Trains the bundled segmenter: a small Segment Anything on drawn scenes and photos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from safetensors.torch import save_file

from forgetme.stages.lite_sam import BACKBONE, folded
from forgetme.stages.sam import build_sam, mask_logits, read_own
from forgetme.tiny.backbone import lite0
from forgetme.tiny.bank import PhotoBank, SceneBank, photo_bank, scene_bank
from forgetme.tiny.loop import TrainSettings, fit

SETTINGS = TrainSettings(steps=2000, batch=5, lr=1e-3, warmup=60, weight_decay=0.05)
SIZE = 256  # pixels a side of the model's input
LOW = 128  # pixels a side of its masks
PROMPTS = 3  # clicked objects an image
CONFIG = {
    "backbone": BACKBONE,
    "image_size": SIZE,
    "embed_dim": 128,
    "depth": 2,
    "num_heads": 4,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "decoder_mlp_dim": 256,
    "points_per_side": 16,
    "pred_iou_thresh": 0.3,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 0.8,
    "mask_nms_thresh": 0.85,
    "merge_thresh": 0.75,
    "snap_radius": 8,
    "snap_smooth": 1e-5,
    "min_mask_region_area": 12,
}
FROZEN = ("conv_stem", "blocks.0.", "blocks.1.")  # of the backbone: edges and textures stay
SLOWER = {"image_encoder.backbone": 0.1}  # learns at this share of the rate


def load_backbone(backbone: torch.nn.Module) -> None:
    """Puts ImageNet's weights into a `folded` EfficientNet-Lite0.

    Raises:
        MissingModelError: the package that brings them is absent, or its file is another one.
    """
    plain = timm.create_model(BACKBONE, features_only=True, pretrained=False).eval()
    plain.load_state_dict(lite0().state_dict(), strict=False)  # no classifier here
    backbone.load_state_dict(folded(plain).state_dict())


def freeze(backbone: torch.nn.Module, names: tuple[str, ...]) -> None:
    """Stops the parameters from learning whose name starts with one of these."""
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(not name.startswith(names))


class Pictures:
    """Draws pictures with labelled objects: image (S, S, 3) uint8, ids (S, S) uint8, known."""

    def __init__(self, bank: SceneBank, photos: PhotoBank | None) -> None:
        """Args: the drawn scenes; photos with true masks (none = drawn only)."""
        self.bank, self.photos = bank, photos

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
        """One picture; `known`: id 0 is truly background (photos hold unlabelled things)."""
        known = self.photos is None or rng.random() < 0.25
        if known:
            row = int(rng.integers(len(self.bank.images)))
            image, ids = self.bank.images[row], self.bank.ids[row]
            if rng.random() < 0.3:
                image, ids = _zoom(rng, image, ids, 0.6, 1.0)
        else:
            image, ids = self._photo(rng)
        if rng.random() < 0.5:
            image, ids = image[:, ::-1], ids[:, ::-1]
        gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
        image = np.clip(image * gain + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
        return *_placed(image, ids), known

    def _photo(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A photo with its objects, sometimes with cut-outs of other photos pasted over it."""
        image, ids = self.photos.photo(rng.integers(len(self.photos.images)))
        if rng.random() < 0.4:  # whole, as the segmenter sees it
            scale = SIZE / max(ids.shape) * rng.choice([1.0, rng.uniform(0.8, 1.0)])
            size = tuple(max(8, round(n * scale)) for n in ids.shape[::-1])
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, size, interpolation=how)
            return image, cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
        image, ids = _zoom(rng, image, ids, 0.45, 1.15)
        if rng.random() < 0.7:
            return image, ids
        for _ in range(int(rng.integers(1, 3))):
            row = rng.integers(len(self.photos.images))
            other, labels = self.photos.photo(row)
            mask = labels == rng.integers(1, max(1, labels.max()) + 1)
            ys, xs = np.nonzero(mask)
            if len(xs) < 400:
                continue
            box = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
            cut, mask = other[box], mask[box].astype(np.float32)
            scale = SIZE * rng.uniform(0.15, 0.6) / max(mask.shape)
            width, height = (max(8, int(n * scale)) for n in mask.shape[::-1])
            cut = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
            if rng.random() < 0.5:
                cut, mask = cut[:, ::-1], mask[:, ::-1]
            cut = np.clip(cut * rng.uniform(0.7, 1.3), 0, 255)
            x = int(rng.integers(-width // 4, SIZE - 3 * width // 4))
            y = int(rng.integers(-height // 4, SIZE - 3 * height // 4))
            x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, SIZE), min(y + height, SIZE)
            matte = mask[y0 - y : y1 - y, x0 - x : x1 - x, None]
            part = image[y0:y1, x0:x1]
            piece = cut[y0 - y : y1 - y, x0 - x : x1 - x]
            image[y0:y1, x0:x1] = part * (1 - matte) + piece * matte
            ids[y0:y1, x0:x1][matte[..., 0] > 0.5] = ids.max() + 1
        return image, ids


def _placed(image: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At the top left of a square, as Sam places it; grey is the mean that it pads with."""
    height, width = ids.shape
    square = np.full((SIZE, SIZE, 3), 127, np.uint8)
    square[:height, :width] = image
    return square, np.pad(ids, ((0, SIZE - height), (0, SIZE - width)))


def _zoom(
    rng: np.random.Generator, image: np.ndarray, ids: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """A random window of `low`..`high` times the longest side, stretched a little, at SIZE."""
    side = max(image.shape[:2]) * rng.uniform(low, high)
    sx, sy = SIZE / side * np.exp(rng.normal(0, 0.1, 2))
    ys, xs = np.nonzero(ids)
    i = rng.integers(len(xs)) if len(xs) else None
    cx, cy = (xs[i], ys[i]) if i is not None else (image.shape[1] / 2, image.shape[0] / 2)
    px, py = rng.uniform(0.25, 0.75, 2) * SIZE  # the chosen object pixel lands here
    move = np.float32([[sx, 0, px - cx * sx], [0, sy, py - cy * sy]])
    border = cv2.BORDER_REFLECT if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    how = cv2.INTER_AREA if sx < 1 else cv2.INTER_LINEAR
    out = cv2.warpAffine(
        image, move, (SIZE, SIZE), flags=how, borderMode=border, borderValue=(127, 127, 127)
    )
    return out, cv2.warpAffine(ids, move, (SIZE, SIZE), flags=cv2.INTER_NEAREST)


def mask_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with soft borders plus dice, per mask. Shapes (N, K, h, w), (N, 1, h, w)."""
    target = target.expand_as(logits)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # hard pixels count more (focal), and so do the pixels of small objects
    focal = (entropy * (torch.sigmoid(logits) - target).abs()).mean((2, 3))
    soft = torch.sigmoid(logits)
    dice = 1 - (2 * (soft * target).sum((2, 3)) + 1) / (soft.sum((2, 3)) + target.sum((2, 3)) + 1)
    return 10 * focal + 0.5 * entropy.mean((2, 3)) + dice


def click_loss(
    logits: torch.Tensor, target: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy (N,) at the clicks alone: a click that is not heeded is of no use.

    Args:
        logits: (N, 1, h, w).
        target: (N, 1, h, w) in 0..1.
        points: (N, T, 2) pixels of the input, the newest last and counted twice.
        labels: (N, T), -1 = no click.
    """
    where = (points / SIZE * 2 - 1)[:, :, None].float()  # (N, T, 1, 2) in -1..1
    at, truth = (
        torch.nn.functional.grid_sample(x, where, align_corners=False)[:, 0, :, 0]
        for x in (logits, target)
    )
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(at, truth, reduction="none")
    weight = (labels >= 0).float()
    weight[:, -1] *= 2
    return (entropy * weight).sum(1) / weight.sum(1).clamp(min=1)


def true_iou(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """IoU of the thresholded masks with the target, (N, K)."""
    ours, truth = logits > 0, (target > 0.5).expand_as(logits)
    return (ours & truth).sum((2, 3)) / (ours | truth).sum((2, 3)).clamp(min=1)


def error_point(rng: np.random.Generator, wrong: np.ndarray) -> tuple[int, int] | None:
    """A pixel (x, y) well inside the largest wrong region of a boolean mask, or None."""
    if not wrong.any():
        return None
    distance = cv2.distanceTransform(np.pad(wrong, 1).view(np.uint8), cv2.DIST_L1, 3)[1:-1, 1:-1]
    ys, xs = np.nonzero(distance > rng.uniform(0.5, 1.0) * distance.max() - 1e-6)
    i = rng.integers(len(xs))
    return int(xs[i]), int(ys[i])


def error_clicks(
    rng: np.random.Generator, truth: np.ndarray, ours: Sequence[np.ndarray], wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The next click on each of N masks: in its largest error, positive where object is missing.

    Returns:
        points (N, 1, 2) float32 at pixel centres and labels (N, 1): 1, 0, or -1 for no click.
    """
    points = np.zeros((len(truth), 1, 2), np.float32)
    labels = -np.ones((len(truth), 1), np.int64)
    for n in np.flatnonzero(wanted):
        missing, surplus = truth[n] & ~ours[n], ours[n] & ~truth[n]
        label = int(missing.sum() >= surplus.sum())
        point = error_point(rng, missing if label else surplus)
        if point is not None:
            points[n, 0], labels[n, 0] = np.array(point) + 0.5, label
    return points, labels


def roughen(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """A mask as a hurried hand would draw it: too large, too small, shifted, or cut off."""
    kind, px = rng.integers(4), int(rng.integers(2, 10))
    if kind == 0:
        return cv2.dilate(mask.view(np.uint8), np.ones((px, px), np.uint8)) > 0
    if kind == 1:
        return cv2.erode(mask.view(np.uint8), np.ones((px, px), np.uint8)) > 0
    if kind == 2:
        return np.roll(mask, rng.integers(-px, px + 1, 2), (0, 1))
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return mask
    i = rng.integers(len(xs))
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    return mask & ((x - xs[i]) * np.cos(turn) + (y - ys[i]) * np.sin(turn) > 0)


def first_prompts(
    rng: np.random.Generator, ids: np.ndarray, known: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """PROMPTS clicks on a picture.

    Returns:
        points (P, 2) x, y; masks (P, S, S) bool; boxes (P, 4) xyxy; is_object (P,) bool: a click
        on known background asks for a low predicted IoU only.
    """
    present = [k for k in np.unique(ids) if k and (ids == k).sum() > 60]
    points, masks, boxes, real = [], [], [], []
    for p in range(PROMPTS):
        empty = not present or (known and p == PROMPTS - 1)
        mask = np.zeros(ids.shape, bool) if empty else ids == present[rng.integers(len(present))]
        where = (ids == 0) if empty else mask
        ys, xs = np.nonzero(where)
        if not len(xs):
            xs, ys = np.array([SIZE // 2]), np.array([SIZE // 2])
        i = rng.integers(len(xs))
        point = (xs[i], ys[i])
        if not empty and rng.random() < 0.4:
            point = error_point(rng, mask)
        box = (xs.min(), ys.min(), xs.max(), ys.max())
        shake = rng.normal(0, 0.06, 4) * (box[2] - box[0] + box[3] - box[1]) / 2
        points.append(point)
        masks.append(mask)
        boxes.append(np.array(box) + shake)
        real.append(not empty)
    return np.float32(points), np.stack(masks), np.float32(boxes), np.array(real)


def train(
    out: Path,
    work: Path,
    *,
    photos: Path | None = None,
    settings: TrainSettings = SETTINGS,
    minutes: float | None = None,
    scenes: int = 3000,
    start: Path | None = None,
) -> dict[str, int]:
    """Trains the segmenter and writes `segmenter.safetensors` and `segmenter.json` to `out`.

    A step shows each object one click (or a box or a rough mask), takes one of three masks, then
    often clicks up to four times more where the mask is wrong, as SAM's own training does.

    Args:
        out: the folder of bundled weights.
        work: scene banks, checkpoint and log.
        photos: folder that holds `photos_train/` and `coco_train/`; None = drawn scenes only.
        settings: the schedule.
        minutes: stop early after this long; call again to go on.
        scenes: size of the scene bank.
        start: folder of earlier weights to begin with; None = fresh ones.

    Returns:
        Number of parameters by part.
    """
    bank = scene_bank(work / "scenes", scenes)
    sources = [photos / name for name in ("photos_train", "coco_train")] if photos else []
    real = photo_bank(work / "photos", sources) if photos else None
    pictures = Pictures(bank, real)
    torch.manual_seed(settings.seed)
    if start is None:
        sam = build_sam(CONFIG)
        load_backbone(sam.image_encoder.backbone)
        freeze(sam.image_encoder.backbone, ("",))
    else:
        sam = read_own(start)[0]
        freeze(sam.image_encoder.backbone, FROZEN)
    sam = sam.to(memory_format=torch.channels_last)
    device = settings.device

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        drawn = [pictures.draw(rng) for _ in range(settings.batch)]
        prompts = [first_prompts(rng, ids, known) for _, ids, known in drawn]
        points = np.concatenate([p[0] for p in prompts])[:, None] + 0.5  # (N, 1, 2)
        masks = np.concatenate([p[1] for p in prompts])  # (N, S, S)
        boxes = np.concatenate([p[2] for p in prompts])
        is_object = torch.from_numpy(np.concatenate([p[3] for p in prompts])).to(device)
        target = torch.from_numpy(masks).to(device).float()[:, None]
        target = torch.nn.functional.avg_pool2d(target, SIZE // LOW)  # (N, 1, 128, 128) soft
        pixels = torch.from_numpy(np.stack([d[0] for d in drawn])).permute(0, 3, 1, 2)
        pixels = (pixels.to(device) - sam.pixel_mean) / sam.pixel_std
        labels = np.ones(points.shape[:2], np.int64)
        count = is_object.sum().clamp(min=1)
        embeddings = sam.image_encoder(pixels)
        start = rng.random()
        use_box, previous, total, values = start < 0.12, None, 0.0, {}
        if start > 0.88:  # mend a rough mask, as a curator does
            rough = [roughen(rng, mask) for mask in masks]
            previous = torch.from_numpy(np.stack([mask_logits(one, LOW) for one in rough]))
            previous = previous.to(device)
            points, labels = error_clicks(rng, masks, rough, is_object.cpu().numpy())
            if rng.random() < 0.5:  # the mask alone: clicks that are none
                labels[:] = -1
        turns = int(rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.25, 0.25, 0.15, 0.15]))
        for turn in range(turns):
            learns = turn in (0, turns - 1)
            clicks = (torch.from_numpy(points).to(device), torch.from_numpy(labels).to(device))
            box = torch.from_numpy(boxes).to(device) if use_box and turn == 0 else None
            clicks = None if box is not None or (labels == -1).all() else clicks
            with torch.set_grad_enabled(learns):
                sparse, dense = sam.prompt_encoder(points=clicks, boxes=box, masks=previous)
                logits, iou = sam.mask_decoder.predict_masks(
                    embeddings, sam.prompt_encoder.get_dense_pe(), sparse, dense
                )
            truth = true_iou(logits.detach(), target)
            pick = torch.zeros(len(logits), dtype=torch.long, device=device)
            if turn == 0:
                losses = mask_loss(logits, target)  # (N, 4)
                best = losses[:, 1:].argmin(1)
                several = losses[:, 1:].gather(1, best[:, None])[:, 0]
                per_object = several + 0.05 * losses[:, 1:].mean(1) + 0.5 * losses[:, 0]
                pick = 1 + (iou[:, 1:].argmax(1) if rng.random() < 0.5 else best)
                shown = truth.gather(1, 1 + iou[:, 1:].argmax(1, keepdim=True))[:, 0]
                values["best1"] = _mean_of(truth[:, 1:].max(1).values, is_object)
            else:
                per_object = mask_loss(logits[:, :1], target)[:, 0] if learns else None
                shown = truth[:, 0]
            values[f"iou{turn + 1}"] = _mean_of(shown, is_object)
            if learns:
                if clicks is not None:
                    per_object = per_object + click_loss(logits[:, :1], target, *clicks)
                total = total + (per_object * is_object).sum() / count
                total = total + ((iou - truth) ** 2).mean()
            if turn + 1 == turns:
                break
            previous = logits.detach().gather(1, pick[:, None, None, None].expand(-1, 1, LOW, LOW))
            ours = torch.nn.functional.interpolate(previous, (SIZE, SIZE), mode="bilinear")[:, 0]
            extra, kind = error_clicks(
                rng, masks, (ours > 0).cpu().numpy(), is_object.cpu().numpy()
            )
            points, labels = np.concatenate([points, extra], 1), np.concatenate([labels, kind], 1)
        return total, values

    trained = fit(sam, loss_fn, settings, work / "segmenter", minutes=minutes, slower=SLOWER)
    save(trained, out)
    return {"segmenter": sum(p.numel() for p in trained.parameters())}


def _mean_of(values: torch.Tensor, chosen: torch.Tensor) -> float:
    return round(((values * chosen).sum() / chosen.sum().clamp(min=1)).item(), 3)


def save(sam: torch.nn.Module, out: Path) -> None:
    """Writes `segmenter.safetensors` (half precision) and `segmenter.json`."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in sam.state_dict().items()}
    save_file(weights, out / "segmenter.safetensors")
    (out / "segmenter.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
