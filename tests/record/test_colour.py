"""Colour profiles and odd depths against numbers worked out without Pillow."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from forgetme.record.images import read_image_with_notes

RNG = np.random.default_rng(5)
COLOURS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
# Primaries and white of Adobe RGB (1998), adapted to D50 as a profile holds them.
ADOBE_TO_XYZ = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
SRGB_TO_XYZ = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def icc(colour_space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Writes an ICC profile of version 2."""
    body, table, at = b"", struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I4sI", at + len(body), b"test", 0x02100000) + kind + colour_space
    head += connection + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += struct.pack(">3i", 63190, 65536, 54061)  # D50
    return head.ljust(128, b"\0") + table + body


def text(words: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + b"\0" * 80


def xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def matrix_profile(to_xyz: np.ndarray, words: bytes) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256))
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, to_xyz.T), strict=True))
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    white = {b"wtpt": xyz(np.array([0.9642, 1, 0.8249]))}
    return icc(b"RGB ", b"XYZ ", b"mntr", {b"desc": text(words), **white, **columns, **curves})


def ink_profile() -> bytes:
    """A printer whose paper is L 90 and whose full black is L 20; its other inks print nothing."""
    ramp = bytes(range(256))
    corners = b"".join(
        bytes([round((20 if index & 1 else 90) * 2.55), 128, 128]) for index in range(16)
    )
    lut = (
        b"mft1\0\0\0\0"
        + bytes([4, 3, 2, 0])
        + struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
    )
    lut += ramp * 4 + corners + ramp * 3  # fmt: skip
    tags = {b"desc": text(b"ink"), b"wtpt": xyz(np.array([0.9642, 1, 0.8249])), b"A2B0": lut}
    return icc(b"CMYK", b"Lab ", b"prtr", tags)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def srgb_of_adobe(pixels: np.ndarray) -> np.ndarray:
    """Adobe RGB (1998) to sRGB by the formulas of both."""
    linear = (pixels / 255) ** 2.19921875
    linear = linear @ ADOBE_TO_XYZ.T @ np.linalg.inv(SRGB_TO_XYZ).T
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curved * 255


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_wide_gamut_is_converted_to_srgb(mode):
    pixels = Image.fromarray(COLOURS)
    picture = pixels.quantize(64) if mode == "P" else pixels.convert(mode)
    data = saved(picture, icc_profile=matrix_profile(ADOBE_TO_XYZ, b"Adobe RGB"))
    read = read_image_with_notes(data)
    before = np.asarray(picture.convert("RGB"))
    expected = srgb_of_adobe(before)
    assert np.abs(expected - before).max() > 50  # it matters
    assert np.abs(read.image - expected).max() <= 2
    assert read.notes == ("colours converted to sRGB by its profile Adobe RGB",)


def test_srgb_under_any_name_changes_no_pixel():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for picture in (Image.fromarray(COLOURS), Image.fromarray(COLOURS).convert("RGBA")):
        read = read_image_with_notes(saved(picture, icc_profile=profile))
        assert (read.image == COLOURS).all()
        assert read.notes == ()


def test_cmyk_is_converted_by_its_profile():
    inks = np.zeros((24, 32, 4), np.uint8)
    inks[:12, :, 3] = 255
    inks[..., 0] = 200  # an ink that prints nothing by this profile
    read = read_image_with_notes(
        saved(Image.fromarray(inks, "CMYK"), "TIFF", icc_profile=ink_profile())
    )
    # L* to Y, the profile's black laid on sRGB's in linear light (perceptual), sRGB's curve
    black, paper = ((np.array([20, 90]) + 16) / 116) ** 3
    paper = (paper - black) / (1 - black)
    assert np.abs(read.image[0, 0].astype(int)).max() <= 2
    assert np.abs(read.image[-1, 0] - (1.055 * paper ** (1 / 2.4) - 0.055) * 255).max() <= 2
    assert read.notes == ("colours converted to sRGB by its profile ink",)


@pytest.mark.parametrize(
    ("profile", "words"),
    [(b"no profile", "damaged"), (matrix_profile(ADOBE_TO_XYZ, b"cut")[:200], "damaged"),
     (ink_profile(), "is for CMYK")],
)  # fmt: skip
def test_a_broken_profile_is_said_and_passed_over(profile, words):
    read = read_image_with_notes(saved(Image.fromarray(COLOURS), icc_profile=profile))
    assert (read.image == COLOURS).all()
    (note,) = read.notes
    assert words in note
    assert "passed over" in note


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_fewer_bits_in_sixteen_are_scaled(bits, channels):
    full = 2**bits - 1
    deep = RNG.integers(0, full + 1, (24, 32, channels), dtype=np.uint16)
    deep[0, 0] = full
    if channels == 4:
        deep[..., 3] = 65535
    done, data = cv2.imencode(".png", deep)
    assert done
    read = read_image_with_notes(data.tobytes())
    colours = deep[..., [0, 0, 0]] if channels == 1 else deep[..., 2::-1]
    assert np.abs(read.image - colours * (255 / full)).max() <= 0.51
    assert f"{bits} bits in 16 per channel, scaled to 8" in read.notes
