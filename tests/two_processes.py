"""Trains small models in as many processes as started it; see test_train_accelerate.py."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from forgetme.errors import ForgetmeError
from forgetme.train import RunSettings, items_of_folder, train

ONE = RunSettings(
    "lora", "cat", steps=3, lr=1e-2, batch=4, rank=2, probe_every=0, save_every=1,
    keep=("dog",), retain_pictures=2,
)  # fmt: skip
RUNS = {
    "lora": replace(ONE, options={"retain": 1.0}, gradient_checkpointing=True),
    "esd": replace(ONE, method="esd", options={"draw_steps": 3, "retain": 1.0}, trains="lora"),
    "rl": replace(ONE, method="rl", trains="kv", accumulate=2),
}


def opened(folder: Path):
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)


def train_all(base: Path, data: Path, out: Path) -> None:
    """Trains each, the last one stopped after two steps and gone on with."""
    items = items_of_folder(data)
    for name, settings in RUNS.items():
        stops = iter([False, name == "rl", False])
        train(opened(base), items, settings, out / name, stop=lambda stops=stops: next(stops))
    assert train(opened(base), items, RUNS["rl"], out / "rl").finished


def refuse_odd(base: Path, data: Path, out: Path) -> None:
    """A batch that cannot be shared is refused by all."""
    with pytest.raises(ForgetmeError, match="take --batch 4"):
        train(opened(base), items_of_folder(data), replace(ONE, batch=3), out)


def spoil(base: Path, data: Path, out: Path) -> None:
    """A loss that is no number in one process ends all of them."""
    from accelerate import PartialState

    pipe = opened(base)

    def on_step(*_: object) -> None:  # called in one process only
        assert PartialState().is_main_process
        pipe.unet.conv_out.bias.data[0] = float("nan")

    with pytest.raises(ForgetmeError, match="nan at step 1"):
        train(pipe, items_of_folder(data), ONE, out, on_step=on_step)


if __name__ == "__main__":
    base, data, out = map(Path, sys.argv[1:])
    train_all(base, data, out)
    refuse_odd(base, data, out / "odd")
    spoil(base, data, out / "spoilt")
