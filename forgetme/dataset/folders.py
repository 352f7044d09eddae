"""The format `folders`: one PNG for each layer, and `metadata.jsonl` that names them."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from forgetme.dataset.file_finder import images_by_stem, inside
from forgetme.dataset.foreign import FolderRow, Row, csv_rows, json_rows, read_as
from forgetme.dataset.quadruple import LAYERS, Quadruple
from forgetme.dataset.rows_in import Found, Listing, record_of
from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.images import read_image, read_mask
from forgetme.store.names import without_suffix

log = logging.getLogger(__name__)

NEEDED = ("original", "background", "mask")  # the foreground follows from them


def write(quadruples: Iterable[Quadruple], folder: Path, *, shard_bytes: int) -> None:
    """Writes `original/ foreground/ background/ mask/ metadata.jsonl`.

    Args:
        quadruples: what to write.
        folder: an empty folder.
        shard_bytes: not used; every image is a file.
    """
    for layer in LAYERS:
        (folder / layer).mkdir()
    with (folder / "metadata.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for one in quadruples:
            for layer in LAYERS:
                (folder / layer / f"{one.stem}.png").write_bytes(one.png(layer))
            names = {f"{layer}_file_name": f"{layer}/{one.stem}.png" for layer in LAYERS}
            lines.write(json.dumps({**names, **asdict(one.record)}, ensure_ascii=False) + "\n")


def load_line(folder: Path) -> str:
    """Returns the line of Python that loads it, whatever the stems are."""
    index = glob.escape(str(folder / "metadata.jsonl"))  # `datasets` reads a pattern
    return f'datasets.load_dataset("imagefolder", data_files={index!r})'


def read(src: Path) -> Listing:
    """Reads our own folders, those of `scenes`, and the paper authors'.

    All have `original/`, `background/` and `mask/` with the same stems (the authors' foreground
    lies on black; it is not read, since it follows from original and mask). `metadata.jsonl` or
    an `index.csv` with name (or stem, file), concept and caption says more; a stem that misses a
    partner is told.

    Args:
        src: the folder.

    Raises:
        ForgetmeError: it is not such a folder.
    """
    missing = [layer for layer in NEEDED if not (src / layer).is_dir()]
    if missing:
        raise ForgetmeError(
            f"{src} has no folder {', '.join(f'{layer}/' for layer in missing)}; a dataset holds "
            "original, background and mask, as `export` and `scenes` write them: name the folder "
            "that holds them"
        )
    metadata = src / "metadata.jsonl"
    if metadata.is_file():
        ours = ["original_file_name" in row for _, row, _ in json_rows(metadata)]
        if any(ours):
            return Listing(len(ours), (_from_row(src, *row) for row in json_rows(metadata)))
    files, shared = {}, {}
    for layer in NEEDED:
        files[layer], alike = images_by_stem(src / layer)
        shared |= alike
    known, damaged = _known(src, {stem for layer in files.values() for stem in layer})
    names = dict.fromkeys(sorted({name for layer in files.values() for name in layer} | {*shared}))
    rows = (
        Found(name, problem=shared[name]) if name in shared else _from_stem(src, name, files, known)
        for name in names
    )
    return Listing(len(names) + len(damaged), chain(damaged, rows))


def readable(src: Path) -> list[Found]:
    """Reads the rows whose pictures can be decoded; the others are told in the log, with reasons.

    Args:
        src: as of `read`.

    Returns:
        The rows by name; their pictures are files, of one size each.

    Raises:
        ForgetmeError: it is not such a folder, or no row of it can be read.
    """
    rows, why = [], ""
    for found in read(src).rows:
        try:
            if found.problem is not None:
                raise ValueError(found.problem)
            _check_pictures(found)
            rows.append(found)
        except (BrokenImageError, ValueError) as error:
            told = f"{found.where}: {error}"
            why = why or told
            log.warning("left out: %s", told)
    if not rows:
        raise ForgetmeError(
            f"{src} has no quadruple that can be read, a file of one name in each of "
            f"{', '.join(NEEDED)}{f'; {why}' if why else ''}"
        )
    return sorted(rows, key=lambda found: found.name)


def _check_pictures(found: Found) -> None:
    sizes = {
        "original": read_image(found.original).shape[:2],
        "background": read_image(found.background).shape[:2],
        "mask": read_mask(found.mask).shape,
    }
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{layer} {width}x{height}" for layer, (height, width) in sizes.items())
        raise ValueError(f"its pictures must be of one size, got {told} px; export it again")


def _from_row(src: Path, number: int, row: dict[str, Any], wrong: str) -> Found:
    where = f"metadata.jsonl, line {number}"
    if wrong:
        return Found(where, problem=wrong)
    try:
        read = read_as(FolderRow, row)
        where = read.original_file_name
        layers = {layer: inside(src, getattr(read, f"{layer}_file_name")) for layer in NEEDED}
        record = record_of(row)
    except ValueError as error:
        return Found(where, problem=f"its line in metadata.jsonl does not fit ({error})")
    return Found(
        where,
        name=layers["original"].stem,
        record=record,
        concept=read.concept,
        caption=read.caption or "",
        **layers,
    )


def _from_stem(
    src: Path, name: str, layers: dict[str, dict[str, Path]], known: dict[str, Row | str]
) -> Found:
    lacks = [layer for layer, files in layers.items() if name not in files]
    if lacks:
        return Found(name, problem=f"no file of this name in {' and '.join(lacks)}")
    row = known.get(name, Row())
    if isinstance(row, str):
        return Found(name, problem=row)
    try:
        files = {layer: inside(src, f"{layer}/{layers[layer][name].name}") for layer in NEEDED}
    except ValueError as error:
        return Found(name, problem=str(error))
    return Found(
        name,
        name=name,
        concept=row.concept,
        caption=row.caption or "",
        source=str(files["original"]),
        **files,
    )


def _known(src: Path, stems: set[str]) -> tuple[dict[str, Row | str], list[Found]]:
    """Returns what the index says of each stem, or what is wrong there; and lines of no stem."""
    known: dict[str, Row | str] = {}
    damaged = []
    index, metadata = src / "index.csv", src / "metadata.jsonl"
    if index.is_file():
        file, rows = index.name, csv_rows(index)
    elif metadata.is_file():
        file, rows = metadata.name, json_rows(metadata)
    else:
        return {}, []
    for number, row, wrong in rows:
        stem = _stem_of(row, stems)
        try:
            said = f"line {number} of {file}: {wrong}" if wrong else read_as(Row, row)
        except ValueError as error:
            said = f"line {number} of {file}: {error}"
        if stem:
            known[stem] = said
        elif wrong:
            damaged.append(Found(f"{file}, line {number}", problem=wrong))
    return known, damaged


def _stem_of(row: dict[str, Any], stems: set[str]) -> str:
    """Returns the stem that a row is about: its name, with or without folder and suffix."""
    names = (row.get(key) for key in ("stem", "name", "file", "file_name", "original"))
    name = next((name for name in names if isinstance(name, str) and name), "")
    if name in stems:
        return name
    short = without_suffix(name.replace("\\", "/").rpartition("/")[2])
    return short if short in stems else ""
