"""What must stay is never what is forgotten, and what nothing holds is told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from train_base import base, fresh, items

from forgetme.errors import ForgetmeError
from forgetme.train import RunSettings, check, probe, train
from forgetme.train.data import retained_of_folder
from forgetme.train.errand import drawn as drawn_at
from forgetme.train.form import KEEP as KNOWN
from forgetme.train.form import settings_for
from forgetme.train.latents import DRAW_GUIDANCE, DRAW_STEPS, retain_set
from forgetme.train.model import Base
from forgetme.train.probe import PARAPHRASES, TEMPLATES, WORDS
from forgetme.train.runs import of_the_same

__all__ = ["base", "fresh", "items"]

CAT = RunSettings("rl", "cat", steps=2, lr=1e-2, batch=2, probe_every=0, trains="kv")
KEEP = {"keep": ("dog",), "retain_pictures": 2}


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
    for watch in ("kitty", "Dogs"):
        with pytest.raises(ForgetmeError, match=f"'{watch}' is .* under another spelling"):
            check(replace(CAT, keep=("dog",), watch=(watch,), retain_pictures=2), items)


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


# ------------------------------------------------------------------ what nothing holds


@pytest.mark.parametrize(
    ("preset", "concept"), [("tiny", "cat"), ("tiny", "boats"), ("full", "Bird")]
)
def test_some_concepts_are_left_out_of_what_is_held(preset, concept: str) -> None:
    settings = settings_for("lora", concept, preset, {}, {}, None)
    both = set(settings.keep) | set(settings.watch)
    assert settings.watch
    assert not set(settings.keep) & set(settings.watch)
    assert len(both) == len(KNOWN[preset]) - 1  # all but the concept, however it is spelled
    mine = settings_for("lora", "cat", "tiny", {}, {}, ["dog", "car"])
    assert mine.keep == ("dog", "car")
    assert set(mine.watch) == set(KNOWN["tiny"]) - {"cat", "dog", "car"}
    assert settings_for("lora", "cat", "tiny", {}, {}, ["dog"], ["car"]).watch == ("car",)
    with pytest.raises(ForgetmeError, match="'dog' is watched apart"):
        settings_for("lora", "cat", "tiny", {}, {}, ["dog"], ["dog"])


class Sees:
    """A recogniser that names one word in all pictures, and notes what it was asked."""

    def __init__(self, word: str) -> None:
        self.word, self.labels, self.count = word, set(), 0

    def __call__(self, pictures, labels) -> np.ndarray:
        self.labels.add(tuple(labels))
        self.count += len(pictures)
        return np.array([[float(one == self.word) for one in labels] for _ in pictures])


def test_held_and_not_held_are_told_apart_by_two_recognisers(fresh) -> None:
    first, second = Sees("car"), Sees("cat")
    found = probe(
        fresh(), first, "Cats", ("dog", "car"), step=0, n=2, watch=("boat",), second=second,
        paraphrase=True,
    )  # fmt: skip
    assert (found.forget, found.retain, found.apart, found.otherwise) == (0, 0.5, 0, 0)
    assert found.by_concept == {"Cats": 0, "dog": 0, "car": 1, "boat": 0}
    assert found.second == {"Cats": 1, "dog": 0, "car": 0, "boat": 0}
    assert found.second_otherwise == 1
    assert first.count == second.count == 2 * 5  # four concepts, and the first one otherwise
    assert not set(TEMPLATES) & set(PARAPHRASES)


def test_every_probe_chooses_among_the_same_words(fresh) -> None:
    asked = Sees("cat")
    for keep, watch in ((("dog",), ()), (("car", "boat"), ("fish",))):
        probe(fresh(), asked, "cat", keep, step=0, n=1, watch=watch, vocabulary=WORDS)
    (labels,) = {tuple(sorted(one)) for one in asked.labels}
    assert labels == tuple(sorted(WORDS))
    probe(fresh(), asked, "person", ("dog",), step=0, n=1)
    assert set().union(*asked.labels) == {*WORDS, "person"}


def test_a_curve_is_of_the_concepts_that_all_its_probes_drew() -> None:
    settings = replace(
        CAT, keep=("dog", "car", "fish"), watch=("boat", "bird", "tree"), probe_every=1
    )
    assert (
        drawn_at(settings.keep, settings, 0)
        == settings.keep
        == drawn_at(settings.keep, settings, 2)
    )
    assert drawn_at(settings.keep, settings, 1) == ("dog", "fish")
    assert drawn_at(settings.watch, settings, 1) == ("boat", "tree")
    shares = {
        "cat": 1.0,
        "dog": 1.0,
        "car": 0.0,
        "fish": 0.5,
        "boat": 1.0,
        "bird": 0.0,
        "tree": 0.0,
    }
    begin = {"step": 0, "retain": 0.5, "by_concept": shares}
    between = {
        "step": 1,
        "retain": 0.75,
        "by_concept": {"cat": 0.0, "dog": 1.0, "fish": 0.5, "tree": 0.0},
    }
    first, last = of_the_same([begin, between], settings.record())
    assert first["retain"] == last["retain"] == 0.75  # of dog and fish both times
    assert first["apart"] == last["apart"] == 0.0  # of the tree
    old = {name: value for name, value in settings.record().items() if name != "watch"}
    assert of_the_same([begin], old)[0]["apart"] is None
    assert RunSettings.of(old).watch == ()


# ------------------------------------------------------------------ what is trained on to keep


def test_no_picture_that_is_trained_on_begins_as_one_of_a_probe(fresh, tmp_path: Path) -> None:
    base = Base(fresh())
    kept, prompts = retain_set(base, replace(CAT, **KEEP), tmp_path)
    for seed, prompt in enumerate(prompts):
        probes = torch.Generator().manual_seed(seed)
        same = base.pipe(
            prompt, num_inference_steps=DRAW_STEPS, guidance_scale=DRAW_GUIDANCE,
            generator=probes, output_type="latent",
        ).images[0]  # fmt: skip
        assert not torch.allclose(same, kept[seed], atol=1e-2)


def test_the_published_preset_of_random_labelling_starts(items) -> None:
    check(settings_for("rl", "cat", "full", {}, {}, None), items)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, each with its caption beside it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("dog", 90), ("boat", 200)):
        Image.new("RGB", (80, 64), (colour, 10, 10)).save(folder / f"{name}.png")
    (folder / "dog.txt").write_text("a dog in a park")
    (folder / "boat.txt").write_text("a boat\n on a lake\n")
    return folder


def test_real_pictures_take_the_place_of_drawn_ones(
    fresh, items, photos: Path, drawn: Path, tmp_path: Path
) -> None:
    assert len(retained_of_folder(drawn)) == 4  # a dataset's originals with their captions
    retained = retained_of_folder(photos)
    assert [one.caption for one in retained] == ["a boat on a lake", "a dog in a park"]
    with pytest.raises(ForgetmeError, match="or a folder of captioned pictures with --retain"):
        check(CAT, items)
    settings = replace(CAT, anchor="a photo of a dog", steps=1)
    result = train(fresh(), items, settings, tmp_path / "run", retain=retained)
    assert len(result.patch.record["retain_data"]) == 16
    files = [path.name for path in (tmp_path / "run" / "latents").glob("retain*")]
    assert files == [f"retained-{result.patch.record['retain_data']}.safetensors"]
    (photos / "boat.txt").write_text("a ship")
    with pytest.raises(ForgetmeError, match="other retain_data"):
        train(fresh(), items, settings, tmp_path / "run", retain=retained_of_folder(photos))
    (photos / "boat.txt").unlink()
    with pytest.raises(ForgetmeError, match=r"boat\.png has no caption"):
        retained_of_folder(photos)
    with pytest.raises(ForgetmeError, match="no picture that must stay"):
        retained_of_folder(tmp_path / "nowhere")
