"""Forget-Me-Not: the picture stops looking at the concept's words.

**Source**: Zhang et al. 2023, `train_attn.py`: the norm of cross-attention at the concept's tokens.
`form=layer` (the default) takes a norm for each layer, restricted to the object's pixels, as Lu et
al. 2024 (MACE) has it; `form=fmn` takes one norm of all layers. The object is the true mask of the
data. Departures: of the end-of-text tokens the first only, since SD 1.x pads with them; samples of
a batch are kept apart, where the published code mixes them; Adam without weight decay. With
`inversion` the concept's words are found first, from the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from forgetme.train.inversion import asking, invert, slots, text_with
from forgetme.train.method import RETAIN, Batch, Context, Latents, Method, Option, Terms


def steering(
    maps: Sequence[torch.Tensor],
    places: torch.Tensor,
    mask: torch.Tensor | None = None,
    form: str = "layer",
) -> torch.Tensor:
    """How much pictures look at some tokens, (B,).

    Args:
        maps: (B, heads, pixels, tokens) of each layer.
        places: (B, tokens) bool, the tokens.
        mask: (B, 1, h, w) in 0..1, the pixels that count; None = all. Pixels of a layer are a
            square, or those of the mask's own shape.
        form: "layer" = a norm for each layer, added up; "fmn" = one norm of all.
    """
    norms = []
    for one in maps:
        looked = one * places[:, None, None, :]
        if mask is not None:
            edge = round(one.shape[2] ** 0.5)
            size = mask.shape[2:] if mask[0, 0].numel() == one.shape[2] else (edge, edge)
            rows = torch.nn.functional.interpolate(mask, size, mode="nearest").flatten(2) > 0.5
            looked = looked * rows[..., None]
        norms.append(torch.linalg.vector_norm(looked.flatten(1), dim=1))  # its gradient at 0 is 0
    stacked = torch.stack(norms)
    return stacked.sum(0) if form == "layer" else torch.linalg.vector_norm(stacked, dim=0)


def _places(ctx: Context, prompt: str) -> torch.Tensor:
    concept = ctx.settings.concepts[ctx.prompts.index(prompt)]
    found = torch.zeros(len(ctx.tokens(prompt)), dtype=torch.bool)
    found[[*ctx.positions(prompt, concept), ctx.end(prompt)]] = True
    return found.to(ctx.base.device)


def setup(ctx: Context, data: Latents) -> None:
    """Finds the tokens of each prompt, or words of its own for the pictures of a single concept."""
    ctx.state = {prompt: _places(ctx, prompt) for prompt in ctx.prompts}
    if not ctx.option("inversion"):
        return
    steps, count, batch = int(ctx.option("inversion")), int(ctx.option("words")), 4
    for one, prompt in zip(ctx.settings.concepts, ctx.prompts, strict=True):
        rows = [i for i, target in enumerate(data.targets) if target == prompt]
        found = invert(
            ctx.base, data.original[rows], data.mask[rows], words=one, count=count, steps=steps,
            batch=batch, seed=ctx.settings.seed,
        )  # fmt: skip
        asked = asking(count)
        places = torch.zeros_like(ctx.state[prompt])
        places[[*slots(ctx.base, asked), ctx.end(asked)]] = True
        with torch.no_grad():
            ctx.state[prompt] = places, text_with(ctx.base, asked, found.rows, 1)


def loss(ctx: Context, batch: Batch) -> Terms:
    """The norm of P at the concept's tokens and the object's pixels."""
    z_t = ctx.add_noise(batch.original, batch.eps, batch.t)
    found, told = [ctx.state[prompt] for prompt in batch.prompts], batch.prompts
    if ctx.option("inversion"):
        texts = [text for _, text in found]
        told = {name: torch.cat([one[name] for one in texts]) for name in texts[0]}
        found = [places for places, _ in found]
    with ctx.attention() as maps:
        ctx.student(z_t, batch.t, told)
    mask = batch.mask if ctx.option("mask") else None
    looked = steering(list(maps.values()), torch.stack(found), mask, ctx.option("form"))
    return {"forget": looked.mean(), **ctx.staying(batch)}


METHOD = Method(
    name="fmn",
    words="The object's pixels stop looking at the concept's words; by true masks, in few steps.",
    source="Zhang et al. 2023 (Forget-Me-Not); Lu et al. 2024 (MACE) for the norm of each layer",
    loss=loss,
    needs=frozenset({"original", "mask"}),
    trains=("full", "cross-attention", "lora"),
    options={
        "form": Option("layer", "one norm for each layer, or one of all", ("layer", "fmn")),
        "mask": Option(1.0, "1 = the object's pixels only; 0 = the whole picture"),
        "inversion": Option(0.0, "steps of finding the concept's words first; 0 = its own words"),
        "words": Option(4.0, "how many are found"),
        "retain": RETAIN,
    },
    setup=setup,
    presets={
        "full": {"steps": 35, "lr": 2e-6, "batch": 1},
        "tiny": {
            "precision": "bf16",
            "retain_pictures": 48,
            "steps": 60,
            "lr": 3e-4,
            "batch": 8,
            "trains": "cross-attention",
            "options": {"retain": 300.0},  # the norms are hundreds of times an error's size
        },
    },
)
