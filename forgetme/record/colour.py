"""Converts ICC profiles, bit depths and colour modes of files to 8-bit sRGB."""

from __future__ import annotations

import io
from typing import IO

import numpy as np
from PIL import Image, ImageCms

SAME_LEVELS = 2  # a profile that moves no colour further than this is sRGB under another name
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}  # mode: a profile's word
_DEPTHS = (8, 10, 12, 16)  # bits that cameras and scanners put into 16


def to_srgb(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """Converts a picture by its own colour profile.

    Args:
        picture: mode RGB, L, CMYK or LAB, with a profile or without.

    Returns:
        The picture, as RGB where its profile differs from sRGB, and notes on what was done. A
        damaged profile is said and passed over.
    """
    data = picture.info.get("icc_profile")
    if not data or picture.mode not in _SPACES:
        return picture, []
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space.strip()
        if space != _SPACES[picture.mode]:
            return picture, [f"its colour profile is for {space} and is passed over"]
        transform = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), picture.mode, "RGB"
        )
        if _changes_nothing(transform, picture.mode):
            return picture, []
        made = ImageCms.applyTransform(picture, transform)
        name = " ".join((ImageCms.getProfileDescription(profile) or "").split())[:60]
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture, ["its colour profile is damaged and is passed over"]
    return made, [f"colours converted to sRGB by its profile {name}".rstrip()]


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Tells whether a profile leaves a grid of colours where it is."""
    if mode == "L":
        probe = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    elif mode == "RGB":
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
        probe = Image.fromarray(cube.reshape(9, 81, 3))
    else:
        return False
    made = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int)
    return np.abs(made - np.asarray(probe.convert("RGB"))).max() <= SAME_LEVELS


def bits_of(most: int) -> int:
    """Returns the depth that a 16-bit picture really has, by its highest value."""
    return next(bits for bits in _DEPTHS if most < 2**bits) if most else 16


def to_eight_bits(deep: np.ndarray, bits: int) -> np.ndarray:
    """Scales values of `bits` bits to uint8, rounded."""
    full = 2**bits - 1
    return ((deep.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)


def deep_colour(picture: Image.Image, file: IO[bytes]) -> str | None:
    """Mends a colour picture of which Pillow kept the upper 8 of 16 bits, where those are empty.

    Args:
        picture: decoded by Pillow, of 16 bits per channel; its pixels are replaced.
        file: what it was read from.

    Returns:
        A note where the picture has 12 bits or fewer in its 16; else None.
    """
    bands = picture.split()
    colours = [band.getextrema()[1] for name, band in zip(picture.getbands(), bands) if name != "A"]  # noqa: B905
    if not max(colours) < 16:
        return None
    import cv2

    file.seek(0)
    deep = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape[:2] != picture.size[::-1]:
        return None
    deep = deep if deep.ndim == 3 else deep[..., None]
    colours = deep[..., :3][..., ::-1]
    bits = bits_of(int(colours.max()))
    if bits == 16:
        return None
    made = to_eight_bits(colours, bits)
    if picture.mode in ("LA", "L"):
        made = made[..., 0]
    made = Image.fromarray(made)
    if "A" in picture.getbands():
        made.putalpha(picture.getchannel("A"))
    picture.paste(made)
    return f"{bits} bits in 16 per channel, scaled to 8"
