"""`forget` and `patch`: from names to files that other programs read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from small_models import save_diffusion
from typer.testing import CliRunner

from forgetme import cli
from forgetme.train.prompt_file import read_prompts


def run(*arguments: object):  # noqa: ANN201
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


def said(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def refused(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code != 0
    return " ".join(done.output.split())


def test_names_become_a_patch_that_is_told_exported_stacked_and_fused(
    small_assets: Path, tmp_path: Path
) -> None:
    base, out = ("--base", small_assets / "diffusion"), tmp_path / "both"
    names = tmp_path / "names.txt"
    names.write_text("boat  # a note\n\n")
    made = said("forget", "car", "--file", names, "--keep", "dog", *base, "--out", out)
    assert made == str(out / "patch")
    told = json.loads(said("patch", "info", out, "--json"))
    assert (told["forgets"], told["method"], told["keep"]) == (["car", "boat"], "uce", ["dog"])
    assert told["bytes"] == Path(told["file"]).stat().st_size
    file = tmp_path / "lora.safetensors"
    lost = json.loads(said("patch", "export", out, "--as", "kohya", "--out", file, "--json"))
    assert file.is_file()
    assert 0 <= lost["error"] < 0.1
    fine = ("--out", tmp_path / "fine.safetensors", "--rank", 256, "--json")
    whole = json.loads(said("patch", "export", out, "--as", "kohya", *fine))
    assert whole["error"] < 1e-3 < lost["error"]  # of full rank nothing is lost
    stacked = said("patch", "stack", f"{out}=0.5", out, "--out", tmp_path / "stack")
    said("patch", "fuse", stacked, *base, "--out", tmp_path / "whole")
    assert (tmp_path / "whole" / "model_index.json").is_file()
    again = said(
        "train", "esd", "--concept", "fish", "--wear", f"{out}=0.5", "--out", tmp_path / "fish",
        "--steps", 1, "--batch", 1, "--probe-pictures", 0, "--option", "draw_steps=2", "--option",
        "retain=0", "--precision", "no", *base,
    )  # fmt: skip
    record = json.loads((Path(again) / "patch.json").read_text())
    assert record["wears"][0][2] == 0.5
    said("patch", "prompts", again, "--out", tmp_path / "fish.toml")
    assert read_prompts(tmp_path / "fish.toml").targets == ("a photo of a fish",)
    assert "was made by uce" in refused("patch", "prompts", out, "--out", tmp_path / "no.toml")


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    out, one = ("--out", tmp_path / "run"), ("--concept", "cat")
    for words, arguments in (
        ("nothing to forget", ("forget", *out)),
        ("train esd", ("forget", "cat", "--method", "esd", *out)),
        ("nothing to forget", ("train", "esd", *out)),
        ("in place of --concept", ("train", "esd", *one, "--prompt-file", tmp_path / "p", *out)),
        ("one concept at a time", ("train", "esd", "--concept", "cat, dog", *out)),
        ("one of layer, fmn", ("train", "fmn", *one, "--option", "form=odd", *out)),
        ("eta is a number", ("train", "esd", *one, "--option", "eta=much", *out)),
        ("holds no patch.json", ("patch", "info", tmp_path)),
        ("RUN=SCALE", ("patch", "stack", f"{tmp_path}=much", *out)),
    ):
        assert words in refused(*arguments), words
        assert not (tmp_path / "run").exists()


def test_what_only_the_model_can_tell_is_refused_and_leaves_nothing(
    small_assets: Path, drawn: Path, tmp_path: Path
) -> None:
    base, out = ("--base", small_assets / "diffusion"), ("--out", tmp_path / "run")
    other = tmp_path / "other"
    save_diffusion(other, words=16)
    worn = said("forget", "cat", "--base", other, "--out", tmp_path / "worn")
    quick = ("--steps", 1, "--probe-pictures", 0, "--retain-pictures", 0, "--precision", "no")
    pictures = ("--data", drawn, "--option", "retain=0")
    uce, speed = (
        ("train", one, "--concept", "cat", "--probe-pictures", 0) for one in ("uce", "speed")
    )
    for words, arguments in (
        ("uce cannot train lora; it can: kv", (*uce, "--trains", "lora")),
        ("does not name 'cat'", (*uce, "--prompt", "a quiet street")),
        ("no single answer", (*uce, "--option", "lam=0", "--option", "keep=0")),
        ("its system is singular", (*speed, "--option", "strength=0")),
        ("which this model does not have", (*uce, "--wear", worn)),
        ("which this model does not have", ("patch", "fuse", worn)),
        (
            "does not hold the tokens of 'cat'",
            (
                "train",
                "fmn",
                "--concept",
                "cat",
                "--prompt",
                "sks",
                "--any-prompt",
                *quick,
                *pictures,
            ),
        ),
    ):
        assert words in refused(*arguments, *base, *out), words
        assert not (tmp_path / "run").exists(), words


def test_an_m_score_is_told_of_a_set_of_drawn_concepts_and_of_ones_own_pictures(
    small_assets: Path, drawn: Path, tmp_path: Path
) -> None:
    base, few = ("--base", small_assets / "diffusion"), ("--steps", 2, "--pictures", 2)
    run = said("forget", "cat", *base, "--out", tmp_path / "run")
    told = json.loads(said("patch", "m-score", run, *base, *few, "--json"))
    assert told["forgets"] == ["cat"]
    assert Counter(one["group"] for one in told["scores"]) == {"id": 3, "object": 3, "style": 3}
    assert all(-1 <= one["after"] <= 1 and one["loss_after"] > 0 for one in told["scores"])
    own = said("patch", "m-score", run, "--data", drawn, *base, *few).splitlines()
    assert len(own) == 2
    assert own[1].split()[:2] == ["own", "cat"]
    assert "holds no pictures" in refused("patch", "m-score", run, "--data", tmp_path, *base)
