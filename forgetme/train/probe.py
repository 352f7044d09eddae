"""How much is forgotten, how much is kept: fixed-seed pictures, and what a recogniser sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from forgetme.scenes import BACKGROUNDS

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

# Held out: no run trains on these words around a concept.
TEMPLATES = ("a nice photo of a {}", "a picture of one {}", "a {} in the middle", "a large {}")
EMPTY = (*BACKGROUNDS, "background")  # what a picture of nothing shows; it is no concept at all
STEPS = 20
GUIDANCE = 7.5
CHUNK = 8  # pictures at a time

Recognise = Callable[[Sequence[np.ndarray], Sequence[str]], np.ndarray]  # (N, L) probabilities


@dataclass(frozen=True)
class Probe:
    """Scores of one moment of a run, each 0..1.

    Attributes:
        step: optimizer steps done.
        forget: share of the concept's pictures in which the concept is still recognised; lower is
            better.
        retain: mean share over the concepts to keep that are recognised; higher is better, None
            where none is named.
        by_concept: the shares behind both.
        n: pictures of each concept.
    """

    step: int
    forget: float
    retain: float | None
    by_concept: dict[str, float]
    n: int

    def record(self) -> dict[str, Any]:
        """Returns it as plain JSON."""
        return asdict(self)


@torch.no_grad()
def draw(
    pipe: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int]
) -> list[np.ndarray]:
    """Draws one (S, S, 3) uint8 picture for each prompt and seed."""
    pictures = []
    for start in range(0, len(prompts), CHUNK):
        generators = [torch.Generator().manual_seed(s) for s in seeds[start : start + CHUNK]]
        drawn = pipe(
            list(prompts[start : start + CHUNK]),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=generators,
            output_type="np",
        ).images
        pictures += list((drawn * 255).round().astype(np.uint8))
    return pictures


def probe(
    pipe: StableDiffusionPipeline,
    recognise: Recognise,
    concept: str,
    keep: Sequence[str],
    labels: Sequence[str],
    *,
    step: int,
    n: int = 8,
    pictures: Path | None = None,
) -> Probe:
    """Draws `n` pictures of every concept from held-out prompts and asks what they show.

    Args:
        pipe: the model as it is.
        recognise: zero-shot probabilities of pictures over labels.
        concept: what is to be forgotten.
        keep: what must stay.
        labels: the concepts that the recogniser chooses from, beside the words for a picture
            without any; holds `concept` and `keep`.
        step: optimizer steps done, recorded.
        n: pictures of each concept; prompt i is template i mod 4, seed i.
        pictures: folder for the first four pictures of each concept, as one PNG strip each.
    """
    choices = tuple(dict.fromkeys((*labels, *EMPTY)))
    shares = {}
    for name in (concept, *keep):
        prompts = [TEMPLATES[i % len(TEMPLATES)].format(name) for i in range(n)]
        drawn = draw(pipe, prompts, range(n))
        seen = recognise(drawn, choices).argmax(1)
        shares[name] = float(np.mean([choices[int(i)] == name for i in seen]))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            strip = np.concatenate(drawn[:4], 1)
            Image.fromarray(strip).save(pictures / f"{step:06d} {name}.png")
    kept = [shares[name] for name in keep]
    retain = float(np.mean(kept)) if kept else None
    return Probe(step, shares[concept], retain, shares, n)
