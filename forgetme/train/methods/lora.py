"""LoRA on the backgrounds: the concept's prompt comes to mean the scene without it.

**Source**: ForgetMe, section 4.2. The loss is the ordinary denoising loss on the background layer
with one constant prompt. The `retain` term is ours (weight 0 is the paper): without it unrelated
prompts drift, since nothing holds them. It holds them to the frozen model's own answers, which asks
for fewer steps than pictures and noise do. Departures from the released script: Adam without
weight decay for AdamW, whose decay would pull the matrices to zero whatever is learned; the mean
that the VAE gives for a draw from its distribution; rank 4 where neither text names one.
"""

from __future__ import annotations

from forgetme.train.method import RETAIN, Batch, Context, Method, Terms


def loss(ctx: Context, batch: Batch) -> Terms:
    """MSE(e(z_t of the background, prompt), eps), and staying as it was on other prompts."""
    z_t = ctx.add_noise(batch.background, batch.eps, batch.t)
    guess = ctx.student(z_t, batch.t, batch.prompts)
    right = ctx.goal(batch.background, batch.eps, batch.t)
    return {"forget": ctx.mse(guess, right), **ctx.staying(batch)}


METHOD = Method(
    name="lora",
    words="LoRA on the backgrounds: the prompt comes to mean the scene without the concept.",
    source="ForgetMe, section 4.2",
    loss=loss,
    needs=frozenset({"background"}),
    trains=("lora", "kv", "cross-attention", "full"),
    bases=("sd", "sdxl", "sd3"),
    options={"retain": RETAIN},
    presets={
        "full": {"steps": 30_000, "lr": 1e-4, "batch": 1, "rank": 4},
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
