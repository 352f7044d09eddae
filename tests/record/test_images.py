"""Reading every kind of odd or broken file, and writing so that nothing can be lost."""

from __future__ import annotations

import errno
import io
import os
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from forgetme.errors import BrokenImageError, DiskFullError, ForgetmeError
from forgetme.record import images
from forgetme.record.images import (
    array_sha,
    atomic_write,
    png_bytes,
    read_image,
    read_image_with_notes,
    read_mask,
)

RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
SMOOTH = np.dstack([*np.meshgrid(np.arange(56) * 4, np.arange(40) * 6), np.full((40, 56), 90)])
SMOOTH = SMOOTH.astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------ what is read
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_rgb_comes_back_as_it_was_without_notes(tmp_path, kind):
    path = tmp_path / f"picture.{kind.lower()}"
    path.write_bytes(encoded(Image.fromarray(PIXELS), kind))
    for source in (path, str(path), path.read_bytes()):
        read = read_image_with_notes(source)
        assert (read.image == PIXELS).all()
        assert read.notes == ()


def test_an_image_is_contiguous_writable_uint8_rgb():
    image = read_image(png_bytes(PIXELS))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    image[0, 0] = 0


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_files_come_back_nearly(kind):
    read = read_image_with_notes(encoded(Image.fromarray(SMOOTH), kind, quality=95))
    assert np.abs(read.image.astype(int) - SMOOTH).mean() < 4
    assert read.notes == ()


def test_grayscale_becomes_rgb():
    gray = PIXELS[..., 0]
    read = read_image_with_notes(encoded(Image.fromarray(gray), "PNG"))
    assert (read.image == np.dstack([gray] * 3)).all()
    assert read.notes == ("grayscale",)


def test_one_bit_becomes_black_and_white():
    read = read_image_with_notes(encoded(Image.fromarray(PIXELS[..., 0] > 99), "PNG"))
    assert (read.image == np.where(PIXELS[..., :1] > 99, 255, 0)).all()
    assert read.notes == ("black and white",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    read = read_image_with_notes(encoded(cmyk, kind))
    assert read.image.shape == SMOOTH.shape
    assert np.abs(read.image.astype(int) - SMOOTH).mean() < 6
    assert read.notes == ("CMYK converted to RGB without a colour profile",)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_rounded_to_eight(kind):
    deep = RNG.integers(0, 65536, (40, 56), dtype=np.uint16)
    deep[0, :3] = (0, 65535, 257)
    read = read_image_with_notes(encoded(Image.fromarray(deep), kind))
    assert (read.image[..., 1] == np.round(deep / 257)).all()
    assert "16 bits per channel reduced to 8" in read.notes
    assert "grayscale" in read.notes


def test_sixteen_bit_colour_is_reduced_to_eight():
    deep = RNG.integers(0, 65536, (40, 56, 3), dtype=np.uint16)
    done, data = cv2.imencode(".png", deep[..., ::-1])
    assert done
    read = read_image_with_notes(data.tobytes())
    assert np.abs(read.image.astype(int) - deep / 257).max() <= 1
    assert read.notes == ("16 bits per channel reduced to 8",)


def test_transparency_is_laid_on_white():
    rgba = np.dstack([PIXELS, np.full((40, 56), 255, np.uint8)])
    rgba[0, 0] = (0, 0, 0, 0)
    rgba[0, 1] = (0, 0, 0, 128)
    read = read_image_with_notes(png_bytes(rgba))
    assert read.image[0, 0].tolist() == [255, 255, 255]
    assert read.image[0, 1].tolist() == [127, 127, 127]
    assert (read.image[1:] == PIXELS[1:]).all()
    assert read.notes == ("transparency laid on white",)


def test_opaque_alpha_needs_no_note():
    rgba = np.dstack([PIXELS, np.full((40, 56), 255, np.uint8)])
    read = read_image_with_notes(png_bytes(rgba))
    assert (read.image == PIXELS).all()
    assert read.notes == ()


def test_transparent_palette_and_gray_alpha_are_laid_on_white():
    palette = Image.fromarray(PIXELS).quantize(8)
    data = encoded(palette, "PNG", transparency=int(np.asarray(palette)[0, 0]))
    assert read_image(data)[0, 0].tolist() == [255, 255, 255]
    gray_alpha = Image.fromarray(np.dstack([PIXELS[..., 0], np.zeros((40, 56), np.uint8)]), "LA")
    assert (read_image(encoded(gray_alpha, "PNG")) == 255).all()


def test_palette_becomes_rgb_without_a_note():
    palette = Image.fromarray(PIXELS).quantize(200)
    read = read_image_with_notes(encoded(palette, "PNG"))
    assert (read.image == np.asarray(palette.convert("RGB"))).all()
    assert read.notes == ()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_is_taken_with_a_note(kind):
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    read = read_image_with_notes(data)
    assert read.image[12, 16].tolist() == [255, 0, 0]
    assert read.notes == ("animated: the first of 3 frames is used",)


def test_the_extra_picture_of_a_phones_photo_is_not_an_animation():
    extra = Image.new("RGB", (56, 40))
    data = encoded(Image.fromarray(SMOOTH), "MPO", save_all=True, append_images=[extra])
    read = read_image_with_notes(data)
    assert np.abs(read.image.astype(int) - SMOOTH).mean() < 6
    assert read.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_image_with_notes(encoded(Image.fromarray(PIXELS), "PNG", exif=exif))
    upright = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1),
        7: PIXELS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PIXELS),
    }[orientation]
    assert (read.image == upright).all()
    assert bool(read.notes) == (orientation != 1)


def test_exif_rotated_jpeg_is_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    read = read_image_with_notes(encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif))
    assert read.image.shape == (56, 40, 3)
    assert read.notes == ("turned upright by its EXIF orientation",)


def test_damaged_exif_does_not_cost_the_picture():
    data = encoded(Image.fromarray(SMOOTH), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    read = read_image_with_notes(data)
    assert read.image.shape == SMOOTH.shape


def test_a_name_does_not_matter(tmp_path):
    path = tmp_path / "it's a «cat» 🐈.jpeg"
    path.write_bytes(png_bytes(PIXELS))
    assert (read_image(path) == PIXELS).all()


# ------------------------------------------------------------------ what is refused
def broken(data: bytes) -> str:
    with pytest.raises(BrokenImageError) as caught:
        read_image(data)
    assert isinstance(caught.value, ForgetmeError)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_refused(kind, share):
    data = encoded(Image.fromarray(PIXELS), kind)
    words = broken(data[: int(len(data) * share)])
    assert "again" in words or "save it as PNG" in words


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_an_image_or_a_clear_error(seed):
    rng = np.random.default_rng(seed)
    kind = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")[seed % 6]
    data = bytearray(encoded(Image.fromarray(SMOOTH), kind))
    for place in rng.integers(0, len(data), 8):
        data[place] = rng.integers(0, 256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on damaged metadata
        try:
            image = read_image(bytes(data))
        except BrokenImageError:
            return
    assert image.ndim == 3
    assert image.dtype == np.uint8


def test_a_file_that_is_empty_missing_or_a_folder_is_refused_by_name(tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, words in ((empty, "0 bytes"), (tmp_path / "no.png", "No such"), (tmp_path, "irec")):
        with pytest.raises(BrokenImageError, match=words) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
    with pytest.raises(BrokenImageError, match="cannot be opened"):
        read_image("a\0b.png")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\xef\xbb\xbf  <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"just some words", "save it as PNG or JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "save it as PNG or JPEG"),
        (b"\0" * 500, "save it as PNG or JPEG"),
    ],
)
def test_a_disguised_file_is_called_what_it_is(tmp_path, data, words):
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    with pytest.raises(BrokenImageError, match=words) as caught:
        read_image(path)
    assert "cat.png" in str(caught.value)


@pytest.mark.parametrize("size", [(1, 1), (15, 100), (100, 15)])
def test_tiny_images_are_refused_with_the_limit(size):
    words = broken(encoded(Image.new("RGB", size), "PNG"))
    assert f"{size[0]}x{size[1]}" in words
    assert "at least 16 px" in words


def test_the_smallest_image_is_read():
    assert read_image(encoded(Image.new("RGB", (16, 16)), "PNG")).shape == (16, 16, 3)


@pytest.mark.parametrize("size", [(20_000, 20), (20, 16_385)])
def test_very_wide_images_are_refused_with_the_limit(size):
    words = broken(encoded(Image.new("RGB", size), "PNG"))
    assert f"{size[0]}x{size[1]}" in words
    assert "at most 16,384 px" in words


def test_the_widest_image_is_read():
    data = encoded(Image.new("RGB", (16_384, 16)), "PNG")
    assert read_image(data).shape == (16, 16_384, 3)


def test_max_pixels_can_be_lowered():
    with pytest.raises(BrokenImageError, match="at most 1,000 pixels"):
        read_image(png_bytes(PIXELS), max_pixels=1000)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RNG.random((20, 20)).astype(np.float32)),
        Image.fromarray(np.full((20, 20), 70_000, np.int32)),
    ],
)
def test_pixels_of_unknown_range_are_refused(image):
    assert "save it as 8-bit" in broken(encoded(image, "TIFF"))


# ------------------------------------------------------------------ masks
@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.where(PIXELS[..., 0] > 99, 128, 127).astype(np.uint8)),
        Image.fromarray(np.where(PIXELS[..., 0] > 99, 1, 0).astype(np.uint8)),
        Image.fromarray(PIXELS[..., 0] > 99),
        Image.fromarray(np.where(PIXELS[..., 0] > 99, 65535, 0).astype(np.uint16)),
        Image.fromarray(np.where(PIXELS[..., :1] > 99, [[[255] * 3]], 0).astype(np.uint8)),
        Image.fromarray(PIXELS[..., 0] > 99).convert("L").convert("P"),
        Image.fromarray(
            np.where(PIXELS[..., :1] > 99, [[[255] * 4]], [[[255] * 3 + [0]]]).astype(np.uint8)
        ),
    ],
    ids=["half", "zero-one", "bit", "deep", "rgb", "palette", "alpha"],
)
def test_every_usual_mask_file_is_read(tmp_path, image):
    path = tmp_path / "mask.png"
    image.save(path)
    mask = read_mask(path)
    assert mask.dtype == bool
    assert (mask == (PIXELS[..., 0] > 99)).all()


def test_a_broken_mask_file_is_refused():
    with pytest.raises(BrokenImageError):
        read_mask(b"nothing")


# ------------------------------------------------------------------ writing
@given(
    hnp.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(16, 20), st.integers(16, 20)),
            st.tuples(st.integers(16, 20), st.integers(16, 20), st.sampled_from([3, 4])),
        ),
    )
)
@settings(max_examples=50, deadline=None)
def test_png_keeps_every_value(array):
    assert (np.asarray(Image.open(io.BytesIO(png_bytes(array)))) == array).all()


def test_png_of_a_mask_and_of_a_cut_array():
    mask = PIXELS[..., 0] > 99
    assert (read_mask(png_bytes(mask)) == mask).all()
    assert (read_image(png_bytes(PIXELS[::2, ::-2])) == PIXELS[::2, ::-2]).all()


@pytest.mark.parametrize("array", [PIXELS / 255, PIXELS[None], PIXELS[..., :2]])
def test_png_of_another_kind_of_array_is_refused(array):
    with pytest.raises(ValueError, match="a PNG needs"):
        png_bytes(array)


def test_sha_depends_on_values_shape_and_dtype_only():
    sha = array_sha(PIXELS)
    assert len(sha) == 64
    assert array_sha(np.asfortranarray(PIXELS)) == sha
    assert array_sha(PIXELS[::-1][::-1]) == sha
    changed = PIXELS.copy()
    changed[-1, -1, -1] ^= 1
    others = [changed, PIXELS.reshape(56, 40, 3), PIXELS.astype(np.int8), PIXELS.reshape(-1)]
    assert len({sha, *map(array_sha, others)}) == 5


def test_atomic_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    atomic_write(path, b"old content")
    atomic_write(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file modes")
def test_atomic_write_gives_the_usual_permissions(tmp_path):
    atomic_write(tmp_path / "a.bin", b"x")
    (tmp_path / "b.bin").write_bytes(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_content_and_says_what_to_do(tmp_path, monkeypatch, step):
    path = tmp_path / "a.bin"
    atomic_write(path, b"old content")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(images.os, step, full)
    with pytest.raises(DiskFullError, match="free some disk space"):
        atomic_write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old content"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_interrupted_write_keeps_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    atomic_write(path, b"old content")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(images.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old content"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_bytes_are_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    steps = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(
        images.os, "fsync", lambda handle: (steps.append("fsync"), real_fsync(handle))
    )
    monkeypatch.setattr(
        images.os, "replace", lambda *names: (steps.append("replace"), real_replace(*names))
    )
    atomic_write(tmp_path / "a.bin", b"x")
    assert steps == (["fsync", "replace", "fsync"] if os.name == "posix" else ["fsync", "replace"])


def test_a_missing_folder_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "no" / "a.bin", b"x")
