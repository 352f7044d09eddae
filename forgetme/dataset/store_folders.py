"""The exports/ and imports/ folders of a store: names, listing, download as a zip.

A name from outside is never a path: it names one folder of `exports/` or `imports/`, or nothing.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from forgetme.dataset.atomic_folder import MARKER
from forgetme.errors import ForgetmeError
from forgetme.store import Store
from forgetme.store.names import plain_folders, safe_stem

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_PIECE = 2**20  # bytes read at a time
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a .zip can say


@dataclass(frozen=True)
class SavedExport:
    """An export inside the store."""

    name: str
    path: Path
    format: str
    files: int
    bytes: int
    at: str  # UTC, ISO 8601: when it was written


def exports_folder(store: Store) -> Path:
    """Returns the folder of the exports; it may not exist yet."""
    return store.folder / "exports"


def imports_folder(store: Store) -> Path:
    """Returns the folder whose folders the page offers to import; it may not exist yet."""
    return store.folder / "imports"


def export_path(store: Store, name: str) -> Path:
    """Returns where the export `name` is or will be.

    Raises:
        ForgetmeError: that is no plain name.
    """
    return exports_folder(store) / _plain(name)


def saved_exports(store: Store) -> list[SavedExport]:
    """Returns the exports inside a store, the latest first."""
    found = [
        one for folder in plain_folders(exports_folder(store), NAME) if (one := _saved(folder))
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)


def saved_export(store: Store, name: str) -> SavedExport:
    """Returns one export.

    Raises:
        ForgetmeError: there is none of that name.
    """
    path = export_path(store, name)
    found = None if path.is_symlink() else _saved(path)
    if found is None:
        raise ForgetmeError(f"there is no export {name!r}; export again, or look at the list")
    return found


def importable(store: Store) -> list[str]:
    """Returns the names of the folders that wait in `imports/`."""
    return sorted(folder.name for folder in plain_folders(imports_folder(store), NAME))


def import_path(store: Store, name: str) -> Path:
    """Returns one of the folders in `imports/`.

    Raises:
        ForgetmeError: there is none of that name.
    """
    if name not in importable(store):
        raise ForgetmeError(
            f"there is no folder {name!r} in {imports_folder(store)}; copy the dataset there first"
        )
    return imports_folder(store) / name


def zipped(saved: SavedExport) -> Iterator[bytes]:
    """Yields an export as the bytes of a .zip, without keeping more than a piece of it.

    Only the files that the export wrote are in it: what a link points at, or what somebody laid
    beside them, stays where it is.
    """
    return zipped_files(saved.name, saved.path, _files(saved.path))


def zipped_files(name: str, root: Path, paths: list[Path]) -> Iterator[bytes]:
    """Yields files below `root` as a .zip with one folder `name`, in pieces.

    Pictures and weights are packed already, so nothing is compressed.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            info = zipfile.ZipInfo(f"{name}/{path.relative_to(root).as_posix()}", _ZIP_TIME)
            info.external_attr = 0o644 << 16
            big = path.stat().st_size >= 2**31
            with path.open("rb") as source, archive.open(info, "w", force_zip64=big) as target:
                while piece := source.read(_PIECE):
                    target.write(piece)
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()


class _Pipe(io.RawIOBase):
    """Holds what was written until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # noqa: ANN001 (any buffer)
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _plain(name: str) -> str:
    if not re.fullmatch(NAME, name) or safe_stem(name) != name:
        raise ForgetmeError(
            f"a name has 1 to 64 letters, digits, dots, dashes or underscores, got {name!r}; "
            "for example cats-2026"
        )
    return name


def _saved(folder: Path) -> SavedExport | None:
    marker = folder / MARKER
    try:
        made = json.loads(marker.read_text(encoding="utf-8"))
        written = datetime.fromtimestamp(marker.stat().st_mtime, timezone.utc)
        sizes = [path.stat().st_size for path in _files(folder)]
    except (OSError, ValueError):
        return None  # not written yet, replaced this very moment, or none of ours
    at = written.isoformat(timespec="seconds")
    return SavedExport(folder.name, folder, str(made.get("format", "")), len(sizes), sum(sizes), at)


def _files(folder: Path) -> list[Path]:
    """Returns the files that an export wrote, as its marker lists them."""
    root = folder.resolve()
    named = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
    inside = [folder / name for name in sorted(named) if _is_inside(root, name)]
    return [path for path in inside if path.is_file()]


def _is_inside(root: Path, name: str) -> bool:
    """Tells whether a marker's name is what it says: no step up, no absolute path, no link."""
    found = (root / name).resolve()
    return found == root / name and found.is_relative_to(root)
