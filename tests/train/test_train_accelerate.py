"""Several processes train what one trains: the same weights, one log, one patch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from safetensors.torch import load_file
from small_models import save_diffusion

from forgetme.train import read_patch
from forgetme.train.checkpoint import steps as saved_steps

TESTS = Path(__file__).parents[1]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(sys.path),
    "ACCELERATE_USE_CPU": "true",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


def launch(*command: object) -> subprocess.CompletedProcess:
    """Starts two processes with gloo on this machine's CPU."""
    done = subprocess.run(
        [*LAUNCH, *(str(one) for one in command)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(read_patch(folder).folder.glob("*.safetensors")))


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same runs by one process and by two."""
    place = tmp_path_factory.mktemp("runs")
    base = save_diffusion(place / "base")
    two_processes.train_all(base, drawn, place / "one")
    launch(TESTS / "two_processes.py", base, drawn, place / "two")
    return place / "one", place / "two"


@pytest.mark.parametrize("name", two_processes.RUNS)
def test_two_processes_reach_the_weights_of_one(runs: tuple[Path, Path], name: str) -> None:
    ours, theirs = (weights(folder / name) for folder in runs)
    assert ours.keys() == theirs.keys()
    assert any(value.abs().max() > 1e-3 for value in ours.values())
    # Adam's step is lr whatever the gradient's size: a rounded zero may go either way
    assert all(torch.allclose(ours[n], theirs[n], atol=1e-3, rtol=1e-2) for n in ours)
    apart = torch.cat([(ours[n] - theirs[n]).flatten() for n in ours]).abs()
    assert apart.mean() < 1e-5


@pytest.mark.parametrize("name", two_processes.RUNS)
def test_two_processes_write_one_log_of_the_whole_batchs_loss(runs, name: str) -> None:
    one, two = (rows(folder / name) for folder in runs)
    assert [row["step"] for row in two] == [1, 2, 3]
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-3)


def test_a_loss_that_is_no_number_in_one_process_stops_all_and_keeps_the_checkpoint(runs) -> None:
    assert saved_steps(runs[1] / "spoilt") == 1
    assert not (runs[1] / "odd" / "run.json").exists()


def test_the_command_line_trains_in_two_processes(drawn, small_assets, tmp_path) -> None:
    done = launch(
        *("-m", "forgetme", "train", "lora", "--concept", "cat", "--data", drawn, "--steps", 2),
        *("--out", tmp_path / "run", "--batch", 2, "--probe-pictures", 0, "--device", "cpu"),
        *("--keep", "dog", "--retain-pictures", 2, "--base", small_assets / "diffusion"),
        *("--ranker", small_assets / "ranker.safetensors"),
    )
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2]
    assert read_patch(tmp_path / "run").record["steps_done"] == 2
    assert str(tmp_path / "run" / "patch") in done.stdout
