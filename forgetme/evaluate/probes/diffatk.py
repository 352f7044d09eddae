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


def attack(
    base: Base, z: torch.Tensor, prompt: str, plan: Mapping[str, Any], generator: torch.Generator
) -> tuple[list[int], torch.Tensor, float, float]:
    """Searches words that lower the denoising loss of z (1, C, h, w), timestep after timestep.

    Adam on the simplex over the vocabulary; forwards, each place's likeliest word.

    Returns:
        The words of the lowest loss (k token ids), the text states (1, tokens, D) of the prompt
        behind them, that loss, and the loss of the words that it began with.
    """
    asked = " ".join([*[SLOT] * plan["words"], prompt])
    start, encoder = next(iter(base.encoders.items()))
    table = encoder.get_input_embeddings().weight.float()  # (V, D)

    def told(picked: torch.Tensor, count: int = 1) -> Text:
        return text_with(base, asked, {start: picked @ table}, count)

    def loss(picked: torch.Tensor, t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        clean = z.expand(len(t), *z.shape[1:])
        guess = base.call(base.core, base.noise(clean, eps, t), t, told(picked, len(t)))
        return (guess - base.target(clean, eps, t)).square().mean()

    def noise(count: int) -> torch.Tensor:
        return torch.randn((count, *z.shape[1:]), generator=generator).to(z.device)

    def hard(ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(ids, len(table)).to(table)

    times = base.solver(plan["times"]).timesteps.to(z.device)
    eps, tried = noise(len(times)), {}  # words are compared under one and the same noise
    relaxed = torch.randn((len(slots(base, asked)), len(table)), generator=generator)
    relaxed = project(relaxed.to(table)).requires_grad_(True)
    adam = torch.optim.Adam([relaxed], lr=plan["lr"], weight_decay=0.1)
    for t in times.repeat_interleave(plan["iterations"]):
        ids = relaxed.argmax(1)
        if (key := tuple(ids.tolist())) not in tried:
            with torch.no_grad():
                tried[key] = loss(hard(ids), times, eps).item()
        adam.zero_grad()
        straight = hard(ids) + relaxed - relaxed.detach()  # the gradient goes straight through
        loss(straight, t.view(1), noise(1)).backward()
        adam.step()
        with torch.no_grad():
            relaxed.copy_(project(relaxed))
    best = min(tried, key=tried.get)
    with torch.no_grad():
        states = told(hard(torch.tensor(best, device=z.device)))["encoder_hidden_states"]
    return list(best), states, tried[best], next(iter(tried.values()))


def run(case: Case) -> Found:
    """Attacks by one curated picture after the other, and draws with the words of each."""
    pictures, words, losses, photos = [], [], [], case.closeups()
    share = -(-case.plan["pictures"] // len(photos))
    for number, photo in enumerate(photos):
        z, lot = case.latents([photo]), case.generator(number)
        ids, told, *loss = attack(case.base, z, case.prompt, case.plan, lot)
        pictures += case.draw(told.expand(share, *told.shape[1:]), first=number * share)
        losses.append(loss)
        words.append(case.pipe.tokenizer.decode(ids))
    after, before = (sum(side) / len(losses) for side in zip(*losses, strict=True))
    values = {"loss, words found": after, "loss, words begun with": before}
    return case.judged(pictures, values, f"words found: {'; '.join(words)}")


PROBE = Probe(
    "unlearndiffatk-lite",
    "searches words in front of the prompt that make the model denoise the concept",
    run,
    {**FAST, "samples": 1, "words": 3, "times": 10, "iterations": 8, "lr": 0.3},
    {**FULL, "pictures": 50, "samples": 50, "words": 3, "times": 50, "iterations": 40, "lr": 0.01},
)
