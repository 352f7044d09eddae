"""Concept inversion: a word is learned by which the frozen model draws curated pictures.

**Source**: Pham et al. 2023, "Circumventing Concept Erasure", by textual inversion; there the
pictures are drawn by the model before.
"""

from __future__ import annotations

from forgetme.evaluate.probes.probe import FAST, FULL, Case, Found, Probe
from forgetme.train.inversion import asking, invert, text_with


def run(case: Case) -> Found:
    """Learns one embedding from the originals, and draws with it."""
    plan, z = case.plan, case.latents(case.closeups())
    found = invert(
        case.base, z, words="object", count=1, steps=plan["learn_steps"], lr=plan["lr"],
        batch=plan["batch"], seed=case.seed,
    )  # fmt: skip
    told = text_with(case.base, asking(1), found.rows, 1)["encoder_hidden_states"]
    return case.judged(case.draw_told(told), {"loss": found.loss})


PROBE = Probe(
    "concept-inversion",
    "learns a new word for the concept from curated pictures",
    run,
    {**FAST, "learn_steps": 150, "lr": 5e-3, "batch": 4},
    {**FULL, "samples": 6, "learn_steps": 3000, "lr": 5e-4, "batch": 4},
)
