"""A small base model, opened anew for each run, and drawn items to learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_models import save_diffusion

from forgetme.train import items_of_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_diffusion(tmp_path_factory.mktemp("base") / "diffusion")


@pytest.fixture
def fresh(base: Path) -> Callable:
    """Opens the base model anew each time."""
    from diffusers import StableDiffusionPipeline

    def open_it():
        pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return open_it


@pytest.fixture
def items(drawn: Path) -> list:
    return items_of_folder(drawn)
