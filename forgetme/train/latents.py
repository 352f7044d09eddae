"""Pictures as latents, made once and kept beside the run: a step then needs no autoencoder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from forgetme.record.images import read_image
from forgetme.train.data import Item, square
from forgetme.train.disk import writing
from forgetme.train.processes import autocast
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

log = logging.getLogger(__name__)

CHUNK = 8  # pictures at a time
DRAW_STEPS = 25
DRAW_GUIDANCE = 5.0


@torch.no_grad()
def encode(pipe: StableDiffusionPipeline, images: list[np.ndarray]) -> torch.Tensor:
    """Mean latents (N, C, h, w) float32 on the CPU, times the VAE's scaling factor.

    Args:
        pipe: the pipeline.
        images: each (S, S, 3) uint8, all of one size, a multiple of the VAE's factor.
    """
    parts = []
    for start in range(0, len(images), CHUNK):
        pixels = torch.from_numpy(np.stack(images[start : start + CHUNK])).permute(0, 3, 1, 2)
        pixels = (pixels.float() / 127.5 - 1).to(pipe.device, pipe.vae.dtype)
        parts.append(pipe.vae.encode(pixels).latent_dist.mean.float().cpu())
    return torch.cat(parts) * pipe.vae.config.scaling_factor


def layer_latents(
    pipe: StableDiffusionPipeline, items: list[Item], layer: str, cache: Path, key: str
) -> torch.Tensor:
    """Latents of one layer of all items, at the model's own size; kept in `cache` under a key."""
    path = cache / f"{layer}-{key}.safetensors"
    kept = _read(path)
    if kept is not None:
        return kept
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    z = encode(pipe, [square(read_image(getattr(item, layer)), side) for item in items])
    return _kept(path, z)


def retain_set(
    pipe: StableDiffusionPipeline, settings: RunSettings, cache: Path
) -> tuple[torch.Tensor, list[str]]:
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
    if not prompts:
        return torch.zeros(0), []
    path = cache / f"retain-{settings.seed}-{len(prompts)}.safetensors"
    kept = _read(path)
    if kept is not None:
        return kept, prompts
    parts = []
    for start in range(0, len(prompts), CHUNK):
        some = prompts[start : start + CHUNK]
        seeds = [
            torch.Generator().manual_seed(settings.seed * 100_003 + start + i)
            for i in range(len(some))
        ]
        with autocast(pipe.device, settings):
            drawn = pipe(
                some,
                num_inference_steps=DRAW_STEPS,
                guidance_scale=DRAW_GUIDANCE,
                generator=seeds,
                output_type="latent",
            ).images
        parts.append(drawn.float().cpu())
    z = torch.cat(parts)
    return _kept(path, z), prompts


def _read(path: Path) -> torch.Tensor | None:
    """Reads kept latents; None where there are none, or where they are damaged."""
    if not path.is_file():
        return None
    try:
        return load_file(path)["z"]
    except (SafetensorError, OSError, KeyError) as error:
        log.warning("%s is damaged (%s); made again", path, error)
        return None


def _kept(path: Path, z: torch.Tensor) -> torch.Tensor:
    """Writes latents and gives them in the layout in which they will be read again."""
    z = z.contiguous()  # another layout would round differently
    with writing(path) as new:
        save_file({"z": z}, new)
    return z
