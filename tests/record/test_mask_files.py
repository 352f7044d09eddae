"""Mask files of other tools: what is unambiguous is taken and said, the rest refused."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from forgetme.errors import BrokenImageError
from forgetme.record.images import read_mask, read_mask_with_notes

ON = np.zeros((60, 80), bool)
ON[10:40, 10:40] = True
OTHER = np.zeros((60, 80), bool)
OTHER[45:55, 50:75] = True
SOFT = cv2.GaussianBlur(ON.astype(np.float32), (0, 0), 2)
DISC = np.hypot(*(np.mgrid[:60, :80] - np.array([30, 40])[:, None, None])) < 20


def png(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gray(value: int, dtype=np.uint8) -> Image.Image:
    return Image.fromarray((ON * value).astype(dtype))


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    """VOC's way: class ids with a palette; the second class is at `OTHER`."""
    ids = ON.astype(np.uint8) + (2 * OTHER if len(colours) > 1 else 0)
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette([0, 0, 0, *(part for colour in colours for part in colour)])
    return image


def layer(colour: tuple[int, int, int], alpha: np.ndarray, under=(0, 0, 0)) -> Image.Image:
    pixels = np.where((alpha > 0)[..., None], colour, under)
    return Image.fromarray(np.dstack([pixels, alpha]).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "note"),
    [
        (gray(255), None),
        (gray(1), None),
        (gray(65535, np.uint16), None),
        (gray(38), "value 38"),
        (gray(128), "value 128"),
        (gray(4095, np.uint16), "value 4095"),
        (gray(7, np.uint16), "value 7"),
        (palette((128, 0, 0)), "colour (128, 0, 0)"),
        (palette((0, 0, 255)), "colour (0, 0, 255)"),
        (Image.fromarray(np.dstack([ON * 192, ON * 128, ON * 0]).astype(np.uint8)), "(192, 128"),
        (layer((255, 0, 0), ON * 127), "painted"),
        (layer((0, 0, 0), ON * 127, under=(255, 255, 255)), "painted"),
        (layer((30, 144, 255), ON * 90), "painted"),
        (layer((255, 0, 0), ON * 255), None),
        # a second stroke over part of the first one
        (layer((255, 0, 0), ON * 127 + (ON & (np.arange(80) > 20)) * 64), "painted"),
    ],
)
def test_what_marks_one_thing_is_taken_and_said(image, note):
    mask, notes = read_mask_with_notes(png(image))
    assert mask.sum() == 900
    assert (mask == ON).all()
    assert bool(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.mark.parametrize("full", [255, 65535, 200])
def test_soft_and_lossy_edges_are_cut_at_half(full):
    dtype = np.uint16 if full > 255 else np.uint8
    soft = Image.fromarray((SOFT * full).astype(dtype))
    assert (read_mask(png(soft)) == (np.asarray(soft) > (full - 1) // 2)).all()
    if full == 255:
        drawn = Image.fromarray((DISC * np.uint8(255)).repeat(4, 0).repeat(4, 1)).resize((80, 60))
        assert abs(int(read_mask(png(drawn)).sum()) - int(DISC.sum())) < 40  # few gray levels
        lossy = png(Image.fromarray(DISC * np.uint8(255)), "JPEG", quality=60)
        assert abs(int(read_mask(lossy).sum()) - int(DISC.sum())) < 20


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (Image.fromarray((ON * 1 + OTHER * 2).astype(np.uint8)), "1 (19 %)"),
        (Image.fromarray((ON * 15 + OTHER * 255).astype(np.uint8)), "255 (5.2 %)"),
        (Image.fromarray((ON * 255 + OTHER * 128).astype(np.uint8)), "128 (5.2 %)"),
        (Image.fromarray((ON + 1).astype(np.uint8)), "2 (19 %)"),
        (Image.fromarray(np.full((60, 80), 38, np.uint8)), "38 (1e+02 %)"),
        (Image.fromarray((ON * 1 + OTHER * 38).astype(np.uint16)), "38 (5.2 %)"),
        (palette((128, 0, 0), (0, 128, 0)), "(0, 128, 0)"),
        (palette((128, 0, 0), (224, 224, 192)), "(224, 224, 192)"),
        (Image.fromarray(np.where(ON[..., None], (255, 0, 0), 255).astype(np.uint8)), "(255, 0"),
        (Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)), "more"),
        (Image.fromarray(np.arange(4800).reshape(60, 80).astype(np.uint8)), "more"),
    ],
)  # fmt: skip
def test_the_rest_is_refused_with_the_values_found(image, found):
    with pytest.raises(BrokenImageError, match="not clear what this mask marks") as caught:
        read_mask(png(image))
    assert found in str(caught.value)
    assert "save it as black and white" in str(caught.value)


def test_a_black_mask_is_empty_and_a_white_one_full():
    assert not read_mask(png(gray(0))).any()
    assert read_mask(png(Image.new("L", (80, 60), 255))).all()
    assert not read_mask(png(Image.new("RGB", (80, 60)))).any()
