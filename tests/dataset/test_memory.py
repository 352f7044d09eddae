"""Files from outside that want gigabytes: refused, or read, within half of one."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_store
from peak import peak_mib

from forgetme.dataset import export, import_dataset, webdataset
from forgetme.dataset.rle import rle_mask
from forgetme.errors import ForgetmeError
from forgetme.record.images import png_bytes
from forgetme.store import Store

MIB = 2**20
LIMIT_MIB = 512
PNG = png_bytes(np.zeros((16, 16, 3), np.uint8))
IMPORT = """
from pathlib import Path
import forgetme.dataset.importing, pyarrow.parquet
from forgetme.store import Store
store = Store(sys.argv[1])
before = peak()
try:
    report = forgetme.dataset.importing.import_dataset(store, sys.argv[2], sys.argv[3], concept="cat")
except ForgetmeError as error:
    print(error)
else:
    assert not report.imported
    print(*report.failed)
"""


def table(path: Path, cell: bytes, rows: int = 1, **options) -> None:
    """Writes a parquet whose three pictures are all one value."""
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema([(layer, image) for layer in ("original", "background", "mask")])
    row = dict.fromkeys(schema.names, {"bytes": cell, "path": "a.png"})
    with pq.ParquetWriter(path, schema, **options) as writer:
        writer.write_table(pa.Table.from_pylist([row] * rows, schema=schema))


def header(name: str, size: int, kind: bytes) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT if size >= 8**11 else tarfile.USTAR_FORMAT)


def bomb(kind: str, folder: Path) -> str:
    """Makes a file that wants gigabytes; returns the format that it is imported as."""
    path = folder / ("x.parquet" if kind.startswith("parquet") else "x.tar")
    if kind == "parquet page":  # 400 MiB of zeros in one page of some KiB
        table(path, bytes(400 * MIB // 3), compression="zstd", use_dictionary=False)
    elif kind == "parquet dictionary":  # one value of 120 MiB, and thousands of rows that name it
        table(path, bytes(40 * MIB), 3000, compression="zstd", use_dictionary=True)
    elif kind == "parquet rows":  # many rows without a picture
        table(path, b"", 300_000)
    elif kind == "tar pax":
        path.write_bytes(header("pax", 3 * 2**30, tarfile.XHDTYPE))
        with path.open("r+b") as file:
            file.truncate(3 * 2**30 + MIB)
    elif kind == "tar name":
        path.write_bytes(header("././@LongLink", 3 * 2**30, tarfile.GNUTYPE_LONGNAME))
        with path.open("r+b") as file:
            file.truncate(3 * 2**30 + MIB)
    elif kind == "tar gzip":  # the same, packed: 300 MiB of zeros are 300 KiB
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(header("pax", 300 * MIB, tarfile.XGLTYPE))
            for _ in range(301):
                file.write(bytes(MIB))
    elif kind == "tar member":
        with path.open("wb") as file:
            for layer in ("original", "background", "mask"):
                file.write(header(f"a.{layer}.png", 2**30, tarfile.REGTYPE))
                file.seek(2**30, 1)
            file.truncate(file.tell() + 1024)
    return "parquet" if kind.startswith("parquet") else "webdataset"


KINDS = {
    "parquet page": "no pictures do",
    "parquet dictionary": "no pictures do",
    "parquet rows": "10,000 rows could not be read",
    "tar pax": "a header wants 3,221,225,472 bytes",
    "tar name": "a header wants 3,221,225,472 bytes",
    "tar gzip": "a header wants 314,572,800 bytes",
    "tar member": "has 1,073,741,824 bytes",
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_import_that_wants_gigabytes_is_refused_in_half_of_one(tmp_path, kind):
    (tmp_path / "data").mkdir()
    form = bomb(kind, tmp_path / "data")
    code = IMPORT + f"assert {KINDS[kind]!r} in (str(error) if 'report' not in dir() else '')"
    code = code.replace("print(error)", "said = str(error)").replace(
        "print(*report.failed)", "said = ' '.join(report.failed)"
    )
    code = code.rpartition("assert ")[0] + f"assert {KINDS[kind]!r} in said, said"
    assert peak_mib(code, tmp_path / "st", tmp_path / "data", form) < LIMIT_MIB
