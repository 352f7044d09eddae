"""What was computed once, by the content of what it was computed from: pictures and scores.

Each file appears whole or not at all, so a comparison may be stopped at any time, and several
processes may use one folder. A file that cannot be read counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.images import array_sha, atomic_write, png_bytes, read_image

log = logging.getLogger(__name__)
_SUM = "sha256"


def _sum(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, allow_nan=False).encode()).hexdigest()


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
        try:
            found = json.loads(self._path(key, "json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict):
            return None
        known = found.pop(_SUM, None)  # files of before it was kept have none
        if known not in (None, _sum(found)):
            log.warning("%s is not what was written; it is computed again", self._path(key, "json"))
            return None
        return found

    def keep(self, key: str, record: dict[str, Any]) -> None:
        """Keeps a record of plain JSON; a number that is not finite is refused.

        Raises:
            DiskFullError: no room is left.
        """
        record = {**record, _SUM: _sum(record)}
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
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

    def file(self, sha: str) -> Path:
        """Returns the file of a picture that was kept."""
        return self._path(sha, "png")

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / key[:2] / f"{key}.{suffix}"

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, data)
