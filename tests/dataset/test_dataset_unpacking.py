"""A dataset uploaded as one file: unpacked whole into `imports/`, or refused with nothing left."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
import small_store
from dataset_page import serving

from forgetme.dataset import export, import_dataset, store_folders, unpacking
from forgetme.errors import ForgetmeError
from forgetme.store import Store
from forgetme.ui import guard

UPLOAD = "/forgetme/api/data/imports/upload"


@pytest.fixture
def exported(tmp_path) -> Path:
    with Store(tmp_path / "other") as other:
        for seed in range(3):
            small_store.accept(other, small_store.add(other, seed))
        return export(other, tmp_path / "cats", "folders").folder


def zipped(files: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return out.getvalue()


def tarred(kind: bytes, name: str = "inside", link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(entry, io.BytesIO(b"data"))
    return out.getvalue()


def unpack(store: Store, name: str, data: bytes, limits=unpacking.LIMITS) -> str:
    with unpacking.incoming(store) as (path, file):
        file.write(data)
        file.flush()
        return unpacking.unpack(store, name, path, limits)


def left(store: Store) -> list[str]:
    return [one.name for one in store_folders.imports_folder(store).iterdir()]


def packed_as(end: str, folder: Path) -> bytes:
    out = io.BytesIO()
    if end == ".zip":
        with zipfile.ZipFile(out, "w") as archive:
            for path in folder.rglob("*"):
                archive.write(path, f"cats/{path.relative_to(folder)}")
            archive.writestr("__MACOSX/cats/._index", b"litter")
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if end != ".tar" else "w") as archive:
            archive.add(folder, "cats")
    return out.getvalue()


@pytest.mark.parametrize("end", [".zip", ".tar", ".tar.gz", ".tgz"])
def test_an_uploaded_export_is_imported_as_the_same_samples(store, exported, end):
    name = unpack(store, f"my cats (2026){end}", packed_as(end, exported))
    assert store_folders.importable(store) == [name] == left(store)
    report = import_dataset(store, store_folders.import_path(store, name), "folders")
    assert (report.imported, report.failed) == (3, ())
    assert store.check() == []
    again = unpack(store, f"my cats (2026){end}", packed_as(end, exported))
    assert again == f"{name}-2", "an earlier upload is not replaced"


def test_a_parquet_file_is_a_dataset_of_its_own(store, exported, tmp_path):
    with Store(tmp_path / "other") as other:
        folder = export(other, tmp_path / "shards", "parquet").folder
    shard = next((folder / "data").glob("train*.parquet"))
    name = unpack(store, shard.name, shard.read_bytes())
    report = import_dataset(store, store_folders.import_path(store, name), "dataset")
    assert report.imported > 0
    assert report.failed == ()
    with pytest.raises(ForgetmeError, match="no parquet file"):
        unpack(store, "x.parquet", b"<html>")
    assert left(store) == [name]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "a" * 300, "a:b"]
)
def test_cve_2007_4559_an_entry_that_leads_elsewhere_is_refused(store, name):
    before = set(store.folder.parent.rglob("*"))
    for end, data in ((".zip", zipped({name: b"x"})), (".tgz", tarred(tarfile.REGTYPE, name))):
        with pytest.raises(ForgetmeError, match="leads elsewhere"):
            unpack(store, f"x{end}", data)
    assert left(store) == []
    assert set(store.folder.parent.rglob("*")) - before == {store_folders.imports_folder(store)}


@pytest.mark.parametrize(
    ("end", "data"),
    [
        (".zip", zipped({"link": b"/etc/passwd"}, stat.S_IFLNK | 0o777)),
        (".tgz", tarred(tarfile.SYMTYPE, link="/etc/passwd")),
        (".tgz", tarred(tarfile.LNKTYPE, link="/etc/passwd")),
        (".tgz", tarred(tarfile.FIFOTYPE)),
        (".tgz", tarred(tarfile.CHRTYPE)),
    ],
)
def test_links_and_devices_in_an_archive_are_refused(store, end, data):
    with pytest.raises(ForgetmeError, match="pack plain files"):
        unpack(store, f"x{end}", data)
    assert left(store) == []


def test_a_bomb_is_stopped_by_what_it_writes_and_leaves_nothing(store):
    bomb = zipped({"zeros": bytes(8 * 2**20)})
    limits = unpacking.Limits(times=100, always=2**20)
    assert len(bomb) * limits.times < 8 * 2**20
    with pytest.raises(ForgetmeError, match="far more than was sent"):
        unpack(store, "x.zip", bomb, limits)
    with pytest.raises(ForgetmeError, match="more than 2 files"):
        unpack(store, "x.zip", zipped({str(n): b"" for n in range(3)}), unpacking.Limits(files=2))
    assert left(store) == []


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tgz"])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 torn", b"\x1f\x8b torn"])
def test_what_is_no_archive_is_refused_in_plain_words(store, name, data):
    with pytest.raises(ForgetmeError, match="pack"):
        unpack(store, name, data)
    assert left(store) == []


def test_the_page_takes_an_upload_from_leads_only(tmp_path, exported):
    data = packed_as(".zip", exported)
    with Store(tmp_path / "store") as store:
        for role in ("viewer", "curator", "lead"):
            store.people.add(f"{role}-1", role=role, password="a long password")
        with serving(store) as page:
            for role in ("viewer", "curator"):
                client = page.sign_in(f"{role}-1")
                answer = client.post(UPLOAD, params={"name": "cats.zip"}, content=data)
                assert answer.status_code == 403
            lead = page.sign_in("lead-1")
            answer = lead.post(UPLOAD, params={"name": "cats.zip"}, content=data)
            assert (answer.status_code, answer.json()["uploaded"]) == (200, "cats")
            assert store_folders.importable(store) == ["cats"]
            for name in ("cats.exe", "zip", "../cats"):
                refused = lead.post(UPLOAD, params={"name": name}, content=data)
                assert refused.status_code == 400
                assert ".zip" in refused.json()["words"]
            del lead.headers[guard.MARK]
            assert lead.post(UPLOAD, params={"name": "a.zip"}, content=data).status_code == 403
        assert left(store) == ["cats"]
