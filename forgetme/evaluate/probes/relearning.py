"""Relearning: a copy of the model is trained a little more, on the concept or on anything else.

**Source**: "Erased or Dormant", 2505.16174, and MemoRa, 2510.03263, for a few pictures of the
concept; "concept resurgence", 2410.08074, for pictures of others. Departures: all weights are
trained, and the other pictures are the curated backgrounds.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from forgetme.evaluate.probes.probe import FAST, FULL, CancelledError, Case, Found, Probe
from forgetme.record.concept import plain
from forgetme.record.images import png_bytes
from forgetme.train.data import Item
from forgetme.train.loop import train
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


def taught(case: Case, pictures: Sequence[np.ndarray], word: str) -> StableDiffusionPipeline:
    """A copy of the model, trained on pictures by the ordinary denoising loss for one prompt.

    That loss is what the method `lora` descends on backgrounds: it is given these in their place.
    """
    parts = {name: copy.deepcopy(part) for name, part in case.pipe.components.items()}
    pipe = type(case.pipe)(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    settings = RunSettings(
        "lora", word, trains="full", steps=case.plan["learn_steps"], lr=case.plan["lr"],
        batch=case.plan["batch"], seed=case.seed, probe_every=0, save_every=0,
        options={"retain": 0.0},
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        items, mask = [], Path(folder) / "mask.png"
        mask.write_bytes(png_bytes(np.ones((16, 16), bool)))  # the loss does not look at it
        for number, picture in enumerate(pictures):
            path = Path(folder) / f"{number}.png"
            path.write_bytes(png_bytes(picture))
            items.append(Item(path.stem, path, path, mask))
        result = train(pipe, items, settings, Path(folder) / "run", stop=case.cancelled)
    if not result.finished:
        raise CancelledError
    return pipe


def _after(case: Case, pictures: Sequence[np.ndarray], word: str) -> Found:
    """Draws the concept before and after a copy was taught."""
    prompts = [case.prompt] * case.plan["pictures"]
    before = case.judged(case.draw(prompts))
    later = replace(case, pipe=taught(case, pictures, word))
    return later.judged(later.draw(prompts), {"share before": sum(before.seen) / len(prompts)})


def relearn(case: Case) -> Found:
    """Shows the copy a few curated pictures of the concept under its prompt."""
    return _after(case, case.closeups(), plain(case.concept))


def resurge(case: Case) -> Found:
    """Shows the copy the same scenes without the concept, under a prompt that does not name it."""
    return _after(case, [one.background for one in case.photos()], "place")


_FAST = {**FAST, "samples": 8, "learn_steps": 60, "lr": 5e-4, "batch": 8}
_FULL = {**FULL, "samples": 10, "learn_steps": 200, "lr": 1e-5, "batch": 8}
PROBES = (
    Probe("relearning", "trains a copy on a few curated pictures of it", relearn, _FAST, _FULL),
    Probe("resurgence", "trains a copy on pictures without it", resurge, _FAST,
          {**_FULL, "samples": 100, "learn_steps": 500}),
)  # fmt: skip
