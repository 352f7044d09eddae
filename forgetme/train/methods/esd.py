"""Erased Stable Diffusion: the model steers away from the concept by itself; needs no pictures.

**Source**: Gandikota et al. 2023, "Erasing Concepts from Diffusion Models", equation 7, as in the
authors' first code: guidance away from the frozen model's own idea of the concept. Departures: the
timestep is that of the exact level at which sampling stopped (theirs is off by about one), the
number of sampling steps is an option, and the gradient is clipped at norm 1 (`clip`), theirs is
not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from forgetme.train.method import Batch, Method, Terms

if TYPE_CHECKING:
    from forgetme.train.context import Context


def loss(ctx: Context, batch: Batch) -> Terms:
    """MSE(e(x_t, c), T(x_t, null) - eta (T(x_t, c) - T(x_t, null))), T the frozen model."""
    x_t, t = ctx.partly_drawn(
        ctx.prompt,
        batch,
        steps=int(ctx.option("draw_steps")),
        guidance=ctx.option("draw_guidance"),
    )
    with torch.no_grad():
        null = ctx.teacher(x_t, t, "")
        concept = ctx.teacher(x_t, t, ctx.prompt)
        target = null - ctx.option("eta") * (concept - null)
    terms = {"forget": ctx.mse(ctx.student(x_t, t, ctx.prompt), target)}
    if ctx.option("retain"):
        terms["retain"] = ctx.option("retain") * ctx.keep_teacher(batch)
    return terms


METHOD = Method(
    name="esd",
    words="Steers away from the concept by the model's own guidance; needs no pictures.",
    source="Gandikota et al. 2023, equation 7",
    loss=loss,
    needs=frozenset({"teacher"}),
    trains=("no-cross-attention", "cross-attention", "kv", "full", "lora"),
    options={
        "eta": (1.0, "how far to steer away"),
        "draw_steps": (50, "sampling steps of a whole picture"),
        "draw_guidance": (3.0, "guidance while sampling"),
        "retain": (
            0.0,
            "weight of staying with the frozen model on other prompts; the paper: none",
        ),
    },
    presets={
        "full": {"steps": 1000, "lr": 1e-5, "batch": 1},
        "tiny": {
            "precision": "bf16",
            "retain_pictures": 48,
            "steps": 100,
            "lr": 3e-4,
            "batch": 8,
            "trains": "cross-attention",
            "options": {"draw_steps": 8, "retain": 1.0},
        },
    },
)
