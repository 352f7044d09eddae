"""Concept ablation: on pictures of the anchor, the concept's prompt gets the anchor's answer.

**Source**: Kumari et al. 2023, "Ablating Concepts in Text-to-Image Diffusion Models", and its
diffusers code. The pictures are drawn by the unchanged model from the anchor's prompt, or are the
originals, where the object's mask says which part counts. `target=model` learns the current model's
own answer, `target=noise` the noise of the picture. Departures: one caption for all pictures in
place of written ones; no pasting on canvases; Adam without weight decay; the error is a mean, a
quarter of the published sum over channels.
"""

from __future__ import annotations

import torch

from forgetme.train.method import RETAIN, Batch, Context, Method, Need, Option, Terms, Values


def masked_error(
    guess: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean squared error of each sample (B,) where its mask (B, 1, h, w) in 0..1 counts."""
    error = (guess - target.detach()).square()
    if mask is None:
        return error.flatten(1).mean(1)
    share = mask.flatten(1).sum(1) * error.shape[1]
    return (error * mask).flatten(1).sum(1) / share.clamp_min(1e-6)


def loss(ctx: Context, batch: Batch) -> Terms:
    """MSE(e(z_t of the anchor, c), sg e(z_t, anchor)), or against the noise."""
    drawn = ctx.option("pictures") == "drawn"
    z, mask = (batch.drawn, None) if drawn else (batch.original, batch.mask)
    z_t = ctx.add_noise(z, batch.eps, batch.t)
    if ctx.option("target") == "noise":
        target = ctx.goal(z, batch.eps, batch.t)
    else:
        with torch.no_grad():
            target = ctx.student(z_t, batch.t, ctx.anchor)
    guess = ctx.student(z_t, batch.t, batch.prompts)
    return {"forget": masked_error(guess, target, mask).mean(), **ctx.staying(batch)}


def more_needs(values: Values) -> set[Need]:
    """Which pictures are looked at."""
    return {"drawn"} if values["pictures"] == "drawn" else {"original", "mask"}


METHOD = Method(
    name="ca",
    words="On the anchor's pictures the concept's prompt learns the anchor's answer.",
    source="Kumari et al. 2023 (Concept Ablation)",
    loss=loss,
    needs=frozenset({"anchor"}),
    trains=("kv", "cross-attention", "full", "lora"),
    options={
        "target": Option("model", "what is learned: the model's answer, or the picture's noise",
                         ("model", "noise")),
        "pictures": Option("drawn", "of the anchor, drawn by the model, or the concept's own",
                           ("drawn", "original")),
        "retain": RETAIN,
    },
    more_needs=more_needs,
    presets={
        "full": {"steps": 200, "lr": 8e-6, "batch": 4, "retain_pictures": 96},
        "tiny": {
            "precision": "bf16",
            "retain_pictures": 48,
            "steps": 200,
            "lr": 3e-4,
            "batch": 8,
            "trains": "cross-attention",
            "options": {"retain": 1.0},
        },
    },
)  # fmt: skip
