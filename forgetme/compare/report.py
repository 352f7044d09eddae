"""A comparison on disk: table.json, pictures, one HTML page, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetme.compare.latex import latex_table
from forgetme.compare.page import html_page
from forgetme.compare.saved import CACHE, REPORTS, TABLE
from forgetme.errors import ForgetmeError
from forgetme.record.images import atomic_write
from forgetme.record.summed import sealed

PICTURES = "pictures"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute

Table = Mapping[str, Any]


def check_out(out: Path, table: str = TABLE) -> None:
    """Refuses a folder that holds something else than a report of this kind.

    Args:
        out: folder of the report.
        table: the file by which such a report is known.

    Raises:
        ForgetmeError: it does, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise ForgetmeError(f"{out} is a file; name a folder for the report")
    if (out / table).is_file() or not out.is_dir():
        return
    others = [path.name for path in out.iterdir() if path.name not in (CACHE, PICTURES)]
    if others:
        raise ForgetmeError(
            f"{out} holds {sorted(others)[0]} and no {table}, so it is left alone; "
            "name a new or empty folder"
        )


def write_report(out: Path, table: Table, pictures: Mapping[str, Path]) -> None:
    """Writes a comparison; `table.json` last, so that what it names is there.

    Args:
        out: folder of the report.
        table: as `table.json` has it.
        pictures: file of each picture that the table names.

    Raises:
        DiskFullError: no room is left; an earlier table is still whole.
    """
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    for name, source in pictures.items():
        lay(source, out / name)
    atomic_write(out / REPORTS["html"], html_page(table, pictures).encode())
    atomic_write(out / REPORTS["csv"], csv_of(table).encode())
    atomic_write(out / REPORTS["tex"], latex_table(table).encode())
    write_table(out, table)
    for path in (out / PICTURES).glob("*.png"):
        if f"{PICTURES}/{path.name}" not in pictures:
            path.unlink()


def write_table(out: Path, table: Table) -> None:
    """Writes a table alone, with its hash inside."""
    atomic_write(out / TABLE, json.dumps(sealed(table), ensure_ascii=False).encode())


def csv_of(table: Table) -> str:
    """Returns one line for each picture."""
    keys = [score["key"] for score in table["scores"] if score["per_picture"]]
    heading = ["row", "sample", "column", *keys, "warnings", "words", "error", "picture"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    for column in table["columns"]:
        for row, cell in zip(table["rows"], table["cells"][column["key"]], strict=True):
            values = [cell["scores"].get(key) for key in keys]
            told = [" | ".join(cell["warnings"]), cell["words"], cell["error"]]
            named = [row["name"], row["sample"], column["key"]]
            writer.writerow([*map(said, named), *values, *map(said, told), cell["picture"]])
    return text.getvalue()


def said(words: str | None) -> str:
    """Text that no spreadsheet takes for a formula."""
    words = words or ""
    return f"'{words}" if words.startswith(_FORMULA) else words


def lay(source: Path, target: Path) -> None:
    """Puts a picture of the cache into the report; one file with two names where that can be."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        partial = target.with_suffix(".tmp")
        shutil.copyfile(source, partial)
        partial.replace(target)
