"""The format `webdataset`: tar shards for training that streams."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from forgetme.dataset.file_finder import files_below, is_litter
from forgetme.dataset.foreign import StreamedRow, loads_object, read_as
from forgetme.dataset.parquet import data_files
from forgetme.dataset.quadruple import LAYERS, Quadruple
from forgetme.dataset.rows_in import Found, Listing, record_of
from forgetme.dataset.splits import SPLITS
from forgetme.dataset.tars import Entry, entries
from forgetme.errors import ForgetmeError

MOST_SAMPLE_BYTES = 3 * 2**26  # 192 MiB: all files of one sample, which are in memory at once
_NEEDED = ("original", "background", "mask")
_PARTS = (*(f"{layer}.png" for layer in _NEEDED), "json")


def write(quadruples: Iterable[Quadruple], folder: Path, *, shard_bytes: int) -> None:
    """Writes `data/{split}-00000.tar` with `{id}.{layer}.png` and `{id}.json` for each sample.

    The key of a sample is its id, since a dot in a name would end it.

    Args:
        quadruples: what to write.
        folder: an empty folder.
        shard_bytes: a shard ends with the sample that makes it larger than this.
    """
    (folder / "data").mkdir()
    with ExitStack() as stack:
        open_tars: dict[str, tarfile.TarFile] = {}
        counts = dict.fromkeys(SPLITS, 0)
        for one in quadruples:
            split = one.record.split
            if split not in open_tars:
                path = folder / "data" / f"{split}-{counts[split]:05}.tar"
                open_tars[split] = stack.enter_context(
                    tarfile.open(path, "x", format=tarfile.USTAR_FORMAT)
                )
                counts[split] += 1
            tar = open_tars[split]
            for name, data in _members(one):
                _add(tar, name, data)
            if tar.offset >= shard_bytes:
                open_tars.pop(split).close()


def _members(one: Quadruple) -> Iterator[tuple[str, bytes]]:
    for layer in LAYERS:
        yield f"{one.record.id}.{layer}.png", one.png(layer)
    text = json.dumps({"stem": one.stem, **asdict(one.record)}, ensure_ascii=False)
    yield f"{one.record.id}.json", text.encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no time, no owner: the same bytes each time
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def load_line(folder: Path) -> str:
    """Returns the line of Python that loads it."""
    return f'datasets.load_dataset("webdataset", data_files={data_files(folder, "tar")})'


# ------------------------------------------------------------------------------ from outside


def read(src: Path) -> Listing:
    """Reads tars whose samples have `.original.png`, `.background.png` and `.mask.png`.

    Nothing is unpacked to disk: a member's name decides no path.

    Args:
        src: a tar, or a folder with some.

    Raises:
        ForgetmeError: there are none, or one is damaged.
    """
    paths = [src] if src.is_file() else files_below(src, ".tar")
    if not paths:
        raise ForgetmeError(f"{src} holds no .tar files; name the folder or file of a dataset")
    total = 0
    for path in paths:
        total += sum(1 for _ in groupby(_plain(path), lambda entry: _key(entry.name)))
    return Listing(total, (found for path in paths for found in _samples(path)))


def _plain(path: Path) -> Iterator[Entry]:
    names = ((one, one.name.rpartition("/")[2]) for one in entries(path) if one.is_file)
    return (entry for entry, name in names if not is_litter(name))


def _key(name: str) -> str:
    """Returns what the files of one sample share: all before the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _samples(path: Path) -> Iterator[Found]:
    for key, group in groupby(_plain(path), lambda entry: _key(entry.name)):
        where, (parts, wrong) = f"{path.name}: {key}", _parts(key, group)
        try:
            if wrong:
                raise ValueError(wrong)
            yield _found(where, f"{path}#{key}", key, parts)
        except ValueError as error:
            yield Found(where, problem=str(error))


def _parts(key: str, group: Iterator[Entry]) -> tuple[dict[str, bytes], str]:
    """Reads the files of one sample that are needed; tells where they are too large together."""
    parts: dict[str, bytes] = {}
    wrong, left = "", MOST_SAMPLE_BYTES
    for entry in group:
        name = entry.name[len(key) + 1 :].lower()
        if name not in _PARTS or wrong:
            continue
        left -= entry.size
        if left < 0:
            wrong, parts = f"{entry.name} has {entry.size:,} bytes", {}
        else:
            parts[name] = entry.read()
    return parts, wrong


def _found(where: str, source: str, key: str, parts: dict[str, bytes]) -> Found:
    if lacks := [layer for layer in _NEEDED if f"{layer}.png" not in parts]:
        raise ValueError(f"no {' and '.join(f'{layer}.png' for layer in lacks)}")
    images = {layer: parts[f"{layer}.png"] for layer in _NEEDED}
    try:
        row = loads_object(parts.get("json", b"{}"))
        read, record = read_as(StreamedRow, row), record_of(row)
    except ValueError as error:
        raise ValueError(f"its .json does not fit ({error})") from error
    return Found(
        where,
        name=read.stem or key.rpartition("/")[2],
        record=record,
        concept=read.concept,
        caption=read.caption or "",
        source=source,
        **images,
    )
