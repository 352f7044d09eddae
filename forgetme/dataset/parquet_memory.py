"""How much memory a parquet file needs to be read, by the headers of its pages.

A page is decoded whole, so one that unpacks to gigabytes takes them, however few rows are asked
for. Only the pages' own headers say so; they are Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from forgetme.errors import ForgetmeError
from forgetme.record.files import open_regular

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MOST_FILE_BYTES = 2**42
MOST_FOOTER_BYTES = 2**26
MOST_PAGES_BYTES = 2**28  # of the largest pages of all columns that are read, together
SURE_BYTES = 2**25  # pages up to here may be packed as tightly as they like
MOST_TIMES = 4  # unpacked bytes for each packed one: pictures are packed already
_MOST_HEADER = 2**23


def check_footer(path: Path) -> None:
    """Checks that a file is regular and ends like parquet, with a footer that can be read.

    Raises:
        ForgetmeError: it is not so.
    """
    with open_regular(path, MOST_FILE_BYTES) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if size < 12 or end[4:] != b"PAR1" or length > min(size, MOST_FOOTER_BYTES):
        raise ForgetmeError(f"{path} is no whole parquet file (its end is cut off); get it again")


def check_pages(path: Path, metadata: pq.FileMetaData, columns: set[str]) -> None:
    """Refuses a file that unpacks to far more than it holds, before anything is unpacked.

    Args:
        path: the file.
        metadata: of it.
        columns: names of the columns that will be read.

    Raises:
        ForgetmeError: a page is a bomb, or pages are too large, or one is damaged.
    """
    largest: dict[str, int] = {}
    with open_regular(path, MOST_FILE_BYTES) as file:
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(index)
                if chunk.path_in_schema.partition(".")[0] not in columns:
                    continue
                for packed, unpacked in _pages(path, file, chunk):
                    if unpacked > SURE_BYTES and unpacked > MOST_TIMES * max(1, packed):
                        raise ForgetmeError(
                            f"{path}: {packed:,} bytes of {chunk.path_in_schema} unpack to "
                            f"{unpacked:,}, which no pictures do; get it from somebody you trust"
                        )
                    name = chunk.path_in_schema
                    largest[name] = max(largest.get(name, 0), unpacked)
    if sum(largest.values()) > MOST_PAGES_BYTES:
        raise ForgetmeError(
            f"{path}: its pages need {sum(largest.values()):,} bytes to be read, at most "
            f"{MOST_PAGES_BYTES:,} are taken; write it with smaller pages or fewer rows in a group"
        )


def _pages(path: Path, file: IO[bytes], chunk: pq.ColumnChunkMetaData) -> Iterator[tuple[int, int]]:
    """Yields the packed and unpacked size of each page of a column chunk, in bytes."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        at = min(at, chunk.dictionary_page_offset)
    end = at + chunk.total_compressed_size
    while at < end:
        header, length = _header(path, file, at)
        unpacked, packed = header.get(2, -1), header.get(3, -1)
        if unpacked < 0 or packed < 0:
            raise ForgetmeError(
                f"{path} is no whole parquet file (a page is damaged); get it again"
            )
        yield packed, unpacked
        at += length + packed


def _header(path: Path, file: IO[bytes], at: int) -> tuple[dict[int, int], int]:
    size = 2**12
    while size <= _MOST_HEADER:
        file.seek(at)
        data = file.read(size)
        try:
            reader = _Thrift(data)
            return reader.struct(), reader.at
        except IndexError:
            if len(data) < size:
                break
            size *= 16
        except ValueError:
            break
    raise ForgetmeError(f"{path} is no whole parquet file (a page is damaged); get it again")


class _Thrift:
    """Reads the whole numbers of one struct and steps over all else."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """Returns the whole numbers by field; IndexError where the data ends too early."""
        if depth > 16:
            raise ValueError("too deep")
        found, field = {}, 0
        while kind := self._byte():
            step, kind = kind >> 4, kind & 15
            field = field + step if step else self._signed()
            value = self._value(kind, depth)
            if kind in (4, 5, 6):
                found[field] = value
        return found

    def _value(self, kind: int, depth: int) -> int:
        if kind in (1, 2):  # true and false are their own kinds
            return 0
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._varint())
        if kind in (9, 10):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            for _ in range(count):
                self._skip(1) if head & 15 in (1, 2) else self._value(head & 15, depth)
            return 0
        if kind == 12:
            self.struct(depth + 1)
            return 0
        raise ValueError(f"unexpected kind {kind}")

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _skip(self, count: int) -> int:
        self.at += count
        if self.at > len(self._data):
            raise IndexError
        return 0

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number is too long")

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
