"""Lists a dataset's image files, and finds the one that a row's file name means."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from forgetme.record.images import IMAGE_SUFFIXES

LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")  # beside all that begins with a dot
MAX_LOOKED_AT = 1_000_000  # files, when one is looked for in all folders


def is_litter(name: str) -> bool:
    """Tells whether a file or folder is what systems and editors leave behind."""
    return name.startswith(".") or name in LITTER


def files_below(folder: Path, suffix: str) -> list[Path]:
    """Returns the regular files of a suffix at any depth, sorted; follows no link to a folder."""
    return sorted(path for path in _walk(folder) if path.suffix.lower() == suffix)


def images_by_stem(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Returns the images right in a folder by stem, and why a stem has none.

    Raises:
        OSError: the folder cannot be read.
    """
    found: dict[str, Path] = {}
    shared: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if is_litter(path.name) or path.suffix.lower() not in IMAGE_SUFFIXES or path.is_dir():
            continue
        if path.stem in found:
            shared[path.stem] = f"{folder.name} has {found[path.stem].name} and {path.name}"
        found.setdefault(path.stem, path)
    return {stem: path for stem, path in found.items() if stem not in shared}, shared


def inside(folder: Path, name: str) -> Path:
    r"""Returns the file of a dataset's folder that a row names; a "\" separates as "/" does.

    Raises:
        ValueError: it is outside of the folder, or is not there.
    """
    try:
        root = folder.resolve()
        path = (root / name.replace("\\", "/")).resolve()
        if not path.is_relative_to(root):
            raise ValueError(f"{name[:200]!r} lies outside of {folder}")
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # a name that no file can have; a loop of links
        raise ValueError(f"{name[:200]!r} cannot be reached ({error})") from error
    raise ValueError(f"{name[:200]!r} is not there")


class Finder:
    """Finds images by the names that other tools write: paths of another machine or folder."""

    def __init__(self, root: Path) -> None:
        """Takes the folder of the dataset; no file outside of it is ever found."""
        self._root = root
        self._by_name: dict[str, list[PurePosixPath]] | None = None

    def exact(self, name: str, folders: Sequence[Path]) -> Path | None:
        """Returns the file of this name from the first of these folders that has it."""
        for one in dict.fromkeys((name, unquote(name))):
            for folder in folders:
                try:
                    return inside(self._root, str(folder.absolute() / one.replace("\\", "/")))
                except ValueError:
                    continue
        return None

    def by_ending(self, name: str) -> Path | None:
        """Returns the only file whose path ends as the name does, with as many parts as possible.

        Raises:
            ValueError: there are several.
        """
        for one in dict.fromkeys((name, unquote(name))):
            plain = one.rpartition("?d=")[2].replace("\\", "/")
            parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
            if not parts:
                continue
            named = self._files().get(parts[-1], [])
            for count in range(len(parts), 0, -1):
                found = [path for path in named if path.parts[-count:] == tuple(parts[-count:])]
                if len(found) > 1:
                    raise ValueError(
                        f"it may be {found[0]} or {found[1]}; name it by its path in the folder"
                    )
                if found:
                    return inside(self._root, str(found[0]))
        return None

    def _files(self) -> dict[str, list[PurePosixPath]]:
        if self._by_name is None:
            self._by_name = {}
            for number, path in enumerate(_walk(self._root)):
                if number >= MAX_LOOKED_AT:
                    break
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    place = PurePosixPath(path.relative_to(self._root).as_posix())
                    self._by_name.setdefault(path.name, []).append(place)
        return self._by_name


def _walk(folder: Path) -> Iterator[Path]:
    for where, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not is_litter(name))
        paths = (Path(where, name) for name in names if not is_litter(name))
        yield from (path for path in paths if path.is_file())
