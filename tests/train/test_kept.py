"""What must stay is never what is forgotten, and what nothing holds is told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_models import save_diffusion

from forgetme.errors import ForgetmeError
from forgetme.train import RunSettings, check, items_of_folder, train
from forgetme.train.form import settings_for

CAT = RunSettings("rl", "cat", steps=2, lr=1e-2, batch=2, probe_every=0, trains="kv")
KEEP = {"keep": ("dog",), "retain_pictures": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_diffusion(tmp_path_factory.mktemp("base") / "diffusion")


@pytest.fixture
def fresh(base: Path) -> Callable:
    from diffusers import StableDiffusionPipeline

    return lambda: StableDiffusionPipeline.from_pretrained(base, safety_checker=None)


@pytest.fixture
def items(drawn: Path) -> list:
    return items_of_folder(drawn)


@pytest.mark.parametrize("concept", ["cat", "Cat", "cats", "Persian cat", "<cat>", "kitten"])
def test_a_concept_in_any_spelling_is_not_its_own_anchor(items, concept: str) -> None:
    settings = settings_for("rl", concept, "tiny", {}, {}, None)
    assert "dog" in settings.keep
    assert "cat" not in settings.keep
    assert settings.anchor_prompt == "a photo of a dog"
    check(settings, items)


def test_one_concept_cannot_be_forgotten_and_kept_in_two_spellings(items) -> None:
    with pytest.raises(ForgetmeError, match="'Cats' cannot be forgotten and 'cat' kept"):
        check(replace(CAT, concept="Cats", keep=("dog", "cat"), retain_pictures=2), items)


def test_an_anchor_that_the_model_reads_as_the_prompt_is_refused(
    fresh, items, tmp_path: Path
) -> None:
    with pytest.raises(ForgetmeError, match="nothing to learn"):
        check(replace(CAT, anchor="A photo  of a CAT", **KEEP), items)
    long = "a photo of a cat " * 4  # more words than the text encoder reads
    settings = replace(CAT, prompt=long + "cat", anchor=long + "dog", **KEEP)
    check(settings, items)
    pipe = fresh()
    with pytest.raises(ForgetmeError, match="nothing to learn"):
        train(pipe, items, settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
