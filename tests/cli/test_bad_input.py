"""Bad input gets a clear error and loses nothing: through the same commands as good input."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from typer.testing import CliRunner

from forgetme import cli
from forgetme.curate import batch
from forgetme.curate.review import Review
from forgetme.errors import DiskFullError, EmptyRegionError
from forgetme.record.images import array_sha, png_bytes, read_image
from forgetme.stages import models
from forgetme.store import Store


def noise(height=64, width=96, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def write_bad(folder):
    folder.mkdir()
    whole = png_bytes(noise())
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"I am no picture at all")
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(noise()).save(folder / "cut.jpg", quality=95)
    data = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("RGB", (20_000, 20)).save(folder / "wide.png")
    (folder / "page.png").write_bytes(b"<!doctype html><title>not found</title>")
    (folder / "folder.png").mkdir()
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    return {"zero", "text", "truncated", "cut", "one", "wide", "page", "link"}


def write_odd(folder):
    folder.mkdir()
    Image.fromarray(noise(channels=1)).save(folder / "gray.png")
    Image.fromarray(noise(channels=4), "CMYK").save(folder / "cmyk.jpg")
    deep = (np.random.default_rng(2).random((64, 96)) * 65535).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(noise(channels=4)).save(folder / "alpha.png")
    frames = [Image.fromarray(noise() // (k + 1)) for k in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise()).save(folder / "turned.jpg", exif=turned)
    Image.fromarray(noise()).quantize(16).save(folder / "palette.png")
    return {"gray", "cmyk", "deep", "alpha", "moving", "turned", "palette"}


@pytest.fixture
def anything(truth, monkeypatch):
    """Models that find an object in the middle of any picture."""

    seen = set()  # what was looked for objects in; fills are not

    def middle(image):
        seen.add(array_sha(np.array(image)))
        mask = np.zeros(image.shape[:2], bool)
        mask[
            image.shape[0] // 3 : image.shape[0] // 2, image.shape[1] // 3 : image.shape[1] // 2
        ] = 1
        return mask

    truth.truth.mask = middle
    truth.truth.knows = lambda image: array_sha(np.array(image)) in seen
    monkeypatch.setattr(models, "load_models", lambda *_, **__: truth.models)
    return truth


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


def test_every_broken_image_is_a_row_that_says_why_and_what_to_do(anything, drawn, tmp_path):
    names = write_bad(tmp_path / "in")
    shutil.copy(min((drawn / "original").iterdir()), tmp_path / "in" / "zz_good.png")
    result = run("curate", tmp_path / "in", "--concept", "cat", "--store", tmp_path / "s", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["broken"], report["selected"], report["failed"]) == (len(names), 1, [])
    with Store(tmp_path / "s") as store:
        rows = {row.name: row for row in store.samples()}
        assert set(rows) == names | {"zz_good"}
        for name in names:
            assert rows[name].state == "broken"
            assert ";" in rows[name].error  # what is wrong; what to do
            assert "Traceback" not in rows[name].error
        assert "20000x20" in rows["wide"].error
        assert "0 bytes" in rows["zero"].error
    assert result.stderr.count(" px") >= 2  # each is named while it runs


def test_a_broken_image_stays_one_row_however_often_it_is_tried(anything, tmp_path):
    write_bad(tmp_path / "in")
    arguments = ["curate", tmp_path / "in", "--concept", "cat", "--store", tmp_path / "s"]
    run(*arguments)
    with Store(tmp_path / "s") as store:
        events = len(store.events())
    run(*arguments)
    with Store(tmp_path / "s") as store:
        assert len(store.events()) == events


def test_every_odd_image_becomes_an_upright_rgb_quadruple(anything, tmp_path):
    names = write_odd(tmp_path / "in")
    result = run("curate", tmp_path / "in", "--concept", "cat", "--store", tmp_path / "s", "--json")
    assert json.loads(result.stdout)["selected"] == len(names), result.output
    with Store(tmp_path / "s") as store:
        rows = {row.name: row for row in store.samples()}
        for name in names:
            image = store.get_image(rows[name].image_sha)
            assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
        assert store.get_image(rows["turned"].image_sha).shape == (96, 64, 3)
        assert any("first of 3 frames" in note for note in rows["moving"].notes)
        for name in ("gray", "cmyk", "deep", "alpha", "turned"):
            assert rows[name].notes, name


def test_an_image_without_suffix_is_read_when_it_is_named(anything, tmp_path):
    (tmp_path / "noname").write_bytes(png_bytes(noise()))
    result = run("curate", tmp_path / "noname", "--concept", "cat", "--store", tmp_path / "s")
    assert "1 images: 1 selected" in result.stdout


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((64, 96), bool), "inside"),
        (np.ones((64, 96), bool), "outside"),
        (np.ones((32, 48), bool), "64x96"),
    ],
)
def test_score_with_a_mask_that_cannot_be_says_why(tmp_path, mask, words):
    for name in ("original", "edited"):
        (tmp_path / f"{name}.png").write_bytes(png_bytes(noise()))
    (tmp_path / "mask.png").write_bytes(png_bytes(mask))
    result = run("score", *(tmp_path / f"{name}.png" for name in ("original", "edited", "mask")))
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.splitlines()) == 1


def test_score_of_images_of_two_sizes_says_so(tmp_path):
    (tmp_path / "a.png").write_bytes(png_bytes(noise()))
    (tmp_path / "b.png").write_bytes(png_bytes(noise(50, 50)))
    (tmp_path / "mask.png").write_bytes(png_bytes(noise()[..., 0] > 127))
    result = run("score", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "mask.png")
    assert result.exit_code == 1
    assert "50" in result.stderr


def test_a_mask_over_everything_stays_with_the_human(anything, store, tmp_path):
    anything.truth.mask = lambda image: np.ones(image.shape[:2], bool)
    anything.truth.knows = lambda image: True
    row = store.import_image(noise(), name="full", concept="cat", by="ann")
    review = Review(store, anything.models)
    with pytest.raises(EmptyRegionError, match="shrink the mask or reject"):
        review.prepare(row.id)
    assert store.sample(row.id).state == "prepared"
    assert store.sample(row.id).tries == []
    assert store.check() == []


# ---------------------------------------------------------------- the disk and the store


def test_a_full_disk_stops_the_batch_in_words_and_loses_nothing(
    anything, drawn, tmp_path, monkeypatch
):
    arguments = ["curate", drawn, "--concept", "cat", "--store", tmp_path / "s"]
    assert run(*arguments, "--limit", 2).exit_code == 0
    sync = os.fsync

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = run(*arguments)
    monkeypatch.setattr(os, "fsync", sync)
    assert result.exit_code == 1
    assert "no room left" in result.stderr
    assert "free some disk space" in result.stderr
    assert "Traceback" not in result.output
    with Store(tmp_path / "s") as store:
        assert store.check() == []
        assert store.counts()["prepared"] == 2
    result = run(*arguments)
    assert result.stdout.startswith("4 images: 4 selected")


def test_a_full_disk_under_the_curators_hand_keeps_the_mask_before(
    anything, store, drawn, monkeypatch
):
    path = min((drawn / "original").iterdir())
    row = store.import_image(read_image(path), name="a", concept="cat", by="ann")
    review = Review(store, anything.models)
    before = review.prepare(row.id)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(DiskFullError, match="free some disk space"):
        review.grow(row.id, 2)
    monkeypatch.undo()
    assert store.sample(row.id) == before


def test_a_store_of_a_newer_version_is_left_alone(anything, drawn, tmp_path):
    Store(tmp_path / "s").close()
    with sqlite3.connect(tmp_path / "s" / "store.db") as database:
        database.execute("update alembic_version set version_num = '9999'")
    for arguments in (
        ["stats", "--store", tmp_path / "s"],
        ["curate", drawn, "--concept", "cat", "--store", tmp_path / "s"],
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "newer" in result.stderr
        assert "Traceback" not in result.output
    with sqlite3.connect(tmp_path / "s" / "store.db") as database:
        assert database.execute("select version_num from alembic_version").fetchall() == [("9999",)]
        assert database.execute("select count(*) from event").fetchone() == (0,)


def test_a_store_whose_place_is_taken_by_a_file_says_so(anything, drawn, tmp_path):
    (tmp_path / "s").write_text("I am a file")
    result = run("curate", drawn, "--concept", "cat", "--store", tmp_path / "s")
    assert result.exit_code == 1
    assert "file" in result.stderr


BESIDE = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from forgetme.curate import batch, pipeline
from forgetme.store import Store
from truth_models import load_truth
drawn = Path({drawn!r})
truth = load_truth(drawn)
print("ready", flush=True)
sys.stdin.readline()
with Store({store!r}) as store:
    for concept in ("cat a", "cat b", "cat c"):
        report = batch.curate(sorted((drawn / "original").iterdir()), concept,
                                 truth.models, store)
        assert not report.failed, report.failed
"""


def test_two_processes_share_a_store_and_do_nothing_twice(drawn, tmp_path):
    place = tmp_path / "s"
    code = BESIDE.format(
        root=str(ROOT), tests=str(ROOT / "tests"), drawn=str(drawn), store=str(place)
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    with Store(place) as store:
        rows = store.samples(limit=None)
        assert len(rows) == 12
        assert all(row.state == "prepared" for row in rows)
        for row in rows:
            kinds = [event.kind for event in store.events(row.id)]
            assert kinds.count("proposed") == 1
        assert store.check() == []


def test_a_concept_with_a_path_in_it_writes_nowhere_else(anything, drawn, tmp_path):
    name = "../../outside"
    result = run("curate", drawn, "--concept", name, "--store", tmp_path / "a" / "b" / "s",
                 "--auto-accept", "--low-d", 0, "--low-s", 0)  # fmt: skip
    assert result.exit_code == 0, result.output
    out = tmp_path / "a" / "b" / "out"
    assert run("export", "--store", tmp_path / "a" / "b" / "s", out).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b"}
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {"s", "out"}
    line = (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(line)["concept"] == name


def test_library_and_command_agree_on_what_an_image_is(tmp_path):
    write_bad(tmp_path / "in")
    found, _ = batch.find_images(tmp_path / "in")
    assert "folder.png" not in {path.name for path in found}
