"""Unified Concept Editing: the weights that read the text take a concept for its anchor, at once.

**Source**: Gandikota et al. 2024, "Unified Concept Editing in Diffusion Models", and its published
scripts. Every weight that reads text states is multiplied by one and the same matrix, so that it is
found once, in float64. `tokens=last` edits the last token of the concept, as published;
`tokens=rest` that one and all that follow, which tell of the concept, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from forgetme.errors import ForgetmeError
from forgetme.train.method import Context, Latents, Method, Option

KINDS = ("image", "photo", "portrait", "picture", "painting")
TEMPLATES = ("{}", "a photo of a {}", *(f"{kind} of {{}}" for kind in KINDS))
WORST = 1e12  # condition of a system that float64 still solves to four digits

States = Mapping[str, torch.Tensor]  # (n, D) float64 for each part of what the model is told


def edit(
    concepts: torch.Tensor,
    guides: torch.Tensor,
    kept: torch.Tensor,
    *,
    lam: float,
    erase: float,
    keep: float,
) -> torch.Tensor:
    """The matrix X (D, D) of W = W0 X that takes concepts for guides and leaves the rest.

    Args:
        concepts: (n, D) states that change.
        guides: (n, D), what takes each one's place.
        kept: (m, D) that must stay.
        lam: weight of leaving the weights as they are.
        erase: of the concepts.
        keep: of what must stay.

    Raises:
        ForgetmeError: the system is singular.
    """
    staying = lam * torch.eye(concepts.shape[1], dtype=concepts.dtype, device=concepts.device)
    staying = staying + keep * kept.T @ kept
    right = staying + erase * guides.T @ concepts
    return solved(right, staying + erase * concepts.T @ concepts)


def solved(right: torch.Tensor, system: torch.Tensor) -> torch.Tensor:
    """Returns right @ inverse(system), of a symmetric system.

    Raises:
        ForgetmeError: it is singular.
    """
    if not torch.linalg.cond(system) < WORST:
        raise ForgetmeError(
            "the closed form has no single answer: too little holds the weights where they are; "
            "raise the option lam"
        )
    return torch.linalg.solve(system, right.T).T


@torch.no_grad()
def states(ctx: Context, prompts: Sequence[str], templates: int, tokens: str) -> list[States]:
    """What the model is told of prompts in some templates, token by token, one for each prompt."""
    found = []
    for prompt in prompts:
        rows: dict[str, list[torch.Tensor]] = {}
        for one in TEMPLATES[:templates] if prompt else ("{}",) * templates:
            asked = one.format(prompt)
            first = max(ctx.end(asked) - 1, 0)
            for part, value in ctx.base.text([asked]).items():
                told = value[0].double()
                if told.ndim > 1:
                    told = told[first : first + 1] if tokens == "last" else told[first:]
                rows.setdefault(part, []).append(torch.atleast_2d(told))
        found.append(rows)
    return found


def pairs(
    ctx: Context, part: str, concepts: list[States], guide: States
) -> tuple[torch.Tensor, torch.Tensor]:
    """States (n, D) of concepts and of what takes their place; of uneven lengths the ends fall."""
    mine, others = [], []
    for one in concepts:
        for c, g in zip(one[part], guide[part], strict=True):
            count = min(len(c), len(g))
            mine.append(c[:count])
            others.append(g[:count])
    return torch.cat(mine), torch.cat(others)


def matrices(ctx: Context) -> dict[str, torch.Tensor]:
    """X of W = W0 X for each part of what the model is told."""
    plan = (int(ctx.option("templates")), ctx.option("tokens"))
    concepts = states(ctx, ctx.settings.concepts, *plan)
    guide = states(ctx, [guide_of(ctx)], *plan)[0]
    kept = states(ctx, ctx.settings.keep, *plan)
    found = {}
    for part in set(ctx.base.reading_states().values()):
        c, g = pairs(ctx, part, concepts, guide)
        rest = torch.cat([row for one in kept for row in one[part]]) if kept else c[:0]
        found[part] = edit(
            c, g, rest, lam=ctx.option("lam"), erase=ctx.option("erase"), keep=ctx.option("keep")
        )
    return found


def guide_of(ctx: Context) -> str:
    """What takes a concept's place: the anchor as given, else the first to keep, else nothing."""
    return ctx.settings.anchor or (ctx.settings.keep[0] if ctx.settings.keep else "")


def solve(ctx: Context, data: Latents) -> dict[str, torch.Tensor]:
    """W0 X for every weight that reads the text."""
    found = matrices(ctx)
    return {
        name: ctx.chosen[name].detach().double() @ found[part]
        for name, part in ctx.base.reading_states().items()
    }


OPTIONS = {
    "erase": Option(1.0, "strength: weight of taking the concept for its anchor"),
    "keep": Option(1.0, "weight of what must stay"),
    "lam": Option(0.5, "weight of leaving the weights as they are"),
    "templates": Option(1.0, "ways to say each concept, 1 to 7"),
    "tokens": Option("last", "tokens that are edited: the concept's last, or the rest, too",
                     ("last", "rest")),
}  # fmt: skip

METHOD = Method(
    name="uce",
    words="Closed form: the weights that read the prompt take the concept for another; seconds.",
    source="Gandikota et al. 2024 (UCE)",
    solve=solve,
    needs=frozenset({"anchor"}),
    trains=("kv",),
    bases=("sd", "sdxl", "sd3"),
    options=OPTIONS,
    presets={
        "full": {"steps": 0},
        "tiny": {"steps": 0, "options": {"templates": 7.0, "tokens": "rest"}},
    },
)
