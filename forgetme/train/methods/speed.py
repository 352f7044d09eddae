"""SPEED: a closed form that edits only where nothing that must stay looks.

**Source**: Li et al. 2026 (ICLR), and its published code. The values' weights take the concept's
last token for the anchor's in the null space of the kept concepts' states. Its filter of kept
concepts by influence acts above 100 of them only, as published. Departures: a pseudo-inverse stands
for the inverse of the constraints, which may be singular; `strength` is 1 / its retain scale.
"""

from __future__ import annotations

import torch
from scipy.cluster.vq import kmeans2

from forgetme.errors import ForgetmeError
from forgetme.train.method import Context, Latents, Method, Option, RunSettings
from forgetme.train.methods import uce

FILTERED_ABOVE = 100  # kept concepts
CENTRES = 3  # of the empty prompt's states


def moment(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The mean of a b^T over the rows a and b (n, D) of states."""
    return one.T @ other / len(one)


def null_space(kept: torch.Tensor, bound: float) -> torch.Tensor:
    """The projection (D, D) on what kept states (n, D) do not reach."""
    values, vectors = torch.linalg.eigh(moment(kept, kept))
    free = vectors[:, values < bound]
    return free @ free.T


def change(
    target: torch.Tensor,
    anchor: torch.Tensor,
    p: torch.Tensor,
    fixed: torch.Tensor,
    strength: float,
) -> torch.Tensor:
    """The matrix Q (D, D) of W = W0 + W0 Q.

    Args:
        target: moment (D, D) of the concepts' states with themselves.
        anchor: of the states that take their place with the concepts'.
        p: projection that the change keeps to.
        fixed: (m, D) states that it leaves as they are.
        strength: how much of the way is gone.
    """
    eye = torch.eye(len(p), dtype=p.dtype, device=p.device)
    m = torch.linalg.inv(target @ p + eye / strength)
    k = fixed.T
    hold = m @ k @ torch.linalg.pinv(k.T @ p @ m @ k) @ k.T @ p
    return (anchor - target) @ p @ (eye - hold) @ m


def solve(ctx: Context, data: Latents) -> dict[str, torch.Tensor]:
    """W0 + W0 Q for the values' weights."""
    plan = (int(ctx.option("templates")), ctx.option("tokens"))
    concepts = uce.states(ctx, ctx.settings.concepts, *plan)
    guide = uce.states(ctx, [uce.guide_of(ctx)], *plan)[0]
    kept = uce.states(ctx, ctx.settings.keep, *plan)
    part = "encoder_hidden_states"
    c, g = uce.pairs(ctx, part, concepts, guide)
    rest = torch.cat([row for one in kept for row in one[part]])
    target, anchor = moment(c, c), moment(g, c)
    fixed = _fixed(ctx)
    names = [name for name in ctx.base.reading_states() if name.endswith("to_v.weight")]
    weights = {name: ctx.chosen[name].detach().double() for name in names}
    found = {}
    for name, weight in weights.items():
        reach = weight @ uce.solved(anchor - target, torch.eye(len(target)).to(target) + target)
        some = _reached(rest, reach) if len(kept) > FILTERED_ABOVE else rest
        near = _augmented(some, weight, reach, int(ctx.option("augment")))
        p = null_space(near, ctx.option("bound"))
        found[name] = weight + weight @ change(target, anchor, p, fixed, ctx.option("strength"))
    return found


def _reached(states: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """Those that the edit would move more than the mean."""
    moved = (states @ reach.T).norm(dim=1)
    return states[moved > moved.mean()] if (moved > moved.mean()).any() else states


def _augmented(
    states: torch.Tensor, weight: torch.Tensor, reach: torch.Tensor, count: int
) -> torch.Tensor:
    """States and copies of them moved where the weight sees least."""
    if not count:
        return states
    least = torch.linalg.svd(weight).Vh[-1]
    more = states.repeat(count, 1)
    noise = torch.randn(more.shape, dtype=torch.float64).to(more)
    return torch.cat([states, _reached(more + (noise @ least)[:, None] * least, reach)])


@torch.no_grad()
def _fixed(ctx: Context) -> torch.Tensor:
    """States of the empty prompt: its start, and centres of the others."""
    told = ctx.base.text([""])["encoder_hidden_states"][0].double()
    others = told[1:].cpu().numpy()
    centres, _ = kmeans2(others, CENTRES, seed=ctx.settings.seed, minit="++")
    return torch.cat([told[:1], torch.from_numpy(centres).to(told)])


def check(settings: RunSettings) -> None:
    """Refuses a run in which nothing must stay."""
    if not settings.keep:
        raise ForgetmeError(
            "speed edits where nothing that must stay looks, so it needs concepts that must; name "
            "some with --keep"
        )


METHOD = Method(
    name="speed",
    words="Closed form in the null space of what must stay; many concepts in seconds.",
    source="Li et al. 2026 (SPEED)",
    solve=solve,
    needs=uce.METHOD.needs,
    trains=("kv",),
    options={
        "strength": Option(1.0, "how far the concept goes over to the anchor"),
        "bound": Option(0.1, "largest eigenvalue of the kept states' moments that counts as none"),
        "augment": Option(10.0, "moved copies of each kept state"),
        "templates": uce.OPTIONS["templates"],
        "tokens": uce.OPTIONS["tokens"],
    },
    check=check,
    presets={
        "full": {"steps": 0},
        "tiny": {
            "steps": 0,
            "options": {"strength": 100.0, "templates": 7.0, "tokens": "rest"},
        },
    },
)
