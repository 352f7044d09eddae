"""What is told of a run while it goes on: steps, probes and its failure; by one process only."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from forgetme.errors import ForgetmeError
from forgetme.train import checkpoint
from forgetme.train.folder import RunFolder
from forgetme.train.model import core_of
from forgetme.train.probe import Probe
from forgetme.train.processes import autocast
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

log = logging.getLogger(__name__)

Probing = Callable[["DiffusionPipeline", int], Probe]


class Watch:
    """Writes a run's log and draws its probes where `main` is true, and is silent elsewhere.

    Attributes:
        main: whether this process writes.
        probes: those of this call.
    """

    def __init__(
        self,
        run: RunFolder,
        pipe: DiffusionPipeline,
        settings: RunSettings,
        probing: Probing | None,
        main: bool,
    ) -> None:
        """Writes nothing yet."""
        self._run, self._pipe, self._settings, self._probing = run, pipe, settings, probing
        self.main, self.probes = main, []
        self._started = time.monotonic()

    def begin(self, step: int, pictures: int) -> None:
        """Takes the folder, with its log as it was when `step` steps were saved."""
        if not self.main:
            return
        self._run.claim()
        self._run.rewind(step)
        self._started = time.monotonic() - self._run.seconds()
        if pictures == 1:
            log.warning(
                "there is one picture of %s: it is learned by heart, and others of its kind may "
                "stay; accept more, or take a method without pictures, such as esd",
                self._settings.concept,
            )

    def step(self, done: int, values: dict[str, float]) -> None:
        """Writes a row."""
        if self.main:
            seconds = round(time.monotonic() - self._started, 2)
            self._run.write({"step": done, "seconds": seconds, **values})

    def probe(self, done: int) -> None:
        """Scores the model after `done` steps, unless the log has that or a later score."""
        last = self._run.last_probe() if self.main and self._probing else None
        if not self.main or self._probing is None or (last is not None and last.step >= done):
            return
        core_of(self._pipe).eval()
        device, half = self._pipe.device, self._pipe.vae.dtype != torch.float32
        with torch.random.fork_rng(devices=[]), autocast(device, self._settings, half):
            self.probes.append(self._probing(self._pipe, done))
        self._run.write({"step": done, "probe": self.probes[-1].record()})

    def last_probe(self) -> dict[str, Any] | None:
        """Returns the last probe in the log, of whatever call, as plain JSON."""
        last = self._run.last_probe()
        return None if last is None else last.record()

    def diverged(self, step: int, what: str, value: float) -> ForgetmeError:
        """Notes that a step cannot be taken, and gives the error that says what to do."""
        saved, rate = checkpoint.steps(self._run.path), self._settings.lr
        if self.main:
            self._run.diverged(step)
        return ForgetmeError(
            f"the {what} is {value} at step {step}: the model has run away, most likely because "
            f"the rate {rate:g} is too high. The {saved} steps saved are intact: go on from there "
            f"with --resume --lr {rate / 4:g}, or begin anew with that rate in another --out folder"
        )
