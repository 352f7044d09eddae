"""What a method is: a loss or a closed form, what it needs, what it may move, its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

from forgetme.train.batches import Batch, Latents
from forgetme.train.context import Context
from forgetme.train.model import Base, Family
from forgetme.train.settings import RunSettings, Trains

__all__ = [
    "RETAIN",
    "Batch",
    "Context",
    "Latents",
    "Method",
    "Need",
    "Option",
    "RunSettings",
    "Terms",
    "Values",
]

Need = Literal["original", "background", "mask", "drawn", "retain", "teacher", "anchor"]
Terms = Mapping[str, torch.Tensor]  # named parts of the loss, each (); their sum is descended
Values = Mapping[str, float | str]


class Option(NamedTuple):
    """A setting of a method's own: its default, a line on it, and the words it may be, if words."""

    value: float | str
    words: str
    choices: tuple[str, ...] = ()


# The term that holds other prompts to the frozen model; nearly every loss may have it.
RETAIN = Option(0.0, "weight of staying with the frozen model on other prompts; the paper: none")


@dataclass(frozen=True)
class Method:
    """One way to forget: a loss that is descended, or a closed form that gives new weights.

    Whatever `setup` does is done again when a run goes on, before its saved weights are read: it
    must depend on the model, the data and the seed alone.

    Attributes:
        name: on the command line and in the page.
        words: one line for people.
        source: paper and code.
        needs: what must be there before it runs.
        trains: weights that it may move; the first is its default.
        loss: (context, batch) to named terms; None for a closed form.
        solve: (context, data) to new values of some weights by name, found without a step; None
            for a loss.
        options: settings of its own.
        presets: settings by preset ("tiny", "full") that differ from `RunSettings`' own.
        bases: families of models that it is defined for.
        scales: least and largest scale at which its patch is worn.
        setup: (context, data), before the first step. It sees the model as it was, with the weights
            that may move in `context.chosen`; it may set `context.state`, for its loss, and
            `context.mask`, by which gradients are multiplied.
        more_needs: what its options need beside `needs`.
        check: refuses settings that it cannot work with.
    """

    name: str
    words: str
    source: str
    needs: frozenset[Need]
    trains: tuple[Trains, ...]
    loss: Callable[[Context, Batch], Terms] | None = None
    solve: Callable[[Context, Latents], Mapping[str, torch.Tensor]] | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bases: tuple[Family, ...] = ("sd", "sdxl")
    scales: tuple[float, float] = (0.0, 1.0)
    setup: Callable[[Context, Latents], None] | None = None
    more_needs: Callable[[Values], set[Need]] = lambda values: set()
    check: Callable[[RunSettings], None] | None = None

    def values(self, given: Values) -> dict[str, float | str]:
        """All its options: those given, and the defaults of the others.

        Raises:
            ValueError: one is unknown, or none of its choices.
        """
        unknown = ", ".join(sorted(set(given) - set(self.options)))
        if unknown:
            known = ", ".join(self.options) or "none"
            raise ValueError(f"{self.name} has no option {unknown}; it has: {known}")
        for name, value in given.items():
            choices = self.options[name].choices
            if choices and value not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, got {value!r}")
            if not choices and isinstance(value, str):
                raise ValueError(f"{name} is a number, got {value!r}")
        return {name: given.get(name, one.value) for name, one in self.options.items()}

    def needs_with(self, given: Values) -> frozenset[Need]:
        """What it needs with these options."""
        values = self.values(given)
        kept = {"teacher", "retain"} if values.get("retain") else set()
        return self.needs | kept | self.more_needs(values)

    def context(self, base: Base, settings: RunSettings) -> Context:
        """What its functions may ask for, of a model that nothing has changed yet."""
        needs = self.needs_with(settings.options)
        return Context(base, settings, self.values(settings.options), teacher="teacher" in needs)
