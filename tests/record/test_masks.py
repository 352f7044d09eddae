"""Mask operations against brute force on small masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forgetme.record import masks

small_masks = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def brute_distance(mask):
    ys, xs = np.nonzero(mask)
    yy, xx = np.mgrid[: mask.shape[0], : mask.shape[1]]
    if not len(ys):
        return np.full(mask.shape, np.inf)
    return np.sqrt(((yy[..., None] - ys) ** 2 + (xx[..., None] - xs) ** 2).min(axis=2))


def test_distance_is_the_root_of_a_whole_number_to_the_last_bit():
    mask = np.zeros((128, 119), bool)
    mask[31, 17] = mask[100, 90] = mask[5, 111] = True
    np.testing.assert_array_equal(masks.distance_to(mask), brute_distance(mask).astype("f4"))


@given(small_masks, st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_dilate_adds_exactly_what_is_within_the_distance(mask, px):
    assert (masks.dilate(mask, px) == (brute_distance(mask) <= px)).all()


@given(small_masks, st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_erode_removes_exactly_what_is_near_the_outside_but_not_at_the_border(mask, px):
    assert (masks.erode(mask, px) == (brute_distance(~mask) > px)).all()


def test_erode_leaves_a_full_mask_and_dilate_an_empty_one():
    assert masks.erode(np.ones((5, 6), bool), 3).all()
    assert not masks.dilate(np.zeros((5, 6), bool), 3).any()


def test_dilate_is_exact_for_large_distances():
    mask = np.zeros((301, 301), bool)
    mask[150, 150] = True
    for px in (25, 100, 141):
        assert (masks.dilate(mask, px) == (brute_distance(mask) <= px)).all()


def test_grow_shrinks_by_a_negative_number():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    assert (masks.grow(mask, -2) == masks.erode(mask, 2)).all()
    assert (masks.grow(mask, 2) == masks.dilate(mask, 2)).all()
    assert (masks.grow(mask, 0) == mask).all()


@pytest.mark.parametrize("operation", [masks.dilate, masks.erode])
def test_negative_distance_is_refused(operation):
    with pytest.raises(ValueError, match=r"masks\.grow"):
        operation(np.ones((3, 3), bool), -1)


def test_box_of_a_mask():
    mask = np.zeros((10, 12), bool)
    mask[3:5, 7:11] = True
    box = masks.box_xywh(mask)
    assert box == (7, 3, 4, 2)
    assert all(type(side) is int for side in box)
    assert masks.box_xywh(np.zeros((4, 4), bool)) == (0, 0, 0, 0)


def test_fill_holes_fills_only_what_is_enclosed():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    mask[4, 4] = False
    filled = masks.fill_holes(mask)
    assert filled.sum() == 25
    mask[4, 4:] = False
    assert not masks.fill_holes(mask)[4, 4]


def test_largest_part_keeps_one_part_joined_by_corners():
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = True
    mask[5, 5:7] = True
    part = masks.largest_part(mask)
    assert part.dtype == bool
    assert part.sum() == 3
    assert part[2, 2]
    assert not masks.largest_part(np.zeros((3, 3), bool)).any()


def test_iou_of_known_overlaps():
    a, b = np.zeros((2, 4, 4), bool)
    assert masks.iou(a, b) == 1
    a[:2], b[1:3] = True, True
    assert masks.iou(a, b) == pytest.approx(1 / 3)
    assert masks.iou(a, ~a) == 0
    with pytest.raises(ValueError, match="one size"):
        masks.iou(a, b[:2])


def test_resize_takes_the_nearest_pixel():
    mask = np.array([[True, False], [False, True]])
    large = masks.resize_mask(mask, (4, 6))
    assert (large == np.kron(mask, np.ones((2, 3), bool))).all()
    assert (masks.resize_mask(large, (2, 2)) == mask).all()
    assert (masks.resize_mask(mask, mask.shape) == mask).all()
    third = np.array([[False, True, False]])
    assert masks.resize_mask(third, (1, 1)).tolist() == [[True]]  # the middle one
    assert masks.resize_mask(third.T, (1, 1)).tolist() == [[True]]


@given(small_masks)
@settings(max_examples=200, deadline=None)
def test_rle_comes_back_and_is_column_major(mask):
    rle = masks.rle_encode(mask)
    assert (masks.rle_decode(rle) == mask).all()
    flat = []
    for i, count in enumerate(rle["counts"]):
        flat += [i % 2 == 1] * count
    assert flat == [bool(mask[y, x]) for x in range(mask.shape[1]) for y in range(mask.shape[0])]
    assert all(count > 0 for count in rle["counts"][1:])


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "add up to 2x2=4, got 3"),
        ({"size": [2, 2], "counts": [6, -2]}, "add up"),
        ({"size": [2, 2], "counts": "04"}, "pycocotools"),
    ],
)
def test_broken_rle_is_refused(rle, message):
    with pytest.raises(ValueError, match=message):
        masks.rle_decode(rle)


@given(small_masks)
@settings(max_examples=200, deadline=None)
def test_outline_points_lie_on_the_edge_and_outer_ones_refill_the_mask(mask):
    mask = masks.fill_holes(mask)
    polygons = masks.outline(mask)
    canvas = np.zeros(mask.shape, np.uint8)
    for polygon in polygons:
        assert all(mask[y, x] for x, y in polygon)
        cv2.fillPoly(canvas, [np.array(polygon)], 1)
    assert (canvas.astype(bool) == mask).all()
    assert polygons == sorted(polygons, key=len, reverse=True)


def test_outline_has_a_polygon_for_a_hole_and_none_for_nothing():
    mask = np.ones((12, 12), bool)
    mask[4:8, 4:8] = False
    assert len(masks.outline(mask)) == 2
    assert masks.outline(np.zeros((5, 5), bool)) == []


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((4, 5), bool), "size 4x4, got 4x5 bool; resize it with masks.resize_mask"),
        (np.ones((4, 4), np.uint8), "got 4x4 uint8; make it bool with masks.as_mask"),
        (np.ones((4, 4, 3), bool), "got 4x4x3 bool; make it bool with masks.as_mask"),
    ],
)
def test_check_mask_says_expected_got_and_what_to_do(mask, message):
    with pytest.raises(ValueError, match=message):
        masks.check_mask(mask, np.zeros((4, 4, 3), np.uint8))


def test_check_mask_accepts_a_mask_of_the_images_size():
    masks.check_mask(np.ones((4, 4), bool), np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0, 1]], np.uint8),
        np.array([[127, 128]], np.uint8),
        np.array([[0, 1]], np.int64),
        np.array([[0, 255]], np.int64),
        np.array([[127, 128]], np.int32),
        np.array([[32767, 65535]], np.uint32),
        np.array([[32767, 32768]], np.uint16),
        np.array([[0.49, 0.5]]),
        np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8),
        np.array([[[0, 0, 255], [0, 255, 0]]], np.uint8),  # luma 0.11 and 0.59
        np.array([[[0, 0, 0, 255], [255, 255, 255, 255]]], np.uint8),
        np.array([[[0], [255]]], np.uint8),
    ],
)
def test_as_mask_is_on_from_half_of_full_scale(array):
    mask = masks.as_mask(array)
    assert mask.dtype == bool
    assert mask.tolist() == [[False, True]]


@pytest.mark.parametrize(
    "array", [np.ones(4), np.ones((2, 2, 2)), np.array([[2.0]]), np.array([["x"]])]
)
def test_as_mask_refuses_what_is_no_mask(array):
    with pytest.raises(ValueError, match="mask must"):
        masks.as_mask(array)
