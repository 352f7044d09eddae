"""The folder of images: named by pixels, whole or absent, never rewritten."""

import os

import numpy as np
import pytest
from PIL import Image
from small_store import picture, square

from forgetme.errors import ForgetmeError
from forgetme.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.mark.parametrize(
    "array",
    [picture(1), np.dstack([picture(1), picture(2)[..., 0]]), picture(3)[..., 1]],
    ids=["rgb", "rgba", "gray"],
)
def test_blobs_give_back_every_pixel(blobs, array):
    back = blobs.get(blobs.put(array))
    assert back.dtype == np.uint8
    assert np.array_equal(back, array)


def test_blobs_keep_a_bool_mask_as_0_and_255(blobs):
    assert np.array_equal(blobs.get(blobs.put(square())), np.where(square(), 255, 0))


def test_blobs_name_an_image_by_its_pixels_and_not_by_its_encoding(blobs):
    sha = blobs.put(picture(1))
    path = blobs.path(sha)
    Image.fromarray(picture(1)).save(path, format="PNG", compress_level=0)
    assert blobs.problem(sha) is None
    assert blobs.put(picture(2)) != sha


def test_blobs_of_one_content_but_other_shape_differ(blobs):
    flat = np.zeros((20, 30), np.uint8)
    assert blobs.put(flat) != blobs.put(flat.reshape(30, 20))


def test_blobs_never_write_an_existing_file_again(blobs):
    path = blobs.path(blobs.put(picture(1)))
    before = (path.stat().st_ino, path.stat().st_mtime_ns)
    blobs.put(picture(1))
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


def test_blobs_spread_over_two_levels_of_folders(blobs):
    sha = blobs.put(picture(1))
    assert blobs.path(sha) == blobs.folder / sha[:2] / sha[2:4] / f"{sha}.png"


def test_blobs_sync_the_file_and_every_new_folder_before_put_returns(blobs, monkeypatch):
    synced = []
    real = os.fsync

    def remember(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to name what was synced")
    monkeypatch.setattr(os, "fsync", remember)
    path = blobs.path(blobs.put(picture(1)))
    folders = [path.parent, path.parent.parent, blobs.folder, blobs.folder.parent]
    assert {str(folder) for folder in folders} <= set(synced)
    assert any(name.startswith(f"{path.parent}/") for name in synced)
    assert synced[-1] == str(path.parent), "the rename is durable only when its folder is"


def test_blobs_leave_nothing_behind_when_the_write_fails(blobs, monkeypatch):
    def fail(source, target):
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="I/O error"):
        blobs.put(picture(1))
    assert [path for path in blobs.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("sha", ["../../etc/passwd", "", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_blobs_take_only_a_sha_for_a_name(blobs, sha):
    with pytest.raises(ValueError, match="64 hex digits"):
        blobs.path(sha)


def test_blobs_say_what_to_do_about_a_missing_image(blobs):
    with pytest.raises(ForgetmeError, match="backup"):
        blobs.path("a" * 64)


@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_blobs_notice_damage(blobs, damage):
    sha = blobs.put(picture(1))
    path = blobs.path(sha)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "changed":
        Image.fromarray(picture(2)).save(path)
    else:
        path.unlink()
    assert ("missing" if damage == "removed" else "damaged") in blobs.problem(sha)


def test_blobs_tell_an_images_size_without_decoding_it(blobs):
    sha = blobs.put(picture(1))
    path = blobs.path(sha)
    path.write_bytes(path.read_bytes()[:60])
    assert blobs.size(sha) == (24, 20)
