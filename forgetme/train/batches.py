"""What the steps of a run see: latents made once, and the rows, times and noise of each step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from forgetme.record.concept import same
from forgetme.train.data import Item, Retained
from forgetme.train.latents import (
    drawn_latents,
    layer_latents,
    mask_shares,
    retain_set,
    retained_latents,
)
from forgetme.train.model import Base
from forgetme.train.settings import RunSettings


@dataclass(frozen=True)
class Latents:
    """Latents on the CPU; an empty tensor where the method needs none.

    Attributes:
        original, background: (N, C, h, w) of the concept's pictures.
        mask: (N, 1, h, w) in 0..1, how much of each place the object covers.
        retain: (M, C, h, w) of what must stay; `prompts`: theirs.
        drawn: (K, C, h, w) of pictures that the unchanged model drew of the anchor.
        targets: what is asked for N pictures: the prompts that are made to forget.
    """

    original: torch.Tensor
    background: torch.Tensor
    mask: torch.Tensor
    retain: torch.Tensor
    prompts: list[str]
    drawn: torch.Tensor
    targets: list[str]


@dataclass(frozen=True)
class Batch:
    """What one step sees; latents are scaled by the VAE's factor, all of one shape.

    Attributes:
        original: (B, C, h, w) latents with the concept; None where the method needs none.
        background: (B, C, h, w) latents of the same scenes without it; None likewise.
        t: (B,) int64 timesteps; `eps`: (B, C, h, w) noise.
        retain: (B, C, h, w) latents of what must stay; `retain_prompts`: theirs.
        retain_t, retain_eps: drawn apart from the forget side's.
        generator: for whatever else the method draws.
        prompts: B prompts that are made to forget, that of each picture's concept.
        mask: (B, 1, h, w) in 0..1, how much of each place the object covers; None likewise.
        drawn: (B, C, h, w) latents of what the unchanged model drew of the anchor; None likewise.
    """

    original: torch.Tensor | None
    background: torch.Tensor | None
    t: torch.Tensor
    eps: torch.Tensor
    retain: torch.Tensor | None
    retain_prompts: list[str]
    retain_t: torch.Tensor
    retain_eps: torch.Tensor
    generator: torch.Generator
    prompts: list[str]
    mask: torch.Tensor | None = None
    drawn: torch.Tensor | None = None


def make_latents(
    base: Base,
    needs: Collection[str],
    items: list[Item],
    settings: RunSettings,
    cache: Path,
    key: str,
    retained: Sequence[Retained] = (),
) -> Latents:
    """Encodes what the method needs, or reads it from the cache of an earlier call."""
    none = torch.zeros(0)
    original, background = (
        layer_latents(base, items, layer, cache, key) if layer in needs else none
        for layer in ("original", "background")
    )
    mask = mask_shares(base, items) if "mask" in needs else none
    retain = (
        retained_latents(base, retained, cache) if retained else retain_set(base, settings, cache)
    )
    drawn = drawn_latents(base, settings, cache) if "drawn" in needs else none
    targets = [_asked(item, settings) for item in items]
    return Latents(original, background, mask, *retain, drawn, targets)


def _asked(item: Item, settings: RunSettings) -> str:
    """The prompt that a picture answers; of a run with one concept all pictures are its."""
    known = zip(settings.concepts, settings.target_prompts, strict=True)
    found = (prompt for one, prompt in known if item.concept and same(one, item.concept))
    return next(found, settings.target_prompt)


def draw_batch(
    data: Latents,
    settings: RunSettings,
    seed: int,
    base: Base,
    share: slice,
) -> Batch:
    """Draws one batch, of which everything depends on the seed alone, and keeps a share of it."""
    generator = torch.Generator().manual_seed(seed)
    size, device = settings.batch, base.device

    def pick(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        return z[rows[share]].to(device) if len(z) else None

    pictures = max(len(data.original), len(data.background), len(data.mask))
    count = max(pictures, len(data.drawn), 1)
    rows = torch.randint(count, (size,), generator=generator)
    retain_rows = torch.randint(max(1, len(data.retain)), (size,), generator=generator)
    t, retain_t = torch.randint(base.times, (2, size), generator=generator)[:, share].to(device)
    noise = torch.randn((2, size, *base.latent_shape), generator=generator)
    eps, retain_eps = noise[:, share].to(device)
    prompts = [data.targets[int(i)] for i in rows] if pictures else _any(settings, size, generator)
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
        prompts=prompts[share],
        mask=pick(data.mask, rows),
        drawn=pick(data.drawn, rows),
    )


def _any(settings: RunSettings, size: int, generator: torch.Generator) -> list[str]:
    """Prompts of concepts drawn by lot; of a single one, nothing is drawn."""
    known = settings.target_prompts
    if len(known) == 1:
        return [*known] * size
    return [known[int(i)] for i in torch.randint(len(known), (size,), generator=generator)]
