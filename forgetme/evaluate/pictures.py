"""Pictures that somebody else drew, in IGMU's folders, judged as they are.

`forgot/METHOD/{class}_{prompt}_{sample}.png` and `unrelated/METHOD/[Word/]{class}_….png`; the
method ORG is the model before it forgot.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forgetme.compare.cache import Cache
from forgetme.compare.report import check_out
from forgetme.errors import ForgetmeError
from forgetme.evaluate.evaluation import Wanted, open_judges
from forgetme.evaluate.grid import Cell, Drawn, Kind
from forgetme.evaluate.judging import Embeddings
from forgetme.evaluate.models import BASE, Model
from forgetme.evaluate.report import REPORT, files_of, report_of, write_report
from forgetme.evaluate.scores import Means, Value, scores_of
from forgetme.evaluate.task import task_of
from forgetme.record.concept import plain
from forgetme.record.images import IMAGE_SUFFIXES, read_image
from forgetme.stages.models import Preset, load_models

FORGOT, UNRELATED = "forgot", "unrelated"
ORIGINAL = "ORG"
# IGMU's classes of `unrelated`, by the number that a file's name begins with; 0 is the other object
UNRELATED_WORDS = ("parachute", "cat", "airplane", "motorcycle", "bird", "chair")
UNPAIRED = "nobody says from which noise and with which settings these pictures were drawn"


def evaluate_pictures(
    folder: Path,
    wanted: Wanted,
    out: Path,
    *,
    preset: Preset = "tiny",
    device: str | None = None,
) -> dict:
    """Judges the pictures of several methods and writes the report.

    Paired scores are refused, because published pictures of one place often began with other noise.

    Args:
        folder: has `forgot/` and `unrelated/`.
        wanted: concept, task and judges; nothing is drawn.
        out: folder of the report.
        preset: whose ranker embeds.
        device: where models run.

    Returns:
        The report, as `report.json` has it.

    Raises:
        ForgetmeError: the folder has no such pictures, or the judge does not know a word.
    """
    began = time.monotonic()
    check_out(out, REPORT)
    methods = _methods(folder)
    concept, kept = plain(wanted.concept), Cache(out / "cache")
    found = {name: _read(folder, name, concept, kept) for name in methods}
    cells = list(dict.fromkeys(cell for one in found.values() for cell in one.cells))
    task = task_of(wanted.task)
    judge, second = open_judges(wanted, task, cells, device)
    ranker = load_models(preset, device=device).ranker
    means = Means(concept, task, judge, second, Embeddings(ranker), UNPAIRED, lpips="")
    models = [
        Model(BASE if name == ORIGINAL else name, "base" if name == ORIGINAL else "pipeline",
              folder, name, name)
        for name in methods
    ]  # fmt: skip
    base = found[ORIGINAL]
    unknown = Value(why="these are pictures alone")
    costs = dict.fromkeys(("minutes", "bytes", "seconds", "back"), unknown)
    values = {
        model.name: scores_of(means, found[name], base) | costs
        for model, name in zip(models, methods, strict=True)
    }
    places = {cell: i for i, cell in enumerate(cells)}
    shown = {
        model.name: {places[c]: sha for c, sha in zip(one.cells, one.shas, strict=True)}
        for model, one in zip(models, found.values(), strict=True)
    }
    report = report_of(
        wanted=wanted, task=task, drawing=None, models=models, cautions={}, cells=cells,
        pictures=shown, values=values, probes={}, judges=[judge, second], preset=preset,
        minutes=(time.monotonic() - began) / 60,
    )  # fmt: skip
    shas = sorted({sha for one in shown.values() for sha in one.values()})
    write_report(out, report, files_of(shas, kept))
    return report


def _methods(folder: Path) -> list[str]:
    """The methods with pictures, the original first."""
    parent = folder / FORGOT
    names = sorted(one.name for one in parent.iterdir() if one.is_dir()) if parent.is_dir() else []
    if ORIGINAL not in names or len(names) < 2:
        raise ForgetmeError(
            f"{folder} has no pictures in IGMU's layout: expected {FORGOT}/{ORIGINAL}/ (the model "
            f"before it forgot), {FORGOT}/METHOD/ and, of other words, {UNRELATED}/METHOD/"
        )
    return [ORIGINAL, *(name for name in names if name != ORIGINAL)]


def _read(folder: Path, method: str, concept: str, kept: Cache) -> Drawn:
    cells: list[Cell] = []
    shas: list[str] = []
    pictures: list[np.ndarray] = []
    for part, kind in ((FORGOT, "forget"), (UNRELATED, "unrelated")):
        for path in _files(folder / part / method):
            label = concept if part == FORGOT else _label(path, folder / part / method)
            pictures.append(read_image(path))
            shas.append(kept.keep_picture(pictures[-1]))
            cells.append(_cell(kind, label, path, len(cells)))
    if not any(cell.kind == "forget" for cell in cells):
        raise ForgetmeError(f"{folder / FORGOT / method} holds no picture")
    return Drawn(tuple(cells), tuple(shas), tuple(pictures))


def _cell(kind: Kind, label: str, path: Path, place: int) -> Cell:
    numbers = path.stem.rsplit("_", 1)[-1]
    return Cell(kind, label, "", int(numbers) if numbers.isdecimal() else place)


def _files(folder: Path) -> Sequence[Path]:
    found = folder.rglob("*") if folder.is_dir() else ()
    return sorted(one for one in found if one.suffix.lower() in IMAGE_SUFFIXES)


def _label(path: Path, parent: Path) -> str:
    """The word of an unrelated picture: its folder's name, or IGMU's by its number."""
    if path.parent != parent:
        return path.parent.name.lower()
    number = path.stem.split("_")[0]
    if not number.isdecimal() or int(number) >= len(UNRELATED_WORDS):
        raise ForgetmeError(
            f"{path}: which word is it of? Lay it into a folder of that name, such as "
            f"{parent / 'Airplane'}, or name it CLASS_PROMPT_SAMPLE as IGMU does"
        )
    return UNRELATED_WORDS[int(number)]
