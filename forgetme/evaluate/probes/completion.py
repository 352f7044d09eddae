"""The model without its patch begins a picture of the concept, and the patched one finishes it.

**Source**: "When Are Concepts Erased", NeurIPS 2025, where k is 0 to 2 of 50 steps.
"""

from __future__ import annotations

from typing import Any

import torch

from forgetme.evaluate.probes.probe import CHUNK, FAST, FULL, Case, Found, Probe


def run(case: Case) -> Found:
    """Changes the networks after k steps of one and the same sampling, for each k of `done`."""
    pipe, before = case.pipe, case.before().pipe
    own = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    theirs = {"unet": before.unet, "text_encoder": before.text_encoder}
    with torch.no_grad():
        told = case.base.text(["", case.prompt])["encoder_hidden_states"]

    def wear(parts: dict[str, Any]) -> None:
        for name, part in parts.items():
            setattr(pipe, name, part)

    pictures, names, share = [], [], -(-case.plan["pictures"] // len(case.plan["done"]))
    for done in case.plan["done"]:

        def after_step(_: Any, step: int, t: Any, had: dict, done: int = done) -> dict[str, Any]:
            if step + 1 != done:
                return {}
            wear(own)  # what the sampler remembers of its last steps stays
            return {"prompt_embeds": told.repeat_interleave(len(had["prompt_embeds"]) // 2, 0)}

        for start in range(0, share, CHUNK):
            wear(theirs if done else own)
            pictures += case.draw(
                [case.prompt] * min(CHUNK, share - start),
                first=start,
                callback_on_step_end=after_step,
                callback_on_step_end_tensor_inputs=["prompt_embeds"],
            )
        names.append(f"share after {done} of {case.plan['steps']} steps")
    wear(own)
    found = case.judged(pictures)
    for place, name in enumerate(names):
        found.values[name] = sum(found.seen[place * share : (place + 1) * share]) / share
    return found


PROBE = Probe(
    "completion",
    "finishes pictures that the model without the patch has begun",
    run,
    {**FAST, "done": (1, 2, 4)},
    {**FULL, "pictures": 90, "done": (0, 1, 2)},
)
