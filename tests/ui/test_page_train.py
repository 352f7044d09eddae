"""The Train tab's routes: who may do what, strict bodies, names that are no paths."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from page_server import Truth, TruthModels
from PIL import Image
from test_page_jobs import API, MARK, sign_in
from train_job import STRIP, asked, fill, written

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import Store
from forgetme.train import METHODS, RunSettings, runs
from forgetme.train.form import settings_for
from forgetme.ui import train
from forgetme.ui.page import build

TRAIN = API + "train/"


@pytest.fixture
def cats(store: Store, drawn: Path, monkeypatch) -> Store:
    """A store with four accepted cats, in which jobs are written down and never begin."""
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    fill(store, drawn)
    return store


@pytest.fixture
def client(cats: Store) -> TestClient:
    review = Review(cats, TruthModels(Truth()), by="ann")
    return TestClient(build(review, Worker(review)), base_url="http://127.0.0.1:7860")


def plan(**more: object) -> dict:
    settings = settings_for("lora", "cat", "tiny", {}, {}, None).record()
    return {"preset": "tiny", "probe_pictures": 8, "settings": {**settings, **more}}


def post(client: TestClient, path: str, body: dict | None = None, **more):
    return client.post(TRAIN + path, json=body or {}, headers=MARK, **more)


def queued(store: Store, name: str) -> jobs.Job:
    run = runs.run_of(store, name)
    row = store.jobs.add("train", {"name": name, "at": run.asked.at}, "ann", heavy=True)
    return jobs.get(store, row.id)


def ended(store: Store, name: str, outcome: str, error: str | None = None) -> None:
    store.jobs.end(queued(store, name).id, outcome, error=error)


def test_body_has_every_setting_of_a_run() -> None:
    assert set(train.Settings.model_fields) == {field.name for field in fields(RunSettings)}
    assert train.NAME == runs.NAME


def test_form_offers_methods_presets_and_concepts_with_their_accepted_samples(client) -> None:
    form = client.get(TRAIN + "form").json()
    assert [one["name"] for one in form["methods"]] == list(METHODS)
    tiny, full = form["presets"]
    assert (tiny["name"], full["name"], form["preset"]) == ("tiny", "full", "tiny")
    assert "download" in full["problem"]  # it is not on this machine, and says what to do
    assert form["choices"]["precision"][0] == "no"
    listed = client.get(TRAIN + "runs").json()
    assert listed == {"runs": [], "concepts": [{"name": "cat", "accepted": 4}]}


def test_start_writes_the_run_down_and_hands_it_to_a_job(client, cats: Store) -> None:
    answer = post(client, "runs", {**plan(steps=7), "name": "cat-lora"})
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["name"], told["state"], told["steps"], told["done"]) == (
        "cat-lora",
        "queued",
        7,
        0,
    )
    run = runs.run_of(cats, "cat-lora")
    assert run.asked.settings.record() == {
        **plan(steps=7)["settings"],
        "keep": run.asked.settings.keep,
    }
    assert (len(run.asked.samples), run.asked.by, run.asked.preset) == (4, "ann", "tiny")
    (job,) = jobs.list(cats, kind="train")
    assert job.arguments == {"name": "cat-lora", "at": run.asked.at}
    assert job.heavy  # several wait for each other
    assert post(client, "runs", {**plan(), "name": "cat-lora"}).status_code == 400


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"concept": "dog", "keep": ["cat"]}, "no accepted sample of 'dog'"),
        ({"trains": "no-cross-attention"}, "lora cannot train no-cross-attention"),
        ({"retain_pictures": 0}, "something that must stay"),
        ({"prompt": "a photo of a dog"}, "does not name 'cat'"),
        ({"keep": ["cat"]}, "cannot be forgotten and kept"),
        ({"options": {"eta": 1.0}}, "has no option eta"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"steps": 0}, "lora learns step by step"),
    ],
)
def test_what_cannot_run_is_said_before_and_nothing_is_written(client, cats, more, words) -> None:
    body = plan(**more)
    assert words in post(client, "check", body).json()["problem"]
    refused = post(client, "runs", {**body, "name": "x"})
    assert refused.status_code == 400
    assert words in refused.json()["words"]
    assert runs.runs(cats) == []
    assert jobs.list(cats, kind="train") == []


def test_check_says_minutes_and_memory_and_how_it_knows(client, cats: Store) -> None:
    told = post(client, "check", plan()).json()
    assert told["problem"] is None
    assert told["cost"]["how"] == "estimated"
    assert told["cost"]["seconds"] > 0
    assert "weights" in post(client, "check", {**plan(), "preset": "full"}).json()["problem"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1}, {"steps": "7"}, {"lr": 0}, {"lr": float("inf")}, {"batch": -1},
        {"concept": "../../x"}, {"keep": ["a/b"]}, {"keep": ["a\x00"]}, {"path": "/etc"},
        {"seed": -1},
        {"options": {"retain": float("nan")}}, {"options": {"retain": "1"}}, {"prompt": "x" * 501},
    ],
)  # fmt: skip
def test_settings_that_are_none_are_refused_by_the_body(client, cats: Store, wrong: dict) -> None:
    content = json.dumps({**plan(**wrong), "name": "x"})
    headers = {**MARK, "content-type": "application/json"}
    assert client.post(TRAIN + "runs", content=content, headers=headers).status_code == 422
    assert runs.runs(cats) == []


def test_viewers_look_and_leads_act(client, cats: Store) -> None:
    written(asked(cats, "cat"), 4, probes=(0, 4))
    lead = sign_in(client, cats, "lena", "lead")
    curator = sign_in(client, cats, "cem", "curator")
    viewer = sign_in(client, cats, "vic", "viewer")
    assert client.get(TRAIN + "runs").status_code == 401
    for path in ("form", "runs", "runs/cat", "runs/cat/probes/4-0.png"):
        assert client.get(TRAIN + path, headers=viewer).status_code == 200, path
    assert client.get(TRAIN + "runs/cat/lines", headers=viewer).status_code == 403
    assert client.get(TRAIN + "runs/cat/lines", headers=curator).status_code == 200
    acts = [("check", plan()), ("runs", {**plan(), "name": "mine"})]
    acts += [(f"runs/cat/{act}", {}) for act in ("stop", "resume", "delete")]
    for who in (viewer, curator):
        for path, body in acts:
            assert client.post(TRAIN + path, json=body, headers=who).status_code == 403, path
        assert client.get(TRAIN + "runs/cat/patch.zip", headers=who).status_code == 403
    assert [one.name for one in runs.runs(cats)] == ["cat"]
    assert client.post(TRAIN + "check", json=plan(), headers=lead).status_code == 200


def test_acts_need_the_mark_of_the_page(client, cats: Store) -> None:
    written(asked(cats, "cat"), 4)
    for path in ("runs/cat/delete", "runs/cat/resume", "check"):
        assert client.post(TRAIN + path, json={}).status_code == 403
    assert len(runs.runs(cats)) == 1


@pytest.mark.parametrize(
    "path",
    [
        "runs/..", "runs/%2e%2e", "runs/nobody", "runs/cat/probes/3-0.png",
        "runs/cat/probes/4-9.png",
        "runs/cat/probes/-1-0.png", "runs/cat/probes/4-0/../../run.json", "runs/CAT",
        "runs/cat?after=../../x", "runs/cat?after=1", "runs/nobody/patch.zip",
    ],
)  # fmt: skip
def test_names_that_are_no_run_or_picture_get_nothing(client, cats: Store, path: str) -> None:
    written(asked(cats, "cat"), 4, probes=(0, 4))
    assert client.get(TRAIN + path).status_code in (404, 422)


def test_chosen_run_comes_with_new_rows_only(client, cats: Store) -> None:
    run = written(asked(cats, "cat"), 4, probes=(0, 4))
    first = client.get(TRAIN + "runs/cat").json()
    assert [row["step"] for row in first["rows"] if "loss" in row] == [1, 2, 3, 4]
    assert first["probes"] == {"0": [0, 4], "1": [0, 4]}
    assert (first["pictures"], first["settings"]["concept"]) == (4, "cat")
    with (run.folder / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "seconds": 2.5, "loss": 0.2}\n')
    second = client.get(f"{TRAIN}runs/cat?after={first['next']}").json()
    assert (second["rows"], second["done"]) == ([{"step": 5, "seconds": 2.5, "loss": 0.2}], 5)


def test_probe_picture_is_the_file_itself(client, cats: Store) -> None:
    run = written(asked(cats, "cat"), 4, probes=(0, 4))
    answer = client.get(TRAIN + "runs/cat/probes/4-1.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (run.folder / "probes" / "000004 dog.png").read_bytes()
    assert Image.open(io.BytesIO(answer.content)).size == STRIP


def test_waiting_run_is_stopped_and_goes_on_with_what_may_change(client, cats: Store) -> None:
    written(asked(cats, "cat"), 4)
    queued(cats, "cat")
    assert post(client, "runs/cat/resume").status_code == 409
    assert post(client, "runs/cat/delete").status_code == 409
    assert client.get(TRAIN + "runs/cat/patch.zip").status_code == 409
    assert post(client, "runs/cat/stop").json()["state"] == "stopped"
    assert post(client, "runs/cat/stop").status_code == 409
    for wrong in ({"batch": 1}, {"steps": "9"}, {"lr": 0}):
        assert post(client, "runs/cat/resume", wrong).status_code == 422
    assert "4 steps already" in post(client, "runs/cat/resume", {"steps": 3}).json()["words"]
    on = post(client, "runs/cat/resume", {"steps": 500, "gradient_checkpointing": True})
    assert (on.status_code, on.json()["state"], on.json()["steps"]) == (202, "queued", 500)
    settings = runs.run_of(cats, "cat").asked.settings
    assert (settings.steps, settings.gradient_checkpointing, settings.batch) == (500, True, 2)


def test_failed_run_says_what_to_do_and_shows_its_last_lines(client, cats: Store) -> None:
    run = written(asked(cats, "cat"), 4, diverged=3)
    job = queued(cats, "cat")
    path = cats.jobs.log_path(job.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"line {n}\n" for n in range(300)) + "error: the loss is nan\n")
    cats.jobs.end(job.id, "failed", error="the loss is nan at step 3; --resume --lr 1")
    (told,) = client.get(TRAIN + "runs").json()["runs"]
    assert told["state"] == "failed"
    rate = run.record["lr"] / 4
    assert told["advice"]["changes"] == {"lr": rate}
    assert "--lr" not in told["advice"]["words"]
    lines = client.get(TRAIN + "runs/cat/lines").json()["log"].splitlines()
    assert (lines[-1], len(lines)) == ("error: the loss is nan", 60)
    on = post(client, "runs/cat/resume", told["advice"]["changes"])
    assert (on.status_code, runs.run_of(cats, "cat").asked.settings.lr) == (202, rate)


def test_patch_comes_as_a_zip_of_its_own_files(client, cats: Store) -> None:
    run = written(asked(cats, "cat"), 4)
    ended(cats, "cat", "done")
    patch = run.folder / "patch"
    (patch / "pictures").mkdir()
    (patch / "pictures" / "cat-after.png").write_bytes(b"png")
    (patch / "link").symlink_to(run.folder / "run.json")
    answer = client.get(TRAIN + "runs/cat/patch.zip")
    assert 'filename="cat.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = {"cat/patch.json", "cat/patch.safetensors", "cat/pictures/cat-after.png"}
        assert set(archive.namelist()) == names
        weights = archive.read("cat/patch.safetensors")
    assert weights == (patch / "patch.safetensors").read_bytes()


def test_run_that_a_command_writes_now_is_left_alone(client, cats: Store) -> None:
    run = written(asked(cats, "cat"), 4)
    (run.folder / "asked.json").unlink()
    assert "A command is at work" in post(client, "runs/cat/delete").json()["words"]
    long_ago = run.folder.stat().st_mtime - 1000
    os.utime(run.folder / "log.jsonl", (long_ago, long_ago))
    assert post(client, "runs/cat/resume").status_code == 409  # it goes on by command
    assert post(client, "runs/cat/delete").json() == {"deleted": "cat"}
    assert runs.runs(cats) == []
