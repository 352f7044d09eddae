"""Random labelling: the concept's pictures get another prompt's noise; the rest is trained on.

**Source**: Fan et al. 2024 (SalUn) without its mask, `random_label.py`; LoReUn, equation 3. The
wrong label is the anchor prompt. As in that code the target is the current model's own answer to
the anchor, with its gradient stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from forgetme.train.method import Batch, Method, Terms

if TYPE_CHECKING:
    from forgetme.train.context import Context


def loss(ctx: Context, batch: Batch) -> Terms:
    """MSE(e(z_t, c), sg e(z_t, anchor)) + alpha MSE(e(z_t of retain, its prompt), eps)."""
    z_t = ctx.add_noise(batch.original, batch.eps, batch.t)
    with torch.no_grad():
        wrong = ctx.student(z_t, batch.t, ctx.anchor)
    forget = ctx.mse(ctx.student(z_t, batch.t, ctx.prompt), wrong)
    return {"forget": forget, "retain": ctx.option("alpha") * ctx.denoise_retain(batch)}


METHOD = Method(
    name="rl",
    words="Random labelling: the concept's pictures learn another prompt's answer; keeps the rest.",
    source="Fan et al. 2024 (SalUn, without the mask); LoReUn, equation 3",
    loss=loss,
    needs=frozenset({"original", "retain"}),
    trains=("full", "cross-attention", "kv", "no-cross-attention", "lora"),
    options={"alpha": (1.0, "weight of what must stay")},
    presets={
        "full": {"steps": 500, "lr": 1e-5, "batch": 8},
        "tiny": {"precision": "bf16", "retain_pictures": 96, "steps": 200, "lr": 1e-4, "batch": 16},
    },
)
