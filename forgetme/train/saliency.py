"""Which weights a concept hangs on: gradients of its loss at the model as it was.

**Source**: Fan et al. 2024 (SalUn), `generate_mask.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from forgetme.train.batches import Latents
    from forgetme.train.context import Context

MOST_RANKED = 2**24  # values that a rank is looked up in; of more, that many by lot


def guided_loss(
    concept: torch.Tensor, null: torch.Tensor, right: torch.Tensor, guidance: float
) -> torch.Tensor:
    """-MSE((1 + g) e(c) - g e(null), right)."""
    guess = (1 + guidance) * concept - guidance * null
    return -torch.nn.functional.mse_loss(guess, right)


def signed_gradients(
    ctx: Context, data: Latents, weights: Mapping[str, torch.Tensor], *, guidance: float
) -> dict[str, torch.Tensor]:
    """Gradients of the concept's loss, added up with their signs in one pass over its pictures.

    Args:
        ctx: the model, and the global seed, as they are.
        data: has the pictures.
        weights: of which, by name; those that no gradient reaches are left out.
        guidance: of the loss; 0 = the plain one, as for classifiers.
    """
    total: dict[str, torch.Tensor] = {}
    size, base = ctx.settings.batch, ctx.base
    for start in range(0, len(data.original), size):
        z = data.original[start : start + size].to(base.device)
        t = torch.randint(base.times, (len(z),)).to(z.device)
        eps = torch.randn(z.shape).to(z.device)
        z_t, right = ctx.add_noise(z, eps, t), ctx.goal(z, eps, t)
        concept = ctx.student(z_t, t, data.targets[start : start + size])
        null = ctx.student(z_t, t, "") if guidance else concept
        found = torch.autograd.grad(
            guided_loss(concept, null, right, guidance), list(weights.values()), allow_unused=True
        )
        for name, value in zip(weights, found, strict=True):
            if value is not None:
                total[name] = total.get(name, 0) + value
    return total


def top_share(found: Mapping[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Ones where a value is among the largest share of all in absolute size, zeros elsewhere.

    Of more than `MOST_RANKED` values the bound is that of as many drawn by lot.
    """
    flat = torch.cat([value.abs().flatten() for value in found.values()])
    if len(flat) > MOST_RANKED:
        flat = flat[torch.randint(len(flat), (MOST_RANKED,), device=flat.device)]
    count = int(len(flat) * share)
    bound = flat.kthvalue(len(flat) - count + 1).values if count else torch.inf
    return {name: (value.abs() >= bound).to(value) for name, value in found.items()}
