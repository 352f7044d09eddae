"""Random labelling: the concept's pictures get another prompt's noise; the rest is trained on.

**Source**: Fan et al. 2024 (SalUn) without its mask, `random_label.py`; LoReUn, equation 3. The
wrong label is the anchor prompt, by default that of another concept: the empty prompt draws
anything, and so now and then the concept. As in that code the target is the current model's own
answer to the anchor, with its gradient stopped. Departures: one latent for both prompts, the mean
that the VAE gives, where theirs draws two; the gradient is clipped at norm 1 (`clip`), theirs is
not.

With `target=frozen` it is SPARE (vision-unlearning 1.0, arXiv 2602.07058): the target is the frozen
model's answer, with LoRA on the `modules` that the concept moves most, half of them there.

The `retain` term is ours. Where what must stay was drawn by the model itself, pictures of it teach
their own faults: guidance makes them more alike than the model's own idea of the prompt. The frozen
model's answers do not.
"""

from __future__ import annotations

import torch

from forgetme.errors import ForgetmeError
from forgetme.train.method import (
    RETAIN,
    Batch,
    Context,
    Latents,
    Method,
    Need,
    Option,
    RunSettings,
    Terms,
    Values,
)
from forgetme.train.saliency import signed_gradients

CORE = {
    "alpha": Option(1.0, "weight of pictures of what must stay"),
    "retain": RETAIN,
    "target": Option(
        "current", "whose answer to the anchor is the wrong label", ("current", "frozen")
    ),
}
MODULES = Option(1.0, "share of the layers that get LoRA, those the concept moves most")


def answers(ctx: Context, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The answers to the concept's pictures: to their own prompt, and the wrong one to learn."""
    z_t = ctx.add_noise(batch.original, batch.eps, batch.t)
    if ctx.option("target") == "frozen":
        wrong = ctx.teacher(z_t, batch.t, ctx.anchor)
    else:
        with torch.no_grad():
            wrong = ctx.student(z_t, batch.t, ctx.anchor)
    return ctx.student(z_t, batch.t, batch.prompts), wrong


def loss(ctx: Context, batch: Batch) -> Terms:
    """MSE(e(z_t, c), sg e(z_t, anchor)) + alpha MSE(e(z_t of retain, its prompt), eps).

    With `retain` also the distance from the frozen model on what must stay.
    """
    forget = ctx.mse(*answers(ctx, batch))
    kept = ctx.staying(batch).get("retain", torch.zeros_like(forget))
    if ctx.option("alpha"):
        kept = kept + ctx.option("alpha") * ctx.retain_errors(batch).mean()
    return {"forget": forget, "retain": kept}


def keep_to_modules(ctx: Context, data: Latents) -> None:
    """Holds LoRA where it is on the share of layers whose weights the concept's loss moves most."""
    share = ctx.option("modules")
    if share >= 1:
        return
    layers = {n.rpartition(".base_layer.")[0]: p for n, p in ctx.base.core.named_parameters()
              if n.endswith(".base_layer.weight")}  # fmt: skip
    for weight in layers.values():
        weight.requires_grad_(True)
    moved = signed_gradients(ctx, data, layers, guidance=0.0)
    for weight in layers.values():
        weight.requires_grad_(False)
    order = sorted(moved, key=lambda name: float(moved[name].abs().mean()), reverse=True)
    still = order[max(1, round(share * len(order))) :]
    starts = tuple(f"{name}.lora_" for name in still)
    ctx.mask = {n: torch.zeros(()) for n in ctx.chosen if n.startswith(starts)}


def more_needs(values: Values) -> set[Need]:
    """The frozen model, where it is the target."""
    return {"teacher"} if values["target"] == "frozen" else set()


def check(settings: RunSettings) -> None:
    """Refuses a share of layers without LoRA."""
    share = settings.options.get("modules", 1.0)
    if not 0 < share <= 1 or (share < 1 and settings.trains != "lora"):
        raise ForgetmeError(
            f"modules is the share of the layers that get LoRA, in (0, 1], with --trains lora; got "
            f"{share:g} with {settings.trains}"
        )


METHOD = Method(
    name="rl",
    words="Random labelling: the concept's pictures learn another prompt's answer; keeps the rest.",
    source="Fan et al. 2024 (SalUn, without the mask); LoReUn, equation 3",
    loss=loss,
    needs=frozenset({"original", "retain", "anchor"}),
    trains=("full", "cross-attention", "kv", "no-cross-attention", "lora"),
    options={**CORE, "modules": MODULES},
    more_needs=more_needs,
    setup=keep_to_modules,
    check=check,
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
