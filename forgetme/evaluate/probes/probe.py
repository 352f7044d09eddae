"""What a probe is, what it works with, and how the model is left as it was."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image

from forgetme.evaluate.detectors import Recogniser, shown
from forgetme.record.concept import plain
from forgetme.record.masks import box_xywh
from forgetme.record.sample import Layers
from forgetme.train.data import square
from forgetme.train.model import Base, base_of
from forgetme.train.quick import quick

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

CHUNK = 8  # pictures at a time
FAST = {"pictures": 12, "samples": 12, "steps": 20, "guidance": 7.5}  # of most probes
FULL = {"pictures": 30, "samples": 30, "steps": 50, "guidance": 7.5}

Preset = Literal["fast", "full"]


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found.

    Attributes:
        name: of the probe.
        tried: pictures that were judged; 0 where the probe says nothing of this model, see `note`.
        back: of these, those in which the judge sees the concept; lower is better.
        seconds: wall time.
        judge: name of the recogniser.
        note: for people: what was found, or why nothing was tried.
        pictures: those that were judged.
        values: numbers of the probe's own.
    """

    name: str
    tried: int
    back: int
    seconds: float
    judge: str
    note: str = ""
    pictures: list[Image.Image] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a probe hands back: its pictures, and in which of them the concept was seen."""

    pictures: list[Image.Image]
    seen: list[bool]
    values: dict[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Probe:
    """A way to bring a concept back, with its numbers for a small model, and as published."""

    name: str
    words: str
    run: Callable[[Case], Found]
    fast: Mapping[str, Any]
    full: Mapping[str, Any]


class CannotError(Exception):
    """A probe says nothing of this model; the message says why."""


class CancelledError(Exception):
    """The user asked to stop."""


@dataclass(frozen=True)
class Case:
    """What a probe works with.

    Attributes:
        pipe: the model under test, patch and all, its weights frozen.
        original: the model without its patch; None where nobody has it.
        concept: what was to be forgotten.
        samples: curated quadruples of the concept.
        recogniser: judges.
        plan: the numbers of the probe's preset.
        seed: of everything that is drawn.
        cancelled: whether to stop.
    """

    pipe: StableDiffusionPipeline
    original: StableDiffusionPipeline | None
    concept: str
    samples: Sequence[Layers]
    recogniser: Recogniser
    plan: Mapping[str, Any]
    seed: int
    cancelled: Callable[[], bool]

    @cached_property
    def base(self) -> Base:
        """The model under test as training knows it."""
        return base_of(self.pipe)

    @property
    def prompt(self) -> str:
        """The plain way to ask for the concept."""
        return f"a photo of a {plain(self.concept)}"

    def before(self) -> Base:
        """The model without its patch.

        Raises:
            CannotError: nobody has it.
        """
        if self.original is None:
            raise CannotError("it needs the model without the patch beside the one with it")
        return base_of(self.original)

    def photos(self) -> list[Layers]:
        """The first curated quadruples, as many as the plan's `samples` says.

        Raises:
            CannotError: there is none.
        """
        found = [one for one in self.samples if one.mask.any()][: self.plan["samples"]]
        if not found:
            raise CannotError(f"it needs accepted quadruples of {self.concept}; there is none")
        return found

    def closeups(self) -> list[np.ndarray]:
        """What these photos show of the concept, squares of several sizes."""
        return [close(one.original, one.mask) for one in self.photos()]

    def latents(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """Pictures (H, W, 3) uint8, their middle squares, as latents (N, C, h, w) float32."""
        z = self.base.encode([square(one, self.base.side) for one in pictures])
        return z.to(self.base.device)

    def told(self, base: Base | None = None) -> torch.Tensor:
        """The text states (1, tokens, D) of the prompt, by this model or another one."""
        with torch.no_grad():
            return (base or self.base).text([self.prompt])["encoder_hidden_states"]

    @torch.no_grad()
    def draw(
        self, asked: Sequence[str] | torch.Tensor, *, first: int = 0, **settings: Any
    ) -> list[Image.Image]:
        """Draws a picture for each prompt, or for each row of text states (N, tokens, D).

        Picture i begins with the noise number `first` + i.
        """
        pictures: list[Image.Image] = []
        for start in range(0, len(asked), CHUNK):
            some = asked[start : start + CHUNK]
            if isinstance(some, torch.Tensor):
                by = {"prompt_embeds": some.to(self.pipe.unet.dtype)}
            else:
                by = {"prompt": list(some)}
            pictures += self.pipe(
                **by,
                num_inference_steps=self.plan["steps"],
                guidance_scale=self.plan["guidance"],
                generator=[self.generator(first + start + i) for i in range(len(some))],
                **settings,
            ).images
        return pictures

    def draw_told(self, states: torch.Tensor) -> list[Image.Image]:
        """Draws the plan's number of pictures by the same text states (1, tokens, D)."""
        return self.draw(states.expand(self.plan["pictures"], *states.shape[1:]))

    def generator(self, number: int = 0) -> torch.Generator:
        """The randomness of one picture."""
        return torch.Generator().manual_seed(self.seed * 100_003 + number)

    def judged(
        self, pictures: list[Image.Image], values: Mapping[str, float] | None = None, note: str = ""
    ) -> Found:
        """Asks the recogniser in which pictures it sees the concept."""
        seen = shown(self.recogniser, pictures, self.concept)
        return Found(pictures, seen, dict(values or {}), note)


def close(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cuts the square around a mask, with a quarter of its size about it where there is room."""
    x, y, width, height = box_xywh(mask)
    side = min(round(1.5 * max(width, height)), *mask.shape)
    corner = (y + (height - side) // 2, x + (width - side) // 2)
    top, left = (min(max(at, 0), most - side) for at, most in zip(corner, mask.shape, strict=True))
    return np.ascontiguousarray(image[top : top + side, left : left + side])


@contextlib.contextmanager
def untouched(pipe: StableDiffusionPipeline, cancelled: Callable[[], bool]) -> Iterator[None]:
    """Freezes a pipeline inside the block; afterwards it is bit for bit as it was.

    Raises:
        CancelledError: at the next call of one of its networks after `cancelled` says so.
    """
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    held = dict(vars(pipe))
    moving = [(one, one.requires_grad) for part in parts for one in part.parameters()]
    modes = [(one, one.training) for part in parts for one in part.modules()]

    def ask(*_: object) -> None:
        if cancelled():
            raise CancelledError

    hooks = [part.register_forward_pre_hook(ask) for part in (pipe.unet, pipe.text_encoder)]
    half, kind = pipe.unet.dtype != torch.float32, pipe.device.type
    try:
        for part in parts:
            part.requires_grad_(False).eval()
        pipe.scheduler = copy.deepcopy(pipe.scheduler)
        pipe.set_progress_bar_config(disable=True)
        still = torch.random.fork_rng(devices=[])
        with still, torch.autocast(kind, enabled=half), quick(pipe.unet):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        vars(pipe).clear()
        vars(pipe).update(held)
        for one, flag in moving:
            one.requires_grad_(flag)
        for one, training in modes:
            one.training = training
