"""Reading untrusted image files into the one image convention, and writing without loss."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import (
    AvifImagePlugin,  # noqa: F401 (registers the format, here and below)
    Image,
    ImageOps,
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from forgetme.errors import BrokenImageError, DiskFullError, ForgetmeError
from forgetme.record.colour import bits_of, deep_colour, to_eight_bits, to_srgb
from forgetme.record.files import MOST_IMAGE_BYTES, open_regular, what_it_is
from forgetme.record.mask_files import marked

MAX_SIDE_PX = 16_384
MIN_SIDE_PX = 16
# Only raster formats whose decoders run inside Pillow (EPS would start Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 100_000_000
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm",
)  # fmt: skip
PHONE_SUFFIXES = (".heic", ".heif")  # photos that are refused with what to do, not passed over
WHITE = (255, 255, 255, 255)
_ROWS = 256  # copied at a time
log = logging.getLogger(__name__)
NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True, eq=False)
class ReadImage:
    """A decoded image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        notes: what was changed to get there, one phrase each; empty for a plain 8-bit RGB file.
    """

    image: np.ndarray
    notes: tuple[str, ...]


def read_image(
    path_or_bytes: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Reads an image file as upright 8-bit sRGB.

    Args:
        path_or_bytes: file, or its content.
        max_pixels: refuse an image of more pixels than this, before decoding it.

    Returns:
        (H, W, 3) uint8 RGB; EXIF orientation and colour profile applied, transparency laid on
        white, first frame of an animation.

    Raises:
        BrokenImageError: the file is missing, empty, truncated, no image, no regular file, has
            more than 256 MiB, a side below 16 px, above 16,384 px, or too many pixels.
    """
    return read_image_with_notes(path_or_bytes, max_pixels=max_pixels).image


def read_image_with_notes(
    path_or_bytes: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS
) -> ReadImage:
    """Reads an image like ``read_image`` and tells what was changed on the way.

    Args:
        path_or_bytes: file, or its content.
        max_pixels: refuse an image of more pixels than this, before decoding it.

    Returns:
        The image and its notes.

    Raises:
        BrokenImageError: as ``read_image``.
    """
    name, file = _open(path_or_bytes)
    with file:
        picture, notes = _decode(name, file, max_pixels)
        rgb, more = _to_rgb(name, picture)
    return ReadImage(_pixels(rgb), (*notes, *more))


def read_mask(path_or_bytes: str | os.PathLike[str] | bytes) -> np.ndarray:
    """Reads a mask file: black and white, or one colour, class or layer that marks the object.

    Args:
        path_or_bytes: file, or its content; 1-bit, gray, palette or RGB. Soft edges are on from
            half of full scale, transparent pixels are off.

    Returns:
        (H, W) bool.

    Raises:
        BrokenImageError: as ``read_image``, or it holds several classes, so that it is not
            clear what it marks; the message names the values found.
    """
    mask, notes = read_mask_with_notes(path_or_bytes)
    for note in notes:
        _say_once(note)
    return mask


@cache
def _say_once(note: str) -> None:
    log.warning("a mask is not plain black and white: %s, and so in others like it", note)


def read_mask_with_notes(
    path_or_bytes: str | os.PathLike[str] | bytes,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads a mask like ``read_mask`` and tells what was taken as the object.

    Args:
        path_or_bytes: file, or its content.

    Returns:
        (H, W) bool, and notes; none for plain black and white.

    Raises:
        BrokenImageError: as ``read_mask``.
    """
    name, file = _open(path_or_bytes)
    with file:
        picture, _ = _decode(name, file, MAX_PIXELS)
    if picture.mode.startswith("I"):
        _check_deep(name, picture)
    elif picture.mode not in ("1", "L"):
        picture = _converted(name, picture, "RGBA" if _is_transparent(picture) else "RGB")
    try:
        mask, notes = marked(picture)
    except ValueError as error:
        raise BrokenImageError(f"{name}: {error}") from error
    return mask, tuple(notes)


def _open(path_or_bytes: str | os.PathLike[str] | bytes) -> tuple[str, IO[bytes]]:
    if isinstance(path_or_bytes, bytes):
        name, file = "the image", io.BytesIO(path_or_bytes)
    else:
        name = os.fspath(path_or_bytes)
        try:
            file = open_regular(name, MOST_IMAGE_BYTES)
        except ForgetmeError as error:
            raise BrokenImageError(str(error)) from error
    if not file.read(1):
        file.close()
        raise BrokenImageError(f"{name}: is empty (0 bytes); copy or download it again")
    file.seek(0)
    return name, file


def _decode(name: str, file: IO[bytes], max_pixels: int) -> tuple[Image.Image, list[str]]:
    """Decodes the first frame after checking its size, and turns it upright."""
    try:
        picture = Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImageError(f"{name}: {_too_many(max_pixels)} ({error})") from error
    except Image.UnidentifiedImageError as error:
        raise BrokenImageError(f"{name}: {what_it_is(file)}") from error
    except Exception as error:  # decoders of broken headers raise anything
        raise _undecodable(name, error) from error
    _check_size(name, picture.size, max_pixels)
    notes = []
    frames = _count_frames(picture)
    if frames > 1:
        notes.append(f"animated: the first of {frames} frames is used")
    is_deep = ";16" in str(picture.tile)
    try:
        picture.load()
    except Exception as error:  # as above; broken data
        raise _undecodable(name, error) from error
    if is_deep:
        scaled = None if picture.mode.startswith("I") else deep_colour(picture, file)
        notes.append(scaled or "16 bits per channel reduced to 8")
    return _upright(picture, notes), notes


def _check_size(name: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    got = f"is {width}x{height} px"
    if min(size) < MIN_SIDE_PX:
        raise BrokenImageError(
            f"{name}: {got}, sides must be at least {MIN_SIDE_PX} px; use a larger image"
        )
    if max(size) > MAX_SIDE_PX:
        raise BrokenImageError(
            f"{name}: {got}, sides may be at most {MAX_SIDE_PX:,} px; scale or crop it first"
        )
    if width * height > max_pixels:
        raise BrokenImageError(f"{name}: {got}, {_too_many(max_pixels)}")


def _too_many(max_pixels: int) -> str:
    return f"an image may have at most {max_pixels:,} pixels; scale or crop it first"


def _undecodable(name: str, error: Exception) -> BrokenImageError:
    why = str(error) or type(error).__name__
    return BrokenImageError(
        f"{name}: is damaged or cut off ({why}); copy, download or export it again"
    )


def _count_frames(picture: Image.Image) -> int:
    try:
        return getattr(picture, "n_frames", 1) if picture.format != "MPO" else 1
    except Exception:  # a damaged later frame does not spoil the first one
        return 2


def _upright(picture: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = picture.getexif().get(0x0112, 1)
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # EXIF is a side note; a broken one must not cost the picture
        notes.append("EXIF data is damaged: orientation ignored")
        return picture
    if orientation in range(2, 9):
        notes.append("turned upright by its EXIF orientation")
    return picture


def _to_rgb(name: str, picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """Returns the picture in mode RGB and sRGB's colours, and notes."""
    mode = picture.mode
    if mode == "F":
        raise BrokenImageError(
            f"{name}: has floating-point pixels, whose range is unknown; save it as 8-bit PNG"
        )
    notes = []
    if mode.startswith("I"):
        picture, notes = _from_deep_gray(name, picture)
    elif _is_transparent(picture):
        return _on_white(name, picture)
    elif mode == "1":
        notes = ["black and white"]
    elif mode not in ("L", "CMYK", "LAB"):
        picture = _converted(name, picture, "RGB")
    converted, said = to_srgb(picture)
    if picture.mode == "L":
        notes.append("grayscale")
    if picture.mode == "CMYK" and converted is picture:
        notes.append("CMYK converted to RGB without a colour profile")
    return _converted(name, converted, "RGB"), notes + said


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def _on_white(name: str, picture: Image.Image) -> tuple[Image.Image, list[str]]:
    profile = picture.info.get("icc_profile")
    rgba = _converted(name, picture, "RGBA")
    alpha = rgba.getchannel("A")
    rgb = picture.convert("L") if picture.mode in ("L", "LA", "La") else rgba.convert("RGB")
    rgb.info["icc_profile"] = profile
    converted, said = to_srgb(rgb)
    rgb = _converted(name, converted, "RGB")
    if alpha.getextrema()[0] == 255:
        return rgb, said
    rgb.putalpha(alpha)
    white = Image.new("RGBA", rgb.size, WHITE)
    laid = Image.alpha_composite(white, rgb).convert("RGB")
    return laid, ["transparency laid on white", *said]


def _from_deep_gray(name: str, picture: Image.Image) -> tuple[Image.Image, list[str]]:
    _check_deep(name, picture)
    values = np.asarray(picture).astype(np.uint16)
    bits = bits_of(int(values.max()))
    gray = Image.fromarray(to_eight_bits(values, bits))
    gray.info["icc_profile"] = picture.info.get("icc_profile")
    return gray, [] if bits == 16 else [f"{bits} bits in 16 per channel, scaled to 8"]


def _check_deep(name: str, picture: Image.Image) -> None:
    low, top = picture.getextrema()
    if low < 0 or top > 65535:
        raise BrokenImageError(
            f"{name}: has 32-bit pixels outside 0..65535; save it as 8-bit or 16-bit PNG"
        )


def _converted(name: str, picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode == mode:
        return picture
    try:
        return picture.convert(mode)
    except Exception as error:  # an odd mode, a damaged palette
        raise _undecodable(name, error) from error


def _pixels(picture: Image.Image) -> np.ndarray:
    """Copies a picture's pixels in parts: whole, Pillow makes two copies on the way."""
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        below = min(top + _ROWS, height)
        pixels[top:below] = np.asarray(picture.crop((0, top, width, below)))
    return pixels


def png_bytes(array: np.ndarray, *, level: int = 6) -> bytes:
    """Encodes pixels as PNG, without loss.

    Args:
        array: (H, W) bool or uint8, (H, W, 3) uint8 RGB or (H, W, 4) uint8 RGBA; bool is
            written as 0/255.
        level: effort, 0 to 9; 1 is several times faster than 6 and some percent larger.

    Returns:
        The file's content; the same array gives the same bytes on one machine.

    Raises:
        ValueError: another shape or dtype.
    """
    if array.dtype == np.bool_ and array.ndim == 2:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    ):
        raise ValueError(
            f"a PNG needs HxW bool, or HxW, HxWx3 or HxWx4 uint8, got {array.shape} "
            f"{array.dtype}; convert it first"
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format="PNG", compress_level=level)
    return buffer.getvalue()


def array_sha(array: np.ndarray) -> str:
    """Names an array by its content: the SHA-256 of dtype, shape and values, as 64 hex digits."""
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(array.data)
    return digest.hexdigest()


def mask_sha(mask: np.ndarray) -> str:
    """Returns the name that an (H, W) bool mask has in a store."""
    return array_sha(mask.astype(np.uint8) * 255)


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file so that a crash leaves either the old content or all of the new one.

    Args:
        path: file to write; its folder exists.
        data: the whole content.

    Raises:
        DiskFullError: no room is left; the old content is untouched.
        OSError: the folder is missing or may not be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        # "x" with the default mode: never follows a link, and keeps the user's umask
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise DiskFullError(
                f"no room left to write {path} ({len(data):,} bytes); free some disk space and "
                "try again, nothing saved before is lost"
            ) from error
        raise
    if os.name == "posix":  # the rename itself survives a power cut only with its folder synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
