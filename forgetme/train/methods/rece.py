"""RECE: UCE, and then the same again for the states that would bring the concept back.

**Source**: Gong et al. 2024, "Reliable and Efficient Concept Erasure", and its published code.
After each edit the state c' that best revives the concept in the edited weights is found in least
squares and edited away in its turn. That state is a probe of robustness by itself.
"""

from __future__ import annotations

import torch

from forgetme.train.method import Context, Latents, Method, Option
from forgetme.train.methods import uce


def revived(
    concepts: torch.Tensor, gram: torch.Tensor, x: torch.Tensor, lam: float
) -> torch.Tensor:
    """States (n, D) by which edited weights W0 X say most nearly what W0 said of concepts.

    Args:
        concepts: (n, D).
        gram: (D, D), the sum of W0^T W0 over all weights.
        x: (D, D), the edit so far.
        lam: weight of small states.
    """
    seen = x.T @ gram
    system = lam * torch.eye(len(gram), dtype=gram.dtype, device=gram.device) + seen @ x
    return uce.solved(concepts @ seen.T, system)


def solve(ctx: Context, data: Latents) -> dict[str, torch.Tensor]:
    """W0 X for every weight that reads the text, X an edit after each revival."""
    plan = (int(ctx.option("templates")), ctx.option("tokens"))
    concepts = uce.states(ctx, ctx.settings.concepts, *plan)
    guide = uce.states(ctx, [uce.guide_of(ctx)], *plan)[0]
    kept = uce.states(ctx, ctx.settings.keep, *plan)
    found, parts = uce.matrices(ctx), ctx.base.reading_states()
    weights = {name: ctx.chosen[name].detach().double() for name in parts}
    for part in found:
        c, g = uce.pairs(ctx, part, concepts, guide)
        rest = torch.cat([row for one in kept for row in one[part]]) if kept else c[:0]
        gram = sum(w.T @ w for name, w in weights.items() if parts[name] == part)
        for _ in range(int(ctx.option("rounds"))):
            again = revived(c, gram, found[part], ctx.option("revive_lam"))
            found[part] = found[part] @ uce.edit(
                again, g, rest, lam=ctx.option("round_lam"), erase=1.0,
                keep=ctx.option("round_keep"),
            )  # fmt: skip
    return {name: weight @ found[parts[name]] for name, weight in weights.items()}


METHOD = Method(
    name="rece",
    words="UCE, then once more for what would bring the concept back; seconds.",
    source="Gong et al. 2024 (RECE)",
    solve=solve,
    needs=uce.METHOD.needs,
    trains=("kv",),
    bases=uce.METHOD.bases,
    options={
        **uce.OPTIONS,
        "rounds": Option(1.0, "revivals that are edited away"),
        "revive_lam": Option(0.1, "weight of small states while reviving"),
        "round_lam": Option(0.1, "weight of leaving the weights as they are, in these rounds"),
        "round_keep": Option(0.1, "weight of what must stay, in these rounds"),
    },
    presets=uce.METHOD.presets,
)
