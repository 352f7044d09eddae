"""Results of work done elsewhere: parquet files beside a manifest that says what made them.

A file holds some photos, whole: it appears by one rename. What it is called hangs on nothing but
the photos in it, so that the same work, however often it was killed, leaves the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forgetme.errors import ForgetmeError
from forgetme.record.images import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa

PHOTOS = 32  # of a shard: what a kill costs at most, for each that is under work
MANIFEST = "manifest.json"

Task = TypeVar("Task")


@dataclass(frozen=True)
class Result:
    """What became of one photo."""

    key: str  # names the photo: its source
    stamp: str  # of its file when it was read
    about: dict[str, Any] = field(default_factory=dict)  # JSON; masks are run lengths
    pngs: dict[str, bytes] = field(default_factory=dict)  # pictures by the sha of their pixels
    failed: str = ""  # why its work failed; the next run tries again
    stop: str = ""  # why no photo can succeed; never written

    def as_row(self) -> dict[str, Any]:
        """Returns it as a row of `schema`."""
        pngs = [{"sha": sha, "png": png} for sha, png in self.pngs.items()]
        return {**vars(self), "about": json.dumps(self.about), "pngs": pngs}


def result_of(row: Mapping[str, Any]) -> Result:
    """Reads a row of `schema`."""
    pngs = {one["sha"]: one["png"] for one in row["pngs"]}
    about = json.loads(row["about"])
    return Result(row["key"], row["stamp"], about, pngs, row["failed"], row["stop"])


def schema() -> pa.Schema:
    """Returns the columns of a shard."""
    import pyarrow as pa

    png = pa.struct({"sha": pa.string(), "png": pa.binary()})
    texts = dict.fromkeys(("key", "stamp", "about"), pa.string())
    ends = dict.fromkeys(("failed", "stop"), pa.string())
    return pa.schema({**texts, "pngs": pa.list_(png), **ends})


class Shards:
    """A folder of shards, all made with the same settings."""

    def __init__(self, folder: Path, made_with: Mapping[str, Any]) -> None:
        """Opens the folder, or makes it.

        Args:
            folder: of the shards.
            made_with: what every result hangs on, as plain JSON.

        Raises:
            ForgetmeError: the shards in it were made with something else, or it may not be written.
        """
        self.folder = folder
        made_with = json.loads(json.dumps(made_with))
        manifest = folder / MANIFEST
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if manifest.exists():
                _check(manifest, made_with)
            else:
                atomic_write(manifest, json.dumps(made_with, indent=2).encode())
        except (NotADirectoryError, FileExistsError, PermissionError) as error:
            raise ForgetmeError(
                f"{folder} cannot hold the results ({error.strerror}); name another: --shards DIR"
            ) from error
        self._at: dict[tuple[str, str], tuple[Path, int]] = {}  # file and row of each photo
        self._failed: set[tuple[str, str]] = set()
        for path in sorted(folder.glob("*.parquet")):
            self._enter(path)
        self._open: tuple[Path | None, list[dict[str, Any]]] = (None, [])

    def missing(self, tasks: Mapping[tuple[str, str], Task]) -> list[list[Task]]:
        """Cuts what has no result yet into the shards that it will be, what failed before last.

        Args:
            tasks: in their order, by key and stamp.
        """
        left = {one: task for one, task in tasks.items() if one not in self._at}
        fresh = [task for one, task in left.items() if one not in self._failed]
        again = [task for one, task in left.items() if one in self._failed]
        return [
            part[at : at + PHOTOS] for part in (fresh, again) for at in range(0, len(part), PHOTOS)
        ]

    def get(self, key: str, stamp: str) -> Result | None:
        """Returns what became of a photo; None where nothing is known. Quick in order."""
        if (key, stamp) not in self._at:
            return None
        path, number = self._at[key, stamp]
        if self._open[0] != path:
            self._open = (path, _read(path).to_pylist())
        return result_of(self._open[1][number])

    def write(self, results: Iterable[Result]) -> None:
        """Writes one shard, durably.

        Raises:
            DiskFullError: no room is left; there is no part of it.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [one.as_row() for one in results]
        named = hashlib.sha256(repr([(row["key"], row["stamp"]) for row in rows]).encode())
        path = self.folder / f"{named.hexdigest()[:24]}.parquet"
        out = io.BytesIO()
        table = pa.Table.from_pylist(rows, schema=schema())
        whole = {"compression": "ZSTD", "write_page_checksum": True, "use_dictionary": False}
        pq.write_table(table, out, **whole)
        atomic_write(path, out.getbuffer())
        self._enter(path)

    def _enter(self, path: Path) -> None:
        columns = _read(path, ["key", "stamp", "failed"]).to_pydict()
        rows = zip(columns["key"], columns["stamp"], columns["failed"], strict=True)
        for number, (key, stamp, failed) in enumerate(rows):
            if failed:
                self._failed.add((key, stamp))
            else:
                self._at[key, stamp] = (path, number)


def _check(manifest: Path, made_with: Mapping[str, Any]) -> None:
    try:
        there = json.loads(manifest.read_bytes())
        other = [key for key in {**made_with, **there} if there.get(key) != made_with.get(key)]
    except (ValueError, TypeError, AttributeError) as error:
        raise ForgetmeError(
            f"{manifest} is damaged ({error}); remove its folder, or name another: --shards DIR"
        ) from error
    if other:
        was, now = (json.dumps(one.get(other[0])) for one in (there, made_with))
        raise ForgetmeError(
            f"{manifest} is of a run with {other[0]} {was}, this one has {now}; go on with the "
            "same settings and versions, or name another folder: --shards DIR"
        )


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(
            path, columns=columns, use_threads=False, page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        raise ForgetmeError(
            f"{path} is damaged ({error}); remove it, and the same command makes it again"
        ) from error
