"""`python -m forgetme compare` and the job "compare"."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_models import save_diffusion
from typer.testing import CliRunner

from forgetme import cli, jobs
from forgetme.compare import saved
from forgetme.compare.adapters import run_folders
from forgetme.compare.as_job import compare_fills_job
from forgetme.errors import ForgetmeError
from forgetme.record.images import read_image, read_mask
from forgetme.store import Store


@pytest.fixture(scope="session")
def patch(small_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that draws what it needs: two steps on the small model."""
    from forgetme.stages.models import load_models
    from forgetme.train import RunSettings, train

    folder = tmp_path_factory.mktemp("runs") / "cat-esd"
    diffusion = load_models("tiny", assets=small_assets, device="cpu").diffusion
    options = {"draw_steps": 2, "retain": 0}
    settings = RunSettings("esd", "cat", trains="kv", steps=1, probe_every=0, options=options)
    train(diffusion.pipe, [], settings, folder, base=diffusion.made_by)
    return folder


@pytest.fixture
def small(small_assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the preset "tiny" be the small models."""
    from forgetme.stages import models

    real = models.load_models

    def load(preset: str, **chosen: object) -> models.Models:
        return real(preset, assets=small_assets, **chosen)

    monkeypatch.setattr("forgetme.stages.models.load_models", load)
    monkeypatch.setattr("forgetme.compare.as_job.load_models", load)


@pytest.fixture
def accepted(store: Store, drawn: Path) -> Store:
    """A store with two accepted cats."""
    for stem in sorted(path.stem for path in (drawn / "original").iterdir())[:2]:
        image, hole = (read_image(drawn / "original" / f"{stem}.png"),
                       read_mask(drawn / "mask" / f"{stem}.png"))  # fmt: skip
        row = store.import_image(image, name=stem, concept="cat", by="ann", source=stem)
        row = store.append(
            row.id, "mask_edited", {"mask_sha": store.put_image(hole), "tool": "brush"},
            by="ann", expected_version=row.version,
        )  # fmt: skip
        background = np.where(hole[..., None], image[:1, :1], image)
        payload = {
            "image_sha": store.put_image(background), "mask_sha": store.put_image(hole),
            "settings": {}, "made_by": "small",
            "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []},
                       "s": {"score": 0.7, "variant": "paper", "warnings": []},
                       "low": False, "words": [], "thresholds": {}},
        }  # fmt: skip
        row = store.append(row.id, "filled", payload, by="ann", expected_version=row.version)
        store.append(row.id, "accepted", {"how": "human"}, by="ann", expected_version=row.version)
    return store


def run(*arguments: object):
    return CliRunner().invoke(cli.app, ["compare", *(str(one) for one in arguments)])


QUICK = ("--columns", "own,lora-img2img", "--steps", 2, "--limit", 1)


def test_compare_writes_a_report_and_says_where(small, drawn, patch, tmp_path) -> None:
    out = tmp_path / "report"
    done = run("--data", drawn, "--runs", patch, "--out", out, *QUICK)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith(str(out / "report.html"))
    assert "Entangled-D ↑" in done.stdout
    assert "2/2" in done.stderr
    names = {path.name for path in out.iterdir()}
    assert names == {"table.json", "table.csv", "table.tex", "report.html", "pictures", "cache"}
    table = json.loads((out / "table.json").read_text())
    assert table["concept"] == "cat"  # the run's
    assert [one["title"] for one in table["columns"]][1] == "Patch + image to image: cat-esd"


def test_json_is_for_programs(small, drawn, tmp_path) -> None:
    out = tmp_path / "report"
    done = run("--data", drawn, "--out", out, "--columns", "own", "--limit", 1, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["summary"]["own"]["entangled_d"]["n"] == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "--store DIR or --data FOLDER"),
        (("--data", "DRAWN", "--columns", "magic"), "unknown column 'magic'"),
        (("--data", "DRAWN", "--concept", "dog"), "no picture of 'dog'"),
        (("--data", "DRAWN", "--runs", "nowhere"), "holds no patch.json"),
        (("--data", "DRAWN", "--columns", "lora-inpaint"), "needs a run"),
        (("--data", "DRAWN", "--sweep", "--columns", "own"), "the scale sweep needs a run"),
        (("--store", "EMPTY"), "no store here"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(small, drawn, tmp_path, more, words) -> None:
    given = [{"DRAWN": drawn, "EMPTY": tmp_path / "no"}.get(one, one) for one in more]
    out = tmp_path / "report"
    done = run(*given, "--out", out)
    assert done.exit_code == 1, done.output
    assert words in done.stderr.strip().splitlines()[-1]
    assert not out.exists()


def test_a_patch_of_another_model_is_refused(small, drawn, patch, tmp_path) -> None:
    other = save_diffusion(tmp_path / "other", sample_size=16)
    done = run(
        "--data", drawn, "--runs", patch, "--out", tmp_path / "r", "--diffusion", other, *QUICK
    )
    assert done.exit_code == 1
    assert "is a patch of" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_stores_comparison_and_its_job_share_what_was_computed(
    small, accepted, patch, tmp_path
) -> None:
    done = run("--store", accepted.folder, "--out", tmp_path / "r", "--columns", "own")
    assert done.exit_code == 0, done.output
    cache = accepted.folder / "comparisons" / "cache"
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")}
    shutil.copytree(patch, accepted.folder / "runs" / "cat-esd")
    job = Told()
    result = compare_fills_job(
        accepted, job, name="first", concept="cat", runs=[], columns=["own"], limit=50, seed=0,
        sweep=False,
    )  # fmt: skip
    assert result == {"name": "first", "rows": 2, "columns": ["own"]}
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")} == before
    table = saved.read_table(accepted, "first")
    assert [row["sample"] for row in table["rows"]] == [
        one.id for one in accepted.samples(state="accepted")
    ]
    assert all(row["truth"] is None for row in table["rows"])
    assert "truth_rmse" not in {one["key"] for one in table["scores"]}
    assert [one.name for one in saved.saved_comparisons(accepted)] == ["first"]
    assert saved.report_path(accepted, "first", "html").is_file()
    assert job.steps[-1][:2] == (2, 2)


def test_the_job_stops_between_pictures_and_goes_on(small, accepted, patch) -> None:
    shutil.copytree(patch, accepted.folder / "runs" / "cat-esd")
    given = {
        "name": "stopped", "concept": "cat", "runs": ["cat-esd"], "limit": 2, "seed": 0,
        "columns": ["own", "lora-img2img"], "sweep": False,
    }  # fmt: skip
    job = Told(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        compare_fills_job(accepted, job, **given)
    assert saved.saved_comparisons(accepted) == []
    assert compare_fills_job(accepted, Told(), **given)["columns"] == ["own", "lora-img2img"]


def test_the_job_refuses_names_that_are_none_or_taken(small, accepted) -> None:
    given = {"concept": "cat", "columns": ["own"]}
    for name in ("../out", "Cache", ""):
        with pytest.raises(ForgetmeError, match="a name has 1 to 80"):
            compare_fills_job(accepted, Told(), name=name, **given)
    with pytest.raises(ForgetmeError, match="already"):
        compare_fills_job(accepted, Told(), name="cache", **given)
    with pytest.raises(ForgetmeError, match="a name has 1 to 80"):
        compare_fills_job(accepted, Told(), name="ok", runs=["../../etc"], **given)
    with pytest.raises(ForgetmeError, match="holds no patch"):
        compare_fills_job(accepted, Told(), name="ok", runs=["gone"], **given)


def test_the_job_is_known_and_heavy() -> None:
    kind = jobs.KINDS["compare"]
    assert kind.work == "forgetme.compare.as_job:compare_fills_job"
    assert kind.heavy


def test_runs_of_one_name_get_numbers(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "cat", tmp_path / "b" / "cat", tmp_path / "a" / "cat" / "patch"]
    assert list(run_folders(folders)) == ["cat", "cat-2", "cat-3"]


class Told:
    """A job that remembers what it was told, and asks to stop after some steps."""

    by = "ann"

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: list[tuple] = []
        self._stop_after = stop_after

    @property
    def should_stop(self) -> bool:
        done = [step for step in self.steps if step[1]]
        return self._stop_after is not None and len(done) >= self._stop_after

    def step(self, done: int, total: int | None = None, words: str = "") -> None:
        self.steps.append((done, total, words))
