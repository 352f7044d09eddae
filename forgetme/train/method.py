"""What a method is: a loss, what it needs, which weights it may move, and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from forgetme.train.settings import Trains

if TYPE_CHECKING:
    import torch

    from forgetme.train.context import Context

Need = Literal["original", "background", "retain", "teacher", "anchor"]
Terms = Mapping[str, "torch.Tensor"]  # named parts of the loss; their sum is descended


@dataclass(frozen=True)
class Batch:
    """What one step sees; latents are scaled by the VAE's factor, all of one shape.

    Attributes:
        original: (B, C, h, w) latents with the concept; None where the method needs none.
        background: (B, C, h, w) latents of the same scenes without it; None likewise.
        t: (B,) int64 timesteps; `eps`: (B, C, h, w) noise.
        retain: (B, C, h, w) latents of what must stay; `retain_prompts`: theirs.
        retain_t, retain_eps: drawn apart from the forget side's.
        generator: for whatever else the method draws.
    """

    original: torch.Tensor | None
    background: torch.Tensor | None
    t: torch.Tensor
    eps: torch.Tensor
    retain: torch.Tensor | None
    retain_prompts: list[str]
    retain_t: torch.Tensor
    retain_eps: torch.Tensor
    generator: torch.Generator


@dataclass(frozen=True)
class Method:
    """One way to forget.

    Attributes:
        name: on the command line and in the page.
        words: one line for people.
        source: paper and code.
        loss: (context, batch) to named terms.
        needs: what must be there before it runs.
        trains: weights that it may move; the first is its default.
        options: its own numbers with their defaults, and a line on each.
        presets: settings by preset ("tiny", "full") that differ from `RunSettings`' own.
    """

    name: str
    words: str
    source: str
    loss: Callable[[Context, Batch], Terms]
    needs: frozenset[Need]
    trains: tuple[Trains, ...]
    options: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def needs_with(self, options: Mapping[str, float]) -> frozenset[Need]:
        """What it needs with these numbers: to stay with the frozen model takes that model."""
        return self.needs | frozenset(["teacher"] if options.get("retain") else [])
