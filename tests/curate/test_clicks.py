"""Corrective clicks converge: each changes its neighbourhood, and none is forgotten."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import DATA

from forgetme.curate.review import Review
from forgetme.record import masks
from forgetme.record.images import read_image
from forgetme.record.strokes import Stroke
from forgetme.scenes import CONCEPTS, render_scene
from forgetme.stages.corrections import mended
from forgetme.tiny.bank import read_photos
from forgetme.tiny.rows import middle

CLICKS = 5
SIDE = 256  # px of the photos, as the bundled models see them


def disc(x: int, y: int, radius: int) -> np.ndarray:
    return cv2.circle(np.zeros((80, 100), np.uint8), (x, y), radius, 1, -1).astype(bool)


BEFORE = disc(40, 40, 20)
FAR = disc(85, 40, 8)


@pytest.mark.parametrize(
    ("answer", "click", "expected"),
    [
        # the part under the click comes, what the answer does elsewhere does not
        (BEFORE | disc(64, 40, 5) | FAR, (66, 40, 1), BEFORE | disc(64, 40, 5)),
        (BEFORE & ~disc(28, 40, 4) & ~disc(52, 40, 6), (28, 40, 0), BEFORE & ~disc(28, 40, 4)),
        (FAR, (85, 40, 1), BEFORE | FAR),  # an answer that forgot the mask
        (BEFORE, (30, 40, 1), BEFORE),  # satisfied already
        # on the outline the click's own pixel, and whoever clicks near it means little
        (disc(40, 40, 25), (61, 40, 1), BEFORE | disc(61, 40, 0)),
        (disc(40, 40, 15), (60, 40, 0), BEFORE & ~disc(60, 40, 0)),
        (disc(40, 40, 32), (63, 40, 1), BEFORE | disc(63, 40, 7)),
        # and the less the answer is sure, the less far it reaches
        (np.where(disc(40, 40, 32), 0.2, -0.5), (63, 40, 1), BEFORE | disc(63, 40, 4)),
    ],
)
def test_a_click_changes_its_neighbourhood_alone(answer, click, expected):
    x, y, label = click
    after = mended(BEFORE, [answer], np.array([[40, 40], [x, y]]), np.array([1, label]))
    assert np.array_equal(after, expected)


@pytest.mark.parametrize("answers", [[], [BEFORE], [np.zeros_like(BEFORE)], [~BEFORE]])
@pytest.mark.parametrize("label", [1, 0])
def test_a_click_is_heeded_and_earlier_ones_stay_whatever_the_model_says(answers, label):
    points = np.array([[40, 40], [44, 24], [63, 40], [24, 40]])
    labels = np.array([1, 1, 0, 0])
    before = BEFORE & ~disc(24, 40, 2)
    click = (70, 42) if label else (36, 50)
    xy, known = np.vstack([points, click]), np.append(labels, label)
    after = mended(before, answers, xy, known)
    x, y = xy.T
    assert np.array_equal(after[y, x], known == 1)
    assert (after & before).sum() >= before.sum() / 2


def test_points_go_on_with_the_mask_that_they_were_made_on(store, truth, drawn):
    path = min((drawn / "original").iterdir())
    row = store.import_image(read_image(path), name="one", concept="cat", by="ann")
    review = Review(store, truth.models, by="ann")
    x, y = middle(truth.truth.mask(read_image(path)))
    first, off = [float(x), float(y), 1], [3.0, 3.0, 0]
    review.click(row.id, [first])
    row = review.click(row.id, [first, off])
    row = review.paint(row.id, [Stroke("add", 2, ((100.0, 120.0),))])  # contradicts neither
    assert review.points(row) == [first, off]
    review.click(row.id, [*review.points(row), [100.0, 120.0, 0]])
    xy, labels, before = next(one for one in truth.truth.clicked[::-1] if len(one[0]) > 1)
    assert (len(xy), labels) == (3, [1, 0, 0])
    assert before[120, 100]  # the mask with the stroke went along
    row = review.paint(row.id, [Stroke("erase", 2, ((x, y),))])  # takes the first click back
    assert first not in review.points(row)
    row = review.undo_mask(row.id)
    assert first in review.points(row)


def test_what_the_machine_could_not_do_is_said_until_there_is_a_mask(store, truth, drawn):
    path = min((drawn / "original").iterdir())
    row = store.import_image(read_image(path), name="one", concept="cat", by="ann")
    review = Review(store, truth.models, by="ann")
    truth.truth.says = False
    row = review.prepare(row.id)
    assert review.note(row).startswith("No mask was confirmed as cat.")
    row = review.paint(row.id, [Stroke("add", 3, ((60.0, 60.0),))])
    assert review.note(row) == ""
    assert review.note(review.undo_mask(row.id)) != ""


def simulate(store, models, pictures) -> tuple[np.ndarray, int, int]:
    """Clicks at the middle of the largest error; returns IoU (pictures, clicks), kept, clicks."""
    review = Review(store, models, by="ann")
    found, kept, made = [], 0, 0
    for number, (image, truth) in enumerate(pictures):
        row = store.import_image(image, name=f"{number}", concept="cat", by="ann")
        points, ious = [[*map(float, middle(truth)), 1]], []
        for _ in range(CLICKS):
            row = review.click(row.id, points)
            mask = review.mask(row)
            ious.append(masks.iou(mask, truth))
            kept += sum(mask[int(y), int(x)] == bool(label) for x, y, label in points[1:])
            made += len(points) - 1
            missing, surplus = truth & ~mask, mask & ~truth
            adds = missing.sum() >= surplus.sum()
            wrong = masks.largest_part(missing if adds else surplus)
            if not wrong.any():
                break
            points = [*review.points(row), [*map(float, middle(wrong)), int(adds)]]
        found.append(ious + [ious[-1]] * (CLICKS - len(ious)))
    return np.array(found), kept, made


def check(ious: np.ndarray, kept: int, made: int) -> None:
    steps = np.diff(ious, axis=1)
    assert (steps >= 0).mean() >= 0.95, np.round(ious, 4).tolist()
    assert steps.min() > -0.1  # and no step throws the mask away
    assert kept == made  # every corrective click stays satisfied


@pytest.mark.bundled
def test_simulated_clicks_on_drawn_scenes_make_the_mask_better(store, bundled):
    scenes = [render_scene(5000 + i, concept=CONCEPTS[2 * i]) for i in range(6)]
    check(*simulate(store, bundled, [(one.image, one.mask) for one in scenes]))


@pytest.mark.bundled
@pytest.mark.photos
def test_simulated_clicks_on_photos_make_the_mask_better(store, bundled):
    photos = read_photos(DATA / "photos", kind="photo_mask")[::14]
    pictures = []
    for photo in photos:
        scale = SIDE / max(photo.mask.shape)
        size = [round(side * scale) for side in photo.mask.shape[::-1]]
        image = cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA)
        pictures.append((image, cv2.resize(photo.mask.astype(np.uint8), size) > 0))
    ious, kept, made = simulate(store, bundled, pictures)
    check(ious, kept, made)
    assert ious[:, -1].mean() > ious[:, 0].mean() + 0.05


@pytest.fixture(scope="module")
def bundled():
    from forgetme.stages.models import load_models

    return load_models("tiny", device="cpu")
