"""Textual inversion: token embeddings by which a model draws given pictures.

**Source**: Gal et al. 2023, as Forget-Me-Not's `train_ti.py` has it. Departures: Adam without
weight decay; the rows stand in for a placeholder's embedding, so that the model gets no token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from forgetme.train.model import Base, Text

SLOT = "x"  # a word of one token, whose places the rows take
NORM = 0.4  # that of a word's embedding, towards which rows are pulled
RIM = 0.05  # weight of what the mask leaves out

Rows = Mapping[str, torch.Tensor]  # (k, D) for each text encoder


@dataclass(frozen=True)
class Inverted:
    """What an inversion came to.

    Attributes:
        rows: embeddings (k, D) for each text encoder.
        loss: mean of the last tenth of the steps.
    """

    rows: Rows
    loss: float


@contextmanager
def injected(base: Base, rows: Rows, places: list[int]) -> Iterator[None]:
    """Puts rows in the place of token embeddings inside the block, in every prompt alike."""

    def put(module: torch.nn.Module, args: object, made: torch.Tensor, *, start: str):  # noqa: ANN202
        made = made.clone()
        made[:, places] = rows[start].to(made.dtype)
        return made

    hooks = []
    for start, encoder in base.encoders.items():
        embed = encoder.get_input_embeddings()
        hooks.append(embed.register_forward_hook(lambda m, a, o, s=start: put(m, a, o, start=s)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def slots(base: Base, prompt: str) -> list[int]:
    """Where a prompt has its placeholders."""
    wanted = base.pipe.tokenizer([SLOT]).input_ids[0][1]
    return (base.tokens([prompt])[0] == wanted).nonzero().flatten().tolist()


def asking(count: int) -> str:
    """The prompt with so many placeholders."""
    return f"a photo of {' '.join([SLOT] * count)}"


def text_with(base: Base, prompt: str, rows: Rows, count: int) -> Text:
    """What the model is told of a prompt whose placeholders are rows, for `count` pictures."""
    with injected(base, rows, slots(base, prompt)):
        text = base.text([prompt])
    return {name: value.expand(count, *value.shape[1:]) for name, value in text.items()}


def begin(base: Base, words: str, count: int, seed: int) -> dict[str, torch.Tensor]:
    """Rows to begin with: the embeddings of some words, and random ones where they are too few."""
    generator, rows = torch.Generator().manual_seed(seed), {}
    ids = base.pipe.tokenizer([words]).input_ids[0][1:-1][:count] if words else []
    for start, encoder in base.encoders.items():
        table = encoder.get_input_embeddings().weight.detach()
        row = torch.randn((count, table.shape[1]), generator=generator)
        row = row / row.norm(dim=1, keepdim=True) * NORM
        if ids:
            row[: len(ids)] = table[ids].float().cpu()
        rows[start] = row.to(base.device)
    return rows


def pulled(rows: torch.Tensor, lr: float) -> torch.Tensor:
    """Rows (k, D) nearer to the norm of words."""
    norm = rows.norm(dim=1, keepdim=True)
    return rows / norm * (norm + min(1.0, 100 * lr) * (NORM - norm))


def weight_map(mask: torch.Tensor) -> torch.Tensor:
    """Weights (B, 1, h, w) of mean 1 by a mask in 0..1; errors are weighed by their squares."""
    weight = (mask > 0.5).to(mask) + RIM
    return weight / weight.mean((1, 2, 3), keepdim=True)


def invert(
    base: Base,
    z: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    words: str = "",
    count: int = 4,
    steps: int = 500,
    lr: float = 1e-3,
    batch: int = 1,
    seed: int = 0,
) -> Inverted:
    """Finds rows by which the model, which stays as it is, denoises pictures.

    Args:
        base: the model.
        z: (N, C, h, w) latents of the pictures.
        mask: (N, 1, h, w) of what counts in them; None = all.
        words: whose embeddings to begin with; "" = random ones.
        count: rows.
        steps: of Adam.
        lr: its rate.
        batch: pictures at a time.
        seed: of everything that is drawn.
    """
    rows = begin(base, words, count, seed)
    for row in rows.values():
        row.requires_grad_(True)
    adam, prompt, losses = torch.optim.Adam(rows.values(), lr=lr), asking(count), []
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in range(steps):
            which = torch.randint(len(z), (batch,), generator=generator)
            t = torch.randint(base.times, (batch,), generator=generator).to(base.device)
            eps = torch.randn((batch, *z.shape[1:]), generator=generator).to(base.device)
            some = z[which].to(base.device)
            told = text_with(base, prompt, rows, batch)
            guess = base.call(base.core, base.noise(some, eps, t), t, told)
            weight = 1.0 if mask is None else weight_map(mask[which].to(base.device))
            loss = ((guess - base.target(some, eps, t)) * weight).square().mean()
            found = torch.autograd.grad(loss, list(rows.values()))
            for row, gradient in zip(rows.values(), found, strict=True):
                row.grad = gradient
            adam.step()
            losses.append(loss.item())
            with torch.no_grad():
                for row in rows.values():
                    row.copy_(pulled(row, lr))
    last = losses[-max(1, steps // 10) :]
    return Inverted({name: row.detach() for name, row in rows.items()}, sum(last) / len(last))
