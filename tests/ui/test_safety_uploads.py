"""What a file that somebody uploads may not do: run, unpack to gigabytes, or be code.

Each test is named after what was published; see `test_safety.py`.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import io
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import small_store
from safe_page import API, PICTURE_UPLOADS, SCRIPT, SafePage, serving

from forgetme import jobs
from forgetme.dataset import import_dataset, store_folders
from forgetme.errors import ForgetmeError
from forgetme.record.images import png_bytes
from forgetme.store import Store
from forgetme.ui import guard

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SafePage]:
    with serving(tmp_path_factory.mktemp("uploads") / "store") as page:
        yield page


# ------------------------------ uploads


@pytest.mark.parametrize("target", PICTURE_UPLOADS)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>", "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg onload="evil()"/>', "SVG"),
        (gzip.compress(b"<svg>" + SCRIPT + b"</svg>"), "not an image"),
        (b"<html>" + SCRIPT + b"</html>", "web page"),
        (b"GIF89a/*" + SCRIPT + b"*/", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + SCRIPT, "photo.png"),
        (png_bytes(small_store.picture(1)[:1, :1]), "1x1"),
    ],
)
def test_cve_2026_23516_ghsa_779p_m5rp_r4h4_what_is_no_picture_is_refused(
    page: SafePage, target: str, data: bytes, words: str
) -> None:
    """CVE-2026-23516, GHSA-779p-m5rp-r4h4: SVG and HTML that were uploaded ran as the page."""
    before = page.kept()
    answer = page.ask(f"{target}photo.png", "POST", data, content_type="image/png")
    assert answer.status == 400
    assert words in answer.words
    assert page.kept() == before


def test_cve_2026_23516_an_upload_is_kept_and_served_as_pixels_only(page: SafePage) -> None:
    """CVE-2026-23516: what else a file holds must not be served again, whatever it is called."""
    text = b"tEXtComment\0" + SCRIPT
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    plain = png_bytes(small_store.picture(88))
    data = plain[:33] + chunk + plain[33:] + SCRIPT
    sha = json.loads(page.ask(f"{PICTURE_UPLOADS[1]}x.html", "POST", data).body)["sha"]
    assert SCRIPT not in page.store.blob_path(sha).read_bytes()
    for name in (f"picture/{sha}.png", f"thumbnail/128/{sha}.png"):
        answer = page.ask(f"/forgetme/{name}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "object-src 'none'" in answer.headers["content-security-policy"]
        assert SCRIPT not in answer.body
    for end in ("html", "svg", "png.html", "png/x.html"):
        assert page.ask(f"/forgetme/picture/{sha}.{end}").status == 404


# ------------------------------ bombs and sizes


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is of this size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(99))
    chunks = [
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one))
        for one in (head, body)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def text_bomb() -> bytes:
    """A small picture whose comment is 50 MB once it is unpacked."""
    text = b"zTXtComment\0\0" + zlib.compress(bytes(50_000_000))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    plain = png_bytes(small_store.picture(1))
    return plain[:33] + chunk + plain[33:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("target", PICTURE_UPLOADS)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png_header(50_000, 50_000), "pixels"),
        (png_header(16_000, 16_000), "at most 100,000,000 pixels"),
        (png_header(12_000, 12_000), "at most 100,000,000 pixels"),
        (png_header(60_000, 20), "at most 16,384 px"),
        (text_bomb(), "damaged"),
    ],
    ids=["50000", "16000", "12000", "wide", "text"],
)
def test_decompression_bombs_are_refused_before_they_are_unpacked(
    page: SafePage, target: str, data: bytes, words: str
) -> None:
    before = page.kept()
    answer = page.ask(f"{target}cat.png", "POST", data)
    assert answer.status == 400
    assert words in answer.words
    assert page.kept() == before


def test_a_dataset_that_is_a_bomb_is_stopped_and_leaves_nothing(page: SafePage) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("original/zeros.png", bytes(65 * 2**20))
    before = page.kept()
    answer = page.ask(f"{API}data/imports/upload?name=x.zip", "POST", packed.getvalue())
    assert answer.status == 400
    assert "far more than was sent" in answer.words
    assert page.kept() == before


def test_a_packed_request_is_not_unpacked(page: SafePage) -> None:
    """A body of a few kB that says it is packed must not become one of many MB."""
    data = gzip.compress(b'{"changes": {"accept": ["g"]}}')
    for encoding in ("gzip", "br", "deflate"):
        answer = page.ask(f"{API}keys", "POST", data, content_type="application/json",
                          content_encoding=encoding)  # fmt: skip
        assert answer.status in (400, 422)


@pytest.mark.parametrize(
    ("target", "limit"),
    [
        *((f"{target}a.png", guard.MAX_UPLOAD_BYTES) for target in PICTURE_UPLOADS),
        (f"{API}data/imports/upload?name=a.zip", guard.MAX_DATASET_BYTES),
        (f"{API}keys", guard.MAX_BODY_BYTES),
        (f"{API}sign-in", guard.MAX_BODY_BYTES),
    ],
)
def test_oversized_uploads_are_refused_before_they_are_read(
    page: SafePage, target: str, limit: int
) -> None:
    answer = page.ask(target, "POST", content_length=str(limit + 1))
    assert answer.status == 413
    assert f"{limit // 2**20} MiB" in answer.words
    for more in (
        {"transfer_encoding": "chunked", "content_length": "5"},
        {"content_length": "1e3"},
    ):
        assert page.ask(target, "POST", b"5\r\nabcde\r\n0\r\n\r\n", **more).status in (400, 411)


# ------------------------------ code in data


class Touch:
    """A pickle that makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def test_cve_2025_23045_no_upload_is_unpickled(page: SafePage, tmp_path: Path) -> None:
    """CVE-2025-23045: a file of the user's was unpickled, which runs what it says."""
    made, data = tmp_path / "made", pickle.dumps(Touch(tmp_path / "made"))
    for target in PICTURE_UPLOADS:
        assert page.ask(f"{target}x.png", "POST", data).status == 400
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("original/a.png", "background/a.png", "mask/a.png", "mask/a.npy", "data.pkl"):
            archive.writestr(name, data)
    answer = page.ask(f"{API}data/imports/upload?name=evil.zip", "POST", packed.getvalue())
    name = json.loads(answer.body)["uploaded"]
    with Store(tmp_path / "other") as other:
        folder = store_folders.import_path(page.store, name)
        with contextlib.suppress(ForgetmeError):
            assert import_dataset(other, folder, "folders").imported == 0
        assert other.samples() == []
    assert not made.exists()
    pickle.loads(data)
    assert made.exists(), "the bait must be a good one"


def test_cve_2025_23045_2024_32025_the_code_has_no_way_to_run_data() -> None:
    """CVE-2025-23045, CVE-2024-32025, CVE-2024-32026: pickles, `eval`, and lines for a shell."""
    bad = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load",
           "pickle.Unpickler", "marshal.loads", "shelve.open", "joblib.load"}  # fmt: skip
    found = []
    for path in [ROOT / "app.py", *(ROOT / "forgetme").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            said = {one.arg: ast.unparse(one.value) for one in node.keywords}
            if (
                name in bad
                or "shell" in said
                or said.get("allow_pickle", "False") != "False"
                or (name == "torch.load" and said.get("weights_only") != "True")
            ):
                found.append(f"{path.name}:{node.lineno} {name}")
    assert found == []


_started: list[tuple] = []  # programs


def _watch(event: str, arguments: tuple) -> None:
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"):
        _started.append((event, arguments))


def test_cve_2024_32025_32026_what_is_typed_reaches_no_command_line(
    page: SafePage, tmp_path: Path
) -> None:
    """CVE-2024-32025, CVE-2024-32026: a field of a form became part of a shell's line."""
    sys.addaudithook(_watch)
    made = tmp_path / "made"
    evil = f"cat; touch {made} #"
    _started.clear()
    asked = {"name": "evil", "format": "folders", "concept": evil}
    assert page.said("export_dataset", asked) == ""
    job = jobs.list(page.store)[0]
    jobs.stop(page.store, job.id, "ann", at_once=True)
    ((event, (program, command, _, environment)),) = _started
    assert (event, program) == ("subprocess.Popen", sys.executable)
    assert command == [sys.executable, "-m", "forgetme", "job", "run", job.id]
    assert evil not in str(environment)
    assert job.arguments["concept"] == evil
    assert not made.exists()


# ------------------------------ versions


def test_cve_2026_111497_gradio_and_brotli_have_their_last_security_fixes() -> None:
    """CVE-2026-111497: mended in Gradio 6.31, which asks for brotli 1.2.1."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    floor = next(line for line in lines if line.startswith("gradio")).split(">=")[1].split(",")[0]
    assert tuple(map(int, floor.split("."))) >= (6, 31)
    assert tuple(map(int, version("gradio").split(".")[:2])) >= (6, 31)
    assert tuple(map(int, version("brotli").split("."))) >= (1, 2, 1)
