"""A cache on disk of fills and scores, by the content of what they were made from.

Each file appears whole or not at all, so a comparison may be stopped at any time, and several
processes may use one folder. A file that cannot be read counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.images import array_sha, atomic_write, png_bytes, read_image
from forgetme.record.summed import opened, sealed

log = logging.getLogger(__name__)


def key_of(**parts: Any) -> str:
    """Names a value by all that decides it: 64 hex digits of the parts as JSON."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """A folder of records (JSON) by key, and of pictures (PNG) by their own content."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder; it is made by the first write."""
        self.folder = folder

    def record(self, key: str) -> dict[str, Any] | None:
        """Returns what `keep` was given under a key; None where there is none."""
        path = self._path(key, "json")
        try:
            return opened(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s cannot be used (%s); it is computed again", path, error)
            return None

    def keep(self, key: str, record: dict[str, Any]) -> None:
        """Keeps a record of plain JSON; a number that is not finite is refused.

        Raises:
            DiskFullError: no room is left.
        """
        text = json.dumps(sealed(record), ensure_ascii=False)
        self._write(self._path(key, "json"), text.encode())

    def keep_picture(self, picture: np.ndarray) -> str:
        """Keeps an array as PNG; returns the name of its content, 64 hex digits."""
        sha = array_sha(picture)
        path = self._path(sha, "png")
        if not path.is_file():
            self._write(path, png_bytes(picture))
        return sha

    def picture(self, sha: str) -> np.ndarray:
        """Returns a picture (H, W, 3) uint8 that was kept.

        Raises:
            ForgetmeError: it is not there or damaged.
        """
        path = self._path(sha, "png")
        try:
            found = read_image(path)
        except BrokenImageError as error:
            raise ForgetmeError(f"{error}; or delete it and compare again") from error
        if array_sha(found) != sha:
            raise ForgetmeError(f"{path} is not what it was; delete it and compare again")
        return found

    def is_whole(self, sha: str) -> bool:
        """Tells whether a picture is there as it was kept; a damaged one is removed."""
        path = self._path(sha, "png")
        if not path.is_file():
            return False
        try:
            self.picture(sha)
        except ForgetmeError as error:
            log.warning("%s cannot be used (%s); it is made again", path, error)
            path.unlink(missing_ok=True)
            return False
        return True

    def problems(self) -> Iterator[str]:
        """Yields one sentence for each file that is not what was written."""
        for path in sorted(self.folder.glob("??/*.json")):
            if self.record(path.stem) is None:
                yield f"{path} is damaged; it is computed again when it is needed"
        for path in sorted(self.folder.glob("??/*.png")):
            try:
                self.picture(path.stem)
            except ForgetmeError:
                yield f"{path} is damaged; delete it: it is made again when it is needed"

    def file(self, sha: str) -> Path:
        """Returns the file of a picture that was kept."""
        return self._path(sha, "png")

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / key[:2] / f"{key}.{suffix}"

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, data)
