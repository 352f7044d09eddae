"""The comparison: every column paints every row, every picture is scored, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from forgetme.compare.adapters import Worn, safe_name, wear
from forgetme.compare.cache import Cache, key_of
from forgetme.compare.cells import SCORED, Cell, cells_of
from forgetme.compare.columns import (
    COLUMNS,
    NEED_A_RUN,
    Bench,
    Column,
    Wanted,
)
from forgetme.compare.items import Subject
from forgetme.compare.report import check_out, write_report
from forgetme.compare.scores import Eyes, known_scores, score_sets
from forgetme.compare.sweep import Sweep, sweep
from forgetme.compare.table import Filled, table_of
from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.record.files import file_sha256
from forgetme.record.images import read_image
from forgetme.stages.models import Models

OnStep = Callable[[int, int, str], None]  # (cells done, cells in all, words)


class Steps:
    """Counts cells, tells of each, and ends the work when it is to stop."""

    def __init__(self, total: int, on_step: OnStep, should_stop: Callable[[], bool]) -> None:
        """Args: cells in all, who is told, and who says when to stop."""
        self._done, self._total = 0, total
        self._on_step, self._should_stop = on_step, should_stop

    def __call__(self, words: str) -> None:
        """One more cell is done.

        Raises:
            KeyboardInterrupt: the work is to stop; what is done is kept.
        """
        self._done += 1
        self._on_step(self._done, self._total, words)
        if self._done < self._total and self._should_stop():
            raise KeyboardInterrupt


def compare(
    subjects: Sequence[Subject],
    models: Models,
    wanted: Wanted,
    out: Path,
    *,
    runs: Mapping[str, Path] | None = None,
    cache: Path | None = None,
    inception: Path | None = None,
    title: str = "",
    on_step: OnStep = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Fills the holes of all rows in all ways, scores the pictures and writes the report.

    A comparison that is stopped keeps what it has painted and scored; the next one goes on there.
    The report is written at the end, `table.json` last.

    Args:
        subjects: the rows.
        models: paint and look.
        wanted: columns, seed and settings; no columns = all that can be.
        out: folder of the report: new, empty, or of an earlier comparison, which is replaced.
        runs: folders of training runs or patches by name, for the columns that wear them.
        cache: folder of what was computed once; None = `out / "cache"`.
        inception: Inception's weights, for FID and KID.
        title: of the report.
        on_step: told of every cell.
        should_stop: asked after every cell.

    Returns:
        The table as `table.json` has it.

    Raises:
        ForgetmeError: no rows, a patch of another model, a missing run, `out` holds something
            else, or nothing could be filled.
        KeyboardInterrupt: it was to stop.
    """
    if not subjects:
        raise ForgetmeError("a comparison needs at least one picture; name a store or a folder")
    check_out(out)
    bench = Bench(models, wanted)
    worn = wear(runs, models.diffusion.made_by, wanted.scale) if runs else []
    plan = _plan(wanted, worn)
    eyes = _eyes(models, wanted.concept, inception)
    kept = Cache(cache or out / "cache")
    swept = Sweep.of(worn[0], len(subjects), wanted) if wanted.sweep else None
    steps = Steps(len(plan) * len(subjects) + (swept.cells if swept else 0), on_step, should_stop)
    filled = []
    for key, one in plan:
        column, trouble = _made(key, one, bench, len(worn))
        if trouble is None:
            cells = cells_of(column, bench, subjects, eyes, kept, steps)
        else:
            cells = [Cell(error=trouble) for _ in subjects]
            for subject in subjects:
                steps(f"{column.key} {subject.name}: {trouble}")
        filled.append(Filled(column, tuple(cells), _sets(cells, subjects, eyes, kept)))
    if all(cell.error for one in filled for cell in one.cells):
        raise ForgetmeError(f"nothing could be filled: {filled[0].cells[0].error}")
    curve = sweep(swept, bench, subjects, eyes, kept, steps) if swept else None
    known = known_scores(eyes, truth=any(one.truth for one in subjects))
    table, pictures = table_of(
        filled, subjects, known, curve, kept, wanted=wanted, preset=models.preset, title=title
    )
    write_report(out, table, pictures)
    return table


def _plan(wanted: Wanted, worn: list[Worn]) -> list[tuple[str, Worn | None]]:
    """Lists the columns with what each wears; those that wear come once for each run.

    Raises:
        ForgetmeError: a column or the sweep needs a run and there is none.
    """
    keys = wanted.columns or tuple(key for key in COLUMNS if worn or key not in NEED_A_RUN)
    needy = [key for key in keys if key in NEED_A_RUN] + ["the scale sweep"] * wanted.sweep
    if needy and not worn:
        raise ForgetmeError(
            f"{needy[0]} needs a run; name one with --runs, as `python -m forgetme train` makes it"
        )
    return [(key, one) for key in keys for one in (worn if key in NEED_A_RUN else [None])]


def _made(key: str, worn: Worn | None, bench: Bench, runs: int) -> tuple[Column, str | None]:
    """Makes a column; where its models are missing, an empty one and why."""
    try:
        column, trouble = COLUMNS[key](bench, worn), None
    except MissingModelError as error:
        column = Column(key, key, "", {}, lambda _: None, worn=worn)
        trouble = str(error)
    if worn is None:
        return column, trouble
    title = f"{column.title}: {worn.run}"
    if runs > 1:
        return replace(column, key=f"{key}:{safe_name(worn.run)}", title=title), trouble
    return replace(column, title=title), trouble


def _eyes(models: Models, concept: str, inception: Path | None) -> Eyes:
    if inception is None:
        return Eyes.of(models.ranker, concept)
    from forgetme.metrics.inception import Inception

    network = Inception(inception, device=str(models.ranker.device))
    return Eyes.of(models.ranker, concept, inception=network, inception_sha=file_sha256(inception))


def _sets(
    cells: Sequence[Cell], subjects: Sequence[Subject], eyes: Eyes, cache: Cache
) -> dict[str, Any]:
    """Scores a column as a set, unless these very pictures were."""
    there = [
        (subject, cell.picture)
        for subject, cell in zip(subjects, cells, strict=True)
        if cell.picture is not None
    ]
    key = key_of(
        what="sets", version=SCORED, made_by=eyes.made_by, inception=eyes.inception_sha,
        pictures=[[file_sha256(subject.original), picture] for subject, picture in there],
    )  # fmt: skip
    known = cache.record(key)
    if known is None:
        known = score_sets(
            lambda: (read_image(subject.original) for subject, _ in there),
            lambda: (cache.picture(picture) for _, picture in there),
            eyes,
        )
        cache.keep(key, known)
    return known
