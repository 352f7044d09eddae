"""Commands on datasets: export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from forgetme.cli.frame import (
    BlobsOption,
    JsonOption,
    StoreOption,
    app,
    note,
    open_store,
    print_json,
    say,
)

Format = Literal["folders"]


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
    with open_store(store, blobs, existing=True) as opened:
        report = write(opened, out, concept=concept)
    if as_json:
        print_json(asdict(report))
        return
    counts = ", ".join(f"{count} {name}" for name, count in report.by_concept.items())
    again = " (in place of the earlier export)" if report.replaced else ""
    say(f"{report.exported} samples in {report.folder}{again}: {counts}")
    for line in report.left_out:
        note(f"left out: {line}")
    note(f"load it with: {report.load}")
