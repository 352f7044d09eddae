"""The commands of `python -m forgetme`.

Results go to stdout, notes to stderr. Exit codes: 0 done, 1 an error with one line that says what
to do, 2 wrong usage, 130 stopped with Ctrl-C. Torch and its like are imported inside the commands,
so that `--help` answers at once.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forgetme.entangled import Variant
from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.settings import Settings

if TYPE_CHECKING:
    from forgetme.pipeline import CurateReport, Progress
    from forgetme.store import SampleRow, Store

STOPPED = 130  # exit code of a program ended by Ctrl-C
LINE_SECONDS = 5.0  # between progress lines where stderr is no terminal
DEFAULTS = Settings()

Preset = Literal["tiny", "full"]
Format = Literal["folders"]


class _Once(logging.Filter):
    """Lets a message through once: what is true of one image is often true of all."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in self._seen
        self._seen.add(text)
        return new


class PlainErrors(typer.core.TyperGroup):
    """Turns what a user can act on into one line on stderr and an exit code."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Runs the command."""
        handler = logging.StreamHandler()  # to stderr
        handler.addFilter(_Once())
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            note("stopped")
            raise typer.Exit(STOPPED) from None
        except ForgetmeError as error:
            note(f"error: {error}")
            raise typer.Exit(1) from error
        except BrokenPipeError:
            raise  # typer ends quietly when the reader of a pipe has gone
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            note(f"error: {where}{error.strerror or error}")
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=PlainErrors,
    help="Turn photos into original, foreground, background and mask; unlearn a concept.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StoreOption = Annotated[
    str, typer.Option("--store", metavar="DIR|URL", help="Folder of the store, or postgresql://…")
]
BlobsOption = Annotated[
    Path | None, typer.Option(help="Folder of the images, where --store is a URL.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
PresetOption = Annotated[
    Preset, typer.Option(help="tiny: bundled, offline. full: published checkpoints.")
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="cpu|cuda", help="Where models run. [default: the best]")
]


@app.command()
def scenes(
    out: Annotated[Path, typer.Argument(help="Folder to write.", metavar="OUT")],
    count: Annotated[int, typer.Option(min=0, help="Number of scenes.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same scenes.")] = 7,
    concept: Annotated[
        list[str] | None, typer.Option(help="Main object; repeat for several. [default: all]")
    ] = None,
    size: Annotated[int, typer.Option(min=64, max=512, help="Side in pixels.")] = 256,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures with known truth: original, foreground, background, mask and index.csv."""
    from forgetme.scenes import CONCEPTS
    from forgetme.scenes.write import write_scenes

    unknown = [name for name in concept or () if name not in CONCEPTS]
    if unknown:
        raise ForgetmeError(f"unknown concept {unknown[0]!r}; known: {', '.join(CONCEPTS)}")
    rows = write_scenes(out, count=count, seed=seed, concepts=concept or (), size=size)
    if as_json:
        _print_json({"out": str(out), "scenes": [asdict(row) for row in rows]})
    else:
        say(f"{len(rows)} scenes in {out}")


@app.command()
def curate(
    images: Annotated[Path, typer.Argument(help="Folder (searched to any depth) or file.")],
    concept: Annotated[str, typer.Option(help="What to look for, for example cat.")],
    store: StoreOption,
    blobs: BlobsOption = None,
    auto_accept: Annotated[
        bool, typer.Option("--auto-accept", help="Accept where verdict is yes, scores not low.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many images that needed work.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what is finished; a second run always does.")
    ] = False,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    segmenter: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    ranker: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    verifier: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    inpainter: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    ask: Annotated[
        int, typer.Option(min=0, help="Ask the verifier about so many masks at most.")
    ] = DEFAULTS.k_asked,
    dilate_px: Annotated[
        int | None, typer.Option(min=0, help="Grow masks by this. [default: 2 % of the side]")
    ] = DEFAULTS.fill.dilate_px,
    low_d: Annotated[
        float, typer.Option(min=0, max=1, help="Entangled-D below this is low.")
    ] = DEFAULTS.thresholds.low_d,
    low_s: Annotated[
        float, typer.Option(min=0, max=1, help="Entangled-S below this is low.")
    ] = DEFAULTS.thresholds.low_s,
    variant: Annotated[Variant, typer.Option(help="Of Entangled.")] = DEFAULTS.variant,
    as_json: JsonOption = False,
) -> None:
    """Find the concept in images, cut it out, fill the hole, score it; resumes where it stopped."""
    from forgetme import pipeline
    from forgetme.models import load_models

    del resume  # a second run always resumes; the flag only says so
    settings = replace(
        DEFAULTS,
        k_asked=ask,
        thresholds=replace(DEFAULTS.thresholds, low_d=low_d, low_s=low_s),
        fill=replace(DEFAULTS.fill, dilate_px=dilate_px),
        variant=variant,
    )
    concept = pipeline.check_concept(concept)
    paths, others = pipeline.find_images(images)
    if others:
        note(f"{others} other files in {images} are no images; passed over")
    if not paths:
        raise ForgetmeError(f"{images}: no images in it; give a folder with PNG or JPEG files")
    named = {
        "segmenter": segmenter,
        "ranker": ranker,
        "verifier": verifier,
        "inpainter": inpainter,
    }
    try:
        models = load_models(preset, device=device, **{k: v for k, v in named.items() if v})
    except ValueError as error:  # an unknown name; the message lists the known ones
        raise typer.BadParameter(str(error)) from error
    with _open(store, blobs) as opened, _progress(len(paths)) as on_progress:
        try:
            report = pipeline.curate(
                paths,
                concept,
                models,
                opened,
                settings=settings,
                auto_accept=auto_accept,
                limit=limit,
                on_progress=on_progress,
            )
        except KeyboardInterrupt:
            note("stopped; everything finished is saved; run again to resume")
            raise typer.Exit(STOPPED) from None
    _print_report(report, concept, as_json)


@app.command()
def stats(store: StoreOption, blobs: BlobsOption = None, as_json: JsonOption = False) -> None:
    """Print the paper's Table 1 for a store: images, selected, success, scores."""
    with _open(store, blobs, existing=True) as opened:
        lines = [asdict(line) for line in opened.table1()]
    if as_json:
        _print_json({"concepts": lines})
        return
    if not lines:
        note("the store is empty; fill it with: python -m forgetme curate IMAGES --concept cat")
        return
    _print_table(
        {
            "Dataset": [line["concept"] for line in lines],
            "Prompt": [f"<{line['concept']}>" for line in lines],
            "Images": [f"{line['images']:,}" for line in lines],
            "Selected": [f"{line['selected']:,}" for line in lines],
            "Success": [f"{line['success_percent']:.2f}%" for line in lines],
            "D": [_score(line["mean_d"]) for line in lines],
            "S": [_score(line["mean_s"]) for line in lines],
            "human": [str(line["human"]) for line in lines],
            "policy": [str(line["policy"]) for line in lines],
            "to review": [str(line["prepared"] + line["waiting"]) for line in lines],
            "broken": [str(line["broken"]) for line in lines],
        },
        words=2,
    )
    note(
        "Selected = accepted, by a human or by the policy. D, S = mean Entangled of the selected, "
        f"variant {', '.join(sorted({str(line['variant']) for line in lines}))}."
    )


@app.command()
def export(
    store: StoreOption,
    out: Annotated[Path, typer.Argument(help="Folder to write.", metavar="OUT")],
    format: Annotated[Format, typer.Option(help="Layout of the dataset.")] = "folders",  # noqa: A002
    concept: Annotated[str | None, typer.Option(help="Only this one. [default: all]")] = None,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the accepted samples as original/ foreground/ background/ mask/ and metadata.jsonl."""
    from forgetme.dataset import export_folders

    write = {"folders": export_folders}[format]
    with _open(store, blobs, existing=True) as opened:
        report = write(opened, out, concept=concept)
    if as_json:
        _print_json(asdict(report))
        return
    counts = ", ".join(f"{count} {name}" for name, count in report.by_concept.items())
    again = " (in place of the earlier export)" if report.replaced else ""
    say(f"{report.exported} samples in {report.folder}{again}: {counts}")
    for line in report.left_out:
        note(f"left out: {line}")
    note(f"load it with: {report.load}")


@app.command()
def score(
    original: Annotated[Path, typer.Argument(help="Image, or folder of images.")],
    edited: Annotated[Path, typer.Argument(help="The same with the object removed.")],
    mask: Annotated[Path, typer.Argument(help="What was filled: white = the hole.")],
    variant: Annotated[
        Variant, typer.Option(help="paper: Eq. 1-8 as printed. released: the authors' code.")
    ] = DEFAULTS.variant,
    as_json: JsonOption = False,
) -> None:
    """Score removals with Entangled: files, or folders whose files share their stems."""
    triples, unmatched = _triples(original, edited, mask)
    for folder, stems in unmatched.items():
        note(f"{len(stems)} without a partner in {folder}: {', '.join(stems[:10])}")
    results = [_score_one(stem, *paths, variant) for stem, paths in triples.items()]
    scored = [result for result in results if result["error"] is None]
    if len(results) == 1 and not scored:
        raise ForgetmeError(results[0]["error"])
    if not results:
        raise ForgetmeError("no stem is in all three folders; name the files alike")
    summary = {
        "variant": variant,
        "n": len(results),
        "n_invalid": len(results) - len(scored),
        "mean_d": _mean([result["d"]["score"] for result in scored]),
        "mean_s": _mean([result["s"]["score"] for result in scored]),
    }
    if as_json:
        _print_json({**summary, "unmatched": unmatched, "images": results})
    else:
        _print_scores(results, summary)
    if not scored:
        raise typer.Exit(1)


@app.command()
def merge(
    store: StoreOption,
    sample: Annotated[str, typer.Argument(help="Id or name of a sample.", metavar="SAMPLE")],
    out: Annotated[Path, typer.Argument(help="PNG file to write.", metavar="OUT.png")],
    background: Annotated[
        Path | None, typer.Option(help="Another image. [default: the sample's own background]")
    ] = None,
    method: Annotated[Literal["feather", "poisson"], typer.Option(help="Of the edges.")] = (
        "feather"
    ),
    blobs: BlobsOption = None,
) -> None:
    """Place a sample's foreground over a background: the side story, forgetting undone."""
    from forgetme.images import atomic_write, png_bytes, read_image
    from forgetme.merge import merge as merge_layers
    from forgetme.sample import Layers

    with _open(store, blobs, existing=True) as opened:
        row = _find(opened, sample)
        if row.mask_sha is None:
            raise ForgetmeError(f"{row.name} has no mask yet; curate it first")
        if background is not None:
            behind = read_image(background)
        elif row.picked_try is not None:
            behind = opened.get_image(row.tries[row.picked_try]["image_sha"])
        else:
            raise ForgetmeError(f"{row.name} has no background yet; curate it or give --background")
        image, on = opened.get_image(row.image_sha), opened.get_mask(row.mask_sha)
    merged = merge_layers(Layers.cut(image, image, on).foreground, behind, on, method=method)
    atomic_write(out, png_bytes(merged))
    say(str(out))


@app.command()
def doctor(
    download: Annotated[
        str | None, typer.Option(metavar="NAME", help="Download these weights first.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, which weights and keys are there, and what to do about the rest."""
    from forgetme import doctor as surgery

    if download is not None:
        note(f"{download} is at {surgery.download(download, _download_line())}")
    findings = surgery.examine()
    if as_json:
        _print_json({"ok": surgery.healthy(findings), "findings": [asdict(f) for f in findings]})
    else:
        _print_table(
            {
                "": ["ok" if f.ok else ("MISSING" if f.needed else "-") for f in findings],
                "What": [f.what for f in findings],
                "Found": [f.found for f in findings],
                "What to do": [f.todo for f in findings],
            },
            words=4,
        )
    if not surgery.healthy(findings):
        raise typer.Exit(1)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def tiny(ctx: typer.Context) -> None:
    """Train the bundled models (tiny train …) and measure them (tiny check)."""
    from forgetme.tiny.cli import app as tiny_app

    tiny_app(args=ctx.args or ["--help"], prog_name="python -m forgetme tiny")


# ------------------------------------------------------------------------ what commands share


def note(text: str) -> None:
    """Writes a line for the human to stderr."""
    typer.echo(_printable(text), err=True)


def say(text: str) -> None:
    """Writes a line of the result to stdout."""
    typer.echo(_printable(text))


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # file names may hold any byte


def _print_json(result: dict[str, Any]) -> None:
    say(json.dumps(result, indent=2, ensure_ascii=False, default=str))  # str: paths


def _print_table(columns: dict[str, Sequence[str]], *, words: int) -> None:
    """Prints a table; the first `words` columns are text, the rest numbers."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for position, heading in enumerate(columns):
        table.add_column(
            heading,
            justify="left" if position < words else "right",
            no_wrap=position >= words,
            overflow="fold",
        )
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*(Text(_printable(cell)) for cell in cells))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a pipe has no width; 80 would break the names
    console.print(table)


def _open(location: str, blobs: Path | None, *, existing: bool = False) -> Store:
    from forgetme.store import Store

    if existing and "://" not in location and not (Path(location) / "store.db").is_file():
        raise ForgetmeError(
            f"{location}: no store here; make one with: python -m forgetme curate IMAGES "
            f"--concept cat --store {location}"
        )
    return Store(location, blobs=blobs)


class _progress:  # noqa: N801 (used as a function)
    """A bar with the time left on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Callable[[Progress], None]:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("loading the models", total=self._total)
            self._bar.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self, progress: Progress) -> None:
        left = "" if progress.eta_seconds is None else f", {_duration(progress.eta_seconds)} left"
        line = f"{progress.name}: {progress.state or 'failed'}{left}"
        if progress.words:
            text = f"{progress.name}: {progress.words}"
            self._bar.console.print(text, markup=False) if self._bar else note(text)
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.done, description=_printable(line))
        elif time.monotonic() - self._last_line >= LINE_SECONDS or progress.done == progress.total:
            self._last_line = time.monotonic()
            note(f"{progress.done}/{progress.total} {line}")


def _download_line() -> Callable[[int, int], None]:
    """Says how far a download is, now and then."""
    said = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            note(f"{done / 2**20:,.0f} of {total / 2**20:,.0f} MiB")

    return show


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _print_report(report: CurateReport, concept: str, as_json: bool) -> None:
    if as_json:
        _print_json({"concept": concept, **asdict(report)})
        return
    percent = 100 * report.selected / report.images if report.images else 0.0
    say(
        f"{report.images} images: {report.selected} selected ({percent:.1f} %), {report.low} of "
        f"them with low scores, {report.waiting} wait for you, {report.broken} broken, "
        f"{report.accepted} accepted"
    )
    note(f"{_duration(report.seconds)}; {report.resumed} were finished by an earlier run")
    for line in report.failed:
        note(f"failed, the next run tries again: {line}")


def _find(store: Store, name: str) -> SampleRow:
    rows = [row for row in store.samples(limit=None, light=True) if name in (row.id, row.name)]
    if not rows:
        raise ForgetmeError(f"no sample has the id or name {name!r}; the page and export list them")
    if len(rows) > 1:
        ids = ", ".join(f"{row.id} ({row.concept})" for row in rows)
        raise ForgetmeError(f"{len(rows)} samples are called {name!r}; give an id: {ids}")
    return store.sample(rows[0].id)


def _triples(
    original: Path, edited: Path, mask: Path
) -> tuple[dict[str, tuple[Path, Path, Path]], dict[str, list[str]]]:
    """Pairs files by stem: stem → three paths, and the stems without a partner by folder."""
    given = (original, edited, mask)
    if not any(path.is_dir() for path in given):
        return {original.stem: given}, {}
    if not all(path.is_dir() for path in given):
        raise ForgetmeError("give three files or three folders, not a mixture")
    found = [_by_stem(folder) for folder in given]
    shared = sorted(found[0].keys() & found[1].keys() & found[2].keys())
    unmatched = {
        str(folder): sorted(set(files) - set(shared))
        for folder, files in zip(given, found, strict=True)
    }
    triples = {stem: tuple(files[stem] for files in found) for stem in shared}
    return triples, {folder: stems for folder, stems in unmatched.items() if stems}


def _by_stem(folder: Path) -> dict[str, Path]:
    from forgetme.images import IMAGE_SUFFIXES

    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in files:
            raise ForgetmeError(f"{folder}: {files[path.stem].name} and {path.name} share a stem")
        files[path.stem] = path
    return files


def _score_one(
    stem: str, original: Path, edited: Path, mask: Path, variant: Variant
) -> dict[str, Any]:
    from forgetme.entangled import entangled_d, entangled_s
    from forgetme.images import read_image, read_mask
    from forgetme.sample import Scores

    try:
        before, after, hole = read_image(original), read_image(edited), read_mask(mask)
        scores = Scores(
            entangled_d(before, after, hole, variant=variant),
            entangled_s(after, hole, variant=variant),
        )
    except (BrokenImageError, ValueError) as error:
        return {"stem": stem, "error": str(error), "d": None, "s": None, "words": []}
    return {
        "stem": stem,
        "error": None,
        "d": asdict(scores.d),
        "s": asdict(scores.s),
        "words": scores.words(),
    }


def _print_scores(results: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    def part(result: dict[str, Any], key: str) -> str:
        return _score(result["d"][key]) if result["d"] else "-"

    _print_table(
        {
            "Image": [result["stem"] for result in results],
            "In words": ["; ".join(result["words"]) or result["error"] for result in results],
            "D": [part(result, "score") for result in results],
            "S": [_score(result["s"]["score"]) if result["s"] else "-" for result in results],
            "changed inside": [part(result, "s_inner") for result in results],
            "changed outside": [part(result, "s_outer") for result in results],
            "brightness": [part(result, "mean_consistency") for result in results],
            "texture": [part(result, "var_consistency") for result in results],
        },
        words=2,
    )
    say(
        f"mean D {_score(summary['mean_d'])}, mean S {_score(summary['mean_s'])} over "
        f"{summary['n'] - summary['n_invalid']} of {summary['n']} images, "
        f"variant {summary['variant']}"
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
