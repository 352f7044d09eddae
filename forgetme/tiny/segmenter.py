"""Trains the bundled segmenter: a small Segment Anything on drawn scenes and photos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from forgetme.stages.sam import build_sam, mask_logits, read_own
from forgetme.tiny.bank import Photo, SceneBank, read_photos, scene_bank
from forgetme.tiny.loop import TrainSettings, autocast, fit

SETTINGS = TrainSettings(steps=4500, batch=8, lr=8e-4, warmup=200, weight_decay=0.05)
SIZE = 256  # pixels a side of the model's input
LOW = 64  # pixels a side of its masks
PROMPTS = 4  # clicked objects an image
CONFIG = {
    "image_size": SIZE,
    "patch_size": 16,
    "stem": [32, 64, 128],
    "embed_dim": 192,
    "depth": 4,
    "num_heads": 6,
    "global_attn_indexes": [],
    "window_size": 0,
    "use_rel_pos": False,
    "prompt_embed_dim": 128,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "decoder_mlp_dim": 256,
    "iou_head_hidden_dim": 128,
    "mask_in_chans": 16,
    "points_per_side": 16,
    "pred_iou_thresh": 0.3,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 0.8,
    "mask_nms_thresh": 0.85,
    "merge_thresh": 0.75,
    "second_look": True,
    "snap_radius": 16,
    "snap_smooth": 1e-5,
    "min_mask_region_area": 12,
}


class Pictures:
    """Draws pictures with labelled objects: image (S, S, 3) uint8, ids (S, S) uint8, known."""

    def __init__(self, bank: SceneBank, photos: list[Photo]) -> None:
        """Args: the drawn scenes; photos with one true mask each (none = drawn only)."""
        self.bank, self.photos = bank, photos

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
        """One picture; `known`: id 0 is truly background (photos hold unlabelled things)."""
        if self.photos and rng.random() < 0.4:
            image, ids = self._photo(rng)
            known = False
        else:
            row = int(rng.integers(len(self.bank.images)))
            image, ids, known = self.bank.images[row], self.bank.ids[row], True
            if rng.random() < 0.3:
                image, ids = _zoom(rng, image, ids, 0.6, 1.0)
        if rng.random() < 0.5:
            image, ids = image[:, ::-1], ids[:, ::-1]
        gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
        image = np.clip(image * gain + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
        return image, np.ascontiguousarray(ids), known

    def _photo(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A photo with its object, often with the cut-outs of other photos pasted over it."""
        photo = self.photos[rng.integers(len(self.photos))]
        image, ids = _zoom(rng, photo.image, photo.mask.astype(np.uint8), 0.45, 1.15)
        if rng.random() < 0.35:
            return image, ids
        for k in range(2, 2 + int(rng.integers(1, 4))):
            other = self.photos[rng.integers(len(self.photos))]
            ys, xs = np.nonzero(other.mask)
            if len(xs) < 400:
                continue
            box = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
            cut, mask = other.image[box], other.mask[box].astype(np.float32)
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
            ids[y0:y1, x0:x1][matte[..., 0] > 0.5] = k
        return image, ids


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
    out = cv2.warpAffine(image, move, (SIZE, SIZE), flags=cv2.INTER_AREA, borderMode=border)
    return out, cv2.warpAffine(ids, move, (SIZE, SIZE), flags=cv2.INTER_NEAREST)


def predict(sam: torch.nn.Module, embeddings: torch.Tensor, sparse: torch.Tensor, dense) -> tuple:
    """Masks and their predicted IoU for P prompts on each of B images, in one batch.

    `segment_anything`'s decoder takes one image a call; here its parts run over B x P.

    Returns:
        Logits (B*P, 4, 64, 64), token 0 the single-mask output, and IoU (B*P, 4).
    """
    decoder = sam.mask_decoder
    each = sparse.shape[0] // embeddings.shape[0]
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([tokens.expand(sparse.shape[0], -1, -1), sparse], 1)
    source = embeddings.repeat_interleave(each, 0) + dense  # (B*P, C, 16, 16)
    position = sam.prompt_encoder.get_dense_pe().expand(source.shape[0], -1, -1, -1)
    hidden, source = decoder.transformer(source, position, tokens)
    n, c = source.shape[0], source.shape[2]
    grid = int(source.shape[1] ** 0.5)
    upscaled = decoder.output_upscaling(source.transpose(1, 2).reshape(n, c, grid, grid))
    weights = torch.stack(
        [mlp(hidden[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1
    )
    masks = (weights @ upscaled.flatten(2)).view(n, -1, LOW, LOW)
    return masks.float(), decoder.iou_prediction_head(hidden[:, 0]).float()


def mask_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with soft borders plus dice, per mask. Shapes (N, K, h, w), (N, 1, h, w)."""
    target = target.expand_as(logits)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # hard pixels count more (focal), and so do the pixels of small objects
    focal = (entropy * (torch.sigmoid(logits) - target).abs()).mean((2, 3))
    soft = torch.sigmoid(logits)
    dice = 1 - (2 * (soft * target).sum((2, 3)) + 1) / (soft.sum((2, 3)) + target.sum((2, 3)) + 1)
    return 10 * focal + 0.5 * entropy.mean((2, 3)) + dice


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
    scenes: int = 5000,
    start: Path | None = None,
) -> dict[str, int]:
    """Trains the segmenter and writes `segmenter.safetensors` and `segmenter.json` to `out`.

    A step shows each object one click (or a box), takes the best of three masks, then often clicks
    once or twice more where the mask is wrong, as SAM's own training does.

    Args:
        out: the folder of bundled weights.
        work: scene banks, checkpoint and log.
        photos: folder that holds `coco_train/`; None = drawn scenes only.
        settings: the schedule.
        minutes: stop early after this long; call again to go on.
        scenes: size of the scene bank.
        start: folder of earlier weights to begin with; None = fresh ones.

    Returns:
        Number of parameters by part.
    """
    bank = scene_bank(work / "scenes", scenes)
    real = [p for p in read_photos(photos / "coco_train") if p.mask.sum() > 300] if photos else []
    pictures = Pictures(bank, real)
    torch.manual_seed(settings.seed)
    sam = build_sam(CONFIG) if start is None else read_own(start)[0]
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
        target = torch.nn.functional.avg_pool2d(target, SIZE // LOW)  # (N, 1, 64, 64) soft
        pixels = torch.from_numpy(np.stack([d[0] for d in drawn])).permute(0, 3, 1, 2)
        pixels = (pixels.to(device) - sam.pixel_mean) / sam.pixel_std
        labels = np.ones(points.shape[:2], np.int64)
        count = is_object.sum().clamp(min=1)
        with autocast(device):
            embeddings = sam.image_encoder(pixels)
        start = rng.random()
        use_box, previous, total, values = start < 0.15, None, 0.0, {}
        if start > 0.85:  # mend a rough mask, as a curator does
            rough = [roughen(rng, mask) for mask in masks]
            previous = torch.from_numpy(np.stack([mask_logits(one, LOW) for one in rough]))
            previous = previous.to(device)
            points, labels = error_clicks(rng, masks, rough, is_object.cpu().numpy())
        turns = int(rng.choice([1, 2, 3], p=[0.4, 0.35, 0.25]))
        for turn in range(turns):
            with autocast(device):
                clicks = (torch.from_numpy(points).to(device), torch.from_numpy(labels).to(device))
                box = torch.from_numpy(boxes).to(device) if use_box and turn == 0 else None
                sparse, dense = sam.prompt_encoder(
                    points=None if box is not None else clicks, boxes=box, masks=previous
                )
                logits, iou = predict(sam, embeddings, sparse, dense)
            losses = mask_loss(logits, target)  # (N, 4)
            truth = true_iou(logits.detach(), target)
            single = losses[:, 0]
            if turn == 0:
                best = losses[:, 1:].argmin(1)
                several = losses[:, 1:].gather(1, best[:, None])[:, 0] + 0.05 * losses[:, 1:].mean(
                    1
                )
                per_object = several + 0.5 * single
                pick = 1 + best
                values["iou1"] = (
                    truth[:, 1:].max(1).values * is_object
                ).sum().item() / count.item()
            else:
                per_object, pick = single, torch.zeros_like(best)
                values[f"iou{turn + 1}"] = (truth[:, 0] * is_object).sum().item() / count.item()
            total = total + (per_object * is_object).sum() / count
            total = total + ((iou - truth) ** 2).mean()
            chosen = logits.detach().gather(1, pick[:, None, None, None].expand(-1, 1, LOW, LOW))
            if turn + 1 == turns:
                break
            previous = chosen
            ours = torch.nn.functional.interpolate(chosen, (SIZE, SIZE), mode="bilinear")[:, 0] > 0
            extra, kind = error_clicks(rng, masks, ours.cpu().numpy(), is_object.cpu().numpy())
            points, labels = np.concatenate([points, extra], 1), np.concatenate([labels, kind], 1)
        return total, {k: round(v, 3) for k, v in values.items()}

    trained = fit(sam, loss_fn, settings, work / "segmenter", minutes=minutes)
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in trained.state_dict().items()}
    save_file(weights, out / "segmenter.safetensors")
    (out / "segmenter.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    return {"segmenter": sum(p.numel() for p in trained.parameters())}
