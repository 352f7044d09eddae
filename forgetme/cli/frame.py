"""The typer program, the options that commands share, and printing: tables, JSON, progress."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    from forgetme.curate.batch import Progress
    from forgetme.store import Store

STOPPED = 130  # exit code of a program ended by Ctrl-C
LINE_SECONDS = 5.0  # between progress lines where stderr is no terminal

Preset = Literal["tiny", "full"]


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


def note(text: str) -> None:
    """Writes a line for the human to stderr."""
    typer.echo(_printable(text), err=True)


def say(text: str) -> None:
    """Writes a line of the result to stdout."""
    typer.echo(_printable(text))


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # file names may hold any byte


def print_json(result: dict[str, Any]) -> None:
    """Writes a result for programs."""
    say(json.dumps(result, indent=2, ensure_ascii=False, default=str))  # str: paths


def print_table(columns: dict[str, Sequence[str]], *, words: int) -> None:
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


def open_store(
    location: str, blobs: Path | None, *, existing: bool = False, damaged: bool = False
) -> Store:
    """Opens a store; with `existing`, only one that is there; with `damaged`, to look after it."""
    from forgetme.store import Store

    if existing and "://" not in location and not (Path(location) / "store.db").is_file():
        raise ForgetmeError(
            f"{location}: no store here; make one with: python -m forgetme curate IMAGES "
            f"--concept cat --store {location}"
        )
    return Store(location, blobs=blobs, damaged=damaged)


class progress:  # noqa: N801 (used as a function)
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
        left = "" if progress.eta_seconds is None else f", {duration(progress.eta_seconds)} left"
        line = f"{progress.name}: {progress.state or 'failed'}{left}"
        if progress.words:
            text = f"{progress.name}: {progress.words}"
            self._bar.console.print(text, markup=False) if self._bar else note(text)
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.done, description=_printable(line))
        elif time.monotonic() - self._last_line >= LINE_SECONDS or progress.done == progress.total:
            self._last_line = time.monotonic()
            note(f"{progress.done}/{progress.total} {line}")


def now_and_then(words: Callable[..., str]) -> Callable[..., None]:
    """Returns what notes `words(…)` of how far a piece of work is, every few seconds."""
    said = time.monotonic()

    def show(*how_far: Any) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            note(words(*how_far))

    return show


def mebibytes(done: int, total: int) -> str:
    """How far a download is."""
    return f"{done / 2**20:,.0f} of {total / 2**20:,.0f} MiB"


def duration(seconds: float) -> str:
    """Writes a time for people."""
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def four_digits(value: float | None) -> str:
    """Writes a score for a table; "-" where there is none."""
    return "-" if value is None else f"{value:.4f}"
