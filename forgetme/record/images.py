"""Reading untrusted image files into the one image convention, and writing without loss."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import (
    AvifImagePlugin,  # noqa: F401 (registers the format, here and below)
    Image,
    ImageOps,
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from forgetme.errors import BrokenImageError, DiskFullError
from forgetme.record.masks import as_mask

MAX_SIDE_PX = 16_384
MIN_SIDE_PX = 16
# Only raster formats whose decoders run inside Pillow (EPS would start Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm"
)  # fmt: skip
WHITE = (255, 255, 255, 255)
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
    path_or_bytes: str | os.PathLike[str] | bytes, *, max_pixels: int = 100_000_000
) -> np.ndarray:
    """Reads an image file as upright 8-bit RGB.

    Args:
        path_or_bytes: file, or its content.
        max_pixels: refuse an image of more pixels than this, before decoding it.

    Returns:
        (H, W, 3) uint8 RGB; EXIF orientation applied, transparency laid on white, first frame
        of an animation.

    Raises:
        BrokenImageError: the file is missing, empty, truncated, no image, or has a side below
            16 px, above 16,384 px, or too many pixels.
    """
    return read_image_with_notes(path_or_bytes, max_pixels=max_pixels).image


def read_image_with_notes(
    path_or_bytes: str | os.PathLike[str] | bytes, *, max_pixels: int = 100_000_000
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
    name, data = _load(path_or_bytes)
    picture, notes = _decode(name, data, max_pixels)
    rgb, more = _to_rgb(name, picture)
    return ReadImage(np.array(rgb), (*notes, *more))  # a copy: Pillow's is read-only


def read_mask(path_or_bytes: str | os.PathLike[str] | bytes) -> np.ndarray:
    """Reads a mask file: on where it is at least half of full scale.

    Args:
        path_or_bytes: file, or its content; 1-bit, gray, palette or RGB. Transparent pixels
            are off. A file that holds only the values 0 and 1 is read as such.

    Returns:
        (H, W) bool.

    Raises:
        BrokenImageError: as ``read_image``.
    """
    name, data = _load(path_or_bytes)
    picture, _ = _decode(name, data, MAX_SIDE_PX**2)
    if picture.mode in ("1", "L"):
        return as_mask(np.asarray(picture))
    if picture.mode.startswith("I"):
        return as_mask(_sixteen_bit(name, picture))
    rgba = np.asarray(picture.convert("RGBA"))
    return as_mask(rgba[..., :3]) & (rgba[..., 3] >= 128)


def _load(path_or_bytes: str | os.PathLike[str] | bytes) -> tuple[str, bytes]:
    if isinstance(path_or_bytes, bytes):
        name, data = "the image", path_or_bytes
    else:
        path = Path(path_or_bytes)
        name = str(path)
        try:
            data = path.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
            why = getattr(error, "strerror", None) or error
            raise BrokenImageError(
                f"{name}: cannot be opened ({why}); check that it exists and may be read"
            ) from error
    if not data:
        raise BrokenImageError(f"{name}: is empty (0 bytes); copy or download it again")
    return name, data


def _decode(name: str, data: bytes, max_pixels: int) -> tuple[Image.Image, list[str]]:
    """Decodes the first frame after checking its size, and turns it upright."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImageError(f"{name}: {_too_many(max_pixels)} ({error})") from error
    except Image.UnidentifiedImageError as error:
        raise BrokenImageError(f"{name}: {_what_it_is(data)}") from error
    except Exception as error:  # decoders of broken headers raise anything
        raise _undecodable(name, error) from error
    _check_size(name, picture.size, max_pixels)
    notes = []
    frames = _count_frames(picture)
    if frames > 1:
        notes.append(f"animated: the first of {frames} frames is used")
    if ";16" in str(picture.tile):
        notes.append("16 bits per channel reduced to 8")
    try:
        picture.load()
    except Exception as error:  # as above; broken data
        raise _undecodable(name, error) from error
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


def _what_it_is(data: bytes) -> str:
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "is an SVG drawing, not a raster image; export it as PNG"
    if head.startswith((b"<!doctype", b"<html")) or b"<html" in head:
        return "is a web page, not an image; download the picture itself"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not an image; run `git lfs pull`"
    return "is not an image that can be read; save it as PNG or JPEG"


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
        turned = ImageOps.exif_transpose(picture)
        orientation = picture.getexif().get(0x0112, 1)
    except Exception:  # EXIF is a side note; a broken one must not cost the picture
        notes.append("EXIF data is damaged: orientation ignored")
        return picture
    if orientation in range(2, 9):
        notes.append("turned upright by its EXIF orientation")
    return turned


def _to_rgb(name: str, picture: Image.Image) -> tuple[np.ndarray, list[str]]:
    mode = picture.mode
    if mode == "F":
        raise BrokenImageError(
            f"{name}: has floating-point pixels, whose range is unknown; save it as 8-bit PNG"
        )
    if mode.startswith("I"):
        deep = _sixteen_bit(name, picture)
        gray = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.dstack([gray] * 3), ["grayscale"]
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        if rgba.getextrema()[3][0] == 255:
            return np.asarray(rgba.convert("RGB")), []
        white = Image.new("RGBA", rgba.size, WHITE)
        return np.asarray(Image.alpha_composite(white, rgba).convert("RGB")), [
            "transparency laid on white"
        ]
    notes = {
        "L": ["grayscale"],
        "1": ["black and white"],
        "CMYK": ["CMYK converted to RGB without its colour profile"],
    }
    return np.asarray(picture.convert("RGB")), notes.get(mode, [])


def _sixteen_bit(name: str, picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise BrokenImageError(
            f"{name}: has 32-bit pixels outside 0..65535; save it as 8-bit or 16-bit PNG"
        )
    return values.astype(np.uint16)


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
