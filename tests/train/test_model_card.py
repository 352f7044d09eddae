"""The card of a patch, and its push, by the real client of the Hub, to a server of its protocol."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hub_server import TOKEN, HubServer
from huggingface_hub import constants
from huggingface_hub.utils import _http
from train_job import asked, fill, written
from typer.testing import CliRunner

from forgetme import cli
from forgetme.dataset.atomic_folder import MARKER
from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.store import Store
from forgetme.train.card import write_card
from forgetme.train.publish import push_patch

REPO = "ann/no-cats"
MODEL = f"models/{REPO}"


@pytest.fixture
def run(store: Store, drawn: Path) -> Path:
    """A LoRA run of 120 steps on the bundled model, and its patch."""
    fill(store, drawn)
    made = asked(store, "cat", trains="lora", keep=("dog", "a*boat", "car"))
    return written(made, 120, probes=(0, 60, 120)).folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # this server is on this machine
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(_http, "time", SimpleNamespace(**vars(time) | {"sleep": lambda _: None}))
    with HubServer() as server:
        yield server


def parts(card: str) -> tuple[dict, str]:
    _, head, body = card.split("---\n", 2)
    return yaml.safe_load(head), body


def change(run: Path, **record: object) -> None:
    path = run / "patch" / "patch.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **record}))


def push(run: Path, server: HubServer, **more: object):
    return push_patch(run, REPO, **{"token": TOKEN, "endpoint": server.url, **more})


def test_card_says_what_was_forgotten_how_and_how_well(run: Path) -> None:
    path = write_card(run)
    head, body = parts(path.read_text())
    assert path == run / "patch" / "README.md"
    assert head["library_name"] == "diffusers"
    assert head["license"] == "apache-2.0"
    assert {"forgetme", "machine-unlearning", "rl", "lora"} <= set(head["tags"])
    assert "base_model" not in head  # the bundled model is not on the Hub
    assert "forget **cat**" in body
    assert "Fan et al. 2024" in body
    # Wilson's intervals: 8 of 8 is 67.56 to 100 %, 0 of 8 is 0 to 32.44 %, 7 of 8 is 52.9 to 97.8 %
    assert "| cat | forget: lower is better | 100 % (68 to 100) | 0 % (0 to 32) |" in body
    assert "| dog | keep: higher is better | 88 % (53 to 98) | 88 % (53 to 98) |" in body
    assert "4 pictures, fingerprint 0123456789abcdef" in body
    assert "| seed | 0 |" in body
    assert "| steps done | 120 of 120 |" in body
    assert "| torch | 2 |" in body
    assert "stopped" not in body
    assert "take no conclusion" in body
    assert "8 pictures of a concept are few" in body


def test_pictures_lie_beside_the_card(run: Path) -> None:
    _, body = parts(write_card(run).read_text())
    for name in ("cat", "dog", "car"):  # to forget, a neighbour, unrelated
        for word, step in (("before", 0), ("after", 120)):
            file = f"pictures/{name}-{word}.png"
            assert f"({file})" in body
            strip = (run / "probes" / f"{step:06d} {name}.png").read_bytes()
            assert (run / "patch" / file).read_bytes() == strip


def test_card_of_a_patch_for_a_published_model_names_it_and_how_to_load_it(run: Path) -> None:
    change(run, base="sd15@0123abcd")
    head, body = parts(write_card(run, repo=REPO).read_text())
    assert head["base_model"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert head["base_model_relation"] == "adapter"
    assert head["license"] == "creativeml-openrail-m"
    assert 'from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")' in body
    assert f'pipe.load_lora_weights("{REPO}", adapter_name="forget")' in body
    assert "bundled" not in body


def test_card_of_changed_weights_shows_the_wardrobe(run: Path) -> None:
    change(run, trains="kv", steps_done=60)
    _, body = parts(write_card(run, repo=REPO).read_text())
    assert f'snapshot_download("{REPO}")' in body
    assert "Wardrobe(pipe)" in body
    assert "load_lora_weights" not in body
    assert "stopped after 60 of 120 steps" in body


def test_card_of_a_run_without_probes_claims_nothing(run: Path) -> None:
    (run / "log.jsonl").unlink()
    _, body = parts(write_card(run).read_text())
    assert "Nothing was measured" in body
    assert "%" not in body


def test_words_of_people_do_not_break_the_card(run: Path) -> None:
    change(run, prompt="a *cat* | <img> [x](y)")
    _, body = parts(write_card(run).read_text())
    assert "a \\*cat\\* \\| &lt;img> \\[x\\](y)" in body


def test_code_of_the_card_loads_the_patch(run: Path) -> None:
    _, body = parts(write_card(run).read_text())
    code = body.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert 'load_models("tiny").diffusion.pipe' in code


def test_push_sends_weights_record_card_and_pictures_in_one_private_commit(run, server) -> None:
    told = push(run, server)
    repo = server.repos[MODEL]
    assert repo.private
    assert told.private
    assert told.url == f"{server.url}/{REPO}"
    weights = "pytorch_lora_weights.safetensors"
    pictures = {f"pictures/{n}-{w}.png" for n in ("cat", "dog", "car") for w in ("before", "after")}
    files = {weights, "patch.json", "README.md", *pictures}
    assert set(told.files) == files
    assert set(repo.head.files) == {*files, ".gitattributes", MARKER}
    assert len(repo.commits) == 2  # the first is the Hub's own
    assert repo.head.files[weights].data == (run / "patch" / weights).read_bytes()
    head, body = parts(repo.head.files["README.md"].data.decode())
    assert REPO in body
    assert head["license"] == "apache-2.0"
    assert not (run / "patch" / MARKER).exists()  # the run's own folder stays as it is


def test_second_push_changes_nothing_and_uploads_nothing(run: Path, server: HubServer) -> None:
    push(run, server)
    sent = len(server.uploads)
    again = push(run, server)
    assert not again.changed
    assert len(server.uploads) == sent
    assert len(server.repos[MODEL].commits) == 2


def test_push_that_broke_goes_on_with_what_was_uploaded(run: Path, server: HubServer) -> None:
    server.fail("commit", 1, status=400)
    with pytest.raises(ForgetmeError, match="refuses what was sent"):
        push(run, server)
    sent = len(server.uploads)
    assert sent
    assert push(run, server).changed
    assert len(server.uploads) == sent


def test_weights_of_an_earlier_patch_do_not_stay_beside_the_new_ones(run, server) -> None:
    push(run, server)
    patch = run / "patch"
    (patch / "pytorch_lora_weights.safetensors").rename(patch / "patch.safetensors")
    change(run, trains="kv")
    server.write(MODEL, "notes", {"NOTES.md": b"mine"})
    told = push(run, server)
    assert told.removed == ("pytorch_lora_weights.safetensors",)
    assert {"patch.safetensors", "NOTES.md"} <= set(server.repos[MODEL].head.files)
    assert "pytorch_lora_weights.safetensors" not in server.repos[MODEL].head.files


def test_private_push_to_a_public_model_is_refused(run: Path, server: HubServer) -> None:
    server.make(MODEL, private=False)
    with pytest.raises(ForgetmeError, match="is public, and this push is private"):
        push(run, server)
    assert push(run, server, private=False).private is False


def test_dry_run_asks_the_hub_nothing(run: Path, server: HubServer) -> None:
    told = push(run, server, dry_run=True, token=None)
    assert server.asked == []
    assert (told.commit, told.private, told.dry_run) == (None, None, True)
    assert f'"{REPO}"' in told.card
    assert set(told.files) >= {"README.md", "patch.json"}


def test_push_without_a_patch_or_a_token_says_what_to_do(run, server, tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match="make one with"):
        push(tmp_path, server)
    with pytest.raises(ForgetmeError, match="set HF_TOKEN"):
        push(run, server, token=None)
    with pytest.raises(ForgetmeError, match="user/name"):
        push_patch(run, "no cats", token=TOKEN)


def test_command_pushes_and_never_shows_the_token(run, server, monkeypatch, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    dry = CliRunner().invoke(cli.app, ["push-patch", str(run), REPO, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "forgotten by rl" in dry.stdout
    assert MODEL not in server.repos
    done = CliRunner().invoke(cli.app, ["push-patch", str(run), REPO, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["changed"]
    assert server.repos[MODEL].private
    assert TOKEN not in dry.output + done.output + caplog.text
    assert any(asked[2] == f"Bearer {TOKEN}" for asked in server.asked)
    head, _ = parts(server.repos[MODEL].head.files["README.md"].data.decode())
    assert head["license"] == "apache-2.0"
