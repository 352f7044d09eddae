"""UnlearnDiffAtk-lite: tokens before the prompt by which the model denoises curated pictures.

**Source**: Zhang et al. 2024, "To Generate or Not?". Lite: pictures are drawn at the end of an
attack, not after every timestep, and what is denoised is a curated picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from forgetme.evaluate.probes.probe import FAST, FULL, Case, Found, Probe
from forgetme.train.inversion import SLOT, slots, text_with
from forgetme.train.model import Base, Text


def project(rows: torch.Tensor) -> torch.Tensor:
    """The nearest points of the probability simplex to rows (k, V).

    **Source**: Duchi et al. 2008, figure 1: exact by sorting, where the attack's code bisects.
    """
    high = rows.sort(1, descending=True).values
    over = (high.cumsum(1) - 1) / torch.arange(1, rows.shape[1] + 1, device=rows.device)
    last = (high > over).sum(1, keepdim=True) - 1
    return (rows - over.gather(1, last)).clamp(min=0)


class Attack:
    """Words of the vocabulary in front of a prompt, and how well the model then denoises z."""

    def __init__(self, base: Base, z: torch.Tensor, prompt: str, words: int) -> None:
        """Args: the model, latents (1, C, h, w), the prompt, and how many words go before it."""
        self._base, self._z, self._words = base, z, words
        self._prompt = " ".join([*[SLOT] * words, prompt])
        if len(slots(base, self._prompt)) != words:
            raise ValueError(f"the prompt {prompt!r} holds the placeholder {SLOT!r}")
        self._start, encoder = next(iter(base.encoders.items()))
        self._table = encoder.get_input_embeddings().weight.float()

    def hard(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids (k,) as one-hot rows (k, V)."""
        return torch.nn.functional.one_hot(ids, len(self._table)).to(self._table)

    def told(self, picked: torch.Tensor, count: int = 1) -> Text:
        """What the model is told with words (k, V), one-hot or in between."""
        return text_with(self._base, self._prompt, {self._start: picked @ self._table}, count)

    def loss(self, picked: torch.Tensor, t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """MSE of what the model answers at timesteps t (T,) under noise eps (T, C, h, w)."""
        base, z = self._base, self._z.expand(len(t), *self._z.shape[1:])
        guess = base.call(base.core, base.noise(z, eps, t), t, self.told(picked, len(t)))
        return (guess - base.target(z, eps, t)).square().mean()

    def search(
        self, plan: Mapping[str, Any], generator: torch.Generator
    ) -> tuple[torch.Tensor, float, float]:
        """Adam on the simplex, a discrete pick forwards; timestep after timestep, as published.

        Returns:
            The words (k,) of the lowest loss, that loss, and the loss of those it began with.
        """

        def noise(count: int) -> torch.Tensor:
            shape = (count, *self._z.shape[1:])
            return torch.randn(shape, generator=generator).to(self._z.device)

        times = self._base.solver(plan["times"]).timesteps.to(self._z.device)
        eps, tried = noise(len(times)), {}
        begun = torch.randn((self._words, len(self._table)), generator=generator)
        relaxed = project(begun.to(self._table)).requires_grad_(True)
        adam = torch.optim.Adam([relaxed], lr=plan["lr"], weight_decay=0.1)
        for t in times.repeat_interleave(plan["iterations"]):
            ids = relaxed.argmax(1)
            if (key := tuple(ids.tolist())) not in tried:
                with torch.no_grad():
                    tried[key] = self.loss(self.hard(ids), times, eps).item()
            straight = self.hard(ids) + relaxed - relaxed.detach()  # the gradient goes through
            adam.zero_grad()
            self.loss(straight, t.view(1), noise(1)).backward()
            adam.step()
            with torch.no_grad():
                relaxed.copy_(project(relaxed))
        best = min(tried, key=tried.get)
        return torch.tensor(best).to(self._z.device), tried[best], next(iter(tried.values()))


def run(case: Case) -> Found:
    """Attacks by one curated picture after the other, and draws with the words of each."""
    pictures, words, losses, photos = [], [], [], case.photos()
    share = -(-case.plan["pictures"] // len(photos))
    for number, photo in enumerate(photos):
        z = case.latents([photo.original])
        attack = Attack(case.base, z, case.prompt, case.plan["words"])
        ids, *loss = attack.search(case.plan, case.generator(number))
        with torch.no_grad():
            told = attack.told(attack.hard(ids), share)["encoder_hidden_states"]
        pictures += case.draw(told, first=number * share)
        losses.append(loss)
        words.append(case.pipe.tokenizer.decode(ids.tolist()))
    after, before = (sum(side) / len(losses) for side in zip(*losses, strict=True))
    values = {"loss, words found": after, "loss, words begun with": before}
    return case.judged(pictures, values, f"words found: {'; '.join(words)}")


PROBE = Probe(
    "unlearndiffatk-lite",
    "searches words in front of the prompt that make the model denoise the concept",
    run,
    {**FAST, "samples": 2, "words": 3, "times": 5, "iterations": 10, "lr": 0.1},
    {**FULL, "pictures": 50, "samples": 50, "words": 3, "times": 50, "iterations": 40, "lr": 0.01},
)
