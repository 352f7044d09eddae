"""A patch's scale follows the prompt: a prompt without the concept gets the untouched model.

**Source**: Lyu et al. 2024, "One-Dimensional Adapter to Rule Them All", facilitated transport.
Departures: one concept's likeness that is no greater than that of what must stay closes the gate
altogether, where the paper lets a little of the patch through; and it acts on any patch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from forgetme.errors import ForgetmeError
from forgetme.train.model import base_of
from forgetme.train.patch import Patch

EMPTY = ("", "a photo", "a picture of something")  # no patch is for these


def likeness(
    states: torch.Tensor, target: torch.Tensor, ids: Collection[int], wanted: Collection[int]
) -> float:
    """How much a prompt is about a target: max of the cosine and of the share of its tokens.

    Args:
        states: of the prompt's text.
        target: of the target's, of the same shape.
        ids: the prompt's tokens.
        wanted: the target's.
    """
    cosine = torch.cosine_similarity(states.flatten(), target.flatten(), dim=0)
    return max(float(cosine), len(set(ids) & set(wanted)) / len(set(wanted)))


class Gate:
    """Tells how far a patch is for a prompt, 0..1.

    Args:
        pipe: whose text encoder reads, as it is now.
        patch: names its concepts, and what must stay.

    Raises:
        ForgetmeError: the patch names no concept.
    """

    def __init__(self, pipe: object, patch: Patch) -> None:
        """Finds how alike what must stay is; the arguments are those of the class."""
        if not patch.concepts:
            raise ForgetmeError(f"{patch.folder} names no concept, so no gate can know its prompts")
        self._base = base_of(pipe)
        self._targets = [self._read(one) for one in patch.concepts]
        kept = (*patch.record.get("keep", ()), *patch.record.get("watch", ()))
        others = [*EMPTY, *(f"a photo of a {one}" for one in kept), *kept]
        self._least = max(self._likeness(one) for one in others)

    def __call__(self, prompt: str) -> float:
        """The factor of the patch's scale for a prompt."""
        found = self._likeness(prompt)
        return found if found > self._least else 0.0

    def of_all(self, prompts: Sequence[str]) -> float:
        """The factor for prompts that are drawn in one call.

        Raises:
            ForgetmeError: it is nothing for one of them and something for another.
        """
        found = [self(one) for one in prompts]
        if min(found) == 0 < max(found):
            raise ForgetmeError(
                "a patch with a gate cannot be worn for one prompt of a call and not for another; "
                f"draw {prompts[found.index(0.0)]!r} by itself"
            )
        return max(found)

    def _likeness(self, prompt: str) -> float:
        states, ids = self._read(prompt)
        return max(likeness(states, other, ids, wanted) for other, wanted in self._targets)

    @torch.no_grad()
    def _read(self, prompt: str) -> tuple[torch.Tensor, list[int]]:
        ids = self._base.pipe.tokenizer([prompt]).input_ids[0][1:-1]
        return self._base.text([prompt])["encoder_hidden_states"].float(), ids
