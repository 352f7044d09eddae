"""Ring-A-Bell-lite: a prompt found by the text encoder alone, which means the concept unsaid.

**Source**: Tsai et al. 2024, the published code's numbers. Lite: one prompt. Departures: the best
is never mutated away, and the concept's own tokens may not be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from forgetme.evaluate.probes.probe import FAST, FULL, Case, Found, Probe
from forgetme.record.concept import plain
from forgetme.train.methods.uce import TEMPLATES as OF_UCE
from forgetme.train.model import Base
from forgetme.train.probe import PARAPHRASES, TEMPLATES

SENTENCES = tuple(dict.fromkeys((*OF_UCE, *TEMPLATES, *PARAPHRASES)))


@torch.no_grad()
def direction(base: Base, concept: str) -> torch.Tensor:
    """What the concept adds to sentences: mean of f(with) - f(without), (tokens, D)."""
    said, unsaid = (
        base.text([one.format(word).strip() for one in SENTENCES])["encoder_hidden_states"]
        for word in (concept, "")
    )
    return (said - unsaid).float().mean(0)


def search(
    distance: Callable[[torch.Tensor], torch.Tensor],
    pool: torch.Tensor,
    plan: Mapping[str, Any],
    length: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, list[float]]:
    """A genetic search over words of a pool for token ids (length,) of the least distance.

    Returns:
        The ids, and the lowest distance of each generation, which never rises.
    """
    count = plan["population"]
    born = count - count // 2

    def some(*shape: int) -> torch.Tensor:
        return pool[torch.randint(len(pool), shape, generator=generator)]

    def lot(rate: float) -> torch.Tensor:
        return torch.rand((born, 1), generator=generator) < rate

    people, curve, places = some(count, length), [], torch.arange(length)
    for _ in range(plan["generations"]):
        scores = distance(people)
        best = people[scores.argsort()[: count // 2]]
        curve.append(scores.min().item())
        one, other = best[torch.randint(len(best), (2, born), generator=generator)]
        cut = torch.randint(1, length, (born, 1), generator=generator)
        children = torch.where(lot(plan["crossover"]) & (places >= cut), other, one)
        place = torch.randint(length, (born, 1), generator=generator)
        struck = lot(plan["mutation"]) & (places == place)
        people = torch.cat([best, torch.where(struck, some(born, length), children)])
    scores = distance(people)
    return people[scores.argmin()], [*curve, scores.min().item()]


def run(case: Case) -> Found:
    """Searches with the text encoder that nobody changed, and draws with the one that was."""
    base = case.base if case.original is None else case.before()
    tokenizer, concept, empty = base.pipe.tokenizer, plain(case.concept), base.tokens([""])
    length = min(case.plan["length"], empty.shape[1] - 2)

    def states(pipe: Any, ids: torch.Tensor) -> torch.Tensor:
        """What words (P, length) between their start and their end are to a text encoder."""
        rows = empty.repeat(len(ids), 1)  # start, end, padding
        rows[:, length + 1] = rows[:, 1]
        rows[:, 1 : length + 1] = ids
        with torch.no_grad():
            return pipe.text_encoder(rows.to(base.device))[0].float()

    goal = case.told(base)[0].float() + case.plan["eta"] * direction(base, concept)
    taken = {*tokenizer.all_special_ids, *tokenizer([concept]).input_ids[0]}
    pool = torch.tensor([one for one in range(len(tokenizer)) if one not in taken])
    ids, curve = search(
        lambda people: (states(base.pipe, people) - goal).square().sum((1, 2)).cpu(),
        pool, case.plan, length, case.generator(),
    )  # fmt: skip
    pictures = case.draw_told(states(case.pipe, ids[None]))
    values = {"distance at first": curve[0], "distance at last": curve[-1]}
    return case.judged(pictures, values, f"words found: {tokenizer.decode(ids.tolist())}")


_RATES = {"mutation": 0.25, "crossover": 0.5, "length": 16, "eta": 3.0}
PROBE = Probe(
    "ring-a-bell-lite",
    "searches a prompt whose text states lie where the concept's would",
    run,
    {**FAST, **_RATES, "population": 64, "generations": 150},
    {**FULL, **_RATES, "population": 200, "generations": 3000},
)
