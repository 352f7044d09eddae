"""Random labelling: the concept's pictures get another prompt's noise; the rest is trained on.

**Source**: Fan et al. 2024 (SalUn) without its mask, `random_label.py`; LoReUn, equation 3. The
wrong label is the anchor prompt, by default that of another concept: the empty prompt draws
anything, and so now and then the concept. As in that code the target is the current model's own
answer to the anchor, with its gradient stopped. Departures: one latent for both prompts, the mean
that the VAE gives, where theirs draws two; the gradient is clipped at norm 1 (`clip`), theirs is
not.

The `retain` term is ours. Where what must stay was drawn by the model itself, pictures of it teach
their own faults: guidance makes them more alike than the model's own idea of the prompt. The frozen
model's answers do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from forgetme.train.method import Batch, Method, Terms

if TYPE_CHECKING:
    from forgetme.train.context import Context


def loss(ctx: Context, batch: Batch) -> Terms:
    """MSE(e(z_t, c), sg e(z_t, anchor)) + alpha MSE(e(z_t of retain, its prompt), eps).

    With `retain` also the distance from the frozen model on what must stay.
    """
    z_t = ctx.add_noise(batch.original, batch.eps, batch.t)
    with torch.no_grad():
        wrong = ctx.student(z_t, batch.t, ctx.anchor)
    forget = ctx.mse(ctx.student(z_t, batch.t, ctx.prompt), wrong)
    retain = []
    if ctx.option("alpha"):
        retain.append(ctx.option("alpha") * ctx.denoise_retain(batch))
    if ctx.option("retain"):
        retain.append(ctx.option("retain") * ctx.keep_teacher(batch))
    return {"forget": forget, "retain": sum(retain, torch.zeros_like(forget))}


METHOD = Method(
    name="rl",
    words="Random labelling: the concept's pictures learn another prompt's answer; keeps the rest.",
    source="Fan et al. 2024 (SalUn, without the mask); LoReUn, equation 3",
    loss=loss,
    needs=frozenset({"original", "retain", "anchor"}),
    trains=("full", "cross-attention", "kv", "no-cross-attention", "lora"),
    options={
        "alpha": (1.0, "weight of pictures of what must stay"),
        "retain": (
            0.0,
            "weight of staying with the frozen model on other prompts; the paper: none",
        ),
    },
    presets={
        "full": {"steps": 500, "lr": 1e-5, "batch": 8, "retain_pictures": 96},
        "tiny": {
            "precision": "bf16",
            "retain_pictures": 48,
            "steps": 200,
            "lr": 3e-4,
            "batch": 8,
            "trains": "cross-attention",
            "options": {"alpha": 0.0, "retain": 5.0},
        },
    },
)
