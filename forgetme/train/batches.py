"""What the steps of a run see: latents made once, and the rows, times and noise of each step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from forgetme.train.context import Context
from forgetme.train.data import Item
from forgetme.train.latents import layer_latents, retain_set
from forgetme.train.method import Batch, Method
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


@dataclass(frozen=True)
class Latents:
    """Latents on the CPU; an empty tensor where the method needs none."""

    original: torch.Tensor
    background: torch.Tensor
    retain: torch.Tensor
    prompts: list[str]


def make_latents(
    pipe: StableDiffusionPipeline,
    method: Method,
    items: list[Item],
    settings: RunSettings,
    cache: Path,
    key: str,
) -> Latents:
    """Encodes what the method needs, or reads it from the cache of an earlier call."""
    none = torch.zeros(0)
    original = background = none
    if "original" in method.needs:
        original = layer_latents(pipe, items, "original", cache, key)
    if "background" in method.needs:
        background = layer_latents(pipe, items, "background", cache, key)
    return Latents(original, background, *retain_set(pipe, settings, cache))


def draw_batch(
    data: Latents,
    settings: RunSettings,
    seed: int,
    device: torch.device,
    context: Context,
    share: slice,
) -> Batch:
    """Draws one batch, of which everything depends on the seed alone, and keeps a share of it."""
    generator = torch.Generator().manual_seed(seed)
    size, times = settings.batch, context.scheduler.config.num_train_timesteps

    def pick(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        return z[rows[share]].to(device) if len(z) else None

    count = max(len(data.original), len(data.background), 1)
    rows = torch.randint(count, (size,), generator=generator)
    retain_rows = torch.randint(max(1, len(data.retain)), (size,), generator=generator)
    t, retain_t = torch.randint(times, (2, size), generator=generator)[:, share].to(device)
    noise = torch.randn((2, size, *context.latent_shape), generator=generator)
    eps, retain_eps = noise[:, share].to(device)
    return Batch(
        original=pick(data.original, rows),
        background=pick(data.background, rows),
        t=t,
        eps=eps,
        retain=pick(data.retain, retain_rows),
        retain_prompts=[data.prompts[int(i)] for i in retain_rows[share]] if data.prompts else [],
        retain_t=retain_t,
        retain_eps=retain_eps,
        generator=generator,
    )
