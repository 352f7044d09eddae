"""A correcting click changes the neighbourhood of its place, and every click is heeded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DATA
from disc_models import disc_segmenter, draw, one_thread

from forgetme.record.masks import box_xywh
from forgetme.scenes import CONCEPTS, render_scene
from forgetme.stages.segment import load_tiny_sam

ASSETS = Path(__file__).parents[2] / "assets" / "tiny"


@pytest.mark.parametrize(("click", "label"), [((46, 22), 1), ((16, 22), 0)])
def test_the_segmenter_heeds_every_click_and_keeps_what_lies_far(click: tuple, label: int) -> None:
    """The small model knows single discs: two are never one answer of its own."""
    image, (left, right) = draw(("lime", 16, 22, 11), ("plum", 46, 22, 11), shape_hw=(48, 64))
    far, near = (left, right) if label else (right, left)
    clicks, labels = [[16 if label else 48, 20], click], [1, label]
    with one_thread():
        (found,) = disc_segmenter().click(
            image, clicks, labels, mask=left if label else left | right
        )
    assert [found.mask[y, x] for x, y in clicks] == [bool(n) for n in labels]
    assert (found.mask & far).sum() > 0.95 * far.sum()
    assert found.box_xywh == box_xywh(found.mask)
    assert ((found.mask & near).sum() > 0) or not label


@pytest.mark.bundled
@pytest.mark.parametrize("source", ["drawn", pytest.param("photos", marks=pytest.mark.photos)])
def test_simulated_clicks_converge(source: str) -> None:
    from forgetme.tiny.bank import read_photos
    from forgetme.tiny.on_photos import _shrink
    from forgetme.tiny.rows import clicked_ious

    if source == "photos":
        some = read_photos(DATA / "photos", kind="photo_mask")[::14]
        pictures = [(p.image, p.mask) for p in map(_shrink, some)]
    else:
        scenes = [render_scene(700 + i, concept=CONCEPTS[i]) for i in range(6)]
        pictures = [(scene.image, scene.mask) for scene in scenes]
    heeded = []
    segmenter = load_tiny_sam(ASSETS)

    def click(image: np.ndarray, points: np.ndarray, labels: np.ndarray, **more: object) -> list:
        found = segmenter.click(image, points, labels, **more)
        if more.get("mask") is not None:
            mask = found[0].mask
            heeded.append((mask[points[:, 1], points[:, 0]] == labels).all())
        return found

    models = SimpleNamespace(segmenter=SimpleNamespace(click=click))
    with one_thread():
        ious = np.array([clicked_ious(image, truth, models, 5) for image, truth in pictures])
    assert all(heeded)
    assert len(heeded) > 15
    steps = np.diff(ious, axis=1)
    assert (steps >= 0).mean() >= 0.95, np.round(ious, 4)
    assert ious[:, -1].mean() > ious[:, 0].mean()
