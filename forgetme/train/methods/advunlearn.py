"""AdvUnlearn: forgets against an adversary that looks for words which bring the concept back.

**Source**: Zhang et al. 2024, "Defensive Unlearning with Adversarial Training", and its published
code: before each step a token embedding in front of the prompt is learned that makes the model draw
the concept as the frozen one does, and then ESD's loss is descended for that prompt. What is
trained is the text encoder. Departures: the loss is for the plain prompt and the attacked one, half
each, in place of a warm-up; every attack begins anew, so that a run goes on bit for bit; the attack
is Adam's.
"""

from __future__ import annotations

import torch

from forgetme.train.inversion import SLOT, Rows, begin, slots, text_with
from forgetme.train.method import RETAIN, Batch, Context, Method, Option, Terms
from forgetme.train.methods import esd


def attack(
    ctx: Context, prompt: str, x_t: torch.Tensor, t: torch.Tensor, wanted: torch.Tensor, seed: int
) -> Rows:
    """An embedding for the place before a prompt by which the model answers as is wanted."""
    rows = begin(ctx.base, "", len(slots(ctx.base, prompt)), seed)
    for row in rows.values():
        row.requires_grad_(True)
    adam = torch.optim.Adam(rows.values(), lr=ctx.option("attack_lr"))
    for _ in range(int(ctx.option("attack_steps"))):
        guess = ctx.base.call(ctx.base.core, x_t, t, text_with(ctx.base, prompt, rows, len(x_t)))
        found = torch.autograd.grad(ctx.mse(guess, wanted), list(rows.values()))
        for row, gradient in zip(rows.values(), found, strict=True):
            row.grad = gradient
        adam.step()
    return {name: row.detach() for name, row in rows.items()}


def loss(ctx: Context, batch: Batch) -> Terms:
    """ESD's loss for the prompt, and for the prompt behind what an adversary found."""
    x_t, t = ctx.partly_drawn(batch)
    one = batch.prompts[0]
    target = esd.target(ctx, batch, x_t, t)
    plain = ctx.mse(ctx.student(x_t, t, batch.prompts), target)
    prompt = f"{SLOT} {one}"
    seed = int(torch.randint(2**31, (), generator=batch.generator))
    with torch.enable_grad():
        rows = attack(ctx, prompt, x_t, t, ctx.teacher(x_t, t, one), seed)
    attacked = ctx.mse(ctx.student(x_t, t, text_with(ctx.base, prompt, rows, len(x_t))), target)
    return {"forget": plain / 2, "attacked": attacked / 2, **ctx.staying(batch)}


METHOD = Method(
    name="advunlearn",
    words="Forgets against an adversary that looks for words which bring the concept back.",
    source="Zhang et al. 2024 (AdvUnlearn)",
    loss=loss,
    needs=frozenset({"teacher"}),
    trains=("text-encoder", "lora", "cross-attention"),
    options={
        "eta": Option(1.0, "how far to steer away"),
        **esd.DRAWING,
        "attack_steps": Option(30, "steps of the adversary before each step"),
        "attack_lr": Option(1e-2, "its rate"),
        "retain": RETAIN,
    },
    presets={
        "full": {
            "steps": 1000, "lr": 1e-5, "batch": 1, "retain_pictures": 96,
            "options": {"retain": 1.0},
        },
        "tiny": {
            "precision": "bf16",
            "retain_pictures": 48,
            "steps": 40,
            "lr": 1e-3,
            "batch": 8,
            "options": {"draw_steps": 8, "attack_steps": 4, "attack_lr": 0.1, "retain": 1.0},
        },
    },
)  # fmt: skip
