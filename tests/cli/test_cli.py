"""The commands as a user types them: results, notes, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from typer.testing import CliRunner

from forgetme import cli
from forgetme.cli import curation, frame
from forgetme.record.entangled import entangled_d
from forgetme.record.images import png_bytes, read_image, read_mask
from forgetme.record.settings import Settings
from forgetme.stages import doctor, models, weights
from forgetme.store import Store


def run(*arguments: object):
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


def run_json(*arguments: object):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def knowing(truth, monkeypatch):
    """The curate command with models that know the truth."""
    monkeypatch.setattr(models, "load_models", lambda *_, **__: truth.models)
    return truth.truth


@pytest.fixture
def curated(drawn, knowing, tmp_path):
    place = tmp_path / "curated"
    result = run("curate", drawn, "--concept", "cat", "--store", place, "--auto-accept",
                 "--low-d", 0, "--low-s", 0)  # fmt: skip
    assert result.exit_code == 0, result.output
    with Store(place) as store:  # Telea's fills may be smeared, which the policy takes for low
        for row in store.samples():
            if row.state == "prepared":
                how = {"how": "policy"}
                store.append(row.id, "accepted", how, by="policy", expected_version=row.version)
    return place


# ---------------------------------------------------------------- the shape of it


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "sys.argv = ['forgetme', '--help']\n"
        "import runpy\n"
        "try: runpy.run_module('forgetme', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'sqlalchemy', 'gradio', 'cv2', 'scipy', 'diffusers', 'openai', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    for command in ("scenes", "curate", "stats", "export", "score", "merge", "doctor", "tiny"):
        assert command in done.stdout


def test_wrong_usage_exits_2():
    for arguments in (
        ["frobnicate"],
        ["curate"],
        ["scenes", "x", "--count", "-1"],
        ["export", "--store", "x", "out", "--format", "xml"],
    ):
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert result.stdout == ""


def test_an_error_is_one_line_on_stderr_and_exits_1(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "forgetme", "stats", "--store", tmp_path / "none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "no store here" in done.stderr
    assert not (tmp_path / "none").exists()


def test_choices_and_defaults_are_those_of_the_library():
    assert get_args(frame.Preset) == get_args(models.Preset)
    assert Settings() == curation.DEFAULTS


# ---------------------------------------------------------------- scenes


def test_scenes_writes_truth_and_is_repeatable(tmp_path):
    for name in ("a", "b"):
        out = run_json("scenes", tmp_path / name, "--count", 2, "--seed", 5, "--concept", "dog",
                       "--size", 64)  # fmt: skip
        assert [row["concept"] for row in out["scenes"]] == ["dog", "dog"]
    for layer in ("original", "foreground", "background", "mask"):
        files = sorted((tmp_path / "a" / layer).iterdir())
        assert len(files) == 2
        for file in files:
            assert file.read_bytes() == (tmp_path / "b" / layer / file.name).read_bytes()


def test_scenes_of_an_unknown_concept_lists_the_known(tmp_path):
    result = run("scenes", tmp_path / "a", "--concept", "unicorn")
    assert result.exit_code == 1
    assert "cat" in result.stderr


def test_ctrl_c_in_any_command_exits_130(monkeypatch, tmp_path):
    from forgetme.scenes import write

    def stops(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "write_scenes", stops)
    result = run("scenes", tmp_path / "a")
    assert result.exit_code == 130
    assert result.stderr.strip() == "stopped"


# ---------------------------------------------------------------- curate


def test_curate_reports_and_fills_the_store(drawn, knowing, tmp_path):
    report = run_json("curate", drawn / "original", "--concept", "cat", "--store", tmp_path / "s")
    assert (report["images"], report["selected"], report["accepted"]) == (4, 4, 0)
    with Store(tmp_path / "s") as store:
        assert store.counts("cat")["prepared"] == 4


def test_curate_says_what_it_does_on_stderr_and_the_result_on_stdout(drawn, knowing, tmp_path):
    result = run("curate", drawn, "--concept", "cat", "--store", tmp_path / "s")
    assert result.stdout.startswith("4 images: 4 selected (100.0 %)")
    assert "4/4 cat_" in result.stderr


def test_curate_without_any_answer_says_why_and_exits_1(drawn, knowing, tmp_path):
    arguments = ["curate", drawn, "--concept", "cat", "--store", tmp_path / "s"]
    knowing.silent = True
    result = run(*arguments)
    assert result.exit_code == 1
    assert "0 wait for you, 4 without an answer" in result.stdout
    assert (
        "no answer for 4 of 4 images; the next run asks again: no answer in 20 s" in result.stderr
    )
    knowing.silent = False
    assert run_json(*arguments)["selected"] == 4


def test_curate_resumes(drawn, knowing, tmp_path):
    arguments = ["curate", drawn, "--concept", "cat", "--store", tmp_path / "s"]
    assert run_json(*arguments, "--limit", 1)["images"] == 1
    report = run_json(*arguments, "--resume")
    assert (report["images"], report["resumed"]) == (4, 1)
    assert run_json(*arguments)["resumed"] == 4


def test_curate_passes_its_settings_on(drawn, knowing, tmp_path):
    run_json("curate", drawn, "--concept", "cat", "--store", tmp_path / "s", "--low-d", 0.9,
             "--low-s", 0.95, "--dilate-px", 7, "--variant", "released")  # fmt: skip
    with Store(tmp_path / "s") as store:
        made = store.samples()[0].tries[0]
    thresholds = made["scores"]["thresholds"]
    assert (thresholds["low_d"], thresholds["low_s"]) == (0.9, 0.95)
    assert made["settings"]["dilate_px"] == 7
    assert made["scores"]["d"]["variant"] == "released"


def test_curate_asks_at_most_so_many_times(drawn, knowing, tmp_path):
    knowing.says = False
    run_json("curate", drawn, "--concept", "cat", "--store", tmp_path / "s", "--ask", 2)
    assert len(knowing.asked) == 4 * 2


def test_curate_runs_the_real_classes_from_files(drawn, small_assets, tmp_path):
    report = run_json(
        "curate", drawn, "--concept", "cat", "--store", tmp_path / "s", "--limit", 1,
        "--segmenter", small_assets / "segmenter.safetensors",
        "--ranker", small_assets / "ranker.safetensors",
        "--verifier", "clip",
        "--inpainter", small_assets / "filler.pt",
        "--device", "cpu",
    )  # fmt: skip
    assert report["images"] == 1
    assert report["failed"] == []
    with Store(tmp_path / "s") as store:
        assert store.samples()[0].state in ("prepared", "waiting")
        assert store.samples()[0].proposals


def test_a_warning_about_every_image_is_said_once(drawn, small_assets, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "forgetme", "curate", drawn, "--concept", "zebra"),
            *("--store", tmp_path / "s", "--device", "cpu", "--limit", "3"),
            *("--segmenter", small_assets / "segmenter.safetensors"),
            *("--ranker", small_assets / "ranker.safetensors"),
            *("--inpainter", small_assets / "filler.pt"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("never taught 'zebra'") == 1


def test_curate_with_an_unknown_model_name_exits_2(drawn, tmp_path):
    result = run("curate", drawn, "--concept", "cat", "--store", tmp_path / "s", "--segmenter", "x")
    assert result.exit_code == 2
    assert "sam-vit-b" in result.stderr.replace("\n", " ")


def test_curate_without_weights_names_the_command_to_run(drawn, tmp_path):
    result = run("curate", drawn, "--concept", "cat", "--store", tmp_path / "s",
                 "--segmenter", tmp_path / "no.safetensors")  # fmt: skip
    assert result.exit_code == 1
    assert "no.safetensors" in result.stderr
    assert "Traceback" not in result.output


def test_curate_of_a_folder_without_images_says_so(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("x")
    result = run("curate", tmp_path / "in", "--concept", "cat", "--store", tmp_path / "s")
    assert result.exit_code == 1
    assert "no images in it" in result.stderr
    assert "1 other files" in result.stderr


def test_ctrl_c_in_the_middle_exits_130_and_the_next_run_goes_on(drawn, knowing, tmp_path):
    mask = knowing.mask

    def stops(image):
        if knowing.calls == 3:
            raise KeyboardInterrupt
        return mask(image)

    knowing.mask = stops
    arguments = ["curate", drawn, "--concept", "cat", "--store", tmp_path / "s"]
    result = run(*arguments)
    assert result.exit_code == 130
    assert "everything finished is saved; run again to resume" in result.stderr
    knowing.mask = mask
    report = run_json(*arguments)
    assert (report["resumed"], report["selected"]) == (2, 4)


def test_a_real_ctrl_c_leaves_a_sound_store(small_assets, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for k in range(300):
        noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (tmp_path / "in" / f"{k:03d}.png").write_bytes(png_bytes(noise))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "forgetme", "curate", tmp_path / "in", "--concept", "cat"),
            *("--store", tmp_path / "s", "--device", "cpu"),
            *("--segmenter", small_assets / "segmenter.safetensors"),
            *("--ranker", small_assets / "ranker.safetensors"),
            *("--inpainter", small_assets / "filler.pt"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 300  # a busy machine takes long to load torch
    done = 0
    while done < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
        if (tmp_path / "s" / "store.db").exists():
            with Store(tmp_path / "s") as store:
                counts = store.counts()
                done = counts["prepared"] + counts["waiting"]
    process.send_signal(signal.SIGINT)
    _, notes = process.communicate(timeout=120)
    # Python itself ends by the signal where it struck inside a C library; a shell says 130 to both
    assert process.returncode in (130, -signal.SIGINT), notes
    assert "run again to resume" in notes
    assert "Traceback" not in notes
    with Store(tmp_path / "s") as store:
        assert 2 <= len(store.samples(limit=None)) < 300
        assert store.check() == []


# ---------------------------------------------------------------- stats and export


def test_stats_prints_table_1(curated):
    result = run("stats", "--store", curated)
    assert result.exit_code == 0
    cells = next(line for line in result.stdout.splitlines() if "<cat>" in line).split()
    assert cells[:5] == ["cat", "<cat>", "4", "4", "100.00%"]
    line = run_json("stats", "--store", curated)["concepts"][0]
    assert (line["images"], line["selected"], line["policy"]) == (4, 4, 4)
    with Store(curated) as store:
        assert line["mean_d"] == pytest.approx(np.mean([row.score_d for row in store.samples()]))


def test_stats_of_an_empty_store_says_how_to_fill_it(tmp_path):
    Store(tmp_path / "s").close()
    result = run("stats", "--store", tmp_path / "s")
    assert result.exit_code == 0
    assert "curate" in result.stderr


def test_export_writes_the_four_folders_exactly(curated, drawn, tmp_path):
    report = run_json("export", "--store", curated, tmp_path / "out", "--format", "folders")
    assert report["exported"] == 4
    for path in (drawn / "original").iterdir():
        assert np.array_equal(
            read_image(tmp_path / "out" / "original" / path.name), read_image(path)
        )
        mask = read_mask(tmp_path / "out" / "mask" / path.name)
        assert np.array_equal(mask, read_mask(drawn / "mask" / path.name))


def test_export_of_nothing_accepted_exits_1(drawn, knowing, tmp_path):
    run("curate", drawn, "--concept", "cat", "--store", tmp_path / "s")
    result = run("export", "--store", tmp_path / "s", tmp_path / "out")
    assert result.exit_code == 1
    assert "no accepted sample" in result.stderr


# ---------------------------------------------------------------- score


def test_score_of_three_files_is_entangled(drawn):
    stem = next((drawn / "original").iterdir()).name
    paths = [drawn / layer / stem for layer in ("original", "background", "mask")]
    report = run_json("score", *paths)
    expected = entangled_d(read_image(paths[0]), read_image(paths[1]), read_mask(paths[2]))
    assert report["images"][0]["d"]["score"] == pytest.approx(expected.score)
    assert report["mean_d"] == pytest.approx(expected.score)
    assert report["variant"] == "paper"
    released = run_json("score", *paths, "--variant", "released")
    assert released["mean_d"] != report["mean_d"]
    assert released["images"][0]["d"]["variant"] == "released"


def test_score_of_folders_pairs_stems_and_reports_the_others(drawn, tmp_path):
    edited = tmp_path / "edited"
    edited.mkdir()
    names = sorted(path.name for path in (drawn / "original").iterdir())
    for name in names[1:]:
        image = Image.open(drawn / "background" / name)
        image.save(edited / f"{Path(name).stem}.bmp")  # another suffix, the same stem
    (edited / "extra.png").write_bytes((drawn / "mask" / names[0]).read_bytes())
    arguments = ["score", drawn / "original", edited, drawn / "mask"]
    report = run_json(*arguments)
    assert [one["stem"] for one in report["images"]] == [Path(name).stem for name in names[1:]]
    assert report["unmatched"][str(edited)] == ["extra"]
    assert report["unmatched"][str(drawn / "original")] == [Path(names[0]).stem]
    assert report["mean_d"] == pytest.approx(
        np.mean([one["d"]["score"] for one in report["images"]])
    )
    result = run(*arguments)
    assert "extra" in result.stderr
    assert "over 3 of 3 images, variant paper" in result.stdout


def test_score_of_a_folder_and_a_file_is_refused(drawn):
    file = next((drawn / "mask").iterdir())
    result = run("score", drawn / "original", drawn / "background", file)
    assert result.exit_code == 1
    assert "three folders" in result.stderr


def test_score_of_folders_counts_what_has_no_score(drawn, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    names = sorted(path.name for path in (drawn / "mask").iterdir())
    for name in names[:2]:
        (masks / name).write_bytes((drawn / "mask" / name).read_bytes())
    (masks / names[2]).write_bytes(png_bytes(np.zeros((128, 128), bool)))
    (masks / names[3]).write_bytes(b"")
    report = run_json("score", drawn / "original", drawn / "background", masks)
    assert (report["n"], report["n_invalid"]) == (4, 2)
    assert "inside" in report["images"][2]["error"]
    assert "0 bytes" in report["images"][3]["error"]


# ---------------------------------------------------------------- merge


def test_merge_gives_the_original_back(curated, drawn, tmp_path):
    name = min(path.stem for path in (drawn / "original").iterdir())
    result = run("merge", "--store", curated, name, tmp_path / "merged.png")
    assert result.exit_code == 0
    original = read_image(drawn / "original" / f"{name}.png")
    merged = read_image(tmp_path / "merged.png")
    mask = read_mask(drawn / "mask" / f"{name}.png")
    from forgetme.record.masks import dilate, erode

    exact = erode(mask, 3) | ~dilate(mask, 3)
    assert np.array_equal(merged[exact], original[exact])


def test_merge_places_the_object_over_another_background(curated, drawn, tmp_path):
    name = min(path.stem for path in (drawn / "original").iterdir())
    other = tmp_path / "other.png"
    other.write_bytes(png_bytes(np.full((128, 128, 3), 200, np.uint8)))
    run("merge", "--store", curated, name, tmp_path / "m.png", "--background", other)
    merged = read_image(tmp_path / "m.png")
    mask = read_mask(drawn / "mask" / f"{name}.png")
    assert (merged[~mask] == 200).all()
    assert (merged[mask] != 200).any()


@pytest.mark.parametrize(
    ("name", "form"), [("m.jpg", "JPEG"), ("m.JPEG", "JPEG"), ("m.webp", "WEBP"), ("m.png", "PNG")]
)
def test_merge_writes_what_the_ending_says_and_over_nothing(curated, drawn, tmp_path, name, form):
    sample, out = min((drawn / "original").iterdir()).stem, tmp_path / name
    out.write_bytes(b"mine")
    result = run("merge", "--store", curated, sample, out)
    assert (result.exit_code, out.read_bytes()) == (1, b"mine")
    assert "is there already" in result.stderr
    assert run("merge", "--store", curated, sample, out, "--force").exit_code == 0
    with Image.open(out) as image:
        assert image.format == form
    exact = read_image(drawn / "original" / f"{sample}.png").astype(int)
    assert np.median(np.abs(read_image(out) - exact)) <= (2 if form == "JPEG" else 0)


@pytest.mark.parametrize(
    ("name", "words"), [("m.heic", "ending must be"), ("m", "got 'none'"), ("no/m.png", "no file")]
)
def test_merge_refuses_what_it_cannot_write(curated, drawn, tmp_path, name, words):
    result = run(
        "merge", "--store", curated, min((drawn / "original").iterdir()).stem, tmp_path / name
    )
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (tmp_path / name).exists()


def test_merge_of_a_sample_that_is_not_there_says_so(curated, tmp_path):
    result = run("merge", "--store", curated, "nobody", tmp_path / "m.png")
    assert result.exit_code == 1
    assert "nobody" in result.stderr
    assert not (tmp_path / "m.png").exists()


# ---------------------------------------------------------------- doctor


def test_doctor_says_what_is_there_and_what_to_do(small_assets, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "default_cache", lambda: tmp_path)
    monkeypatch.setattr(doctor, "BUNDLED", tmp_path)
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    found = {finding["what"]: finding for finding in report["findings"]}
    assert result.exit_code == 1
    assert report["ok"] is False
    assert found["torch"]["ok"]
    assert "tiny train ranker" in found["tiny ranker"]["todo"]
    assert "doctor --download sam-vit-h" in found["sam-vit-h"]["todo"]
    assert "OPENAI_API_KEY" in found["OPENAI_API_KEY"]["todo"]
    monkeypatch.setattr(doctor, "BUNDLED", small_assets)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    result = run("doctor", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ok"] is True
    assert "sk-not-to-be-shown" not in result.output


def test_doctor_refuses_to_download_what_it_does_not_know():
    result = run("doctor", "--download", "sam-vit-x")
    assert result.exit_code == 1
    assert "sam-vit-h" in result.stderr
