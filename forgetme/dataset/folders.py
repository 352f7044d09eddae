"""The format `folders`: one PNG for each layer, and `metadata.jsonl` that names them."""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forgetme.dataset.found import Found, Listing, inside, record_of
from forgetme.dataset.quadruple import LAYERS, Quadruple
from forgetme.errors import ForgetmeError
from forgetme.record.images import IMAGE_SUFFIXES

_NEEDED = ("original", "background", "mask")  # the foreground follows from them


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
    an `index.csv` with `stem, concept, caption` says more; a stem that misses a partner is told.

    Args:
        src: the folder.

    Raises:
        ForgetmeError: it is not such a folder.
    """
    missing = [layer for layer in _NEEDED if not (src / layer).is_dir()]
    if missing:
        raise ForgetmeError(
            f"{src} must hold the folders original, background and mask, and lacks "
            f"{', '.join(missing)}; name the folder that holds them"
        )
    rows = _lines(src / "metadata.jsonl")
    if any("original_file_name" in row for row in rows):
        return Listing(len(rows), (_from_row(src, row) for row in rows))
    known = _index(src / "index.csv")
    layers = {layer: _by_stem(src / layer) for layer in _NEEDED}
    names = dict.fromkeys(name for layer in layers.values() for name in layer)  # in file order
    return Listing(len(names), (_from_stem(src, name, layers, known) for name in names))


def _from_row(src: Path, row: dict[str, Any]) -> Found:
    where = str(row.get("original_file_name", "a line without original_file_name"))
    try:
        layers = {layer: inside(src, row[f"{layer}_file_name"]) for layer in _NEEDED}
        record = record_of(row)
    except (KeyError, TypeError, ValueError) as error:
        return Found(where, problem=f"its line in metadata.jsonl does not fit ({error})")
    known = {key: row[key] for key in ("concept", "caption") if isinstance(row.get(key), str)}
    return Found(where, name=layers["original"].stem, record=record, **known, **layers)


def _from_stem(
    src: Path,
    name: str,
    layers: dict[str, dict[str, Path]],
    known: dict[str, dict[str, str]],
) -> Found:
    lacks = [layer for layer, files in layers.items() if name not in files]
    if lacks:
        return Found(name, problem=f"no file of this name in {' and '.join(lacks)}")
    row = known.get(name, {})
    try:
        files = {layer: inside(src, f"{layer}/{layers[layer][name].name}") for layer in _NEEDED}
    except ValueError as error:
        return Found(name, problem=str(error))
    source = str(files["original"])
    return Found(
        name,
        name=name,
        concept=row.get("concept"),
        caption=row.get("caption") or "",
        source=source,
        **files,
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return {path.stem: path for path in files if path.suffix.lower() in IMAGE_SUFFIXES}


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise ForgetmeError(f"{path} is damaged ({error}); export it again") from error
    return [row if isinstance(row, dict) else {} for row in rows]


def _index(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows: Iterator[dict[str, str]] = csv.DictReader(lines)
        return {row["stem"]: row for row in rows if row.get("stem")}
