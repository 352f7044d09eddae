"""Files from outside that want gigabytes: refused, or read, within half of one."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from peak import peak_mib

from forgetme.dataset import parquet, parquet_memory
from forgetme.errors import ForgetmeError

MIB = 2**20
LIMIT_MIB = 512
IMPORT = """
import json, pyarrow.parquet
from forgetme.dataset.importing import import_dataset
from forgetme.dataset.rle import rle_mask
from forgetme.store import Store
store = Store(sys.argv[1])
before = peak()
for path, form, words in json.loads(sys.argv[2]):
    try:
        said = " ".join(import_dataset(store, path, form, concept="cat").failed)
    except ForgetmeError as error:
        said = str(error)
    assert words in said, (path, said[:1000])
for size, counts in (((46340, 46340), [46340 * 46340]), ((10**4, 10**4), "1" * 10**7)):
    try:
        rle_mask({"size": size, "counts": counts}, size)
    except ValueError:
        continue
    raise AssertionError(size)
"""


def table(path: Path, cell: bytes, rows: int = 1, **options) -> None:
    """Writes a parquet whose originals are all one value; its other pictures are empty."""
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema([(layer, image) for layer in ("original", "background", "mask")])
    row = {layer: {"bytes": b"", "path": "a.png"} for layer in schema.names}
    row["original"]["bytes"] = cell
    with pq.ParquetWriter(path, schema, write_statistics=False, **options) as writer:
        writer.write_table(pa.Table.from_pylist([row] * rows, schema=schema))


def header(name: str, size: int, kind: bytes) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.USTAR_FORMAT)


def sparse(path: Path, start: bytes) -> None:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(3 * 2**30 + MIB)


def bombs(folder: Path) -> list[tuple[str, str, str]]:
    """Makes files that want gigabytes: path, format, and what they are refused with."""
    table(folder / "page.parquet", bytes(40 * MIB), compression="zstd", use_dictionary=False)
    table(folder / "rows.parquet", b"", 20_000, compression="zstd")
    sparse(folder / "pax.tar", header("pax", 3 * 2**30, tarfile.XHDTYPE))
    sparse(folder / "name.tar", header("././@LongLink", 3 * 2**30, tarfile.GNUTYPE_LONGNAME))
    sparse(folder / "end.parquet", b"PAR1")
    with gzip.open(folder / "packed.tar", "wb", compresslevel=1) as file:
        file.write(header("pax", 3 * 2**30, tarfile.XGLTYPE) + bytes(MIB))
    with (folder / "member.tar").open("wb") as file:
        for layer in ("original", "background", "mask"):
            file.write(header(f"a.{layer}.png", 2**30, tarfile.REGTYPE))
            file.seek(2**30, 1)
        file.truncate(file.tell() + 1024)
    words = {
        "page.parquet": "which no pictures do",
        "rows.parquet": "10,000 rows could not be read",
        "end.parquet": "its end is cut off",
        "pax.tar": "a header wants 3,221,225,472 bytes",
        "name.tar": "a header wants 3,221,225,472 bytes",
        "packed.tar": "a header wants 3,221,225,472 bytes",
        "member.tar": "has 1,073,741,824 bytes",
    }
    forms = {".tar": "webdataset", ".parquet": "parquet"}
    return [(str(folder / name), forms[Path(name).suffix], said) for name, said in words.items()]


def test_imports_that_want_gigabytes_are_refused_in_half_of_one(tmp_path):
    import json

    found = bombs(tmp_path)
    assert peak_mib(IMPORT, tmp_path / "st", json.dumps(found)) < LIMIT_MIB


def test_pages_that_are_large_together_are_refused_and_smaller_ones_read(tmp_path, monkeypatch):
    for name, rows in (("many", 64), ("few", 1)):
        for size in (None, 256):  # one page, or several
            path = tmp_path / f"{name}{size}.parquet"
            options = {} if size is None else {"data_page_size": size, "write_batch_size": 1}
            table(path, b"x" * 1000, rows, compression="none", use_dictionary=False, **options)
    monkeypatch.setattr(parquet_memory, "MOST_PAGES_BYTES", 40_000)
    for name in ("few256", "fewNone", "many256"):
        assert parquet.read(tmp_path / f"{name}.parquet").total in (1, 64)
    with pytest.raises(ForgetmeError, match=r"need 6\d,\d+ bytes to be read.*smaller pages"):
        parquet.read(tmp_path / "manyNone.parquet")


@pytest.mark.parametrize("at", [4, 5, 8])
def test_a_damaged_page_header_is_said(tmp_path, at):
    path = tmp_path / "x.parquet"
    table(path, b"x" * 100, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)
    with pytest.raises(ForgetmeError, match="get it (again|from)"):
        next(parquet.read(path).rows)
