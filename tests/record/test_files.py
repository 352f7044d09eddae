"""Only regular files are opened, at once, and none larger than it may be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from peak import peak_mib

from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record import files
from forgetme.record.files import open_regular, read_bytes, read_lines, read_text
from forgetme.record.images import read_image, read_mask

posix = pytest.mark.skipif(os.name != "posix", reason="needs named pipes and /dev/zero")


def odd_files(folder: Path) -> dict[str, Path]:
    """Makes what is no file to read, by the word that it is refused with."""
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(3 * 2**30)
    found = {"named pipe": "pipe", "device": "zero", "directory": "folder", "symbolic": "loop"}
    names = {**found, "3,221,225,472 bytes": "sparse"}
    return {words: folder / f"{name}.png" for words, name in names.items()}


@posix
def test_what_is_no_regular_file_or_too_large_is_refused_at_once(tmp_path):
    for words, path in odd_files(tmp_path).items():
        for read in (open_regular, read_bytes, read_text, lambda path: list(read_lines(path))):
            with pytest.raises(ForgetmeError, match=words) as caught:
                read(path)
            assert str(path) in str(caught.value)
        for read in (read_image, read_mask):
            with pytest.raises(BrokenImageError, match=words):
                read(path)


@posix
def test_a_sparse_file_and_a_device_take_no_memory(tmp_path):
    code = (
        "from forgetme.record.images import read_image\nbefore = peak()\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_image(path)\n"
        "    except ForgetmeError: continue\n"
        "    raise AssertionError(path)"
    )
    assert peak_mib(code, *odd_files(tmp_path).values()) < 64


def test_text_loses_its_mark_and_lines_end_at_a_line_feed_only(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffa\u2028b\r\nc\n".encode())
    assert read_text(path) == "a\u2028b\r\nc\n"
    assert [line.decode("utf-8-sig") for line in read_lines(path)] == ["a\u2028b", "c"]
    assert read_bytes(path, 12) == path.read_bytes()
    with pytest.raises(ForgetmeError, match="at most 11 are read"):
        read_bytes(path, 11)
    with pytest.raises(ForgetmeError, match="line 1 has more than 5 bytes"):
        list(read_lines(path, line=5))
    path.write_bytes(b"caf\xe9")
    with pytest.raises(ForgetmeError, match="not UTF-8 text .* at byte 3"):
        read_text(path)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".heic"])
def test_photos_of_phones_and_old_tools_are_found_in_a_folder(tmp_path, suffix):
    from forgetme.curate.batch import find_images

    (tmp_path / f"a{suffix}").touch()
    assert find_images(tmp_path) == ([tmp_path / f"a{suffix}"], 0)


def test_a_heic_photo_is_named_with_what_to_do():
    with pytest.raises(BrokenImageError, match=r"is a HEIC photo.*export it as JPEG"):
        read_image(b"\0\0\0\x18ftypheic" + b"\0" * 100)


@pytest.mark.parametrize("installed", [True, False])
def test_bundled_files_are_in_an_installed_package_and_beside_it_in_a_checkout(
    tmp_path, monkeypatch, installed
):
    package = tmp_path / "forgetme"
    folder = (package if installed else tmp_path) / "assets"
    folder.mkdir(parents=True)
    monkeypatch.setattr(files, "PACKAGE", package)
    assert files.bundled("tiny") == folder / "tiny"
