"""A run's folder: whose it is (run.json) and what happened in it (log.jsonl)."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forgetme.errors import ForgetmeError
from forgetme.record.images import atomic_write
from forgetme.record.summed import opened, sealed
from forgetme.train.probe import Probe

log = logging.getLogger(__name__)

RECORD = "run.json"
LOG = "log.jsonl"
_CRC = re.compile(rb'(, "crc": "([0-9a-f]{8})")\}$')  # of the rest of a row, at its end

# These may differ when a run goes on: they do not change what the steps before have learned.
FREE = ("steps", "probe_every", "save_every", "gradient_checkpointing")


class RunFolder:
    """Keeps the two files of one run.

    Args:
        path: the folder.
        record: settings, base and data of the run, as plain JSON.

    Raises:
        ForgetmeError: the folder is of a run with other settings, or run.json cannot be read.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        """Looks whether the folder is this run's or nobody's; writes nothing yet."""
        self.path = path
        self.record = json.loads(json.dumps(record))
        known = self._known()
        other = [
            key
            for key, value in self.record.items()
            if key in known and known[key] != value and key not in FREE
        ]
        self.record["lr_before"] = known.get("lr_before", [])
        if other == ["lr"] and "diverged" in known and self.record["lr"] < known["lr"]:
            self.record["lr_before"] = [*self.record["lr_before"], known["lr"]]
        elif other:
            raise ForgetmeError(self._other(other, known))

    def claim(self) -> None:
        """Writes run.json."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._save(self.record)

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Takes the folder away again where the block made it and refuses what was asked."""
        made = not self.path.exists()
        try:
            yield
        except ForgetmeError:
            if made:
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    def diverged(self, step: int) -> None:
        """Notes that the loss was no number at a step: the run may go on with a lower rate."""
        self._save({**self.record, "diverged": step})

    def rewind(self, step: int) -> None:
        """Takes the rows after a step out of the log, and a row that was cut off."""
        rows = [row for row in self.rows() if row["step"] <= step]
        atomic_write(self.path / LOG, "".join(map(_line, rows)).encode())

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows of the log; one that a killed process has not finished is left out."""
        path = self.path / LOG
        if not path.is_file():
            return []
        rows, bad = rows_of(path.read_bytes())
        if bad:
            log.warning("%s is damaged in %d of its lines, which are left out", path, bad)
        return rows

    def seconds(self) -> float:
        """Returns how long the steps took so far."""
        return max((row.get("seconds", 0.0) for row in self.rows()), default=0.0)

    def last_probe(self) -> Probe | None:
        """Returns the last probe in the log."""
        found = [row["probe"] for row in self.rows() if "probe" in row]
        return Probe(**found[-1]) if found else None

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row to the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(_line(row))

    def _known(self) -> dict[str, Any]:
        path = self.path / RECORD
        if self.path.exists() and not self.path.is_dir():
            raise ForgetmeError(f"{self.path} is a file; a run is a folder, name another --out")
        if not path.is_file():
            return {}
        try:
            return opened(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ForgetmeError(
                f"{path} is damaged ({error}); bring it back from a backup, or name another --out"
            ) from error

    def _save(self, record: dict[str, Any]) -> None:
        text = json.dumps(sealed(record), indent=1) + "\n"
        atomic_write(self.path / RECORD, text.encode())

    def _other(self, names: list[str], known: dict[str, Any]) -> str:
        if "data" in names and set(names) <= {"data", "pictures"}:
            return (
                f"the pictures are not those that {self.path} began with: it had "
                f"{known.get('pictures', 'other')} of them, now there are "
                f"{self.record['pictures']}, or their pixels changed. Bring them back, or name "
                "another --out folder to learn from these"
            )
        if names == ["base"]:
            return (
                f"{self.path} changes {known['base'] or 'another model'}, not "
                f"{self.record['base']}; name that one with --base, or another --out folder"
            )
        said = ", ".join(f"{key} ({known[key]!r}, now {self.record[key]!r})" for key in names)
        return f"{self.path} holds a run with other {said}; name another --out folder"


def rows_of(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Parses the whole lines of a log; a last one without its end is still being written.

    Returns:
        The rows, and how many lines are not what was written.
    """
    lines = data.split(b"\n")[:-1]
    sums = [_CRC.search(line) for line in lines]
    rows = []
    for line, found in zip(lines, sums, strict=True):
        row = line[: found.start()] + b"}" if found else line
        try:
            # a log of before has no sums; one with sums has them in all its lines
            if int(found[2], 16) != zlib.crc32(row) if found else any(sums):
                continue
            rows.append(dict(json.loads(row)))
        except (ValueError, TypeError):
            continue
    return rows, len(lines) - len(rows)


def _line(row: dict[str, Any]) -> str:
    text = json.dumps(row)
    return f'{text[:-1]}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'
