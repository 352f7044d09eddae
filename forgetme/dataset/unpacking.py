"""Unpacks an uploaded zip, tar or parquet file into a folder of `imports/`.

Nothing in an archive is trusted: every entry's name, kind and size is checked before a byte of it
is written, and what it really holds is counted while it is written.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from forgetme.dataset.file_finder import is_litter
from forgetme.dataset.store_folders import imports_folder
from forgetme.dataset.tars import entries
from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.record.unfinished import held, making
from forgetme.store import Store
from forgetme.store.names import safe_stem

KINDS = {
    ".zip": "zip", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar", ".parquet": "parquet",
}  # fmt: skip
PIECE = 2**20  # bytes read at a time
MAX_PATH = 240  # characters of a name inside an archive
MAX_NAME = 64


@dataclass(frozen=True)
class Limits:
    """What an archive may hold."""

    files: int = 500_000
    bytes: int = 16 * 2**30  # of all files, unpacked
    times: int = 200  # unpacked bytes for each packed one
    always: int = 64 * 2**20  # unpacked bytes that are too few to be a bomb


LIMITS = Limits()


def kind_of(name: str) -> str:
    """Returns how a file of this name is read: "zip", "tar" or "parquet".

    Raises:
        ForgetmeError: as none of them.
    """
    found = next((kind for end, kind in KINDS.items() if name.lower().endswith(end)), None)
    if found is None:
        raise ForgetmeError(
            f"a dataset is uploaded as {', '.join(KINDS)}, got {name!r}; pack its folder as .zip"
        )
    return found


@contextmanager
def incoming(store: Store) -> Iterator[tuple[Path, IO[bytes]]]:
    """Gives an empty file beside the imports to receive an upload; it is gone afterwards."""
    folder = imports_folder(store)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with held(folder):
            named = tempfile.NamedTemporaryFile(  # noqa: SIM115 (the stack closes it)
                dir=folder, prefix=".", suffix=".upload"
            )
            file = stack.enter_context(named)
            stack.enter_context(held(Path(file.name)))
        yield Path(file.name), file


def unpack(store: Store, name: str, archive: Path, limits: Limits = LIMITS) -> str:
    """Unpacks an uploaded dataset and returns the name of its folder in `imports/`.

    Args:
        store: opened store.
        name: of the file on the sender's side; only its stem and ending are used.
        archive: the file.
        limits: of what it may hold.

    Raises:
        ForgetmeError: it is no such archive, or holds what no dataset holds.
        DiskFullError: no space left; nothing of it stays.
    """
    kind, folder = kind_of(name), imports_folder(store)
    try:
        allowed = max(limits.always, limits.times * archive.stat().st_size)
        with making(folder) as new:
            writer = _Writer(new, limits.files, min(limits.bytes, allowed))
            _READERS[kind](archive, name, writer)
            if not writer.files:
                raise ForgetmeError(f"{name} holds no file; pack the dataset's folder again")
            return _place(folder, _root(new), name)
    except (ForgetmeError, MemoryError):
        raise
    except Exception as error:  # what archives hold raises anything
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"no room left to unpack {name}; free some disk space") from error
        raise ForgetmeError(f"{name} cannot be unpacked ({error}); pack it again") from error


class _Writer:
    """Writes entries below a folder of its own, as long as they keep within the limits."""

    def __init__(self, root: Path, files: int, size: int) -> None:
        self.root, self.files = root, 0
        self.most_files, self._left = files, size

    def add(self, name: str, source: IO[bytes]) -> None:
        path = self.root.joinpath(*_parts(name))
        self.files += 1
        if self.files > self.most_files:
            raise ForgetmeError(f"it holds more than {self.most_files:,} files; import fewer")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            while piece := source.read(PIECE):
                self._left -= len(piece)
                if self._left < 0:
                    raise ForgetmeError(
                        "it unpacks to far more than was sent, or than a dataset may hold; "
                        "import it in parts"
                    )
                target.write(piece)


def _parts(name: str) -> tuple[str, ...]:
    """Returns the steps of an entry's name, all of them down."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    plain = all(part not in ("..", "/") and "\0" not in part and ":" not in part for part in parts)
    if not parts or not plain or len(name) > MAX_PATH:
        raise ForgetmeError(
            f"it holds a file named {name[:80]!r}, which leads elsewhere; pack the folder again"
        )
    return parts


def _is_litter(name: str) -> bool:
    return any(is_litter(part) for part in _parts(name))


def _read_zip(archive: Path, name: str, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            mode = entry.external_attr >> 16
            if entry.filename.endswith("/") or _is_litter(entry.filename):
                continue
            if (stat.S_IFMT(mode) not in (0, stat.S_IFREG)) or entry.flag_bits & 1:
                raise ForgetmeError(
                    f"{name} holds {entry.filename[:80]!r}, which is a link or is encrypted; "
                    "pack plain files"
                )
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ForgetmeError(  # LZMA alone may claim gigabytes to unpack a byte
                    f"{name} packs {entry.filename[:80]!r} in a way that is not unpacked here; "
                    "pack it as an ordinary .zip"
                )
            with packed.open(entry) as source:
                writer.add(entry.filename, source)


def _read_tar(archive: Path, name: str, writer: _Writer) -> None:
    for number, entry in enumerate(entries(archive)):
        if number > 2 * writer.most_files:
            raise ForgetmeError(f"{name} has too many entries; import it in parts")
        if entry.is_folder or _is_litter(entry.name):
            continue
        if not entry.is_file:
            raise ForgetmeError(
                f"{name} holds {entry.name[:80]!r}, which is a link or a device; pack plain files"
            )
        writer.add(entry.name, entry)


def _read_parquet(archive: Path, name: str, writer: _Writer) -> None:
    with archive.open("rb") as source:
        if source.read(4) != b"PAR1":
            raise ForgetmeError(f"{name} is no parquet file; export it again")
        source.seek(0)
        writer.add("data/train-00000-of-00001.parquet", source)


_READERS = {"zip": _read_zip, "tar": _read_tar, "parquet": _read_parquet}


def _root(new: Path) -> Path:
    """Returns the folder that holds the dataset: most archives have one folder at the top."""
    inside = list(new.iterdir())
    layers = {"data", "original"}  # a dataset's own folders
    lone = len(inside) == 1 and inside[0].is_dir() and inside[0].name not in layers
    return inside[0] if lone else new


def _place(folder: Path, root: Path, name: str) -> str:
    """Gives the folder its name; one that is taken gets a number."""
    end = next(end for end in sorted(KINDS, key=len, reverse=True) if name.lower().endswith(end))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", safe_stem(name[: -len(end)])).lstrip("._-")
    stem = stem[: MAX_NAME - 4].rstrip("._-") or "dataset"
    root.chmod(0o755)  # mkdtemp makes it private
    for number in range(1, 1000):
        free = stem if number == 1 else f"{stem}-{number}"
        if not (folder / free).exists():
            os.rename(root, folder / free)
            return free
    raise ForgetmeError(f"there are too many imports named {stem}; rename the file")
