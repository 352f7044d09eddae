"""The filler: what it may touch, at any size and shape of hole."""

from __future__ import annotations

import os

import numpy as np
import pytest
from small_models import save_lama

from forgetme.errors import EmptyRegionError, MissingModelError
from forgetme.stages.inpaint import Inpainter


@pytest.fixture(scope="module")
def lama_path(tmp_path_factory):
    return save_lama(tmp_path_factory.mktemp("lama") / "mean.pt")


@pytest.fixture(scope="module")
def fill(lama_path):
    return Inpainter(lama_path, scale=64, made_by="mean")


@pytest.fixture(scope="module")
def darkest(tmp_path_factory):
    path = save_lama(tmp_path_factory.mktemp("lama") / "darkest.pt", darkest=True)
    return Inpainter(path, scale=64)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box_mask(height, width, *boxes):
    mask = np.zeros((height, width), bool)
    for x, y, w, h in boxes:
        mask[y : y + h, x : x + w] = True
    return mask


@pytest.mark.parametrize("size", [(64, 64), (61, 37), (16, 16), (200, 131), (17, 300), (300, 17)])
def test_only_the_masked_pixels_change_at_any_size(fill, size):
    image = noise(*size)
    mask = box_mask(*size, (3, 2, size[1] // 2, size[0] // 2))
    filled = fill(image, mask)
    assert filled.shape == image.shape
    assert filled.dtype == np.uint8
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert (filled[mask] != image[mask]).mean() > 0.9


def test_the_fill_is_what_the_model_says(fill):
    image = np.full((40, 56, 3), (200, 100, 50), np.uint8)
    mask = box_mask(40, 56, (10, 10, 20, 15))
    image[mask] = 0
    filled = fill(image, mask)
    # The vendor turns floats into bytes by cutting them off, so one grey level may be lost.
    assert np.abs(filled[mask].astype(int) - (200, 100, 50)).max() <= 1


def test_no_colour_of_the_object_leaks_when_a_large_hole_is_filled_at_a_smaller_scale(darkest):
    image = np.full((400, 300, 3), 180, np.uint8)
    mask = box_mask(400, 300, (51, 77, 151, 203))
    image[mask] = 0
    assert darkest(image, mask)[mask].min() >= 179


def test_an_empty_mask_gives_a_copy_of_the_image(fill):
    image = noise(30, 30)
    filled = fill(image, np.zeros((30, 30), bool))
    np.testing.assert_array_equal(filled, image)
    assert filled is not image


def test_a_full_mask_is_refused(fill):
    with pytest.raises(EmptyRegionError, match="covers all of it"):
        fill(noise(30, 30), np.ones((30, 30), bool))


def test_a_mask_of_another_size_is_refused(fill):
    with pytest.raises(ValueError, match="20x20"):
        fill(noise(20, 20), np.zeros((10, 10), bool))


def test_the_image_given_is_not_written_to(fill):
    image = noise(50, 50)
    before = image.copy()
    image.flags.writeable = False
    filled = fill(image, box_mask(50, 50, (5, 5, 20, 20)))
    np.testing.assert_array_equal(image, before)
    assert filled.flags.writeable


def test_distant_holes_are_each_filled_from_their_own_surroundings(fill):
    image = np.zeros((80, 600, 3), np.uint8)
    image[:, 300:] = 240
    mask = box_mask(80, 600, (20, 30, 12, 12), (560, 30, 12, 12))
    image[mask] = (255, 0, 255)
    filled = fill(image, mask)
    assert filled[mask & (np.arange(600) < 300)].max() == 0
    assert filled[mask & (np.arange(600) > 300)].min() >= 239


def test_a_hole_beside_an_unfilled_one_does_not_see_its_colours(darkest):
    image = np.full((64, 400, 3), 90, np.uint8)
    mask = box_mask(64, 400, (60, 20, 10, 10), (95, 20, 10, 10), (350, 20, 10, 10))
    image[mask] = 0
    assert darkest(image, mask)[mask].min() >= 89


def test_many_small_holes_all_get_filled(fill):
    image = noise(150, 210)
    mask = np.random.default_rng(1).random((150, 210)) < 0.02
    filled = fill(image, mask)
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    assert (filled[mask] != image[mask]).mean() > 0.9


def test_a_wider_crop_gives_more_context(lama_path):
    fill = Inpainter(lama_path, scale=16)
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:40, 24:40] = 250
    mask = box_mask(64, 64, (28, 28, 8, 8))
    near, far = fill(image, mask, pad=0.5), fill(image, mask, pad=3)
    assert near[mask].mean() > 240 > 100 > far[mask].mean()


def test_loading_leaves_the_environment_alone(lama_path, monkeypatch):
    monkeypatch.setenv("LAMA_MODEL", "/nowhere.pt")
    before = dict(os.environ)
    image = noise(32, 32)
    Inpainter(lama_path)(image, box_mask(32, 32, (4, 4, 8, 8)))
    assert dict(os.environ) == before


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingModelError, match="gone.pt"):
        Inpainter(tmp_path / "gone.pt")


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"not a model")
    with pytest.raises(MissingModelError, match="bad.pt"):
        Inpainter(tmp_path / "bad.pt")
