"""Image-pair slider: one LoRA as a dial from -1 (with the object) over 0 to 1 (without it).

**Source**: Gandikota et al. 2024, "Concept Sliders", image pairs. A pair is a photo and its filled
background, with one noise and one timestep; the same matrices learn the background at scale 1 and
the photo at -1. Departures: both have the concept's prompt, so that words are unlearned and not
pictures alone; the error counts inside the object's mask, some places around it, and a little
elsewhere, where the two are equal; Adam; LoRA on attention.
"""

from __future__ import annotations

import torch

from forgetme.train.method import RETAIN, Batch, Context, Method, Option, Terms

AROUND = 3  # places of the latent by which the object is widened


def pair(
    less: torch.Tensor,
    more: torch.Tensor,
    right: tuple[torch.Tensor, torch.Tensor],
    weight: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """MSE(e at +s, right for the background) + MSE(e at -s, right for the photo), weighed."""
    errors = ((less - right[0]).square() * weight, (more - right[1]).square() * weight)
    return errors[0].mean() + errors[1].mean()


def loss(ctx: Context, batch: Batch) -> Terms:
    """The pair's denoising losses at both ends of the dial."""
    sides, guesses, right = (batch.background, batch.original), [], []
    for z, scale in zip(sides, (1.0, -1.0), strict=True):
        z_t = ctx.add_noise(z, batch.eps, batch.t)
        with ctx.scaled(scale):
            guesses.append(ctx.student(z_t, batch.t, batch.prompts))
        right.append(ctx.goal(z, batch.eps, batch.t))
    around = torch.nn.functional.max_pool2d(batch.mask, AROUND, 1, AROUND // 2)
    rest = ctx.option("elsewhere")
    weight = rest + (1 - rest) * around
    return {"forget": pair(*guesses, tuple(right), weight), **ctx.staying(batch)}


METHOD = Method(
    name="slider",
    words="One LoRA as a dial: 1 draws the scene without the concept, -1 with it, 0 as before.",
    source="Gandikota et al. 2024 (Concept Sliders)",
    loss=loss,
    needs=frozenset({"original", "background", "mask"}),
    trains=("lora",),
    scales=(-1.0, 1.0),
    options={
        "elsewhere": Option(0.1, "weight of places away from the object"),
        "retain": RETAIN,
    },
    presets={
        "full": {"steps": 1000, "lr": 2e-4, "batch": 1},
        "tiny": {
            "precision": "bf16",
            "retain_pictures": 48,
            "steps": 200,
            "lr": 3e-3,
            "batch": 8,
            "rank": 16,
            "options": {"retain": 2.0},
        },
    },
)
