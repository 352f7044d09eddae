"""What a run is told: one frozen record that is saved beside its result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from forgetme.record.concept import plain

Trains = Literal["lora", "kv", "cross-attention", "no-cross-attention", "full", "text-encoder"]
Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True)
class RunSettings:
    """All that decides a run's result, apart from its data.

    Attributes:
        method: name of a method.
        concept: what is to be forgotten.
        also: what is forgotten in the same run, each from its own pictures and prompt.
        prompt: the prompt that is made to forget; "" = "a photo of a {concept}". For each of `also`
            its name takes the concept's place in it.
        any_prompt: let the prompt not name the concept, as a learned token such as "<sks>" does.
        keep: concepts that must stay and are held by the training, the nearest first.
        watch: concepts that must stay though nothing holds them; probes tell of them apart.
        retain_pictures: pictures of `keep` that the unchanged model draws, to train on.
        anchor: the prompt that takes its place, where the method wants one; "" = that of the first
            concept to keep, or the empty one where there is none.
        trains: which weights move, see `params.SELECTIONS`.
        steps: optimizer steps; 0 where the method writes the weights at once.
        lr: learning rate of Adam, constant.
        batch: pictures at a time, of all processes together where there are several.
        accumulate: batches added up for one step.
        rank: of the LoRA matrices; their scale is 1.
        precision: "no" is float32; "bf16" and "fp16" are mixed precision, the trained weights
            stay float32.
        gradient_checkpointing: recompute activations to save memory.
        clip: largest norm of the gradient; 0 = off.
        seed: of the initial LoRA weights, the data's order, times and noise.
        probe_every: steps between probes of forgetting and keeping; 0 = only at the ends.
        save_every: steps between checkpoints.
        options: the method's own numbers, see its `defaults`.
    """

    method: str
    concept: str
    also: tuple[str, ...] = ()
    prompt: str = ""
    any_prompt: bool = False
    anchor: str = ""
    keep: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    retain_pictures: int = 0
    trains: Trains = "lora"
    steps: int = 500
    lr: float = 1e-4
    batch: int = 1
    accumulate: int = 1
    rank: int = 4
    precision: Precision = "no"
    gradient_checkpointing: bool = False
    clip: float = 1.0
    seed: int = 0
    probe_every: int = 100
    save_every: int = 100
    options: dict[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses values that no run can have."""
        for name, least in (("steps", 0), ("batch", 1), ("accumulate", 1), ("rank", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        twice = [one for one in self.concepts if one in self.keep]
        if twice:
            raise ValueError(f"{twice[0]!r} cannot be forgotten and kept; take it out of keep")
        if len(set(self.concepts)) < len(self.concepts):
            raise ValueError(f"a concept is named twice: {', '.join(self.concepts)}")
        if self.also and self.prompt and self.concept not in self.prompt:
            raise ValueError(
                f"the prompt {self.prompt!r} does not hold {self.concept!r}, whose place the other "
                "concepts would take; leave --prompt out"
            )
        both = [one for one in self.watch if one in (*self.concepts, *self.keep)]
        if both:
            raise ValueError(f"{both[0]!r} is watched apart from what is forgotten and kept")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.trains not in get_args(Trains):
            known = ", ".join(get_args(Trains))
            raise ValueError(f"unknown weights to train {self.trains!r}; known: {known}")
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ValueError(f"unknown precision {self.precision!r}; known: {known}")

    @property
    def concepts(self) -> tuple[str, ...]:
        """All that is to be forgotten."""
        return (self.concept, *self.also)

    @property
    def prompt_names_concept(self) -> bool:
        """Whether the prompt holds the concept's words, singular or with an s."""
        words = plain(self.concept).lower()
        prompt = " ".join(self.target_prompt.replace("_", " ").lower().split())
        if not words.isascii():
            return words in prompt  # not every writing parts its words
        return re.search(rf"(?<!\w){re.escape(words)}(e?s)?(?!\w)", prompt) is not None

    @property
    def target_prompt(self) -> str:
        """The prompt that is made to forget."""
        return self.prompt or f"a photo of a {self.concept}"

    @property
    def target_prompts(self) -> tuple[str, ...]:
        """The prompts that are made to forget, one for each concept."""
        first = self.target_prompt
        return (first, *(first.replace(self.concept, one) for one in self.also))

    @property
    def anchor_prompt(self) -> str:
        """The prompt that takes its place."""
        return self.anchor or (f"a photo of a {self.keep[0]}" if self.keep else "")

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RunSettings:
        """Reads what `record` gave, plain JSON."""
        lists = {name: tuple(record.get(name, ())) for name in ("also", "keep", "watch")}
        return cls(**{**record, **lists})

    def record(self) -> dict[str, Any]:
        """Returns all fields as plain JSON."""
        return asdict(self)
