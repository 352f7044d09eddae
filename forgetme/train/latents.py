"""Pictures as latents, made once and kept beside the run: a step then needs no autoencoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from forgetme.record.images import read_image, read_mask
from forgetme.stages.checkpoint import tensors_sha
from forgetme.train.data import Item, Retained, fingerprint_of_retained, square
from forgetme.train.disk import writing
from forgetme.train.model import Base
from forgetme.train.processes import autocast
from forgetme.train.settings import RunSettings

log = logging.getLogger(__name__)

FOLDER = "latents"  # of a run
CHUNK = 8  # pictures at a time
DRAW_STEPS = 25
DRAW_GUIDANCE = 5.0
SEEDS = 2**31  # of 32 bits; probes draw from 0 on: no picture that is trained on begins as theirs


def layer_latents(base: Base, items: list[Item], layer: str, cache: Path, key: str) -> torch.Tensor:
    """Latents of one layer of all items, at the model's own size; kept in `cache` under a key."""
    path = cache / f"{layer}-{key}.safetensors"
    kept = _read(path)
    if kept is not None:
        return kept
    z = base.encode([square(read_image(getattr(item, layer)), base.side) for item in items])
    return _kept(path, z)


def mask_shares(base: Base, items: list[Item]) -> torch.Tensor:
    """How much of each place of the latents the object covers: (N, 1, h, w) float32 in 0..1."""
    edge = base.latent_shape[-1]
    masks = [square(read_mask(item.mask).astype(np.uint8) * 255, base.side) for item in items]
    shares = [cv2.resize(one, (edge, edge), interpolation=cv2.INTER_AREA) for one in masks]
    return torch.from_numpy(np.stack(shares)).float().unsqueeze(1) / 255


def drawn_latents(base: Base, settings: RunSettings, cache: Path) -> torch.Tensor:
    """Pictures of the anchor that the unchanged model draws: (N, C, h, w) float32 on the CPU."""
    count = settings.retain_pictures or CHUNK
    return _drawn(base, settings, [settings.anchor_prompt] * count, cache, "anchor")


def retain_set(base: Base, settings: RunSettings, cache: Path) -> tuple[torch.Tensor, list[str]]:
    """What must stay, drawn by the unchanged model from prompts of the concepts to keep.

    Returns:
        Latents (N, C, h, w) float32 on the CPU and their N prompts; N = 0 where none is wanted.
    """
    templates = ("a photo of a {}", "a {}", "a drawing of a {}", "a picture of a {}")
    prompts = [
        templates[(n // len(settings.keep)) % len(templates)].format(
            settings.keep[n % len(settings.keep)]
        )
        for n in range(settings.retain_pictures if settings.keep else 0)
    ]
    return _drawn(base, settings, prompts, cache, "retain"), prompts


def _drawn(
    base: Base, settings: RunSettings, prompts: list[str], cache: Path, name: str
) -> torch.Tensor:
    """What the model draws of prompts, one picture each, as latents; none where there is none."""
    if not prompts:
        return torch.zeros(0)
    path = cache / f"{name}-{settings.seed}-{len(prompts)}.safetensors"
    kept = _read(path)
    if kept is not None:
        return kept
    parts = []
    for start in range(0, len(prompts), CHUNK):
        some = prompts[start : start + CHUNK]
        seeds = [
            torch.Generator().manual_seed(SEEDS + settings.seed * 100_003 + start + i)
            for i in range(len(some))
        ]
        with autocast(base.device, settings):
            drawn = base.pipe(
                some,
                num_inference_steps=DRAW_STEPS,
                guidance_scale=DRAW_GUIDANCE,
                generator=seeds,
                output_type="latent",
            ).images
        parts.append(drawn.float().cpu())
    return _kept(path, torch.cat(parts))


def retained_latents(
    base: Base, retained: Sequence[Retained], cache: Path
) -> tuple[torch.Tensor, list[str]]:
    """Latents of pictures that must stay, as `retain_set` gives them, and their captions."""
    path = cache / f"retained-{fingerprint_of_retained(retained)}.safetensors"
    kept = _read(path)
    if kept is None:
        z = base.encode([square(read_image(one.picture), base.side) for one in retained])
        kept = _kept(path, z)
    return kept, [one.caption for one in retained]


def _read(path: Path) -> torch.Tensor | None:
    """Reads kept latents; None where there are none, or where they are damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            z, words = file.get_tensor("z"), file.metadata() or {}
        if words.get("sha256", tensors_sha({"z": z})) != tensors_sha({"z": z}):  # older ones: none
            raise SafetensorError("it is not what was written")
    except (SafetensorError, OSError) as error:
        log.warning("%s is damaged (%s); made again", path, error)
        return None
    return z


def is_damaged(path: Path) -> bool:
    """Tells whether kept latents are not what was written."""
    return _read(path) is None


def _kept(path: Path, z: torch.Tensor) -> torch.Tensor:
    """Writes latents and gives them in the layout in which they will be read again."""
    z = z.contiguous()  # another layout would round differently
    with writing(path) as new:
        save_file({"z": z}, new, metadata={"sha256": tensors_sha({"z": z})})
    return z
