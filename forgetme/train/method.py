"""What a method is: a loss, what it needs, which weights it may move, and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from forgetme.train.batches import Batch, Latents
from forgetme.train.context import Context
from forgetme.train.model import Base
from forgetme.train.settings import RunSettings, Trains

__all__ = ["Batch", "Context", "Latents", "Method", "Need", "Terms"]

Need = Literal["original", "background", "mask", "retain", "teacher", "anchor"]
# Named parts of the loss, each () or one number a sample (B,); the sum of their means is descended.
Terms = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Method:
    """One way to forget.

    Besides its loss a method may do something before the first step, to each gradient, and to the
    samples' weights. Whatever `setup` does is done again when a run goes on, before its saved
    weights are read: it must depend on the model, the data and the seed alone.

    Attributes:
        name: on the command line and in the page.
        words: one line for people.
        source: paper and code.
        loss: (context, batch) to named terms.
        needs: what must be there before it runs.
        trains: weights that it may move; the first is its default.
        options: its own numbers with their defaults, and a line on each.
        presets: settings by preset ("tiny", "full") that differ from `RunSettings`' own.
        setup: (context, data) to whatever its other functions want, as `context.state`. It sees the
            model as it was, with the weights that may move in `context.chosen`; a closed form
            writes them there, and needs no step.
        after_backward: (state, chosen) after each backward pass: may change the gradients.
        weigh: (state, batch, terms) to weights by term, of the same shapes: `context.mse` then
            gives one number a sample, and a term is the mean of weights times numbers.
        check: refuses settings that it cannot work with.
    """

    name: str
    words: str
    source: str
    loss: Callable[[Context, Batch], Terms]
    needs: frozenset[Need]
    trains: tuple[Trains, ...]
    options: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    setup: Callable[[Context, Latents], Any] | None = None
    after_backward: Callable[[Any, Mapping[str, torch.nn.Parameter]], None] | None = None
    weigh: Callable[[Any, Batch, Terms], Terms] | None = None
    check: Callable[[RunSettings], None] | None = None

    def needs_with(self, options: Mapping[str, float]) -> frozenset[Need]:
        """What it needs with these numbers: to stay with the frozen model takes that model."""
        return self.needs | frozenset(["teacher"] if options.get("retain") else [])

    def context(self, base: Base, settings: RunSettings) -> Context:
        """What its loss may ask for, of a model that nothing has changed yet."""
        known = {name: value for name, (value, _) in self.options.items()}
        options = {**known, **settings.options}
        return Context(
            base,
            settings,
            options,
            teacher="teacher" in self.needs_with(options),
            per_sample=self.weigh is not None,
        )

    def reduced(self, state: Any, batch: Batch, terms: Terms) -> dict[str, torch.Tensor]:
        """Each term as one number."""
        weights: Terms = {}
        if self.weigh is not None:
            weights = self.weigh(
                state, batch, {name: value.detach() for name, value in terms.items()}
            )
        terms = {
            name: value * weights[name] if name in weights else value
            for name, value in terms.items()
        }
        return {name: value.mean() if value.ndim else value for name, value in terms.items()}
