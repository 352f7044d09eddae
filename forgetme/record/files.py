"""Files: the bundled ones, and those from outside, regular and no larger than they may be."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from forgetme.errors import ForgetmeError

MOST_IMAGE_BYTES = 2**28  # 256 MiB: 16 bits in each channel of 45 megapixels, not packed
MOST_TEXT_BYTES = 2**29  # COCO's own annotations of 118,000 photos have 448 MB
MOST_LINE_BYTES = 2**24
PIECE = 2**20  # bytes read at a time

PACKAGE = Path(__file__).parents[1]

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def bundled(name: str) -> Path:
    """Finds a folder of bundled files, "tiny" (weights) or "samples" (images).

    They are part of an installed package, and lie in `assets/` beside the package in a checkout.
    """
    installed = PACKAGE / "assets"
    return (installed if installed.is_dir() else PACKAGE.parent / "assets") / name


def open_regular(path: str | os.PathLike[str], most: int = MOST_IMAGE_BYTES) -> IO[bytes]:
    """Opens a regular file to read; it never waits, as a named pipe would make a reader wait.

    Args:
        path: the file, or a link to one.
        most: bytes that it may have.

    Raises:
        ForgetmeError: it cannot be opened, is a pipe, a device or a directory, or is too large.
    """
    path = os.fspath(path)
    try:
        # without O_NONBLOCK a pipe without a writer is waited for; Windows has neither
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", getattr(os, "O_BINARY", 0)))
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        why = getattr(error, "strerror", None) or error
        raise ForgetmeError(
            f"{path}: cannot be opened ({why}); check that it exists and may be read"
        ) from error
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_size <= most:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISREG(found.st_mode):
        raise ForgetmeError(
            f"{path}: has {found.st_size:,} bytes, and at most {most:,} are read of such a file; "
            "check what it is, or write it smaller or in parts"
        )
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")
    raise ForgetmeError(f"{path}: is {kind}, and a file was expected; name the file itself")


def read_bytes(path: str | os.PathLike[str], most: int = MOST_IMAGE_BYTES) -> bytes:
    """Returns the content of a regular file.

    Raises:
        ForgetmeError: as `open_regular`, or it cannot be read, or grew beyond `most` meanwhile.
    """
    with open_regular(path, most) as file:
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise ForgetmeError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error
    if len(data) > most:
        raise ForgetmeError(f"{os.fspath(path)}: grows while it is read; try again later")
    return data


def read_text(path: str | os.PathLike[str], most: int = MOST_TEXT_BYTES) -> str:
    """Returns the text of a regular UTF-8 file, without the byte order mark of some tools.

    Raises:
        ForgetmeError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ForgetmeError(
            f"{os.fspath(path)}: is not UTF-8 text ({error.reason} at byte {error.start}); "
            "save it as UTF-8"
        ) from error


def read_lines(
    path: str | os.PathLike[str], most: int = MOST_TEXT_BYTES, line: int = MOST_LINE_BYTES
) -> Iterator[bytes]:
    r"""Yields the lines of a regular file without their ends; "\n" alone ends one.

    Args:
        path: the file.
        most: bytes that it may have.
        line: bytes that one line may have.

    Raises:
        ForgetmeError: as `open_regular`, or a line is longer.
    """
    with open_regular(path, most) as file:
        number = 0
        while part := file.readline(line + 1):
            number += 1
            if len(part) > line:
                raise ForgetmeError(
                    f"{os.fspath(path)}: line {number} has more than {line:,} bytes; check what "
                    "the file is"
                )
            yield part.rstrip(b"\r\n")


def file_sha256(path: Path) -> str:
    """Computes the sha256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(PIECE):
            digest.update(chunk)
    return digest.hexdigest()


def is_regular(path: Path) -> bool:
    """Tells whether a path is a regular file or a link to one, without opening it."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # missing, or a link that leads to itself
        return False


def what_it_is(file: IO[bytes]) -> str:
    """Says what a file that is no image is by its first bytes, and what to do."""
    file.seek(0)
    data = file.read(1024)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return (
            "is a HEIC photo, which is not read here; export it as JPEG (on an iPhone: Settings, "
            "Camera, Formats, Most Compatible), or convert it with `heif-convert`"
        )
    head = data.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "is an SVG drawing, not a raster image; export it as PNG"
    if head.startswith((b"<!doctype", b"<html")) or b"<html" in head:
        return "is a web page, not an image; download the picture itself"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not an image; run `git lfs pull`"
    return "is not an image that can be read; save it as PNG or JPEG"
