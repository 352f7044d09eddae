"""One cell of a comparison: painted and scored once, then taken from the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forgetme.compare.cache import Cache, key_of
from forgetme.compare.columns import Bench, Column, wearing
from forgetme.compare.items import Subject, View, view_of
from forgetme.compare.measure import measured
from forgetme.compare.scores import Eyes, Numbers, score_picture
from forgetme.errors import DiskFullError, ForgetmeError, MissingModelError
from forgetme.record.images import array_sha

PAINTED = 1  # counts up when a column paints otherwise, or is measured otherwise
SCORED = 2  # the same for the scores
_NO_MEMORY = ("MemoryError", "OutOfMemoryError")  # Python's, torch's


@dataclass(frozen=True)
class Cell:
    """What a column made of a row.

    Attributes:
        picture: name of its content in the cache; None after an error.
        seconds: time to paint it, when it was painted.
        memory_mb: peak memory then, MiB.
        scores: value by key; None where it is not finite.
        warnings: in plain words.
        words: how the picture came about.
        error: why there is no picture.
    """

    picture: str | None = None
    seconds: float | None = None
    memory_mb: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    words: str = ""
    error: str | None = None


def cells_of(
    column: Column,
    bench: Bench,
    subjects: Sequence[Subject],
    eyes: Eyes,
    cache: Cache,
    tell: Callable[[str], None],
) -> list[Cell]:
    """Fills a column's cells: from the cache, or painted and scored.

    A patch is put on before the first picture that is missing, and taken off at the end. What a
    single picture cannot have is said in its cell; a model that is missing is said in all.

    Args:
        column: paints.
        bench: whose model wears the column's patch.
        subjects: the rows.
        eyes: who looks.
        cache: what was computed once.
        tell: hears a line after each cell; an exception that it raises ends the work.
    """
    cells: list[Cell] = []
    missing: str | None = None
    with ExitStack() as stack:
        dressed = False
        for subject in subjects:
            view = view_of(subject, bench.wanted.dilate_px)
            key = picture_key(column, view, bench.wanted.concept)
            try:
                if missing is not None:
                    raise MissingModelError(missing)
                record = known_picture(cache, key)
                if record is None:
                    if not dressed:
                        stack.enter_context(wearing(bench, column.worn))
                        dressed = True
                    record = paint(column, view, cache, key)
                cells.append(cell_of(record, view, eyes, cache))
            except MissingModelError as error:
                missing = str(error)
                cells.append(Cell(error=missing))
            except DiskFullError:
                raise
            except ForgetmeError as error:
                cells.append(Cell(error=str(error)))
            tell(f"{column.key} {subject.name}: {cells[-1].error or cells[-1].words or 'painted'}")
    return cells


def picture_key(column: Column, view: View, concept: str) -> str:
    """Names a column's picture of a row by all that decides it."""
    worn = column.worn
    return key_of(
        what="picture",
        version=PAINTED,
        column=column.key.partition(":")[0],
        made_by=column.made_by,
        settings=dict(column.settings),
        patch=None if worn is None else [worn.sha, worn.scale],
        view=view.key,
        concept=concept,
    )


def known_picture(cache: Cache, key: str) -> dict[str, Any] | None:
    """Returns the record of a picture that is there, else None."""
    record = cache.record(key)
    there = record is not None and cache.file(record["picture"]).is_file()
    return record if there else None


def paint(column: Column, view: View, cache: Cache, key: str) -> dict[str, Any]:
    """Paints a picture and keeps it; the column's patch is worn already.

    Returns:
        Its record: picture, seconds, memory_mb, words.

    Raises:
        ForgetmeError: the column cannot fill this.
    """
    view.check()
    try:
        with measured() as cost:
            made = column.paint(view)
    except Exception as error:
        if type(error).__name__ not in _NO_MEMORY:
            raise
        raise ForgetmeError(
            f"no memory left to paint {view.image.shape[1]}x{view.image.shape[0]} px with "
            f"{column.title}; close other programs, or take smaller pictures"
        ) from error
    image = made.image
    if image.shape != view.image.shape or image.dtype != np.uint8:
        raise ValueError(
            f"{column.key} painted {image.shape} {image.dtype}, expected uint8 of "
            f"{view.image.shape}"
        )
    if column.pastes:  # whatever a backend did: outside the hole every byte is the original's
        image = np.where(view.hole[..., None], image, view.image)
    record = {
        "picture": cache.keep_picture(image),
        "seconds": round(cost.seconds, 4),
        "memory_mb": round(cost.memory_mb, 1),
        "words": made.words,
    }
    cache.keep(key, record)
    return record


def scored(
    record: Mapping[str, Any], view: View, eyes: Eyes, cache: Cache
) -> tuple[Numbers, list[str]]:
    """Returns the scores and warnings of a picture, computed if they are not known."""
    truth = None if view.truth is None else array_sha(view.truth)
    key = key_of(
        what="scores", version=SCORED, picture=record["picture"], view=view.key, truth=truth,
        eyes=eyes.record,
    )  # fmt: skip
    known = cache.record(key)
    if known is None:
        painted = cache.picture(record["picture"])
        values, warnings = score_picture(view, painted, eyes)
        known = {"scores": values, "warnings": warnings}
        cache.keep(key, known)
    return known["scores"], known["warnings"]


def cell_of(record: Mapping[str, Any], view: View, eyes: Eyes, cache: Cache) -> Cell:
    """Puts a cell together from a picture's record."""
    scores, warnings = scored(record, view, eyes, cache)
    costs = {"seconds": record["seconds"], "memory_mb": record["memory_mb"]}
    return Cell(
        record["picture"], **costs, scores={**scores, **costs}, warnings=tuple(warnings),
        words=record["words"],
    )  # fmt: skip
