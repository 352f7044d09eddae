"""The side story: merging is reversible, aligned, soft at the edge, and leaves the rest alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import forgetme as fm
from forgetme.record.masks import box_xywh, dilate, distance_to, erode
from forgetme.record.merge import matte
from forgetme.record.sample import Layers


def disc(size, radius, middle=None):
    y, x = middle or (size / 2, size / 2)
    yy, xx = np.mgrid[:size, :size] + 0.5
    return (yy - y) ** 2 + (xx - x) ** 2 < radius**2


def layers_of(seed=0, size=64, radius=16, dilate_px=3):
    """Cuts a random picture whose fill covers a dilated disc."""
    rng = np.random.default_rng(seed)
    original = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    mask = disc(size, radius)
    background = original.copy()
    hole = dilate(mask, dilate_px)
    background[hole] = rng.integers(0, 256, (int(hole.sum()), 3))
    return Layers.cut(original, background, mask)


@st.composite
def own_layers(draw):
    height, width = draw(st.tuples(st.integers(2, 14), st.integers(2, 14)))
    image = hnp.arrays(np.uint8, (height, width, 3), elements=st.integers(0, 255))
    original, fill = draw(image), draw(image)
    mask = draw(hnp.arrays(bool, (height, width)))
    hole = dilate(mask, draw(st.integers(0, 3)))
    return Layers.cut(original, np.where(hole[..., None], fill, original), mask), hole


# ------------------------------------------------------------------ reversible
@given(own_layers(), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_own_layers_give_back_the_original(cut, feather_px):
    layers, hole = cut
    merged = fm.merge(layers.foreground, layers.background, layers.mask, feather_px=feather_px)
    opaque = matte(layers.mask, feather_px) == 1
    assert (merged[opaque] == layers.original[opaque]).all()
    assert (merged[~hole] == layers.original[~hole]).all()
    assert (merged[~layers.mask] == layers.background[~layers.mask]).all()
    if layers.mask.any():
        assert opaque.any()


@given(own_layers())
@settings(max_examples=100, deadline=None)
def test_a_hard_edge_gives_back_every_pixel_of_the_mask(cut):
    layers, _ = cut
    merged = fm.merge(layers.foreground, layers.background, layers.mask, feather_px=0)
    assert (merged[layers.mask] == layers.original[layers.mask]).all()


@given(own_layers(), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_blended_pixels_lie_between_the_layers(cut, feather_px):
    layers, _ = cut
    merged = fm.merge(layers.foreground, layers.background, layers.mask, feather_px=feather_px)
    assert (merged >= np.minimum(layers.original, layers.background)).all()
    assert (merged <= np.maximum(layers.original, layers.background)).all()


@pytest.mark.parametrize("dilate_px", [0, 1, 3])
def test_poisson_gives_back_the_original_too(dilate_px):
    layers = layers_of(dilate_px=dilate_px)
    merged = fm.merge(layers.foreground, layers.background, layers.mask, method="poisson")
    opaque = matte(layers.mask) == 1
    assert (merged[opaque] == layers.original[opaque]).all()
    assert (merged[~layers.mask] == layers.background[~layers.mask]).all()


def test_poisson_gives_back_the_original_of_a_wider_fill_with_a_wider_ring():
    layers = layers_of(dilate_px=9)
    opaque = matte(layers.mask) == 1
    for ring_px, same in ((None, False), (10, True)):
        merged = fm.merge(*layers_for_merge(layers), method="poisson", ring_px=ring_px)
        assert (merged[opaque] == layers.original[opaque]).all() == same


def layers_for_merge(layers):
    return layers.foreground, layers.background, layers.mask


def test_the_layers_are_left_as_they_were():
    layers = layers_of()
    before = [a.copy() for a in layers_for_merge(layers)]
    merged = fm.merge(*layers_for_merge(layers))
    merged[:] = 0
    assert all((a == b).all() for a, b in zip(before, layers_for_merge(layers), strict=True))


# ------------------------------------------------------------------ the matte
@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_matte_is_zero_outside_and_one_deep_inside(mask, feather_px):
    soft = matte(mask, feather_px)
    assert soft.dtype == np.float32
    assert (soft[~mask] == 0).all()
    assert ((soft[mask] > 0) & (soft[mask] <= 1)).all()
    assert (soft[erode(mask, feather_px)] == 1).all()
    assert soft.max(initial=0) == (1 if mask.any() else 0)


def test_matte_rises_evenly_over_the_feather_of_a_straight_edge():
    mask = np.zeros((20, 20), bool)
    mask[:, 8:] = True
    assert np.allclose(matte(mask, 3)[10, 7:13], [0, 0.25, 0.5, 0.75, 1, 1])


def test_matte_of_no_feather_is_the_mask():
    mask = disc(30, 9)
    assert (matte(mask, 0) == mask).all()


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_thin_parts_keep_an_opaque_middle(thickness):
    mask = np.zeros((30, 30), bool)
    mask[10 : 10 + thickness, 2:28] = True
    assert (matte(mask, 4)[:, 15].max()) == 1


def test_the_images_border_is_no_edge():
    assert (matte(np.ones((9, 9), bool), 3) == 1).all()


def test_negative_feather_is_refused():
    with pytest.raises(ValueError, match="feather_px"):
        matte(disc(9, 3), -1)


# ------------------------------------------------------------------ any background
def test_over_another_background_nothing_outside_the_mask_changes():
    layers = layers_of()
    other = np.full((64, 64, 3), 200, np.uint8)
    for method in ("feather", "poisson"):
        merged = fm.merge(layers.foreground, other, layers.mask, method=method)
        assert (merged[~layers.mask] == 200).all()
        assert (merged[layers.mask] != 200).mean() > 0.9


def test_the_edge_is_soft():
    mask = disc(64, 16)
    white = np.full((64, 64, 3), 255, np.uint8)
    merged = fm.merge(Layers.cut(white, white, mask).foreground, white * 0, mask)[..., 0]
    assert sorted(set(merged[mask].tolist()))[:2] == [
        85,
        120,
    ]  # 1/3 on the edge, sqrt(2)/3 on its diagonals
    assert abs(np.diff(merged[32].astype(int))).max() <= 90


def test_blended_values_are_rounded():
    mask = np.zeros((8, 8), bool)
    mask[:, 3:] = True
    foreground = np.full((8, 8, 4), 255, np.uint8)
    foreground[..., :3] = 254
    merged = fm.merge(foreground, np.zeros((8, 8, 3), np.uint8), mask)
    assert merged[4, 3:6, 0].tolist() == [85, 169, 254]  # 84.67 and 169.33


def test_colours_outside_the_mask_do_not_show():
    layers = layers_of()
    bare = layers.foreground.copy()
    bare[~layers.mask] = 0
    for options in ({}, {"scale": 0.7}, {"scale": 1.6}):
        one = fm.merge(bare, layers.background, layers.mask, **options)
        two = fm.merge(*layers_for_merge(layers), **options)
        assert (one == two).all()


def test_offset_moves_the_foreground():
    layers = layers_of()
    other = np.zeros((64, 64, 3), np.uint8)
    here = fm.merge(layers.foreground, other, layers.mask)
    moved = fm.merge(layers.foreground, other, layers.mask, offset_xy=(7, -5))
    assert (moved[:-5, 7:] == here[5:, :-7]).all()
    assert not moved[-5:].any()


@given(st.integers(-90, 90), st.integers(-90, 90), st.sampled_from(["feather", "poisson"]))
@settings(max_examples=60, deadline=None)
def test_a_foreground_may_leave_the_frame(x, y, method):
    layers = layers_of(size=48, radius=12)
    other = np.full((48, 48, 3), 40, np.uint8)
    merged = fm.merge(layers.foreground, other, layers.mask, offset_xy=(x, y), method=method)
    assert merged.shape == other.shape
    if max(abs(x), abs(y)) > 60:
        assert (merged == other).all()


@pytest.mark.parametrize(
    ("size_hw", "factor"), [((128, 128), 2), ((32, 32), 0.5), ((64, 100), 1), ((160, 128), 2)]
)
def test_a_background_of_another_size_gets_the_frame_fitted_into_its_middle(size_hw, factor):
    layers = layers_of(radius=10)
    mask = disc(64, 10, middle=(24, 36))
    white = np.full((64, 64, 4), 255, np.uint8)
    merged = fm.merge(white, np.zeros((*size_hw, 3), np.uint8), mask, feather_px=0)
    assert set(np.unique(merged).tolist()) == {0, 255}
    x, y, w, h = box_xywh(merged.any(axis=2))
    middle = ((36 - 32) * factor + size_hw[1] / 2, (24 - 32) * factor + size_hw[0] / 2)
    assert (x + w / 2, y + h / 2) == pytest.approx(middle, abs=1)
    assert (w, h) == pytest.approx((20 * factor, 20 * factor), abs=2)
    assert layers.mask.shape == (64, 64)


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_scale_resizes_around_the_middle(scale):
    mask = disc(96, 16, middle=(40, 50))
    white = np.full((96, 96, 4), 255, np.uint8)
    merged = fm.merge(white, np.zeros((96, 96, 3), np.uint8), mask, scale=scale, feather_px=0)
    x, y, w, h = box_xywh(merged.any(axis=2))
    assert (x + w / 2, y + h / 2) == pytest.approx((50, 40), abs=1)
    assert (w, h) == pytest.approx((32 * scale, 32 * scale), abs=2)


def test_a_concept_cut_off_by_its_frame_has_a_soft_edge_inside_a_larger_frame():
    mask = np.zeros((32, 32), bool)
    mask[10:22, :15] = True
    white = np.full((32, 32, 4), 255, np.uint8)
    same = fm.merge(white, np.zeros((32, 32, 3), np.uint8), mask)
    assert (same[16, :3] == 255).all()
    larger = fm.merge(white, np.zeros((32, 64, 3), np.uint8), mask)[16, :, 0]
    assert larger[15:20].tolist() == [0, 85, 170, 255, 255]


def test_the_foregrounds_own_alpha_counts():
    mask = disc(64, 16)
    half = np.full((64, 64, 4), 255, np.uint8)
    half[..., 3] = 51
    for scale in (1, 1.5):
        merged = fm.merge(half, np.zeros((64, 64, 3), np.uint8), mask, scale=scale)
        assert (merged[30:34, 30:34] == 51).all()


def test_an_empty_mask_gives_the_background():
    layers = layers_of()
    merged = fm.merge(layers.foreground, layers.background, np.zeros((64, 64), bool))
    assert (merged == layers.background).all()
    assert merged is not layers.background


def test_a_full_mask_gives_the_foreground():
    layers = layers_of()
    whole = Layers.cut(layers.original, layers.background, np.ones((64, 64), bool))
    for method in ("feather", "poisson"):
        merged = fm.merge(whole.foreground, whole.background, whole.mask, method=method)
        assert (merged == layers.original).all()


# ------------------------------------------------------------------ Poisson
def test_poisson_shifts_the_foreground_by_the_difference_of_the_surroundings():
    rng = np.random.default_rng(2)
    original = rng.integers(60, 120, (64, 64, 3), dtype=np.uint8)
    brighter = original + np.array([50, 20, 0], np.uint8)
    mask = disc(64, 16)
    foreground = Layers.cut(original, original, mask).foreground
    merged = fm.merge(foreground, brighter, mask, method="poisson")
    assert np.abs(merged.astype(int) - brighter).max() <= 1


@pytest.mark.parametrize("max_unknowns", [100_000, 2000, 300])
def test_poisson_membrane_of_a_linear_ramp_is_the_ramp(monkeypatch, max_unknowns):
    monkeypatch.setattr(sys.modules["forgetme.record.merge"], "MAX_UNKNOWNS", max_unknowns)
    original = np.full((160, 160, 3), 100, np.uint8)
    ramp = np.add.outer(np.arange(160), np.arange(160))[..., None] // 2 + np.array([50, 60, 70])
    ramp = ramp.astype(np.uint8)
    mask = disc(160, 30)
    foreground = Layers.cut(original, original, mask).foreground
    merged = fm.merge(foreground, ramp, mask, method="poisson", ring_px=0, feather_px=0)
    assert np.abs(merged.astype(int) - ramp).max() <= 1


def test_poisson_of_a_large_region_is_solved_at_half_size_and_nearly_the_same(monkeypatch):
    original = np.full((96, 96, 3), 100, np.uint8)
    yy, xx = np.mgrid[:96, :96]
    waves = (120 + 40 * np.sin(xx / 20) + 30 * np.cos(yy / 15)).astype(np.uint8)
    waves = np.dstack([waves] * 3)
    mask = disc(96, 30)
    foreground = Layers.cut(original, original, mask).foreground
    exact = fm.merge(foreground, waves, mask, method="poisson")
    monkeypatch.setattr(sys.modules["forgetme.record.merge"], "MAX_UNKNOWNS", 1000)
    rough = fm.merge(foreground, waves, mask, method="poisson")
    assert (rough != exact).any()
    assert np.abs(rough.astype(int) - exact).max() <= 3


def test_poisson_with_a_mask_at_the_border_needs_no_pixels_beyond_it():
    layers = layers_of()
    mask = np.zeros((64, 64), bool)
    mask[:30, :40] = True
    foreground = Layers.cut(layers.original, layers.original, mask).foreground
    brighter = np.minimum(layers.original, 200) + 40
    merged = fm.merge(foreground, brighter, mask, method="poisson")
    assert merged.shape == (64, 64, 3)
    assert (merged[~mask] == brighter[~mask]).all()


def test_poisson_is_refused_where_the_surroundings_are_gone():
    layers = layers_of()
    bare = layers.foreground.copy()
    bare[~layers.mask] = 0
    with pytest.raises(ValueError, match=r"Layers\.cut"):
        fm.merge(bare, layers.background, layers.mask, method="poisson")


# ------------------------------------------------------------------ wrong input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foreground": np.zeros((64, 64, 3), np.uint8)}, "foreground must be HxWx4 uint8"),
        ({"background": np.zeros((64, 64, 4), np.uint8)}, "background must be HxWx3 uint8"),
        ({"background": np.zeros((64, 64, 3))}, "background must be HxWx3 uint8"),
        ({"mask": np.zeros((32, 64), bool)}, r"masks\.resize_mask"),
        ({"mask": np.zeros((64, 64), np.uint8)}, r"masks\.as_mask"),
        ({"scale": 0}, "scale must be more than 0"),
        ({"scale": float("nan")}, "scale must be more than 0"),
        ({"feather_px": -1}, "feather_px must be 0 or more"),
        ({"method": "magic"}, "feather, poisson"),
    ],
)
def test_wrong_input_is_refused_with_the_way_out(change, message):
    layers = layers_of()
    arguments = {
        "foreground": layers.foreground,
        "background": layers.background,
        "mask": layers.mask,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        fm.merge(**arguments)


def test_distance_is_infinite_from_an_empty_mask():
    assert np.isinf(distance_to(np.zeros((3, 3), bool))).all()
