"""The table of a comparison as plain JSON, and the list of pictures that it names."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from forgetme import __version__
from forgetme.compare.cache import Cache
from forgetme.compare.cells import Cell
from forgetme.compare.columns import Column, Wanted
from forgetme.compare.items import Subject, view_of
from forgetme.compare.published import published
from forgetme.compare.saved import VERSION
from forgetme.compare.scores import Score, mean_of
from forgetme.compare.summing import caveat
from forgetme.compare.sweep import SCALES, Swept
from forgetme.store.names import all_without_places

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "open_clip_torch", "numpy")


@dataclass(frozen=True, eq=False)
class Filled:
    """A column with its cells, one a row, and its scores as a set."""

    column: Column
    cells: tuple[Cell, ...]
    sets: Mapping[str, Any]


class Pictures:
    """Where the pictures of a report lie: short names in it, files in the cache."""

    def __init__(self, cache: Cache) -> None:
        """Args: the cache that holds them."""
        self._cache = cache
        self.files: dict[str, Path] = {}

    def __call__(self, sha: str | None) -> str | None:
        """Names a picture of the cache in the report; None stays None."""
        if sha is None:
            return None
        name = f"pictures/{sha[:16]}.png"
        self.files[name] = self._cache.file(sha)
        return name

    def keep(self, array: Any) -> str:
        """Puts an array into the cache and names it."""
        return self(self._cache.keep_picture(array))


def table_of(
    filled: Sequence[Filled],
    subjects: Sequence[Subject],
    scores: Sequence[Score],
    swept: Swept | None,
    cache: Cache,
    *,
    wanted: Wanted,
    preset: str,
    title: str = "",
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Puts the table together.

    Returns:
        It, as `table.json` has it, and the file of each picture that it names.
    """
    pictures = Pictures(cache)
    table = {
        "version": VERSION,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "preset": preset,
        "seed": wanted.seed,
        "concept": wanted.concept,
        "versions": versions(),
        "title": title or f"Without the {wanted.concept}: {len(filled)} ways to fill",
        "scores": [asdict(score) for score in scores],
        "columns": [_column(one.column) for one in filled],
        "rows": [_row(subject, wanted, pictures) for subject in subjects],
        "cells": {one.column.key: [_cell(cell, pictures) for cell in one.cells] for one in filled},
        "summary": {one.column.key: _summary(one, scores) for one in filled},
        "sweep": None if swept is None else _sweep(swept, pictures),
        "published": published(),
        "caveat": caveat({one.column.key for one in filled}),
    }
    return all_without_places(table), pictures.files  # a report is given away


def versions() -> dict[str, str]:
    """The releases that numbers depend on."""
    return {
        "forgetme": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _column(column: Column) -> dict[str, Any]:
    settings = dict(column.settings)
    if column.worn is not None:
        worn = column.worn
        settings |= {"run": worn.run, "scale": worn.scale, "patch": worn.sha[:16],
                     "method": worn.patch.record.get("method")}  # fmt: skip
    return {
        "key": column.key,
        "title": column.title,
        "made_by": column.made_by,
        "settings": settings,
    }


def _row(subject: Subject, wanted: Wanted, pictures: Pictures) -> dict[str, Any]:
    view = view_of(subject, wanted.dilate_px)
    return {
        "name": subject.name,
        "sample": subject.sample,
        "original": pictures.keep(view.image),
        "mask": pictures.keep(view.hole),
        "truth": None if view.truth is None else pictures.keep(view.truth),
    }


def _cell(cell: Cell, pictures: Pictures) -> dict[str, Any]:
    return {
        "picture": pictures(cell.picture),
        "seconds": cell.seconds,
        "memory_mb": cell.memory_mb,
        "scores": dict(cell.scores),
        "warnings": list(cell.warnings),
        "words": cell.words,
        "error": cell.error,
    }


def _summary(one: Filled, scores: Sequence[Score]) -> dict[str, Any]:
    there = [cell for cell in one.cells if cell.error is None]
    means = {
        score.key: mean_of([cell.scores.get(score.key) for cell in there], score.key)
        for score in scores
        if score.per_picture
    }
    return means | dict(one.sets)


def _sweep(swept: Swept, pictures: Pictures) -> dict[str, Any]:
    rows = len(swept.cells[0])
    return {
        "run": swept.worn.run,
        "patch": swept.worn.sha[:16],
        "column": "lora-inpaint",
        "scales": list(SCALES),
        "rows": list(range(rows)),
        "pictures": [
            [pictures(cells[row].picture) for cells in swept.cells] for row in range(rows)
        ],
        "curves": swept.curves(),
    }
