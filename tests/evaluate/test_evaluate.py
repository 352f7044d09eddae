"""`forgetme evaluate`: models side by side, from the command to the report."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import DATA
from PIL import Image
from safetensors.torch import load_file, save_file
from small_models import save_diffusion
from typer.testing import CliRunner

from forgetme import cli
from forgetme.errors import ForgetmeError
from forgetme.evaluate.evaluation import Wanted
from forgetme.record.summed import opened
from forgetme.stages import models as stages

PROMPTS = """prompt,seed,kind,label
a photo of a cat,3,forget,
a cat on a beach,4,forget,
a photo of a dog,3,neighbours,dog
a photo of a dog,4,neighbours,dog
an empty beach,5,other,beach
an empty meadow,5,other,meadow
"""


@pytest.fixture(scope="module")
def made(small_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: a patch (closed form), a LoRA file of it, a whole pipeline."""
    from forgetme.stages.models import load_models
    from forgetme.train import RunSettings, read_patch, train
    from forgetme.train.carry import export_lora

    folder = tmp_path_factory.mktemp("models")
    diffusion = load_models("tiny", assets=small_assets, device="cpu").diffusion
    settings = RunSettings("uce", "cat", trains="kv", steps=0, probe_every=0)
    train(diffusion.pipe, [], settings, folder / "cat-uce", base=diffusion.made_by)
    export_lora(read_patch(folder / "cat-uce"), folder / "cat.safetensors", rank=4, form="kohya")
    shutil.copytree(small_assets / "diffusion", folder / "whole")
    (folder / "prompts.csv").write_text(PROMPTS)
    (folder / "none.csv").write_text("prompt,seed\n")
    (folder / "notes.safetensors").write_bytes(b"no tensors")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def small(small_assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the preset "tiny" be the small models, for the base and for its judge."""
    real = stages.load_models

    def load(preset: str, **chosen: object) -> stages.Models:
        return real(preset, **{"assets": small_assets, **chosen})

    monkeypatch.setattr("forgetme.stages.models.load_models", load)
    monkeypatch.setattr("forgetme.evaluate.detectors.load_models", load)


def run(*arguments: object):
    return CliRunner().invoke(cli.app, ["evaluate", *(str(one) for one in arguments)])


def quick(made: Path) -> tuple[object, ...]:
    given = ("--concept", "cat", "--prompts", made / "prompts.csv", "--steps", 1)
    return (*given, "--second", "", "--device", "cpu")


def test_patch_lora_and_pipeline_stand_beside_the_base(small, made, tmp_path) -> None:
    out = tmp_path / "report"
    paths = made / "cat-uce", made / "cat.safetensors", made / "whole"
    done = run(*paths, "--out", out, *quick(made))
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith(str(out / "report.html"))
    report = opened(json.loads((out / "report.json").read_text()))
    assert [(one["name"], one["kind"]) for one in report["models"]] == [
        ("base", "base"), ("cat-uce", "patch"), ("cat", "lora"), ("whole", "pipeline"),
    ]  # fmt: skip
    pictures = report["cells"][0]["pictures"]
    assert pictures["whole"] == pictures["base"]  # the same weights and noise, byte for byte
    assert pictures["cat-uce"] != pictures["base"]
    assert report["values"]["whole"]["shift"]["mean"] == pytest.approx(0, abs=1e-6)
    patch, lora = (report["values"][one]["shift"]["mean"] for one in ("cat-uce", "cat"))
    assert patch == pytest.approx(lora, abs=1e-3)  # one patch in two forms
    assert report["drawing"]["steps"] == 1
    assert report["values"]["cat-uce"]["still"]["n"] == 2
    assert report["values"]["cat-uce"]["still"]["judge"].startswith("tiny/ranker@")
    assert "not applicable" in report["values"]["cat-uce"]["languages"]["why"]
    assert "whole subject" in report["values"]["cat-uce"]["csdr"]["why"]
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert {one["model"] for one in rows} == {"base", "cat-uce", "cat", "whole"}
    lines = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert {"metric", "direction", "n", "judge", "drawing"} <= lines[0].keys()
    assert r"\toprule" in (out / "scores.tex").read_text()
    page = (out / "report.html").read_text()
    assert "Still recognised" in page
    assert re.findall(r'(?:src|href)="(?!data:)[^"]+"', page) == []  # it needs nothing else


def test_nothing_is_drawn_twice_and_a_stopped_run_goes_on(small, made, tmp_path, monkeypatch):
    drawn: list[int] = []
    from forgetme.evaluate import grid

    real = grid.draw

    def counted(pipe, prompts, seeds, **settings):
        if len(drawn) == 1 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        drawn.append(len(prompts))
        return real(pipe, prompts, seeds, **settings)

    stopped: list[bool] = []
    monkeypatch.setattr(grid, "draw", counted)
    given = (made / "cat-uce", "--out", tmp_path / "r", *quick(made))
    first = run(*given)
    assert first.exit_code == 130, first.output
    assert "goes on there" in first.stderr
    assert run(*given).exit_code == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    asked = {(one["prompt"], one["seed"]) for one in report["cells"]}
    assert sum(drawn) == 2 * len(asked)  # what was drawn before it was stopped is not drawn again
    assert run(*given).exit_code == 0
    assert sum(drawn) == 2 * len(asked)
    assert run(*given, "--guidance", "3").exit_code == 0
    assert sum(drawn) == 4 * len(asked)  # other settings are other pictures


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("nowhere",), "no such run"),
        (("empty",), "holds no patch.json"),
        (("notes.safetensors",), "is no LoRA"),
        ((), "name the models to evaluate"),
        (("cat-uce", "--prompts", "none.csv"), "holds no prompt"),
        (("cat-uce", "--grid", "vast"), "unknown grid 'vast'"),
        (("cat-uce", "--task", "family=car"), "a task's family is one of"),
        (("cat-uce", "--judge", "nudenet"), "NudeNet is not installed"),
        (("cat-uce", "--judge", "oracle"), "unknown detector 'oracle'"),
        (("cat-uce", "--pictures", "empty"), "--pictures judges pictures alone"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(small, made, tmp_path, more, words) -> None:
    given = [made / one if (made / one).exists() else one for one in more]
    done = run(*quick(made), *given, "--out", tmp_path / "r")
    assert done.exit_code == 1, done.output
    assert words in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "r" / "report.json").exists()


def test_models_of_another_size_or_setting_are_refused(small, made, tmp_path) -> None:
    larger = save_diffusion(tmp_path / "larger", sample_size=16)
    done = run(larger, "--out", tmp_path / "r", *quick(made))
    assert done.exit_code == 1, done.output
    assert "draws with side 128, the base with 64" in done.stderr
    other = tmp_path / "other"
    shutil.copytree(made / "whole", other)
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "beta_end": 0.05}))
    done = run(other, "--out", tmp_path / "r", *quick(made))
    assert done.exit_code == 1
    assert "draws with scheduler" in done.stderr
    weights = load_file(made / "cat.safetensors").items()
    short = tmp_path / "short.safetensors"
    save_file({n: one[:, :8].contiguous() if one.ndim else one for n, one in weights}, short)
    done = run(short, "--out", tmp_path / "r", *quick(made))
    assert done.exit_code == 1
    assert "is no LoRA of this model" in done.stderr


def test_pictures_in_igmus_folders_are_judged_as_they_are(small, tmp_path) -> None:
    folder = tmp_path / "church"
    for part, method, name in (
        ("forgot", "ORG", "0_0_0"), ("forgot", "ESD", "0_0_0"), ("forgot", "ESD", "0_0_1"),
        ("unrelated", "ORG", "2_0_0"), ("unrelated", "ORG", "2_0_1"), ("unrelated", "ESD", "2_0_0"),
        ("unrelated", "ESD/Dog", "9_0_0"),
    ):  # fmt: skip
        path = folder / part / method / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (len(name) * 9, 80, len(method) * 30)).save(path)
    out = tmp_path / "r"
    given = ("--concept", "church", "--second", "", "--device", "cpu", "--out", out)
    done = run("--pictures", folder, *given)
    assert done.exit_code == 0, done.output
    report = json.loads((out / "report.json").read_text())
    assert [one["name"] for one in report["models"]] == ["base", "ESD"]
    assert report["values"]["ESD"]["still"]["n"] == 2
    assert report["values"]["ESD"]["ira"]["n"] == 2
    assert {one["label"] for one in report["cells"]} == {"church", "airplane", "dog"}
    assert "from which noise" in report["values"]["ESD"]["shift"]["why"]  # no pairs
    shutil.rmtree(folder / "forgot" / "ORG")
    done = run("--pictures", folder, *given)
    assert done.exit_code == 1
    assert "no pictures in IGMU's layout" in done.stderr


@pytest.mark.photos
def test_the_published_churches_are_too_hard_for_the_bundled_judge(tmp_path) -> None:
    """It names one church of three, so the row is grey: no method is called perfect."""
    out = tmp_path / "r"
    folder = DATA / "photos" / "igmu_church"
    done = run("--pictures", folder, "--concept", "church", "--second", "", "--out", out)
    assert done.exit_code == 0, done.output
    report = json.loads((out / "report.json").read_text())
    assert len(report["models"]) == 6
    assert report["values"]["UCE"]["still"]["grey"]
    assert report["values"]["UCE"]["overall"]["grey"]


class Told:
    """A job that is never to stop."""

    should_stop = False

    def step(self, done: int, total: int | None = None, words: str = "") -> None:
        """Hears it."""


def test_the_job_evaluates_runs_of_a_store(small, made, store, monkeypatch) -> None:
    from forgetme.evaluate import as_job, grid

    monkeypatch.setattr(as_job, "load_models", stages.load_models)
    monkeypatch.setitem(grid.SIZES, "quick", grid.Size(1, 1, 1, 1))
    shutil.copytree(made / "cat-uce", store.folder / "runs" / "cat-uce")
    given = {"name": "first", "concept": "cat", "runs": ["cat-uce"]}
    with monkeypatch.context() as patched:
        patched.setattr(
            as_job, "Wanted", lambda *a, **k: Wanted(*a, **{**k, "second": "", "steps": 1})
        )
        assert as_job.evaluate_job(store, Told(), **given)["models"] == ["base", "cat-uce"]
    assert as_job.evaluations(store) == ["first"]
    assert as_job.read_evaluation(store, "first")["concept"] == "cat"
    for wrong, words in (
        (given, "already"),
        ({**given, "name": "../out"}, "a name has"),
        ({**given, "name": "next", "runs": ["../../etc"]}, "a name has"),
        ({**given, "name": "next", "runs": []}, "name the runs"),
    ):
        with pytest.raises(ForgetmeError, match=words):
            as_job.evaluate_job(store, Told(), **wrong)
    with pytest.raises(ForgetmeError, match="no evaluation"):
        as_job.read_evaluation(store, "../first")
