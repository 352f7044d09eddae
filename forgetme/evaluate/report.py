"""An evaluation on disk: report.json, pictures, one HTML page, CSV, LaTeX, JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup

from forgetme.compare.cache import Cache
from forgetme.compare.latex import escaped, tabular
from forgetme.compare.report import PICTURES, lay, said
from forgetme.compare.summing import rounded
from forgetme.compare.table import versions
from forgetme.compare.thumbs import image
from forgetme.evaluate.grid import words
from forgetme.evaluate.plots import plots
from forgetme.evaluate.scores import SCORES, Value, finite
from forgetme.evaluate.task import SCHEME, Task
from forgetme.record.images import atomic_write
from forgetme.record.summed import sealed
from forgetme.store.names import all_without_places

if TYPE_CHECKING:
    from forgetme.evaluate.evaluation import Wanted
    from forgetme.evaluate.grid import Cell
    from forgetme.evaluate.judging import Judge
    from forgetme.evaluate.models import Model

REPORT = "report.json"
PLOTS = "plots"
VERSION = 1
FILES = {"html": "report.html", "csv": "scores.csv", "tex": "scores.tex", "jsonl": "scores.jsonl"}
MOST_ROWS = 24  # of pictures inside the page; the folder has all
ASPECTS = ("overall", "forgetting", "keeping", "quality", "alignment", "robustness", "efficiency")

Report = dict[str, Any]


def report_of(
    *,
    wanted: Wanted,
    task: Task,
    drawing: Mapping[str, Any] | None,
    models: Sequence[Model],
    cautions: Mapping[str, str],
    cells: Sequence[Cell],
    pictures: Mapping[str, Mapping[int, str]],
    values: Mapping[str, Mapping[str, Value]],
    probes: Mapping[str, list[dict[str, Any]]],
    judges: Sequence[Judge | None],
    preset: str,
    minutes: float,
) -> Report:
    """Puts a report together, as `report.json` has it.

    Args:
        wanted: what was asked for.
        task: its categories.
        drawing: the settings of every picture; None where nobody knows them.
        models: the rows, the base first.
        cautions: why a row is to be read with care, by its name.
        cells: the grid.
        pictures: names in the cache by model and place of the cell.
        values: scores by model.
        probes: results by model.
        judges: those that judged.
        preset: of the models.
        minutes: that all of it took.
    """
    report = {
        "version": VERSION,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "title": wanted.title or f"Forgetting {wanted.concept}",
        "concept": wanted.concept,
        "task": {**asdict(task), "scheme": SCHEME},
        "preset": preset,
        "grid": "the user's own" if wanted.prompts else wanted.size,
        "seed": wanted.seed,
        "drawing": None if drawing is None else dict(drawing),
        "judges": [one.name for one in judges if one is not None],
        "models": [
            {
                "name": one.name, "kind": one.kind, "made_by": one.made_by, "digest": one.digest,
                "forgets": list(one.concepts), "caution": cautions.get(one.name, ""),
            }
            for one in models
        ],
        "scores": [asdict(one) for one in SCORES.values()],
        "values": {
            model: {key: _plain(value) for key, value in found.items()}
            for model, found in values.items()
        },
        "cells": [
            {
                **asdict(cell),
                "pictures": {
                    model: f"{PICTURES}/{shas[i][:16]}.png"
                    for model, shas in pictures.items()
                    if i in shas
                },
            }
            for i, cell in enumerate(cells)
        ],
        "probes": {
            model: [
                one | {"pictures": [f"{PICTURES}/{sha[:16]}.png" for sha in one["pictures"]]}
                for one in found
            ]
            for model, found in probes.items()
        },
        "minutes": round(minutes, 2),
        "lists": words()["licence"],
        "versions": versions(),
    }  # fmt: skip
    return all_without_places(report)  # it is given away


def _plain(value: Value) -> dict[str, Any]:
    numbers = {name: finite(getattr(value, name)) for name in ("mean", "low", "high")}
    return {**asdict(value), **numbers}


def write_report(out: Path, report: Report, files: Mapping[str, Path]) -> None:
    """Writes a report; `report.json` last, so that what it names is there.

    Args:
        out: its folder.
        report: as `report_of` gives it.
        files: the file of each picture that it names.
    """
    for folder in (PICTURES, PLOTS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        lay(source, out / name)
    drawn = plots(report)
    for title, svg in drawn.items():
        atomic_write(out / PLOTS / f"{title.lower().replace(' ', '-')}.svg", svg.encode())
    written = {"html": html_of(report, files, drawn), "csv": csv_of(report),
               "tex": latex_of(report), "jsonl": lines_of(report)}  # fmt: skip
    for kind, text in written.items():
        atomic_write(out / FILES[kind], text.encode())
    atomic_write(out / REPORT, json.dumps(sealed(report), ensure_ascii=False).encode())
    for path in (out / PICTURES).glob("*.png"):
        if f"{PICTURES}/{path.name}" not in files:
            path.unlink()


def files_of(shas: Sequence[str], kept: Cache) -> dict[str, Path]:
    """The file of each picture, by its name in a report."""
    return {f"{PICTURES}/{sha[:16]}.png": kept.file(sha) for sha in shas}


def shown_scores(report: Report) -> list[dict[str, Any]]:
    """The scores that some model has a number for, in the order of the aspects."""
    has = {
        key for found in report["values"].values() for key, one in found.items()
        if one["mean"] is not None
    }  # fmt: skip
    known = [one for one in report["scores"] if one["key"] in has]
    return sorted(known, key=lambda one: ASPECTS.index(one["aspect"]))


def hidden_scores(report: Report) -> list[tuple[str, str]]:
    """The scores that no model has a number for, each with the reason."""
    has = {one["key"] for one in shown_scores(report)}
    last = report["models"][-1]["name"]
    return [
        (one["title"], report["values"][last].get(one["key"], {}).get("why") or "not computed")
        for one in report["scores"]
        if one["key"] not in has
    ]


def digits(score: Mapping[str, Any]) -> int:
    """Decimals that a score is shown with."""
    return 1 if score["key"] in ("bytes", "clip", "within", "csdr", "minutes") else 2


def html_of(report: Report, files: Mapping[str, Path], drawn: Mapping[str, str]) -> str:
    """The page: one file that needs nothing else."""
    pages = Environment(
        loader=ChoiceLoader(
            [PackageLoader("forgetme.evaluate", ""), PackageLoader("forgetme.compare", "")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["rounded"] = rounded
    return pages.get_template("evaluation.html").render(
        report,
        shown=shown_scores(report),
        hidden=hidden_scores(report),
        digits=digits,
        rows=_rows(report),
        plots={title: Markup(svg) for title, svg in drawn.items()},
        image=lambda name, alt: Markup(image(name, files, alt)),
    )


def _rows(report: Report) -> list[dict[str, Any]]:
    """The cells whose pictures stand in the page: of each kind and word the first ones."""
    first: dict[tuple[str, str], int] = {}
    rows = []
    for cell in report["cells"]:
        most = 6 if cell["kind"] == "forget" else 1
        place = (cell["kind"], cell["label"])
        first[place] = first.get(place, 0) + 1
        if first[place] <= most and cell["kind"] not in ("clean", "nearest"):
            rows.append(cell)
    return rows[:MOST_ROWS]


def lines_of(report: Report) -> str:
    """One JSON object a score and model, with all that decides it."""
    shared = {
        "concept": report["concept"], "task": report["task"], "preset": report["preset"],
        "base": report["models"][0]["digest"], "drawing": report["drawing"],
        "grid": report["grid"], "seed": report["seed"],
    }  # fmt: skip
    known = {one["key"]: one for one in report["scores"]}
    lines = []
    for model in report["models"]:
        for key, value in report["values"][model["name"]].items():
            about = {"metric": known[key]["title"], "aspect": known[key]["aspect"],
                     "direction": "up" if known[key]["up"] else "down"}  # fmt: skip
            row = {"model": model["name"], "method": model["made_by"], "digest": model["digest"]}
            lines.append(json.dumps(row | about | value | shared, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines)


def csv_of(report: Report) -> str:
    """One line a model and score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["model", "method", "aspect", "score", "better", "mean", "low", "high", "n", "judge",
         "judge_fails_on_base", "note", "not_shown_because"]
    )  # fmt: skip
    for model in report["models"]:
        for score in report["scores"]:
            one = report["values"][model["name"]].get(score["key"])
            if one is None:
                continue
            row = [model["name"], model["made_by"], score["aspect"], score["title"]]
            numbers = [one["mean"], one["low"], one["high"], one["n"]]
            better = "higher" if score["up"] else "lower"
            told = [one["judge"], one["grey"], one["note"], one["why"]]
            writer.writerow(
                [*map(said, row), better, *numbers]
                + [said(x) if isinstance(x, str) else x for x in told]
            )
    return text.getvalue()


def latex_of(report: Report) -> str:
    """A table (booktabs): a model a line, the scores of shares with their intervals."""
    scores = [one for one in shown_scores(report) if one["aspect"] != "efficiency"]
    arrows = {True: r"$\uparrow$", False: r"$\downarrow$"}
    heading = ["Model", *(f"{escaped(one['title'])}{arrows[one['up']]}" for one in scores)]
    lines = []
    for model in report["models"]:
        cells = []
        for score in scores:
            one, places = report["values"][model["name"]].get(score["key"]), digits(score)
            if one is None or one["mean"] is None:
                cells.append("--")
                continue
            text = rounded(one["mean"], places)
            if one["low"] is not None:
                text += f" [{rounded(one['low'], places)}, {rounded(one['high'], places)}]"
            cells.append(rf"\textcolor{{gray}}{{{text}}}" if one["grey"] else text)
        lines.append([escaped(model["name"]), *cells])
    caption = (
        f"Forgetting {escaped(report['concept'])}: grid {escaped(report['grid'])}, seed "
        f"{report['seed']}, judged by {escaped(', '.join(report['judges']))}; 95\\,\\% intervals, "
        "of shares Wilson's. Grey: the judge fails on the base."
    )
    needs = "% needs \\usepackage{booktabs} and \\usepackage{xcolor}\n"
    return needs + tabular(heading, lines, caption)
