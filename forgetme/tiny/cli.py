"""`python -m forgetme tiny`: train and check the bundled models."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from forgetme.record.files import bundled
from forgetme.tiny.card import record_training, write_card

app = typer.Typer(no_args_is_help=True, help="Train and check the bundled models.")
ASSETS = bundled("tiny")


class Model(str, Enum):
    """What can be trained."""

    segmenter = "segmenter"
    ranker = "ranker"
    filler = "filler"
    diffusion = "diffusion"
    clipaway = "clipaway"
    second = "second"


@app.command()
def train(
    model: Annotated[Model, typer.Argument(help="Which model.")],
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = ASSETS,
    work: Annotated[Path, typer.Option(help="Scenes, checkpoints, logs.")] = Path("tiny-work"),
    photos: Annotated[
        Path | None, typer.Option(help="Folder with coco_train/ and cifar10/; none = drawn only.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of the schedule.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this long; run again to go on.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, data and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    scenes: Annotated[int | None, typer.Option(help="Scenes rendered to train on.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Folder of weights to begin with; none = fresh ones."),
    ] = None,
) -> None:
    """Train one bundled model; a stopped run goes on from its last checkpoint in WORK."""
    import importlib
    import logging

    from rich.logging import RichHandler

    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    module = importlib.import_module(f"forgetme.tiny.{model.value}")
    settings = replace(module.SETTINGS, seed=seed, device=device)
    if steps is not None:
        settings = replace(settings, steps=steps)
    more = {} if scenes is None else {"scenes": scenes}
    if start is not None:
        if model not in (Model.segmenter, Model.diffusion):
            raise typer.BadParameter(
                "only segmenter and diffusion start from earlier weights, "
                f"not {model.value}; leave --start out"
            )
        more["start"] = start
    parts = module.train(out, work, photos=photos, settings=settings, minutes=minutes, **more)
    record_training(out, work, parts, start)
    typer.echo(json.dumps({"weights": str(out), "parameters": parts}))


@app.command()
def check(
    seed: Annotated[int, typer.Option(help="First scene's seed, below the training seeds.")] = 0,
    scenes: Annotated[int, typer.Option(help="Drawn scenes to measure on.", min=12)] = 300,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos with index.csv, rows `photo_mask`.")
    ] = None,
    weights: Annotated[Path, typer.Option(help="Folder of bundled weights.")] = ASSETS,
    card: Annotated[
        bool, typer.Option("--card", help="Also write CARD.md and card.json beside the weights.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the bundled models; exit code 1 when a bound does not hold."""
    from rich.console import Console
    from rich.table import Table

    from forgetme.stages.models import load_models
    from forgetme.tiny.check import check as measure

    report = measure(load_models("tiny", assets=weights), seed=seed, scenes=scenes, photos=photos)
    if card:
        write_card(weights, report.to_json())
    if json_:
        typer.echo(json.dumps(report.to_json(), indent=1))
    else:
        for title, rows in (("Drawn world", report.drawn), ("Real photos", report.photos)):
            table = Table("", "value", "bound", "n", title=title)
            for row in rows:
                sign = "≥" if row.higher_is_better else "≤"
                bound = "" if row.bound is None else f"{sign} {row.bound}"
                mark = "" if row.holds else "  below" if row.higher_is_better else "  above"
                table.add_row(row.name, f"{row.value:.3f}", bound + mark, str(row.n))
            if rows:
                Console().print(table)
    if not report.holds:
        raise typer.Exit(1)
