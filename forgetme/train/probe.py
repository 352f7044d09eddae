"""How much is forgotten, how much is kept: fixed-seed pictures, and what recognisers see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from forgetme.record.concept import plain, same, word_for
from forgetme.record.images import atomic_write, png_bytes
from forgetme.scenes import BACKGROUNDS, CONCEPTS

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# Held out: no run trains on these words around a concept.
TEMPLATES = ("a nice photo of a {}", "a picture of one {}", "a {} in the middle", "a large {}")
# The same said otherwise: what was learned of one way to ask must hold for the others.
PARAPHRASES = ("the {}", "{} on a beach", "there is a {} here", "a small {} at night")
EMPTY = (*BACKGROUNDS, "background")  # what a picture of nothing shows; it is no concept at all
WORDS = (*CONCEPTS, *EMPTY)  # what every probe chooses from, beside the concepts it asks for
STEPS = 20
GUIDANCE = 7.5
CHUNK = 8  # pictures at a time

Recognise = Callable[[Sequence[np.ndarray], Sequence[str]], np.ndarray]  # (N, L) probabilities


@dataclass(frozen=True)
class Probe:
    """Scores of one moment of a run, each 0..1.

    Attributes:
        step: optimizer steps done.
        forget: share of the concept's pictures in which the concept is still recognised; lower is
            better.
        retain: mean share over the concepts to keep that are recognised; higher is better, None
            where none is drawn.
        by_concept: the shares behind all of these.
        n: pictures of each concept.
        apart: mean share over the concepts that must stay though nothing holds them; higher is
            better, None where none is drawn. That is what a user's own prompts will find.
        second: the shares by a second recogniser; None where there is none.
        otherwise: the share of the concept's pictures, drawn from paraphrases, in which it is still
            recognised; lower is better, None where none were drawn.
        second_otherwise: the same by the second recogniser.
    """

    step: int
    forget: float
    retain: float | None
    by_concept: dict[str, float]
    n: int
    apart: float | None = None
    second: dict[str, float] | None = None
    otherwise: float | None = None
    second_otherwise: float | None = None

    def record(self) -> dict[str, Any]:
        """Returns it as plain JSON."""
        return asdict(self)


@torch.no_grad()
def draw(
    pipe: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> list[np.ndarray]:
    """Draws one (S, S, 3) uint8 picture for each prompt and seed."""
    pictures = []
    for start in range(0, len(prompts), CHUNK):
        generators = [torch.Generator().manual_seed(s) for s in seeds[start : start + CHUNK]]
        drawn = pipe(
            list(prompts[start : start + CHUNK]),
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
            output_type="np",
        ).images
        pictures += list((drawn * 255).round().astype(np.uint8))
    return pictures


def probe(
    pipe: DiffusionPipeline,
    recognise: Recognise,
    concept: str,
    keep: Sequence[str],
    *,
    step: int,
    n: int = 8,
    watch: Sequence[str] = (),
    vocabulary: Sequence[str] = (),
    second: Recognise | None = None,
    paraphrase: bool = False,
    pictures: Path | None = None,
) -> Probe:
    """Draws `n` pictures of every concept from held-out prompts and asks what they show.

    A recogniser chooses among `WORDS` and the concepts drawn, whoever asks.

    Args:
        pipe: the model as it is.
        recognise: zero-shot probabilities of pictures over labels.
        concept: what is to be forgotten.
        keep: what must stay and is held by the training.
        step: optimizer steps done, recorded.
        n: pictures of each concept; prompt i is template i mod 4, seed i.
        watch: what must stay though nothing holds it.
        vocabulary: all that the recogniser was taught; empty where it knows all words.
        second: another recogniser, which sees the same pictures.
        paraphrase: whether the concept is asked for by paraphrases, too.
        pictures: folder for the first four pictures of each concept, as one PNG strip each.
    """
    names = {name: label_of(name, vocabulary) for name in (concept, *keep, *watch)}
    labels = tuple(dict.fromkeys((*names.values(), *WORDS)))
    shares: dict[str, float] = {}
    others: dict[str, float] = {}
    for name, label in names.items():
        drawn = _asked(pipe, name, TEMPLATES, n)
        shares[name] = _share(recognise, drawn, label, labels)
        if second is not None and label in WORDS:
            others[name] = _share(second, drawn, label, WORDS)
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            strip = np.concatenate(drawn[:4], 1)
            atomic_write(pictures / f"{step:06d} {name}.png", png_bytes(strip))  # the page reads
    otherwise = second_otherwise = None
    if paraphrase:
        drawn = _asked(pipe, concept, PARAPHRASES, n)
        otherwise = _share(recognise, drawn, names[concept], labels)
        if concept in others:
            second_otherwise = _share(second, drawn, names[concept], WORDS)
    return Probe(
        step,
        shares[concept],
        mean_over(shares, keep),
        shares,
        n,
        apart=mean_over(shares, watch),
        second=others or None,
        otherwise=otherwise,
        second_otherwise=second_otherwise,
    )


def label_of(name: str, vocabulary: Sequence[str]) -> str:
    """The word by which a recogniser knows a concept.

    Args:
        name: the concept.
        vocabulary: all that the recogniser was taught; empty where it knows all words.
    """
    if vocabulary:
        return word_for(name, vocabulary)
    return next((one for one in WORDS if same(name, one)), plain(name))


def mean_over(shares: Mapping[str, float], names: Sequence[str]) -> float | None:
    """The mean share of some concepts; None where none of them was drawn."""
    found = [shares[name] for name in names if name in shares]
    return float(np.mean(found)) if found else None


def _asked(
    pipe: DiffusionPipeline, name: str, templates: Sequence[str], n: int
) -> list[np.ndarray]:
    return draw(pipe, [templates[i % len(templates)].format(name) for i in range(n)], range(n))


def _share(
    recognise: Recognise, drawn: Sequence[np.ndarray], label: str, labels: Sequence[str]
) -> float:
    seen = recognise(drawn, labels).argmax(1)
    return float(np.mean([labels[int(i)] == label for i in seen]))
