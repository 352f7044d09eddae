"""Erased Stable Diffusion: the model steers away from the concept by itself; needs no pictures.

**Source**: Gandikota et al. 2023, "Erasing Concepts from Diffusion Models", equation 7, as in the
authors' first code: guidance away from the frozen model's own idea of the concept. Departures: the
timestep is that of the exact level at which sampling stopped (theirs is off by about one), the
number of sampling steps is an option, and the gradient is clipped at norm 1 (`clip`), theirs is
not. With `--trains lora` it is LECO, whose prompt files `train/prompt_file.py` reads.
"""

from __future__ import annotations

import torch

from forgetme.train.method import RETAIN, Batch, Context, Method, Option, Terms

DRAWING = {
    "draw_steps": Option(50, "sampling steps of a whole picture"),
    "draw_guidance": Option(3.0, "guidance while sampling"),
}


def steered(
    neutral: torch.Tensor, null: torch.Tensor, concept: torch.Tensor, eta: float
) -> torch.Tensor:
    """T(neutral) - eta (T(c) - T(null)): the answer that leads away; below 0, towards."""
    return neutral - eta * (concept - null)


def target(ctx: Context, batch: Batch, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """What the concept's prompt shall get. With `--anchor` it leads there (ours), else anywhere."""
    null = ctx.teacher(x_t, t, "")
    neutral = ctx.teacher(x_t, t, ctx.settings.anchor) if ctx.settings.anchor else null
    return steered(neutral, null, ctx.teacher(x_t, t, batch.prompts), ctx.option("eta"))


def loss(ctx: Context, batch: Batch) -> Terms:
    """MSE(e(x_t, c), T(x_t, null) - eta (T(x_t, c) - T(x_t, null))), T the frozen model."""
    x_t, t = ctx.partly_drawn(batch)
    guess = ctx.student(x_t, t, batch.prompts)
    return {"forget": ctx.mse(guess, target(ctx, batch, x_t, t)), **ctx.staying(batch)}


METHOD = Method(
    name="esd",
    words="Steers away from the concept by the model's own guidance; needs no pictures.",
    source="Gandikota et al. 2023, equation 7",
    loss=loss,
    needs=frozenset({"teacher"}),
    trains=("no-cross-attention", "cross-attention", "kv", "full", "lora"),
    bases=("sd", "sdxl", "sd3"),
    options={"eta": Option(1.0, "how far to steer away"), **DRAWING, "retain": RETAIN},
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
