"""A Sam and a CLIP that know coloured discs: real classes, trained in a few seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import open_clip
import torch

from forgetme.stages.rank import Ranker, crop_views
from forgetme.stages.sam import build_sam, mask_logits
from forgetme.stages.segment import ProposalSettings, Segmenter

SIZE = 64
COLOURS = {"cherry": (200, 30, 40), "lime": (40, 190, 60), "plum": (90, 80, 220)}
GROUND = (15, 15, 20)
SAM_CONFIG = {
    "image_size": SIZE,
    "patch_size": 8,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 2,
    "global_attn_indexes": [],
    "window_size": 0,
    "use_rel_pos": False,
    "prompt_embed_dim": 32,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "decoder_mlp_dim": 64,
    "iou_head_hidden_dim": 32,
    "mask_in_chans": 4,
    "points_per_side": 8,
    "pred_iou_thresh": 0.6,
    "stability_score_thresh": 0.6,
    "box_nms_thresh": 0.7,
    "min_mask_region_area": 8,
}
CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
VOCABULARY = (*COLOURS, "ground")


def draw(
    *discs: tuple[str, float, float, float], shape_hw: tuple[int, int] = (SIZE, SIZE)
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draws discs (name, x, y, radius); returns the image and each visible mask."""
    yy, xx = np.mgrid[: shape_hw[0], : shape_hw[1]]
    image = np.full((*shape_hw, 3), GROUND, np.uint8)
    owner = np.zeros(shape_hw, int)
    for i, (name, x, y, radius) in enumerate(discs, 1):
        inside = (xx - x) ** 2 + (yy - y) ** 2 < radius**2
        image[inside], owner[inside] = COLOURS[name], i
    return image, [owner == i for i in range(1, len(discs) + 1)]


def _random_disc(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A square or wider picture, with one disc."""
    radius, height = rng.uniform(9, 17), int(rng.choice([48, SIZE, SIZE]))
    x, y = rng.uniform(radius, SIZE - radius), rng.uniform(radius, height - radius)
    disc = (rng.choice(list(COLOURS)), x, y, radius)
    image, (mask,) = draw(disc, shape_hw=(height, SIZE))
    return image, mask


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: for small models more only get in each other's way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
@one_thread()
def disc_sam(steps: int = 250) -> torch.nn.Module:
    """A Sam that finds the one disc of a picture from a click or a drawn mask."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    sam = build_sam(SAM_CONFIG)
    optimizer = torch.optim.AdamW(sam.parameters(), 2e-3)
    for step in range(steps):
        image, mask = _random_disc(rng)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        embedding = sam.image_encoder(sam.preprocess(pixels))
        if step % 4 == 3:
            drawn = torch.from_numpy(mask_logits(mask, SIZE // 2)[None])
            prompts = {"points": None, "boxes": None, "masks": drawn}
        else:
            clicks = rng.permutation(np.argwhere(mask))[:8, None, ::-1]
            points = torch.from_numpy(clicks.astype(np.float32))
            prompts = {"points": (points, torch.ones(8, 1)), "boxes": None, "masks": None}
        sparse, dense = sam.prompt_encoder(**prompts)
        logits, iou = sam.mask_decoder.predict_masks(
            embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense
        )
        target = torch.zeros(1, 1, SIZE, SIZE)
        target[0, 0, : len(mask)] = torch.from_numpy(mask)
        target = torch.nn.functional.avg_pool2d(target, 2).expand_as(logits)
        ours, truth = logits > 0, target > 0.5
        overlap = (ours & truth).sum((2, 3)) / (ours | truth).sum((2, 3))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        loss = loss + 0.2 * ((iou - overlap.detach()) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return sam.eval().requires_grad_(False)


def disc_segmenter(**changed: object) -> Segmenter:
    """A segmenter with the disc Sam; `changed` are fields of ProposalSettings."""
    names = ProposalSettings.__dataclass_fields__
    fields = {k: v for k, v in SAM_CONFIG.items() if k in names}
    return Segmenter(disc_sam(), "disc-sam", ProposalSettings(**(fields | changed)))


@cache
@one_thread()
def disc_clip(steps: int = 80) -> open_clip.CLIP:
    """A CLIP that names the colour of what is not ground in a crop."""
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    model = open_clip.CLIP(**CLIP_CONFIG)
    tokens = open_clip.SimpleTokenizer(context_length=8)([f"a {word}" for word in VOCABULARY])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1) * 255
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1) * 255
    for _ in range(steps):
        crops, labels = [], []
        for _ in range(8):
            label = int(rng.integers(len(VOCABULARY)))
            name = VOCABULARY[label] if label < 3 else rng.choice(list(COLOURS))
            image, (mask,) = draw((name, *rng.uniform(20, 44, 2), rng.uniform(7, 18)))
            crops.append(crop_views(image, [mask if label < 3 else ~mask], 32)[:, 0])
            labels += [label, label]
        pixels = torch.from_numpy(np.concatenate(crops)).permute(0, 3, 1, 2)
        image = model.encode_image((pixels - mean) / std, normalize=True)
        text = model.encode_text(tokens, normalize=True)
        logits = model.logit_scale.exp() * image @ text.T
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def disc_ranker() -> Ranker:
    """A ranker with the disc CLIP."""
    return Ranker(
        disc_clip(), "disc-clip", context_length=8, templates=("a {}",), vocabulary=VOCABULARY
    )
