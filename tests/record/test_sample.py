"""The record: how layers are cut and what scores say."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from forgetme.record.entangled import entangled_d, entangled_s
from forgetme.record.sample import STATES, FillSettings, Layers, Sample, Scores, Thresholds

RNG = np.random.default_rng(5)
ORIGINAL = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
MASK = np.zeros((24, 32), bool)
MASK[6:18, 8:24] = True


def scores_of(edited, original=ORIGINAL, **options):
    return Scores(entangled_d(original, edited, MASK, **options), entangled_s(edited, MASK))


def filled(values):
    image = ORIGINAL.copy()
    image[MASK] = values
    return image


def test_cut_keeps_the_originals_colours_and_is_opaque_on_the_mask_only():
    background = filled(0)
    layers = Layers.cut(ORIGINAL, background, MASK)
    assert layers.foreground.shape == (24, 32, 4)
    assert layers.foreground.dtype == np.uint8
    assert (layers.foreground[..., :3] == ORIGINAL).all()
    assert (layers.foreground[..., 3] == np.where(MASK, 255, 0)).all()
    assert layers.background is background


@pytest.mark.parametrize(
    ("original", "background", "mask", "message"),
    [
        (ORIGINAL, ORIGINAL[:5], MASK, "background must be"),
        (ORIGINAL / 255, ORIGINAL, MASK, "original must be"),
        (ORIGINAL, ORIGINAL, MASK[:5], "masks.resize_mask"),
        (ORIGINAL, ORIGINAL, MASK * 1, "masks.as_mask"),
    ],
)
def test_cut_refuses_layers_that_do_not_fit(original, background, mask, message):
    with pytest.raises(ValueError, match=message):
        Layers.cut(original, background, mask)


def test_records_are_frozen():
    sample = Sample("1", "cat_001", "cat", "new")
    with pytest.raises(FrozenInstanceError):
        sample.state = "accepted"
    assert replace(sample, state="accepted").state == "accepted"
    assert "accepted" in STATES
    assert FillSettings().dilate_px is None


def test_a_good_fill_is_not_low():
    scores = scores_of(filled(RNG.integers(0, 256, (MASK.sum(), 3))))
    assert not scores.low()
    assert scores.words() == [
        "what was there changed inside the mask",
        "brightness and contrast are as around the mask",
    ]


def test_low_by_each_threshold_and_by_any_warning():
    scores = scores_of(filled(RNG.integers(0, 256, (MASK.sum(), 3))))
    assert scores.low(Thresholds(low_d=0.99))
    assert scores.low(Thresholds(low_s=0.9999999))
    assert replace(scores, d=replace(scores.d, warnings=("flat_region",))).low()
    assert replace(scores, s=replace(scores.s, warnings=("flat_region",))).low()
    assert replace(scores, s=replace(scores.s, score=None)).low()
    assert scores_of(ORIGINAL).low()


def test_words_for_an_untouched_copy():
    assert scores_of(ORIGINAL).words()[0] == "too little changed inside the mask"
    released = scores_of(ORIGINAL, variant="released")
    assert released.words()[0] == "too little changed inside the mask"
    assert released.d.score > 0.35
    assert released.low()


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (100, 140, ["the fill is smoother than its surroundings"]),
        (0, 25, ["the fill is darker than its surroundings", "the fill is smoother"]),
        (230, 256, ["the fill is brighter than its surroundings", "the fill is smoother"]),
    ],
)
def test_words_name_the_part_that_does_not_match(low, high, words):
    said = scores_of(filled(RNG.integers(low, high, (MASK.sum(), 3)))).words()[1:]
    if low == 230:  # the brightness alone still matches well enough
        words = words[1:]
    assert len(said) == len(words)
    assert all(one.startswith(two) for one, two in zip(said, words, strict=True))


def test_words_for_a_rough_fill_in_smooth_surroundings():
    original = (ORIGINAL // 32 + 120).astype(np.uint8)
    edited = original.copy()
    edited[MASK] = RNG.integers(0, 256, (MASK.sum(), 3))
    assert "the fill is rougher than its surroundings" in scores_of(edited, original).words()


def test_words_blame_the_worse_part_when_only_the_product_is_low():
    scores = scores_of(filled(RNG.integers(0, 256, (MASK.sum(), 3))))
    s = replace(
        scores.s,
        score=0.56,
        consistency=0.56,
        mean_consistency=0.8,
        var_consistency=0.7,
        sigma_inner=0.1,
        sigma_outer=0.2,
    )
    said = replace(scores, s=s).words()
    assert said[1:] == ["the fill is smoother than its surroundings"]


def test_words_tell_of_damage_outside_and_of_warnings():
    edited = filled(128)
    edited[0, 0] ^= 1
    said = scores_of(edited).words()
    assert "pixels outside the mask changed" in said
    assert any("flat" in words for words in said)
