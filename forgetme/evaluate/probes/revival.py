"""RECE's revival: the text states that bring a concept back best out of a closed form's weights.

**Source**: Gong et al. 2024 (RECE), whose inner step it is, as a probe.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from forgetme.evaluate.probes.probe import FAST, FULL, CannotError, Case, Found, Probe
from forgetme.train.methods.uce import solved
from forgetme.train.model import Base


@torch.no_grad()
def readers(base: Base) -> list[torch.Tensor]:
    """The weights (out, D) that read the text, float64, with the adapters that they wear."""
    found = []
    for name, module in base.core.named_modules():
        for layer in (module.to_k, module.to_v) if name.endswith("attn2") else ():
            eye = torch.eye(layer.in_features, dtype=layer.weight.dtype, device=base.device)
            found.append(layer(eye).T.double())
    return found


def revived(
    concepts: torch.Tensor,
    before: Sequence[torch.Tensor],
    after: Sequence[torch.Tensor],
    lam: float,
) -> torch.Tensor:
    """States (n, D) of which weights say most nearly what those before said of concepts (n, D).

    c' = (lam I + sum Wn^T Wn)^-1 (sum Wn^T W0) c, for any weights; `train.methods.rece` solves it
    for its own edits, which are one matrix.
    """
    eye = torch.eye(concepts.shape[1], dtype=concepts.dtype, device=concepts.device)
    seen = sum(w.T @ w0 for w0, w in zip(before, after, strict=True))
    return solved(concepts @ seen.T, lam * eye + sum(w.T @ w for w in after))


def run(case: Case) -> Found:
    """Draws by the revived states of all tokens of the concept's prompt."""
    begun = case.before()
    before, after = readers(begun), readers(case.base)
    if all(torch.equal(w0, w) for w0, w in zip(before, after, strict=True)):
        raise CannotError("the patch leaves the weights that read the text as they are")
    states = case.told(begun)[0].double()
    again = revived(states, before, after, case.plan["lam"])

    def off(c: torch.Tensor) -> float:
        said = [(w @ c.T - w0 @ states.T) for w0, w in zip(before, after, strict=True)]
        return torch.stack([one.square().sum() for one in said]).sum().sqrt().item()

    values = {"off the model before": off(states), "off it when revived": off(again)}
    return case.judged(case.draw_told(again[None].float()), values)


PROBE = Probe(
    "revival",
    "solves for the text states that revive the concept in a closed form's weights",
    run,
    {**FAST, "lam": 0.1},
    {**FULL, "lam": 0.1},
)
