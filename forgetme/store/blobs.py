"""A folder of PNG files named by their pixels; written once, never changed."""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.record.images import array_sha, atomic_write, png_bytes

UNFINISHED_S = 3600.0  # no image takes so long to write
_SHA = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Content-addressed images: `put` is durable when it returns.

    The name is the sha256 of the *pixels* (`images.array_sha`), not of the file, so that the
    same image has the same name whatever PNG encoder wrote it. Two folders of two hex digits
    each keep every folder small: `ab/cd/abcd….png`.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the folder; it is made by the first `put`."""
        self.folder = folder

    def put(self, array: np.ndarray) -> str:
        """Writes an image, unless it is there, so that a power cut cannot lose it.

        Args:
            array: (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) uint8, or (H, W) bool (kept as 0/255).

        Returns:
            Its name, 64 hex digits.

        Raises:
            ValueError: not such an array.
            DiskFullError: no space left; nothing was written.
        """
        if array.dtype == bool:
            array = array.astype(np.uint8) * 255
        sha = array_sha(array)
        path = self._path(sha)
        with _plain_errors(self.folder):
            if path.exists() and self.problem(sha) is None:
                _sync(path.parent)  # another process may have renamed it a moment ago
            else:
                _write(self.folder, path, _encoded(array))
        return sha

    def put_png(self, sha: str, data: bytes) -> None:
        """Writes the file of an image whose pixels are known to have this name, durably.

        Args:
            sha: `images.array_sha` of its pixels; who reads it checks it.
            data: the PNG.

        Raises:
            DiskFullError: no space left; nothing was written.
        """
        path = self._path(sha)
        with _plain_errors(self.folder):
            if path.exists() and self.problem(sha) is None:
                _sync(path.parent)
            else:
                _write(self.folder, path, data)

    def get(self, sha: str) -> np.ndarray:
        """Returns the array of `put`, a mask as (H, W) uint8 0/255.

        Raises:
            ForgetmeError: there is no such blob, or its pixels are not those of its name.
        """
        path = self.path(sha)
        with suppress(OSError, SyntaxError, ValueError):  # what Pillow raises on damaged files
            array = _read(path)
            if array_sha(array) == sha:
                return array
        raise ForgetmeError(
            f"the store's image {path.name[:12]}… is damaged; bring the file back from a backup, "
            "or import the image again"
        )

    def path(self, sha: str) -> Path:
        """Returns the file of a blob.

        Raises:
            ForgetmeError: there is no such blob.
        """
        path = self._path(sha)
        if not path.is_file():
            raise ForgetmeError(
                f"the store has no image {sha[:12]}… (expected {path}); "
                "bring the file back from a backup, or import the image again"
            )
        return path

    def size(self, sha: str) -> tuple[int, int]:
        """Returns a blob's width and height in px, without decoding it."""
        with Image.open(self.path(sha), formats=("PNG",)) as image:
            return image.size

    def take(self, other: "Blobs") -> None:
        """Copies all blobs of another folder, durably."""
        for source in sorted(other.folder.glob("??/??/*.png")):
            if _SHA.fullmatch(source.stem):
                with _plain_errors(self.folder):
                    _write(self.folder, self._path(source.stem), source.read_bytes())

    def clear(self) -> None:
        """Removes what killed writers left unfinished; a young file may still be written."""
        for path in self.folder.glob("??/??/.*.tmp"):
            with suppress(FileNotFoundError):  # its writer finished it just now
                if path.stat().st_mtime < time.time() - UNFINISHED_S:
                    path.unlink()

    def problem(self, sha: str) -> str | None:
        """Says what is wrong with a blob, or None when its pixels are those of its name."""
        path = self._path(sha)
        if not path.is_file():
            return f"{path} is missing; bring it back from a backup"
        try:
            whole = array_sha(_read(path)) == sha
        except (OSError, SyntaxError, ValueError):  # what Pillow raises on damaged files
            whole = False
        return None if whole else f"{path} is damaged; bring it back from a backup"

    def _path(self, sha: str) -> Path:
        if not _SHA.fullmatch(sha):
            raise ValueError(f"an image is named by 64 hex digits, got {sha!r}")
        return self.folder / sha[:2] / sha[2:4] / f"{sha}.png"


def _encoded(array: np.ndarray) -> bytes:
    """Encodes pixels as PNG; masks by OpenCV's run lengths, in a third of Pillow's time."""
    if array.ndim != 2:
        return png_bytes(array)
    import cv2

    return cv2.imencode(".png", array)[1].tobytes()


def _write(root: Path, path: Path, data: bytes) -> None:
    for folder in (root, path.parent.parent, path.parent):
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _sync(folder.parent)
    atomic_write(path, data)


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no room left in {folder}; free some disk space and try again, "
                "nothing saved before is lost"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ForgetmeError(
                f"{folder} may not be written ({error.strerror}); check its rights"
            ) from error
        raise


def _read(path: Path) -> np.ndarray:
    with Image.open(path, formats=("PNG",)) as image:
        return np.array(image)


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable; only POSIX lets a folder be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
