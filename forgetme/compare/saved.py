"""Comparisons saved inside a store, and the runs that can be compared; found by name only.

A name from outside is never a path: it names one folder of `comparisons/` or `runs/`, or nothing.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetme.compare.cache import Cache
from forgetme.errors import ForgetmeError
from forgetme.record.summed import opened, picture_problem
from forgetme.store import Store
from forgetme.store.names import plain_folders

NAME = r"^[a-z0-9][a-z0-9-]{0,79}$"
PICTURE = r"^[0-9a-f]{16}$"
CACHE = "cache"  # lies beside the comparisons and is none
TABLE = "table.json"
VERSION = 1  # of table.json
REPORTS = {"html": "report.html", "csv": "table.csv", "tex": "table.tex"}
_NEEDED = ("made", "concept", "scores", "columns", "rows", "cells", "summary")


@dataclass(frozen=True)
class SavedComparison:
    """A comparison inside a store.

    Attributes:
        name: of its folder.
        table: its table.json; None where that cannot be read.
        trouble: why not, and what to do; None where it can.
    """

    name: str
    table: dict[str, Any] | None
    trouble: str | None = None


@dataclass(frozen=True)
class Run:
    """A training run with a patch.

    Attributes:
        name: of its folder.
        record: its patch.json.
    """

    name: str
    record: dict[str, Any]


def comparisons_folder(store: Store) -> Path:
    """Returns the folder of the comparisons; it may not exist yet."""
    return store.folder / "comparisons"


def saved_comparisons(store: Store) -> list[SavedComparison]:
    """Returns the comparisons inside a store, the latest first; those that cannot be read last."""
    found = []
    for folder in plain_folders(comparisons_folder(store), NAME):
        if folder.name == CACHE or not plain_file(folder, TABLE):
            continue
        try:
            found.append(SavedComparison(folder.name, _tables.read(folder / TABLE)))
        except ForgetmeError as error:
            found.append(SavedComparison(folder.name, None, str(error)))
    found.sort(key=lambda one: one.name)
    return sorted(found, key=lambda one: one.table["made"] if one.table else "", reverse=True)


def problems(store: Store) -> list[str]:
    """Returns one sentence for each damaged file of a comparison, with what to do about it."""
    folder = comparisons_folder(store)
    found = [one.trouble for one in saved_comparisons(store) if one.trouble is not None]
    found += [
        f"{path} is damaged ({words}); make the comparison again"
        for path in sorted(folder.glob("*/pictures/*.png"))
        if (words := picture_problem(path))
    ]
    return [*found, *Cache(folder / CACHE).problems()]


def read_table(store: Store, name: str) -> dict[str, Any]:
    """Returns the table.json of a comparison; numbers that are not finite are None in it.

    Raises:
        ForgetmeError: there is no such comparison, or it cannot be read.
    """
    return _tables.read(_needed_file(store, name, TABLE))


def picture_path(store: Store, name: str, picture: str) -> Path:
    """Returns the file of one picture of a comparison.

    Args:
        store: has the comparison.
        name: of the comparison.
        picture: 16 hex digits of its content.

    Raises:
        ForgetmeError: there is no such picture.
    """
    if not re.fullmatch(PICTURE, picture):
        raise ForgetmeError(f"a picture's name is 16 hex digits, got {picture!r}")
    return _needed_file(store, name, "pictures", f"{picture}.png")


def report_path(store: Store, name: str, kind: str) -> Path:
    """Returns the report of a comparison as one of `REPORTS`.

    Raises:
        ForgetmeError: there is no such report.
    """
    if kind not in REPORTS:
        raise ForgetmeError(f"unknown report {kind!r}; known: {', '.join(REPORTS)}")
    return _needed_file(store, name, REPORTS[kind])


def comparison_path(store: Store, name: str) -> Path:
    """Returns the folder of a comparison that is there.

    Raises:
        ForgetmeError: there is none of that name.
    """
    return _needed_file(store, name, TABLE).parent


def is_taken(store: Store, name: str) -> bool:
    """Tells whether a comparison of that name, or the cache, is there already."""
    return name == CACHE or bool(plain_file(comparisons_folder(store) / name, TABLE))


def saved_runs(store: Store) -> list[Run]:
    """Returns the runs inside a store that have made a patch, in alphabetical order."""
    found = []
    for folder in plain_folders(store.folder / "runs", NAME):
        path = plain_file(folder, "patch", "patch.json")
        if path is None:
            continue
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # written at this moment, or none of ours
        if isinstance(record, dict):
            found.append(Run(folder.name, record))
    return sorted(found, key=lambda one: one.name)


class _Tables:
    """The tables read last: the page asks often, and they are long."""

    def __init__(self, keep: int = 16) -> None:
        self._keep = keep
        self._held: dict[Path, tuple[tuple[int, int, int], dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def read(self, path: Path) -> dict[str, Any]:
        found = path.stat()
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        with self._lock:
            held = self._held.get(path)
            if held and held[0] == version:
                return held[1]
        table = _parsed(path)
        with self._lock:
            self._held.pop(path, None)
            self._held[path] = (version, table)
            while len(self._held) > self._keep:
                del self._held[next(iter(self._held))]
        return table


_tables = _Tables()


def _parsed(path: Path) -> dict[str, Any]:
    where = f"the comparison {path.parent.name}"
    again = "make it again: python -m forgetme compare"
    try:
        table = opened(json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None))
    except (OSError, ValueError) as error:
        raise ForgetmeError(
            f"{where} has a {TABLE} that cannot be read ({error}); {again}"
        ) from error
    if table.get("version") != VERSION:
        raise ForgetmeError(f"{where} is not of version {VERSION}, the only one known; {again}")
    missing = [key for key in _NEEDED if key not in table]
    if missing:
        raise ForgetmeError(f"{where} lacks {', '.join(missing)} in its {TABLE}; {again}")
    return table


def _needed_file(store: Store, name: str, *parts: str) -> Path:
    found = (
        plain_file(comparisons_folder(store) / name, *parts) if re.fullmatch(NAME, name) else None
    )
    if found is None or name == CACHE:
        raise ForgetmeError(
            f"the comparison {name!r} has no {'/'.join(parts)}; look at the list of comparisons"
        )
    return found


def plain_file(folder: Path, *parts: str) -> Path | None:
    """Returns a file below a folder, unless a link leads there: links are no files of ours."""
    path = folder.joinpath(*parts)
    try:
        is_ours = path.resolve(strict=True) == folder.parent.resolve() / folder.name / Path(*parts)
    except OSError:
        return None
    return path if is_ours and path.is_file() else None
