"""What models forgot and kept: evaluate, and a recogniser of one's own for it: train-detector."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgetme.cli.frame import (
    LINE_SECONDS,
    STOPPED,
    BlobsOption,
    DeviceOption,
    JsonOption,
    PresetOption,
    app,
    duration,
    note,
    open_store,
    print_json,
    print_table,
    say,
)
from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    from forgetme.record.sample import Layers


@app.command()
def evaluate(
    out: Annotated[Path, typer.Option(metavar="REPORT", help="Folder of the report.")],
    concept: Annotated[str, typer.Option(help="What was to be forgotten.")],
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Runs, patches, LoRA files, folders of pipelines."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Judge pictures that are there: IGMU's forgot/, unrelated/."
        ),
    ] = None,
    grid: Annotated[
        str, typer.Option(metavar="NAME", help="How much is drawn: quick, standard, full.")
    ] = "quick",
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own: prompt,seed,kind,label as CSV.")
    ] = None,
    neighbours: Annotated[
        str, typer.Option(metavar="A,B,…", help="Of the concept's kind. [default: from the list]")
    ] = "",
    unrelated: Annotated[
        str, typer.Option(metavar="A,B,…", help="Of other kinds. [default: from the list]")
    ] = "",
    task: Annotated[
        str,
        typer.Option(metavar="KEY=VALUE,…", help="family, scope, aim, count, way, anchor."),
    ] = "",
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Try to bring the concept back, in every way.")
    ] = False,
    probes: Annotated[str, typer.Option(metavar="A,B,…", help="Only these of --robustness.")] = "",
    thorough: Annotated[
        bool, typer.Option("--thorough", help="--robustness with the papers' own numbers.")
    ] = False,
    store: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="Its accepted samples serve the probes.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A folder of layers serves the probes.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What recognises. [default: tiny bundled, full CLIP]"),
    ] = None,
    second: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another one; '' for none.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=200, help="Of a picture. [default: tiny 20, full 50]")
    ] = None,
    guidance: Annotated[float, typer.Option(min=0, max=30, help="Of a picture.")] = 7.5,
    seed: Annotated[int, typer.Option(min=0, help="Of the first pictures.")] = 0,
    inception: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Inception's weights, for FID and KID.")
    ] = None,
    diffusion: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="The base. [default: the preset's]")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What was drawn once. [default: REPORT/cache]"),
    ] = None,
    title: Annotated[str, typer.Option(help="Of the report.")] = "",
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put models in one table: what they forgot, kept, and how hard it is to bring back.

    Every model draws the same prompts from the same noise. Ctrl-C keeps what is done; the same
    command goes on there. Nothing is drawn twice.
    """
    from forgetme.evaluate.evaluation import JUDGES, STEPS, Wanted

    first, other = JUDGES[preset]
    wanted = Wanted(
        concept, task, grid, steps or STEPS[preset], guidance, seed, _words(neighbours),
        _words(unrelated), prompts, judge or first, other if second is None else second,
        ("full" if thorough else "fast") if robustness or probes or thorough else "",
        _words(probes), inception, title,
    )  # fmt: skip
    if pictures is not None:
        from forgetme.evaluate.pictures import evaluate_pictures

        if runs or robustness or probes or thorough:
            raise ForgetmeError("--pictures judges pictures alone; name no run and no probe")
        report = evaluate_pictures(pictures, wanted, out, device=device, preset=preset)
    else:
        if not runs:
            raise ForgetmeError("name the models to evaluate, such as runs/cat, or --pictures")
        samples = _samples(store, blobs, data, concept, preset) if wanted.probes else []
        report = _evaluated(runs, wanted, out, samples, cache, preset, device, diffusion)
    if as_json:
        kept = ("concept", "task", "models", "values", "probes")
        print_json({"out": str(out), **{key: report[key] for key in kept}})
        return
    _print(report)
    say(str(out / "report.html"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))


def _evaluated(
    runs: list[Path], wanted: Any, out: Path, samples: list[Layers], cache: Path | None,
    preset: Any, device: str | None, diffusion: str | None,
) -> dict[str, Any]:  # fmt: skip
    from forgetme.evaluate.evaluation import evaluate
    from forgetme.stages.models import load_models

    started = said = time.monotonic()

    def on_step(done: int, total: int, words: str) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            left = (said - started) / max(done, 1) * (total - done)
            note(f"{done}/{total} {words}, {duration(left)} left")

    chosen = {} if diffusion is None else {"diffusion": diffusion}
    try:
        models = load_models(preset, device=device, **chosen)
        return evaluate(models, runs, wanted, out, samples=samples, cache=cache, on_step=on_step)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error
    except KeyboardInterrupt:
        note("stopped; what is done is kept, the same command goes on there")
        raise typer.Exit(STOPPED) from None


@app.command()
def train_detector(
    concept: Annotated[str, typer.Option(help="What it is to recognise.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Of the detector.")],
    store: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="Its accepted samples are learned from.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A folder of layers, instead.")
    ] = None,
    device: DeviceOption = None,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a judge of one concept from curated samples, for `evaluate --judge FOLDER`.

    The originals show the concept, their backgrounds do not.
    """
    from forgetme.evaluate import detectors

    if (store is None) == (data is None):
        raise ForgetmeError("name the samples: --store or --data, one of them")
    samples = _samples(store, blobs, data, concept, "full")
    record = detectors.train_detector(samples, out, concept=concept, device=device)
    if as_json:
        print_json({"out": str(out), **record})
        return
    say(
        f"{out}: {record['accuracy']:.1%} right on samples held out, of {record['samples']} "
        "with and without"
    )


def _samples(
    store: str | None, blobs: Path | None, data: Path | None, concept: str, preset: str
) -> list[Layers]:
    from forgetme.evaluate.samples import drawn_samples, layers_of
    from forgetme.train.data import items_of_folder, items_of_store

    if data is not None:
        return layers_of(items_of_folder(data))
    if store is None:
        return drawn_samples(concept) if preset == "tiny" else []
    with ExitStack() as stack:
        opened = stack.enter_context(open_store(store, blobs, existing=True))
        return layers_of(items_of_store(opened, concept))


def _print(report: dict[str, Any]) -> None:
    """Prints the scores, a model a column, and what cannot be shown."""
    from forgetme.evaluate.report import digits, shown_scores

    scores = shown_scores(report)
    columns: dict[str, list[str]] = {
        "score": [f"{one['title']} {'↑' if one['up'] else '↓'}" for one in scores]
    }
    for model in report["models"]:
        cells = []
        for score in scores:
            found = report["values"][model["name"]].get(score["key"])
            if found is None or found["mean"] is None:
                cells.append("-")
                continue
            places = digits(score)
            text = f"{found['mean']:.{places}f}"
            if found["low"] is not None:
                text += f" [{found['low']:.{places}f}, {found['high']:.{places}f}]"
            cells.append(f"({text})" if found["grey"] else text)
        columns[model["name"]] = cells
    print_table(columns, words=1)
    if any(one.get("grey") for found in report["values"].values() for one in found.values()):
        note("in brackets: the judge fails on the base's own pictures, so the number says nothing")
