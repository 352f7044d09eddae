"""The second recogniser: another network than the ranker, that names drawn pictures by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from forgetme.errors import MissingModelError
from forgetme.scenes import CONCEPTS, render_scene
from forgetme.stages.models import load_models
from forgetme.stages.second import Network, SecondRecogniser, load_second
from forgetme.train.probe import WORDS


def test_it_chooses_among_the_words_it_was_taught(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(3)
    save_file(
        {n: v.half() for n, v in network.state_dict().items()}, tmp_path / "second.safetensors"
    )
    (tmp_path / "second.json").write_text('{"words": ["cat", "dog", "beach"]}')
    found = load_second(tmp_path)
    pictures = [np.zeros((20, 40, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)]
    chances = found.probabilities(pictures, ["dog", "cat"])
    assert chances.shape == (2, 2)
    assert chances.sum(1) == pytest.approx([1, 1])
    swapped = found.probabilities(pictures, ["cat", "dog"])
    assert swapped[:, ::-1] == pytest.approx(chances)
    with pytest.raises(ValueError, match="never taught boat; it knows cat, dog, beach"):
        found.probabilities(pictures, ["boat"])
    (tmp_path / "second.json").write_text('{"words": ["cat", "dog"]}')
    with pytest.raises(MissingModelError, match="does not hold the second recogniser"):
        load_second(tmp_path)


def test_a_full_preset_takes_the_clip_that_is_not_its_ranker(tmp_path: Path) -> None:
    for ranker, other in ((None, "ViT-B-32"), ("ViT-B-32", "ViT-L-14")):
        models = load_models("full", cache=tmp_path, ranker=ranker)
        assert other in models.second_problem()


@pytest.mark.bundled
def test_the_bundled_one_names_drawn_pictures() -> None:
    models = load_models("tiny", device="cpu")
    assert isinstance(models.second, SecondRecogniser)
    assert set(models.second.words) == set(WORDS)
    right = []
    for seed in range(48):  # far from the scenes that it was trained on
        concept = CONCEPTS[seed % len(CONCEPTS)]
        scene = render_scene(seed, size=128, concept=concept, count=1)
        for picture, word in ((scene.image, concept), (scene.background, scene.setting)):
            named = WORDS[int(models.second.probabilities([picture], WORDS)[0].argmax())]
            right.append(named == word)
    assert np.mean(right) >= 0.9
