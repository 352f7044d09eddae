"""Commands on datasets: export, import, push."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forgetme.cli.frame import (
    BlobsOption,
    JsonOption,
    StoreOption,
    app,
    note,
    now_and_then,
    open_store,
    print_json,
    say,
)

if TYPE_CHECKING:
    from forgetme.dataset import Shares

Format = Literal["folders", "parquet", "coco", "webdataset"]
ImportFormat = Literal["folders", "dataset", "parquet", "coco", "webdataset"]

ConceptOption = Annotated[str | None, typer.Option(help="Only this one. [default: all]")]
SplitOption = Annotated[
    str, typer.Option(metavar="T/V/T", help="Percent for train, validation and test.")
]
ShardOption = Annotated[int, typer.Option(min=1, help="About the size of a file, in MiB.")]


@app.command()
def export(
    store: StoreOption,
    out: Annotated[Path, typer.Argument(help="Folder to write.", metavar="OUT")],
    format: Annotated[Format, typer.Option(help="Layout of the dataset.")] = "folders",  # noqa: A002
    concept: ConceptOption = None,
    split: SplitOption = "80/10/10",
    shard_mb: ShardOption = 300,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the accepted samples as a dataset: folders, parquet, coco or webdataset."""
    from forgetme.dataset import export

    shares = _shares(split)
    with open_store(store, blobs, existing=True) as opened:
        report = export(
            opened,
            out,
            format,
            concept=concept,
            shares=shares,
            shard_bytes=shard_mb * 2**20,
            on_progress=now_and_then(_item),
        )
    if as_json:
        print_json(asdict(report))
        return
    again = " (in place of the earlier export)" if report.replaced else ""
    say(f"{report.exported} samples in {report.folder}{again}: {_counts(report.by_concept)}")
    for line in report.left_out:
        note(f"left out: {line}")
    note(f"load it with: {report.load}")


@app.command("import")
def import_(
    store: StoreOption,
    src: Annotated[Path, typer.Argument(help="Folder or file to read.", metavar="SRC")],
    format: Annotated[  # noqa: A002
        ImportFormat | None,
        typer.Option(help="Layout of the dataset; dataset means parquet. [default: as it looks]"),
    ] = None,
    concept: Annotated[
        str | None, typer.Option(help="What to forget, where the dataset does not say.")
    ] = None,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the quadruples of a dataset into a store as accepted samples."""
    from forgetme.dataset import import_dataset

    with open_store(store, blobs) as opened:
        report = import_dataset(
            opened, src, format, concept=concept, on_progress=now_and_then(_item)
        )
    if as_json:
        print_json(asdict(report))
    else:
        there = f", {report.there_already} were there already" if report.there_already else ""
        wait = f", {report.to_fill} masks wait for their fill" if report.to_fill else ""
        say(f"{report.imported} samples from {report.source}{there}{wait}")
        for line in report.failed:
            note(f"not taken: {line}")
    if report.failed and not (report.imported or report.there_already or report.to_fill):
        raise typer.Exit(1)


@app.command()
def push(
    store: StoreOption,
    repo: Annotated[
        str, typer.Argument(help="Dataset on the Hugging Face Hub.", metavar="USER/NAME")
    ],
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files and card, send nothing.")
    ] = False,
    concept: ConceptOption = None,
    license: Annotated[  # noqa: A002
        str | None, typer.Option(help="For the card, such as cc-by-4.0. [default: unknown]")
    ] = None,
    split: SplitOption = "80/10/10",
    shard_mb: ShardOption = 300,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish the accepted samples on the Hugging Face Hub, private unless told otherwise.

    The token comes from HF_TOKEN, or from `hf auth login`.
    """
    from forgetme.dataset import push

    shares = _shares(split)
    with open_store(store, blobs, existing=True) as opened:
        report = push(
            opened,
            repo,
            token=None if dry_run else _token(),
            private=not public,
            dry_run=dry_run,
            concept=concept,
            license=license,
            shares=shares,
            shard_bytes=shard_mb * 2**20,
            on_progress=now_and_then(_item),
        )
    for line in report.left_out:
        note(f"left out: {line}")
    if as_json:
        print_json(asdict(report))
    elif dry_run:
        say(report.card)
        for name, size in report.files.items():
            note(f"would send {name}: {size:,} bytes")
        note(f"nothing was sent; {report.exported} samples would go to {report.url}")
    else:
        seen = "private" if report.private else "public"
        what = "" if report.changed else ", which had them already"
        counts = _counts(report.by_concept)
        say(f"{report.exported} samples in {report.url} ({seen}){what}: {counts}")


def _token() -> str | None:
    """Reads the Hub's token, once: HF_TOKEN, else what `hf auth login` kept. It is never shown."""
    from huggingface_hub import get_token

    return get_token()


def _item(done: int, total: int, words: str) -> str:
    return f"{done}/{total} {words}"


def _shares(text: str) -> Shares:
    from forgetme.dataset import Shares

    try:
        return Shares.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--split") from error


def _counts(by_concept: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in by_concept.items())
