"""A photo to be curated: a file, or a row of a parquet file of images."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from forgetme.dataset.parquet_memory import check_footer, check_pages
from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.images import ReadImage, read_image_with_notes
from forgetme.store.names import plain_text

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("image", "original")  # of images in a parquet file; the first that is there is read


@dataclass(frozen=True)
class Photo:
    """Where one photo lies; equal photos are the same place."""

    path: Path
    row: int | None = None  # of a parquet file, from 0

    @property
    def name(self) -> str:
        """What people call it: the file's stem, with the row."""
        return self.path.stem if self.row is None else f"{self.path.stem}-{self.row:06}"

    @property
    def label(self) -> str:
        """What a report calls it: the file's name, with the row."""
        return self.path.name if self.row is None else f"{self.path.name}#{self.row}"

    @property
    def source(self) -> str:
        """What the store calls it."""
        place = plain_text(str(self.path.absolute()))
        return place if self.row is None else f"{place}#{self.row}"

    def stamp(self) -> str:
        """Returns size and time of the file: another one there has another stamp."""
        try:
            found = self.path.stat()
        except OSError:
            return "gone"
        return f"{found.st_size}:{found.st_mtime_ns}"

    def read(self) -> ReadImage:
        """Reads the photo.

        Raises:
            BrokenImageError: it cannot be read; the message says why.
        """
        if self.row is None:
            return read_image_with_notes(self.path)
        try:
            column, ends = _layout(self.path)
            group = bisect_right(ends, self.row)
            cells = _group(self.path, group, column)
            cell = cells[self.row - (ends[group - 1] if group else 0)].as_py()
        except Exception as error:  # damaged pages raise anything
            raise BrokenImageError(f"{self.name}: it cannot be read ({error})") from error
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise BrokenImageError(f"{self.name}: the cell holds no image file; mend the dataset")
        try:
            return read_image_with_notes(data)
        except BrokenImageError as error:
            raise BrokenImageError(f"{self.name}: {error}") from error


def as_photo(place: str | os.PathLike[str] | Photo) -> Photo:
    """Returns the photo of a file."""
    return place if isinstance(place, Photo) else Photo(Path(place))


def of_parquet(path: Path) -> list[Photo]:
    """Lists the photos of a parquet file, in the order of its rows.

    Args:
        path: a file with a column `image` (or `original`): bytes of image files, or the structs
            with `bytes` that `datasets` writes.

    Raises:
        ForgetmeError: it is no whole parquet file, or has no such column.
    """
    _, ends = _layout(path)
    return [Photo(path, row) for row in range(ends[-1] if ends else 0)]


@lru_cache(maxsize=4)
def _layout(path: Path) -> tuple[str, list[int]]:
    """The column of the images, and the row after the last of each row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_footer(path)
    try:
        with pq.ParquetFile(path) as file:
            names, metadata = file.schema_arrow.names, file.metadata
            column = next((name for name in COLUMNS if name in names), None)
            if column is None:
                raise ForgetmeError(
                    f"{path} needs a column of images named {' or '.join(COLUMNS)}; it has "
                    f"{', '.join(sorted(names))}"
                )
            check_pages(path, metadata, {column})
            groups = (metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
            return column, list(accumulate(groups))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ForgetmeError(f"{path} is no whole parquet file ({error}); get it again") from error


@lru_cache(maxsize=1)
def _group(path: Path, group: int, column: str) -> pa.ChunkedArray:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column], use_threads=False).column(column)
