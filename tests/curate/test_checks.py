"""Checks of a fill: what is seen, smears, seams; and that nothing is called good unlooked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from forgetme.curate import checks, fills, pipeline
from forgetme.errors import VerifierError
from forgetme.record import masks
from forgetme.record.images import read_image
from forgetme.record.sample import FillSettings, Thresholds, Verdict
from forgetme.scenes import render_scene
from forgetme.stages import models

SAMPLES = Path(__file__).parents[2] / "assets" / "samples"
LIMITS = Thresholds()
SEEDS = range(7300, 7308)


def hole_of(mask):
    return masks.dilate(mask, 5)


def made_of(image, hole):
    return fills.score(image, image, hole, "nobody", FillSettings(dilate_px=0))


# ---------------------------------------------------------------- pixels


@pytest.fixture(scope="module")
def textured():
    """A picture of grains and slow waves, and a hole in it: the truth is the picture itself."""
    rng = np.random.default_rng(4)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (200, 240, 3)), (0, 0), 1)
    waves = 20 * np.sin(np.arange(240) / 25)[None, :, None]
    image = np.clip(128 + grain + waves, 0, 255).astype(np.uint8)
    hole = np.zeros((200, 240), bool)
    cv2.ellipse(view := hole.view(np.uint8), (120, 100), (50, 35), 20, 0, 360, 1, -1)
    return image, view.astype(bool)


def bad(image, hole, how):
    """A fill whose fault is known."""
    if how == "flat":
        return np.where(hole[..., None], image[~hole].mean(0).astype(np.uint8), image)
    if how == "blurred":
        return np.where(hole[..., None], cv2.GaussianBlur(image, (0, 0), 5), image)
    ring = hole & ~masks.erode(hole, 3) if how == "halo" else masks.dilate(hole, 3) & ~hole
    return np.where(ring[..., None], image // 3 + 170, image).astype(np.uint8)


def test_the_truth_is_neither_a_smear_nor_has_it_a_seam(textured):
    drawn = [render_scene(seed) for seed in SEEDS]
    pairs = [textured] + [(one.background, hole_of(one.mask)) for one in drawn]
    assert [checks.smear(*one, LIMITS).ok for one in pairs] == [True] * len(pairs)
    assert [checks.seam(*one, LIMITS).ok for one in pairs] == [True] * len(pairs)


@pytest.mark.parametrize("how", ["flat", "blurred"])
def test_a_flat_and_a_blurred_smear_are_smooth(textured, how):
    image, hole = textured
    found = checks.smear(bad(image, hole, how), hole, LIMITS)
    assert (found.ok, found.words) == (False, "the fill is smooth, its surroundings are not")
    assert found.value < found.threshold == LIMITS.smear
    assert checks.smear(bad(image, hole, how), hole, replace(LIMITS, smear=0)).ok  # a setting


@pytest.mark.parametrize("how", ["halo", "halo outside"])
def test_a_white_halo_is_a_seam(textured, how):
    scene = render_scene(7301)
    for image, hole in (textured, (scene.background, hole_of(scene.mask))):
        found = checks.seam(bad(image, hole, how), hole, LIMITS)
        assert found.ok is False
        assert found.value > found.threshold == LIMITS.seam


def test_where_too_little_is_there_to_look_at_nothing_is_said_to_be_good(textured):
    image, _ = textured
    dot, all_but = np.zeros((2, 200, 240), bool)
    dot[5, 5] = True
    all_but[:, :-1] = True
    assert [checks.smear(image, one, LIMITS).ok for one in (dot, all_but)] == [None, None]
    assert checks.seam(image, all_but, LIMITS).ok is None


# ---------------------------------------------------------------- the concept


@pytest.fixture(scope="module")
def bundled():
    return models.load_models("tiny", device="cpu")


def asking(bundled, verifier):
    return models.load_models("tiny", device="cpu", ranker=bundled.ranker, verifier=verifier)


def looked(scene, filled, mask, bundled, concept, proposals=()):
    made = made_of(filled, hole_of(mask))
    return checks.checks_of(scene.image, made, mask, concept, bundled, LIMITS, proposals)[0]


@pytest.mark.bundled
@pytest.mark.parametrize("concept", ["dog", "cat", "bird", "car"])
def test_the_true_background_is_gone_and_what_is_left_of_it_or_mirrored_is_not(bundled, concept):
    scene = render_scene(7401, concept=concept)
    own = (scene.mask, 0.8)
    assert looked(scene, scene.background, scene.mask, bundled, concept, [own]).ok is True

    rows = np.flatnonzero(scene.mask.any(1))
    head = scene.mask.copy()
    head[rows[0] + len(rows) // 3 :] = False  # the rest of it stays
    only_head = np.where(hole_of(head)[..., None], scene.background, scene.image)
    assert looked(scene, only_head, head, bundled, concept, [own, (head, 0.5)]).ok is False

    x, y, width, height = masks.box_xywh(scene.mask)
    box = np.s_[y : y + height, x : x + width]
    mirrored = scene.background.copy()
    turned = scene.mask[box][:, ::-1, None]
    mirrored[box] = np.where(turned, scene.image[box][:, ::-1], mirrored[box])
    mirrored = np.where(hole_of(scene.mask)[..., None], mirrored, scene.image)
    assert looked(scene, mirrored, scene.mask, bundled, concept).ok is False


@pytest.mark.bundled
def test_an_owl_that_lost_only_its_face_is_still_seen(bundled):
    image = read_image(SAMPLES / "bird" / "owl.jpg")
    ranked = pipeline.propose(image, "bird", bundled).ranked
    others = [(one.proposal.mask, one.proposal.predicted_iou) for one in ranked]
    parts = (one for one in ranked if checks.wholes(*[one.proposal.mask] * 2, others))
    mask = max(parts, key=lambda one: one.score).proposal.mask
    made = made_of(bundled.inpainter(image, mask), mask)
    found = checks.checks_of(image, made, mask, "bird", bundled, LIMITS, others)[0]
    assert (found.ok, found.words) == (
        False,
        "a bird is still seen in what the mask is a part of",
    )


@pytest.mark.bundled
@pytest.mark.parametrize(("sample", "ok"), [("cat/kitten", None), ("bird/duck", True)])
def test_a_head_that_was_taken_for_the_whole_is_not_called_gone(bundled, sample, ok):
    made = pipeline.work(read_image(SAMPLES / f"{sample}.jpg"), sample.split("/")[0], bundled)
    found = made.tried["checks"][0]
    assert (found["ok"], "larger outline" in found["reason"]) == (ok, ok is None), found


@pytest.mark.bundled
def test_a_word_that_the_ranker_does_not_know_is_not_checked_unless_a_verifier_answers(bundled):
    scene = render_scene(7401, concept="dog")
    found = looked(scene, scene.background, scene.mask, bundled, "zeppelin")
    assert (found.ok, found.value) == (None, None)
    assert "does not know the word" in found.reason
    for yes in (True, False):
        asked = asking(bundled, lambda *_, yes=yes: Verdict(yes, 0.9, "why", "me"))
        assert looked(scene, scene.background, scene.mask, asked, "zeppelin").ok is not yes

    def silent(*_):
        raise VerifierError("no answer in 20 s")

    asked = asking(bundled, silent)
    assert looked(scene, scene.background, scene.mask, asked, "zeppelin").ok is None
    # nor is it where the ranker did not see it before either
    assert looked(scene, scene.background, ~scene.mask, bundled, "fish").ok is None


def test_an_old_try_is_not_checked_and_what_it_says_of_the_object_counts():
    assert not checks.is_gone({"came_back": {"back": False}})
    assert not checks.failed({"came_back": {"back": False}})
    assert checks.failed({"came_back": {"back": True}}, "seen")
    assert not checks.failed({"came_back": {"back": True}}, "smear")
