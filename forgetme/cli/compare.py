"""Commands that put fills side by side: compare."""

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
    from forgetme.compare import Subject, Wanted
    from forgetme.store import Store

SHOWN = (
    "entangled_d", "entangled_s", "truth_rmse", "clip_distance", "clip_at_1", "still_seen",
    "cmmd", "fid", "features_fid", "outer_ssim", "seconds",
)  # fmt: skip


@app.command()
def compare(
    out: Annotated[Path, typer.Option(metavar="REPORT", help="Folder of the report.")],
    store: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="Fill a store's accepted samples.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Fill original/ and mask/ of a folder."),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Training run whose patch is worn; repeat."),
    ] = None,
    concept: Annotated[
        str | None, typer.Option(help="What was removed. [default: the run's, or the only one]")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="own, lama, sd-inpaint, clipaway, lora-inpaint, lora-img2img. [default: all]",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many pictures.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every column.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, max=200, help="Of diffusion. [default: tiny 20, full 30]")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0.1, max=1, help="Of image to image: how far it may go.")
    ] = 0.65,
    scale: Annotated[float, typer.Option(min=0.05, max=1, help="At which patches are worn.")] = 1.0,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Wear the first run's patch at 0, 0.1 … 1.0, too.")
    ] = False,
    sweep_rows: Annotated[int, typer.Option(min=1, help="Pictures of the sweep.")] = 6,
    inception: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Inception's weights, for FID and KID.")
    ] = None,
    diffusion: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="[default: the preset's]")
    ] = None,
    title: Annotated[str, typer.Option(help="Of the report.")] = "",
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="What was computed once. [default: the store's, or REPORT/cache]"
        ),
    ] = None,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill the same holes in several ways and score them side by side, as a report.

    Ctrl-C keeps what is done; the same command goes on there. Nothing is computed twice.
    """
    if (store is None) == (data is None):
        raise ForgetmeError("name what to fill: --store DIR or --data FOLDER, one of them")
    named = _runs(runs or [])
    with ExitStack() as stack:
        opened = (
            None if store is None else stack.enter_context(open_store(store, blobs, existing=True))
        )
        concept = concept or _concept(opened, data, named)
        wanted = _wanted(
            concept, columns, seed=seed, steps=steps or {"tiny": 20, "full": 30}[preset],
            strength=strength, scale=scale, sweep=sweep, sweep_rows=sweep_rows,
        )  # fmt: skip
        subjects = _subjects(opened, data, concept)[:limit]
        if cache is None and opened is not None:
            cache = opened.folder / "comparisons" / "cache"
    _chosen = {} if diffusion is None else {"diffusion": diffusion}
    table = _compared(
        subjects, wanted, out, preset, device, _chosen,
        runs=named, cache=cache, inception=inception, title=title,
    )  # fmt: skip
    if as_json:
        print_json({"out": str(out), **{key: table[key] for key in ("columns", "summary")}})
        return
    _print(table)
    say(str(out / "report.html"))


def _compared(
    subjects: list[Subject],
    wanted: Wanted,
    out: Path,
    preset: Any,
    device: str | None,
    chosen: dict[str, Any],
    **more: Any,
) -> dict[str, Any]:
    from forgetme.compare import compare
    from forgetme.stages.models import load_models

    started = said = time.monotonic()

    def on_step(done: int, total: int, words: str) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_SECONDS or done == total:
            said = time.monotonic()
            left = (said - started) / done * (total - done)
            note(f"{done}/{total} {words}, {duration(left)} left")

    try:
        models = load_models(preset, device=device, **chosen)
        return compare(subjects, models, wanted, out, on_step=on_step, **more)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error
    except KeyboardInterrupt:
        note("stopped; what is done is kept, the same command goes on there")
        raise typer.Exit(STOPPED) from None


def _runs(folders: list[Path]) -> dict[str, Path]:
    from forgetme.compare.adapters import run_folders
    from forgetme.train import read_patch

    for folder in folders:
        read_patch(folder)  # a missing one is said before anything is loaded
    return run_folders(folders)


def _concept(opened: Store | None, data: Path | None, runs: dict[str, Path]) -> str:
    """Takes the concept from the first run, or from what is to be filled."""
    from forgetme.compare.items import concepts_of_folder
    from forgetme.train import read_patch

    if runs:
        return read_patch(next(iter(runs.values()))).record["concept"]
    known = opened.concepts() if opened is not None else concepts_of_folder(data)
    if len(known) != 1:
        held = f"; there are: {', '.join(known)}" if known else ""
        raise ForgetmeError(f"say what was removed with --concept{held}")
    return known[0]


def _wanted(concept: str, columns: str | None, **values: Any) -> Wanted:
    from forgetme.compare import Wanted

    keys = [] if columns is None else [key.strip() for key in columns.split(",") if key.strip()]
    try:
        return Wanted(concept, tuple(dict.fromkeys(keys)), **values)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error


def _subjects(opened: Store | None, data: Path | None, concept: str) -> list[Subject]:
    from forgetme.compare import subjects_of_folder, subjects_of_store

    if opened is not None:
        return subjects_of_store(opened, concept)
    return subjects_of_folder(data, concept)


def _print(table: dict[str, Any]) -> None:
    """Prints the means, and what could not be filled."""
    known = {one["key"]: one for one in table["scores"]}
    keys = [key for key in SHOWN if key in known]
    lines: dict[str, list[str]] = {"fill": [one["title"] for one in table["columns"]]}
    for key in keys:
        arrow = "↑" if known[key]["higher_is_better"] else "↓"
        found = [table["summary"][one["key"]].get(key) for one in table["columns"]]
        lines[f"{known[key]['title']} {arrow}"] = [
            "-" if one is None or one["mean"] is None else f"{one['mean']:.3f}" for one in found
        ]
    print_table(lines, words=1)
    for column in table["columns"]:
        errors = [cell["error"] for cell in table["cells"][column["key"]] if cell["error"]]
        if errors:
            note(f"{column['title']}: {len(errors)} without a picture: {errors[0]}")
