"""The format `parquet`: shards that `datasets` and the Hub's viewer show as pictures."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from forgetme.dataset.file_finder import files_below
from forgetme.dataset.foreign import Row, read_as
from forgetme.dataset.parquet_memory import check_footer, check_pages
from forgetme.dataset.quadruple import LAYERS, RECORD_TYPES, Quadruple
from forgetme.dataset.rows_in import Found, Listing, record_of
from forgetme.dataset.splits import SPLITS
from forgetme.errors import ForgetmeError
from forgetme.record.files import PIECE
from forgetme.store.names import without_suffix

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 100  # a row group: what a viewer reads at once
GROUP_BYTES = 64 * 2**20
_NEEDED = ("original", "background", "mask")
_DTYPES = {str: "string", int: "int64", bool: "bool"}  # all others are float64


def features() -> dict[str, dict[str, str]]:
    """Returns the columns as `datasets` writes them down."""
    images = {layer: {"_type": "Image"} for layer in LAYERS}
    texts = {
        name: {"dtype": _DTYPES.get(kind, "float64"), "_type": "Value"}
        for name, kind in RECORD_TYPES.items()
    }
    return {**images, **texts}


def write(quadruples: Iterable[Quadruple], folder: Path, *, shard_bytes: int) -> None:
    """Writes `data/{split}-00000-of-00001.parquet` for each split that has rows.

    Args:
        quadruples: what to write.
        folder: an empty folder.
        shard_bytes: a shard ends with the row group that makes it larger than this.
    """
    (folder / "data").mkdir()
    splits = {split: _Split(folder / "data", split, shard_bytes) for split in SPLITS}
    try:
        for one in quadruples:
            splits[one.record.split].add(one)
    except BaseException:
        for split in splits.values():
            split.abandon()
        raise
    for split in splits.values():
        split.finish()


def load_line(folder: Path) -> str:
    """Returns the line of Python that loads it."""
    return f'datasets.load_dataset("parquet", data_files={data_files(folder, "parquet")})'


def data_files(folder: Path, suffix: str) -> dict[str, list[str]]:
    """Returns the shards of each split as `load_dataset` takes them: as patterns."""
    shards = {split: sorted((folder / "data").glob(f"{split}-*.{suffix}")) for split in SPLITS}
    shards = {split: [glob.escape(str(path)) for path in paths] for split, paths in shards.items()}
    return {split: paths for split, paths in shards.items() if paths}


class _Split:
    """Writes the shards of one split."""

    def __init__(self, folder: Path, split: str, shard_bytes: int) -> None:
        self._folder, self._split, self._shard_bytes = folder, split, shard_bytes
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._shards: list[Path] = []
        self._writer: Any = None

    def add(self, one: Quadruple) -> None:
        files = {layer: one.png(layer) for layer in LAYERS}
        images = {
            layer: {"bytes": data, "path": f"{one.stem}.png"} for layer, data in files.items()
        }
        self._rows.append({**images, **asdict(one.record)})
        self._bytes += sum(map(len, files.values()))
        if len(self._rows) >= GROUP_ROWS or self._bytes >= min(GROUP_BYTES, self._shard_bytes):
            self._flush()

    def finish(self) -> None:
        """Closes the last shard and names all by their number."""
        self._flush()
        self.abandon()
        for number, path in enumerate(self._shards):
            name = f"{self._split}-{number:05}-of-{len(self._shards):05}.parquet"
            path.rename(path.with_name(name))

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._rows:
            return
        if self._writer is None:
            self._shards.append(self._folder / f"{self._split}-{len(self._shards):05}.tmp")
            self._writer = _open(self._shards[-1])
        table = pa.Table.from_pylist(self._rows, schema=_schema())
        self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._rows, self._bytes = [], 0
        if self._shards[-1].stat().st_size >= self._shard_bytes:
            self.abandon()


def _open(path: Path) -> Any:
    import pyarrow.parquet as pq

    texts = list(RECORD_TYPES)
    leaves = [f"{layer}.{leaf}" for layer in LAYERS for leaf in ("bytes", "path")]
    return pq.ParquetWriter(
        path,
        _schema(),
        compression=dict.fromkeys(leaves, "NONE") | dict.fromkeys(texts, "ZSTD"),
        use_dictionary=texts,
        write_statistics=texts,
        write_page_index=True,  # lets a viewer read single rows
        write_batch_size=8,  # rows between checks of a page's size
    )


def _schema() -> pa.Schema:
    import pyarrow as pa

    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    kinds = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
    texts = [(name, kinds.get(kind, pa.float64())) for name, kind in RECORD_TYPES.items()]
    metadata = {"huggingface": json.dumps({"info": {"features": features()}})}
    return pa.schema([*((layer, image) for layer in LAYERS), *texts], metadata=metadata)


# ------------------------------------------------------------------------------ from outside


def read(src: Path) -> Listing:
    """Reads our own parquet, or another maker's with the columns original, background and mask.

    Args:
        src: a parquet file, or a folder with some.

    Raises:
        ForgetmeError: there are none, or they lack a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = [src] if src.is_file() else files_below(src, ".parquet")
    if not paths:
        raise ForgetmeError(f"{src} holds no parquet files; name the folder or file of a dataset")
    total = 0
    for path in paths:
        check_footer(path)
        try:
            with pq.ParquetFile(path) as file:
                total += file.metadata.num_rows
                names = set(file.schema_arrow.names)
                check_pages(path, file.metadata, names & features().keys())
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ForgetmeError(
                f"{path} is no whole parquet file ({error}); get it again"
            ) from error
        if lacks := [layer for layer in _NEEDED if layer not in names]:
            raise ForgetmeError(
                f"{path} needs the columns original, background and mask, and lacks "
                f"{', '.join(lacks)}; it has {', '.join(sorted(names))}"
            )
    return Listing(total, (found for path in paths for found in _rows(path)))


def _rows(path: Path) -> Iterator[Found]:
    """Reads row by row; what a damaged part holds is told together."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=PIECE) as file:  # else a whole row group is read
        names = [name for name in file.schema_arrow.names if name in features()]
        end = 0
        for group in range(file.num_row_groups):
            number, end = end, end + file.metadata.row_group(group).num_rows
            batches = file.iter_batches(1, row_groups=[group], columns=names, use_threads=False)
            while number < end:
                try:
                    batch = next(batches)
                except Exception as error:  # damaged pages raise anything
                    where = f"{path.name}, rows {number + 1} to {end}"
                    yield Found(where, problem=f"they cannot be read ({error})")
                    break
                number += 1
                yield _found(f"{path.name}, row {number}", path, batch)


def _found(where: str, path: Path, batch: pa.RecordBatch) -> Found:
    try:
        (row,) = batch.to_pylist()
        images = {layer: _image(layer, row) for layer in _NEEDED}
        read, record = read_as(Row, row), record_of(row)
    except Exception as error:  # cells of any kind that Arrow knows
        return Found(where, problem=str(error))
    name = row["original"].get("path") if isinstance(row["original"], dict) else None
    stem = without_suffix(PurePath(name).name) if isinstance(name, str) else ""
    return Found(
        where,
        name=stem or f"{path.stem}-{where.rpartition(' ')[2]}",
        record=record,
        concept=read.concept,
        caption=read.caption or "",
        source=str(path),
        **images,
    )


def _image(layer: str, row: dict[str, Any]) -> bytes:
    cell = row[layer]
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise ValueError(f"its column {layer!r} holds no image file, but {type(data).__name__}")
    return data
