"""Draws pictures of a concept from prompts, straight into a store for curation.

**Source**: ForgetMe, section 4.1: the Generated sets, for example cats from 10,000 prompts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from forgetme.curate.batch import Progress, check_concept
from forgetme.errors import ForgetmeError
from forgetme.record.concept import plain

if TYPE_CHECKING:
    from forgetme.stages.diffusion import Diffusion
    from forgetme.store import Store

BY = "generate"  # who imports the pictures
SEEDS = 1_000_003  # seeds of one run lie closer together than this


@dataclass(frozen=True)
class DrawSettings:
    """How pictures are drawn."""

    seed: int = 0  # picture i is drawn with seed * 1_000_003 + i
    steps: int = 25
    guidance: float = 7.5
    batch: int = 8  # pictures at a time


@dataclass(frozen=True)
class GenerateReport:
    """What a call of `generate` left behind."""

    concept: str
    count: int  # asked for
    drawn: int  # by this call
    there_already: int  # by earlier calls
    alike: int  # equal to a picture that the store has, pixel by pixel
    seconds: float


def generate(
    store: Store,
    concept: str,
    prompts: Iterable[str],
    count: int,
    diffusion: Diffusion,
    *,
    settings: DrawSettings = DrawSettings(),  # noqa: B008 (frozen)
    written_by: str = "grammar",
    on_progress: Callable[[Progress], None] | None = None,
    draw_with: Callable[[Sequence[Plan]], Iterator[Kept]] | None = None,
) -> GenerateReport:
    """Draws `count` pictures and imports each with its prompt as caption; resumes by itself.

    Every picture is one committed event, so that this can be stopped at any moment; the next call
    with the same seed, prompts and model draws only what is missing.

    Args:
        store: where they go, as `new` samples.
        concept: what they show.
        prompts: at least `count`.
        count: pictures in all, those of earlier calls included.
        diffusion: draws them.
        settings: how.
        written_by: who wrote the prompts, noted with each picture.
        on_progress: called after each picture.
        draw_with: draws and keeps pictures elsewhere, one for each plan; None: here.

    Raises:
        ForgetmeError: the concept cannot be used, or the memory is too small for the batch.
        DiskFullError: no room is left.
    """
    concept, began = check_concept(concept), time.monotonic()
    plans = [
        Plan(f"{plain(concept)}-{seed}", prompt, seed, diffusion.made_by)
        for seed, prompt in enumerate(islice(prompts, count), start=settings.seed * SEEDS)
    ]
    known = store.sources(concept)
    missing = [plan for plan in plans if plan.source not in known]
    done, alike = len(plans) - len(missing), 0
    there = done
    drawn = draw_with or _drawn_here(store, diffusion, settings)
    for plan, kept in zip(missing, drawn(missing), strict=True):
        row = store.import_kept(
            kept.sha,
            kept.size_hw,
            name=plan.name,
            concept=concept,
            by=BY,
            source=plan.source,
            caption=plan.prompt,
            notes=(
                f"drawn by {diffusion.made_by}, seed {plan.seed}, {settings.steps} steps, "
                f"guidance {settings.guidance:g}; prompt by {written_by}",
            ),
        )
        alike += row.source != plan.source
        done += 1
        if on_progress is not None:
            left = (time.monotonic() - began) / (done - there) * (len(plans) - done)
            on_progress(Progress(done, len(plans), left, row.name, row.state))
    return GenerateReport(
        concept, len(plans), len(missing) - alike, there, alike, time.monotonic() - began
    )


@dataclass(frozen=True)
class Plan:
    """One picture to be drawn."""

    name: str
    prompt: str
    seed: int
    made_by: str

    @property
    def source(self) -> str:
        """Names the picture in the store: the same model, seed and prompt draw it again."""
        sha = hashlib.sha256(self.prompt.encode()).hexdigest()[:8]
        return f"generated:{self.made_by}:{self.seed}:{sha}"


@dataclass(frozen=True)
class Kept:
    """A picture that the store has."""

    sha: str
    size_hw: tuple[int, int]


def _drawn_here(
    store: Store, diffusion: Diffusion, settings: DrawSettings
) -> Callable[[Sequence[Plan]], Iterator[Kept]]:
    def drawn(plans: Sequence[Plan]) -> Iterator[Kept]:
        for start in range(0, len(plans), settings.batch):
            for image in draw(diffusion, plans[start : start + settings.batch], settings):
                yield Kept(store.put_image(image), image.shape[:2])

    return drawn


def draw(diffusion: Diffusion, plans: Sequence[Plan], settings: DrawSettings) -> list[np.ndarray]:
    """Draws one (S, S, 3) uint8 picture for each plan, all at once.

    Raises:
        ForgetmeError: the memory is too small for so many at a time.
    """
    import torch

    noise = [torch.Generator().manual_seed(plan.seed) for plan in plans]
    try:
        with torch.no_grad():
            drawn = diffusion.pipe(
                [plan.prompt for plan in plans],
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                generator=noise,
                output_type="np",
            ).images
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ForgetmeError(
            f"not enough memory to draw {len(plans)} pictures at a time; take --batch "
            f"{max(1, len(plans) // 2)}. What was drawn is saved"
        ) from error
    return list((drawn * 255).round().astype(np.uint8))
