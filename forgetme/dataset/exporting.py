"""Export: writes the accepted samples as a dataset, in one of four formats."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from forgetme.dataset import coco, folders, parquet, webdataset
from forgetme.dataset.atomic_folder import is_export, replacing
from forgetme.dataset.quadruple import Progress, Quadruple, Record, quadruples, stems
from forgetme.dataset.splits import SHARES, SPLITS, Shares
from forgetme.errors import ForgetmeError
from forgetme.store import Store

SHARD_BYTES = 300 * 2**20  # well below what the Hub likes at most, 500 MB

exports: dict[str, Callable[..., None]] = {
    "folders": folders.write,
    "parquet": parquet.write,
    "coco": coco.write,
    "webdataset": webdataset.write,
}
_LOAD_LINES: dict[str, Callable[[Path], str]] = {
    "folders": folders.load_line,
    "parquet": parquet.load_line,
    "coco": coco.load_line,
    "webdataset": webdataset.load_line,
}


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        folder: where it is.
        format: its format.
        exported: number of quadruples.
        by_concept: the same, for each concept.
        by_split: the same, for each of train, validation and test.
        replaced: whether an earlier export was there.
        left_out: "name: why" of accepted samples that are not sound.
        load: the Python line that loads it, whatever the stems are.
    """

    folder: Path
    format: str
    exported: int
    by_concept: dict[str, int]
    by_split: dict[str, int]
    replaced: bool
    left_out: tuple[str, ...]
    load: str


def export(
    store: Store,
    out: str | os.PathLike[str],
    format: str = "folders",  # noqa: A002 (as the command's option)
    *,
    concept: str | None = None,
    shares: Shares = SHARES,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Progress | None = None,
) -> ExportReport:
    """Writes the accepted samples as a dataset; the same store gives the same bytes.

    Each sample has one stem, its name; where two concepts share a name, the later sample's has
    its concept added. The folder appears whole or not at all: it is made beside `out` and then
    takes its name. Files that are not of an earlier export are carried over untouched.

    Args:
        store: opened store.
        out: a new or empty folder, or an earlier export, which is replaced.
        format: one of `exports`.
        concept: only samples of this concept.
        shares: how large train, validation and test are meant to be.
        shard_bytes: about the size of a file of many samples, where the format has those.
        on_progress: called with (samples done, samples in all, words).

    Returns:
        What was written.

    Raises:
        ForgetmeError: nothing is accepted, or `out` holds something that is no export.
        DiskFullError: no space left; what was at `out` is still there.
        ValueError: unknown format.
    """
    if format not in exports:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(exports)}")
    out = Path(out).resolve()
    replaced = is_export(out)
    accepted = stems(store, concept)
    if not accepted:
        of = "" if concept is None else f" of concept {concept!r}"
        raise ForgetmeError(f"the store has no accepted sample{of}; accept some, then export")
    with replacing(out, format) as new:
        records, left_out = write_files(
            store,
            accepted,
            new,
            format,
            shares=shares,
            shard_bytes=shard_bytes,
            on_progress=on_progress,
        )
    by_split = Counter(record.split for record in records)
    return ExportReport(
        folder=out,
        format=format,
        exported=len(records),
        by_concept=dict(Counter(record.concept for record in records)),
        by_split={split: by_split[split] for split in SPLITS},
        replaced=replaced,
        left_out=left_out,
        load=_LOAD_LINES[format](out),
    )


def write_files(
    store: Store,
    accepted: dict[str, str],
    folder: Path,
    form: str,
    *,
    shares: Shares,
    shard_bytes: int,
    on_progress: Progress | None = None,
    change: Callable[[Record], Record] = lambda record: record,
) -> tuple[list[Record], tuple[str, ...]]:
    """Writes a dataset into an empty folder.

    Args:
        store: opened store.
        accepted: the stem of each sample by its id.
        folder: an empty folder.
        form: one of `exports`.
        shares: how large train, validation and test are meant to be.
        shard_bytes: about the size of a file of many samples.
        on_progress: called with (samples done, samples in all, words).
        change: makes the record that is written.

    Returns:
        The records written, and "name: why" of what was left out.

    Raises:
        ForgetmeError: no sample is sound.
    """
    records: list[Record] = []
    left_out: list[str] = []

    def noted() -> Iterator[Quadruple]:
        for one in quadruples(store, accepted, shares, left_out, on_progress):
            records.append(change(one.record))
            yield replace(one, record=records[-1])

    exports[form](noted(), folder, shard_bytes=shard_bytes)
    if not records:
        raise ForgetmeError(f"no accepted sample is sound: {'; '.join(left_out)}")
    return records, tuple(left_out)
