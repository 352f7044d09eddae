"""`python -m forgetme train`: from a folder of layers to a patch, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from forgetme import cli

QUICK = ("--batch", 2, "--retain-pictures", 2, "--probe-pictures", 0, "--precision", "no")


@pytest.fixture
def base(small_assets: Path) -> tuple:
    return ("--base", small_assets / "diffusion", "--ranker", small_assets / "ranker.safetensors")


def run(*arguments: object):
    return CliRunner().invoke(cli.app, ["train", *(str(one) for one in arguments)])


def test_train_writes_a_patch_and_says_where(drawn: Path, base: tuple, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(
        "lora", "--concept", "cat", "--data", drawn, "--out", out, "--steps", 2, *base, *QUICK
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(out / "patch")
    record = json.loads((out / "patch" / "patch.json").read_text())
    assert (record["method"], record["steps_done"], record["concept"]) == ("lora", 2, "cat")
    assert "cat" not in record["keep"]
    assert record["rank"] == 16  # the method's own for the bundled preset


def test_probes_say_what_is_forgotten_and_kept(drawn: Path, base: tuple, tmp_path: Path) -> None:
    done = run(
        *("lora", "--concept", "cat", "--data", drawn, "--out", tmp_path / "run", "--steps", 2),
        *("--keep", "dog", "--keep", "boat", "--watch", "fish", "--probe-every", 1, "--json"),
        *(*base, *QUICK),
        *("--probe-pictures", 1),
    )
    assert done.exit_code == 0, done.output
    probes = json.loads(done.stdout)["probes"]
    assert [one["step"] for one in probes] == [0, 1, 2]
    assert set(probes[0]["by_concept"]) == {"cat", "dog", "boat", "fish"}
    assert probes[2]["apart"] == probes[2]["by_concept"]["fish"]
    assert "by the second recogniser in" in done.stderr
    assert "step 0: cat is seen in" in done.stderr
    assert (tmp_path / "run" / "probes" / "000002 boat.png").is_file()


def test_esd_needs_no_pictures(base: tuple, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(
        *("esd", "--concept", "cat", "--out", out, "--steps", 1, "--option", "draw_steps=2"),
        *("--option", "retain=0", *base, *QUICK),
    )
    assert done.exit_code == 0, done.output
    assert json.loads((out / "run.json").read_text())["options"]["draw_steps"] == 2


def test_prompt_may_leave_the_concept_out_when_told_so(base: tuple, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(
        *("esd", "--concept", "cat", "--prompt", "<sks>", "--any-prompt", "--out", out),
        *("--steps", 1, "--option", "draw_steps=2", "--option", "retain=0", *base, *QUICK),
    )
    assert done.exit_code == 0, done.output
    record = json.loads((out / "run.json").read_text())
    assert (record["prompt"], record["any_prompt"]) == ("<sks>", True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("lora",), "learns from pictures of cat"),
        (("magic",), "known: lora, rl, salun"),
        (("lora", "--trains", "no-cross-attention"), "cannot train no-cross-attention"),
        (("esd", "--prompt", "<sks>"), "say --any-prompt"),
        (("esd", "--option", "eta"), "--option takes NAME=VALUE"),
        (("esd", "--resume"), "holds no run to go on with"),
        (("esd", "--steps", 0), "steps must be at least 1"),
        (("lora", "--store", "a", "--data", "b"), "give one of them"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(base, tmp_path, more: tuple, words: str) -> None:
    done = run(*more, "--concept", "cat", "--out", tmp_path / "run", *base, *QUICK)
    assert done.exit_code == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_ctrl_c_saves_and_resume_reaches_the_same_weights(drawn, base, tmp_path: Path) -> None:
    def command(out: Path, *more: str) -> list[str]:
        arguments = (
            *("rl", "--concept", "cat", "--data", drawn, "--out", out, "--steps", 60),
            *("--trains", "kv", "--keep", "dog", *base, *QUICK, *more),
        )
        return [sys.executable, "-m", "forgetme", "train", *(str(one) for one in arguments)]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    part = subprocess.Popen(command(tmp_path / "parts"), **quiet)
    log = tmp_path / "parts" / "log.jsonl"
    until = time.monotonic() + 300
    while not (log.is_file() and log.read_text().count("\n") >= 3):
        assert part.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(part.pid, signal.SIGINT)
    assert part.wait(120) == 0
    stopped = json.loads((tmp_path / "parts" / "patch" / "patch.json").read_text())["steps_done"]
    assert stopped < 60
    assert subprocess.run(command(tmp_path / "parts", "--resume"), **quiet).returncode == 0
    assert subprocess.run(command(tmp_path / "whole"), **quiet).returncode == 0
    ours, theirs = (
        load_file(tmp_path / name / "patch" / "patch.safetensors") for name in ("parts", "whole")
    )
    assert ours
    assert all((ours[key] == theirs[key]).all() for key in ours)
    again = run(*("rl", "--concept", "cat", "--data", drawn, "--out", tmp_path / "whole"), *base)
    assert again.exit_code == 1
    assert "add --resume" in again.stderr
