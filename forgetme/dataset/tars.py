"""Reads tar archives from outside, entry by entry, in bounded memory."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from forgetme.errors import ForgetmeError
from forgetme.record.files import open_regular

MOST_BYTES = 2**42  # of a tar
MOST_HEADER = 2**20  # of all that describes one entry, and of what describes all


@dataclass(frozen=True)
class Entry:
    """One entry of a tar; its content can be read until the next one is asked for."""

    name: str
    size: int
    is_folder: bool
    is_file: bool  # an ordinary one: no link, device or file with holes
    _data: IO[bytes] | None
    _path: Path

    def read(self, size: int = -1) -> bytes:
        """Returns up to `size` bytes of a file's content, or all of it.

        Raises:
            ForgetmeError: the tar is damaged there.
        """
        assert self._data is not None, "only an ordinary file is read"
        try:
            return self._data.read(self.size if size < 0 else size)
        except Exception as error:  # what tarfile and gzip raise on damaged data is anything
            raise _damaged(self._path, error) from error


def entries(path: Path) -> Iterator[Entry]:
    """Yields the entries of a tar, packed with gzip or not.

    Raises:
        ForgetmeError: it is no tar, is damaged, or its headers hold far more than names.
    """
    with open_regular(path, MOST_BYTES) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        source = _Headers(gzip.GzipFile(fileobj=file) if packed else file)
        try:
            tar = tarfile.open(fileobj=source, mode="r:")  # noqa: SIM115 (`file` is closed)
            while (entry := _next(tar, source)) is not None:
                is_file = entry.isreg() and not entry.issparse()
                data = tar.extractfile(entry) if is_file else None
                yield Entry(entry.name, entry.size, entry.isdir(), is_file, data, path)
        except Exception as error:  # broken headers raise anything
            raise _damaged(path, error) from error


def _next(tar: tarfile.TarFile, source: _Headers) -> tarfile.TarInfo | None:
    source.left = MOST_HEADER
    entry = tar.next()
    source.left = None
    tar.members.clear()  # it would keep them all
    if sum(len(key) + len(value) for key, value in tar.pax_headers.items()) > MOST_HEADER:
        raise tarfile.ReadError("its headers hold far more than names")
    if entry is not None and entry.size < 0:
        raise tarfile.ReadError(f"{entry.name[:80]!r} claims {entry.size:,} bytes")
    return entry


def _damaged(path: Path, error: Exception) -> ForgetmeError:
    why = str(error) or type(error).__name__
    return ForgetmeError(f"{path} is no whole tar file ({why}); get it again, or pack it anew")


class _Headers:
    """A file that gives out few bytes while headers are read: they say how many they want."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.left: int | None = MOST_HEADER  # None: content is read

    def read(self, size: int = -1) -> bytes:
        if self.left is not None:
            if not 0 <= size <= self.left:
                raise tarfile.ReadError(f"a header wants {size:,} bytes")
            self.left -= size
        return self._file.read(size)

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def tell(self) -> int:
        return self._file.tell()
