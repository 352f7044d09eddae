"""What the Train tab does: who may do what, arguments that no run has, names that are no paths."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import fields
from pathlib import Path

import gradio as gr
import pytest
import small_store
from fastapi.testclient import TestClient
from page_server import Truth, TruthModels
from PIL import Image
from test_page_jobs import API, MARK, sign_in
from test_signin import BLOCKS, _our_routes_only, asks  # noqa: F401 (a fixture)
from train_job import STRIP, asked, fill, written

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import Store
from forgetme.train import METHODS, RunSettings, runs
from forgetme.train.form import settings_for
from forgetme.ui import run_views
from forgetme.ui import runs as acts_of_runs
from forgetme.ui.acts import Acts
from forgetme.ui.page import build

TRAIN = API + "train/"


class Tab:
    """The tab's acts and routes, on a store whose jobs are written down and never begin."""

    def __init__(self, store: Store) -> None:
        review = Review(store, TruthModels(Truth()), by="ann")
        worker = Worker(review)
        app = build(review, worker)
        self.store, self.door = store, app.app.state.door
        self.client = TestClient(app, base_url="http://127.0.0.1:7860", headers=MARK)
        found = list(BLOCKS(Acts(self.door, review, worker)).fns.values())
        self.ticks = [one for one in found if any(what == "tick" for _, what in one.targets)]
        self.acts = {one.api_name or one.fn.__name__: one for one in found if one.fn}

    def do(self, act: str, *values: object, by: TestClient | None = None):
        """Does an act as the queue does it.

        Raises:
            gr.Error: it is refused; the message says why.
        """
        return self.acts[act].fn(asks(by or self.client), *values)

    def form(self, act: str, held: dict | None = None, **more: object) -> dict[str, object]:
        """Does a handler of the form with some values; returns what it shows by element id."""
        named = {f"fm-{name.replace('_', '-')}": value for name, value in more.items()}
        wanted = {**(held or {}), **named}
        values = {one: wanted.get(one.elem_id, one.value) for one in self.acts[act].inputs}
        return {one.elem_id: value for one, value in self.do(act, values).items() if one.elem_id}


@pytest.fixture
def cats(store: Store, drawn: Path, monkeypatch) -> Store:
    """A store with four accepted cats, in which jobs are written down and never begin."""
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    fill(store, drawn)
    return store


@pytest.fixture
def tab(cats: Store, _our_routes_only: None) -> Tab:  # noqa: F811
    return Tab(cats)


def plan(**more: object) -> dict:
    return {**settings_for("lora", "cat", "tiny", {}, {}, None).record(), **more}


def queued(store: Store, name: str) -> jobs.Job:
    run = runs.run_of(store, name)
    row = store.jobs.add("train", {"name": name, "at": run.asked.at}, "ann", heavy=True)
    return jobs.get(store, row.id)


def ended(store: Store, name: str, outcome: str, error: str | None = None) -> None:
    store.jobs.end(queued(store, name).id, outcome, error=error)


def test_a_timer_is_not_ended_by_a_choice_that_is_gone(tab: Tab) -> None:
    written(asked(tab.store, "cat"), 4, probes=(0, 4))
    set_anew = {part for tick in tab.ticks for part in tick.outputs}
    read = [one for tick in tab.ticks for one in tick.inputs
            if isinstance(one, gr.Dropdown) and one in set_anew]  # fmt: skip
    names = {"fm-loss-term", "fm-probe-step", "fm-data-concept", "fm-trail-by"}
    assert {one.elem_id for one in read} == names
    assert [one.preprocess("of another run") for one in read] == ["of another run"] * len(read)
    tick = next(one for one in tab.ticks
                if "fm-loss-term" in {part.elem_id for part in one.inputs})  # fmt: skip
    held = {one: "of another run" if one in read else one.value for one in tick.inputs}
    told = {one.elem_id: what for one, what in tick.fn(asks(tab.client), held).items()}
    steps = runs.run_of(tab.store, "cat").asked.settings.steps
    for chart in ("fm-loss", "fm-scores"):  # how far a run is from its end
        assert told[chart].constructor_args["x_lim"] == [0, steps]
    assert (told["fm-loss-term"].value, told["fm-probe-step"].value) == ("loss", 4)


def test_settings_of_the_page_are_those_of_a_run() -> None:
    assert {one.name for one in fields(acts_of_runs.Settings)} == {
        one.name for one in fields(RunSettings)
    }
    assert acts_of_runs.NAME == runs.NAME


def test_form_has_the_methods_own_settings(tab: Tab) -> None:
    *_, methods, _ = tab.do("open_form", False)
    assert methods.choices == [(name, name) for name in METHODS]
    shown = tab.form("show_method", train_method="lora", train_preset="tiny")
    own = METHODS["lora"].presets["tiny"]
    assert shown["fm-set-steps"]["value"] == own["steps"]
    assert shown["fm-set-rank"]["info"] == "of the LoRA matrices; their scale is 1."
    assert shown["fm-option-retain"]["value"] == own["options"]["retain"]
    assert shown["fm-train-concept"].choices == [("cat, 4 accepted", "cat")]
    assert "not defined for no-cross-attention" in shown["fm-train-trains-words"]
    shown = tab.form("show_method", train_method="esd", train_preset="tiny")
    assert ("dog", "dog") in shown["fm-train-concept"].choices, "a word is enough"


def test_form_offers_each_methods_numbers_and_words_and_can_run_with_them(tab: Tab) -> None:
    for method, made in METHODS.items():
        shown = tab.form("show_method", train_method=method, train_preset="tiny")
        seen = {n.removeprefix("fm-option-"): one for n, one in shown.items() if "-option-" in n}
        assert {name for name, one in seen.items() if one["visible"]} == set(made.options)
        for name, one in made.options.items():
            assert tuple(seen[name].get("choices", ())) == one.choices
        held = {name: one.get("value") if isinstance(one, dict) else one.value
                for name, one in shown.items() if not isinstance(one, str)}  # fmt: skip
        told = tab.form("check", held, train_method=method, train_preset="tiny")
        assert told["fm-train-start"].interactive, (method, told["fm-train-verdict"])


@pytest.mark.usefixtures("_our_routes_only")
def test_form_begins_with_what_the_model_draws_and_warns_of_what_it_does_not(
    store: Store, drawn: Path
) -> None:
    small_store.accept(store, small_store.add(store, 900, name="grizzly", concept="bear"))
    fill(store, drawn)
    tab = Tab(store)
    shown = tab.form("show_method", train_method="lora", train_preset="tiny")["fm-train-concept"]
    assert [value for _, value in shown.choices] == ["bear", "cat"]
    assert shown.value == "cat"
    for concept, warned in (("bear", True), ("cat", False), ("Persian cat", False)):
        told = tab.form("check", train_concept=concept, train_method="lora", train_preset="tiny")
        assert ("does not draw" in told["fm-train-concept-words"]) is warned, concept


def test_start_writes_the_run_down_and_hands_it_to_a_job(tab: Tab) -> None:
    told = tab.do("start_run", "cat-lora", plan(steps=7), "tiny", 8)
    assert (told["name"], told["state"]) == ("cat-lora", "queued")
    assert (told["steps"], told["done"]) == (7, 0)
    run = runs.run_of(tab.store, "cat-lora")
    assert run.asked.settings.record() == {**plan(steps=7), "keep": run.asked.settings.keep,
                                           "watch": run.asked.settings.watch}  # fmt: skip
    assert (len(run.asked.samples), run.asked.by, run.asked.preset) == (4, "ann", "tiny")
    (job,) = jobs.list(tab.store, kind="train")
    assert job.arguments == {"name": "cat-lora", "at": run.asked.at}
    assert job.heavy  # several wait for each other
    with pytest.raises(gr.Error, match="already"):
        tab.do("start_run", "cat-lora", plan(), "tiny", 8)


def test_what_cannot_run_is_said_before_and_nothing_is_written(tab: Tab) -> None:
    for more, words in (
        ({"concept": "dog", "keep": ["cat"]}, "no accepted sample of 'dog'"),
        ({"trains": "no-cross-attention"}, "lora cannot train no-cross-attention"),
        ({"retain_pictures": 0}, "something that must stay"),
        ({"prompt": "a photo of a dog"}, "does not name 'cat'"),
        ({"keep": ["cat"]}, "cannot be forgotten and kept"),
        ({"options": {"eta": 1.0}}, "has no option eta"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"steps": 0}, "lora learns step by step"),
    ):
        asked_for = plan(**more)
        assert words in tab.do("check_run", asked_for, "tiny", 8)["problem"]
        with pytest.raises(gr.Error) as refused:
            tab.do("start_run", "x", asked_for, "tiny", 8)
        assert words in refused.value.message
    assert runs.runs(tab.store) == []
    assert jobs.list(tab.store, kind="train") == []


def test_check_says_minutes_and_memory_and_how_it_knows(tab: Tab) -> None:
    told = tab.do("check_run", plan(), "tiny", 8)
    assert told["problem"] is None
    assert told["cost"]["how"] == "estimated"
    assert told["cost"]["seconds"] > 0
    assert "weights" in tab.do("check_run", plan(), "full", 8)["problem"]


def test_settings_that_are_none_are_refused(tab: Tab) -> None:
    for wrong in (
        {"steps": -1}, {"steps": "7"}, {"lr": 0}, {"lr": float("inf")}, {"batch": -1},
        {"concept": "../../x"}, {"keep": ["a/b"]}, {"keep": ["a\x00"]}, {"path": "/etc"},
        {"seed": -1}, {"precision": "int1"}, {"steps": 10**9},
        {"options": {"retain": float("nan")}}, {"options": {"retain": "1"}}, {"prompt": "x" * 501},
    ):  # fmt: skip
        with pytest.raises(gr.Error, match="Correct it and try again"):
            tab.do("start_run", "x", plan(**wrong), "tiny", 8)
    assert runs.runs(tab.store) == []


def test_viewers_look_and_leads_act(tab: Tab) -> None:
    written(asked(tab.store, "cat"), 4, probes=(0, 4))
    people = {}
    for name, role in (("lena", "lead"), ("cem", "curator"), ("vic", "viewer")):
        people[role] = TestClient(tab.client.app, base_url="http://127.0.0.1:7860")
        people[role].cookies.update(cookie_of(sign_in(tab.client, tab.store, name, role)))
    assert tab.client.get(TRAIN + "runs/cat/probes/4-0.png").status_code == 401
    for role, who in people.items():
        assert [one["name"] for one in tab.do("list_runs", by=who)] == ["cat"]
        assert who.get(TRAIN + "runs/cat/probes/4-0.png").status_code == 200
        if role == "lead":
            continue
        assert who.get(TRAIN + "runs/cat/patch.zip").status_code == 403
        for act, values in (("check_run", [plan()]), ("start_run", ["mine", plan()]),
                            ("stop_run", ["cat"]), ("resume_run", ["cat"]),
                            ("delete_run", ["cat"])):  # fmt: skip
            with pytest.raises(gr.Error, match="needs the role lead"):
                tab.do(act, *values, by=who)
    with pytest.raises(gr.Error, match="needs the role curator"):  # the lines may name files
        tab.do("run_log", "cat", by=people["viewer"])
    assert tab.do("run_log", "cat", by=people["curator"]) == ""
    assert [one.name for one in runs.runs(tab.store)] == ["cat"]


def cookie_of(headers: dict[str, str]) -> dict[str, str]:
    name, _, value = headers["Cookie"].partition("=")
    return {name: value}


def test_names_that_are_no_run_or_picture_get_nothing(tab: Tab) -> None:
    written(asked(tab.store, "cat"), 4, probes=(0, 4))
    for path in (
        "runs/..", "runs/%2e%2e", "runs/nobody", "runs/cat/probes/3-0.png",
        "runs/cat/probes/4-9.png", "runs/cat/probes/-1-0.png",
        "runs/cat/probes/4-0/../../run.json", "runs/CAT/patch.zip", "runs/nobody/patch.zip",
    ):  # fmt: skip
        assert tab.client.get(TRAIN + path).status_code in (404, 422), path
    for name in ("..", "CAT", "nobody", "a/b"):
        with pytest.raises(gr.Error):
            tab.do("delete_run", name)
    assert [one.name for one in runs.runs(tab.store)] == ["cat"]


def test_probe_picture_is_the_file_itself(tab: Tab) -> None:
    run = written(asked(tab.store, "cat"), 4, probes=(0, 4))
    answer = tab.client.get(TRAIN + "runs/cat/probes/4-1.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (run.folder / "probes" / "000004 dog.png").read_bytes()
    assert Image.open(io.BytesIO(answer.content)).size == STRIP


def test_waiting_run_is_stopped_and_goes_on_with_what_may_change(tab: Tab) -> None:
    written(asked(tab.store, "cat"), 4)
    queued(tab.store, "cat")
    for act in ("resume_run", "delete_run"):
        with pytest.raises(gr.Error, match="Stop it first"):
            tab.do(act, "cat")
    assert tab.client.get(TRAIN + "runs/cat/patch.zip").status_code == 409
    assert tab.do("stop_run", "cat")["state"] == "stopped"
    with pytest.raises(gr.Error, match="not at work"):
        tab.do("stop_run", "cat")
    for wrong, words in ((["9"], "steps"), ([None, 0], "lr"), ([3], "4 steps already")):
        with pytest.raises(gr.Error, match=words):
            tab.do("resume_run", "cat", *wrong)
    on = tab.do("resume_run", "cat", 500, None, True)
    assert (on["state"], on["steps"]) == ("queued", 500)
    settings = runs.run_of(tab.store, "cat").asked.settings
    assert (settings.steps, settings.gradient_checkpointing, settings.batch) == (500, True, 2)


def test_failed_run_says_what_to_do_and_shows_its_last_lines(tab: Tab) -> None:
    run = written(asked(tab.store, "cat"), 4, diverged=3)
    job = queued(tab.store, "cat")
    path = tab.store.jobs.log_path(job.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"line {n}\n" for n in range(300)) + "error: the loss is nan\n")
    tab.store.jobs.end(job.id, "failed", error="the loss is nan at step 3; --resume --lr 1")
    (told,) = tab.do("list_runs")
    rate = run.record["lr"] / 4
    assert (told["state"], told["advice"]["changes"]) == ("failed", {"lr": rate})
    assert "--lr" not in told["advice"]["words"]
    lines = tab.do("run_log", "cat").splitlines()
    assert (lines[-1], len(lines)) == ("error: the loss is nan", 60)
    tab.do("advise", "cat")
    assert runs.run_of(tab.store, "cat").asked.settings.lr == rate


def test_patch_comes_as_a_zip_of_its_own_files(tab: Tab) -> None:
    run = written(asked(tab.store, "cat"), 4)
    ended(tab.store, "cat", "done")
    patch = run.folder / "patch"
    (patch / "pictures").mkdir()
    (patch / "pictures" / "cat-after.png").write_bytes(b"png")
    (patch / "link").symlink_to(run.folder / "run.json")
    answer = tab.client.get(TRAIN + "runs/cat/patch.zip")
    assert 'filename="cat.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = {"cat/patch.json", "cat/patch.safetensors", "cat/pictures/cat-after.png"}
        assert set(archive.namelist()) == names
        weights = archive.read("cat/patch.safetensors")
    assert weights == (patch / "patch.safetensors").read_bytes()


def test_run_that_a_command_writes_now_is_left_alone(tab: Tab) -> None:
    run = written(asked(tab.store, "cat"), 4)
    (run.folder / "asked.json").unlink()
    with pytest.raises(gr.Error, match="A command is at work"):
        tab.do("delete_run", "cat")
    long_ago = run.folder.stat().st_mtime - 1000
    os.utime(run.folder / "log.jsonl", (long_ago, long_ago))
    with pytest.raises(gr.Error, match="--resume"):
        tab.do("resume_run", "cat")
    assert tab.do("delete_run", "cat") == {"deleted": "cat"}
    assert runs.runs(tab.store) == []


def test_charts_begin_with_numbers_and_a_closed_form_has_no_steps() -> None:
    run = {"concept": "car", "keep": ["cat"], "watch": [], "steps": 0, "done": 1}
    for frame in (run_views.losses([], 0.9, False), run_views.scores([], run)):
        assert [one.kind for one in frame.dtypes.iloc[:2]] == ["i", "f"]  # else a chart of words
    shown = {"name": "car-uce", "method": "uce", "state": "done", "pictures": 0, "by": "ann",
             "at": "", "trains": "kv", "words": "", "seconds_left": None, "seconds": 3,
             "advice": None, "first": None, "last": None}  # fmt: skip
    assert "step" not in run_views.head(run | shown).casefold().replace('aria-label="steps"', "")
    assert run_views.line(run | shown)[3] == "–"
    assert run_views.line(run | shown | {"steps": 8})[3] == "1 of 8"


def test_what_the_page_shows_already_is_not_set_anew_under_a_click(tab: Tab, monkeypatch) -> None:
    for place in ("markup", "team"):  # a minute may pass meanwhile
        monkeypatch.setattr(f"forgetme.ui.{place}.ago", str)
    run = written(asked(tab.store, "cat"), 4, probes=(0, 4))
    row = tab.store.samples()[0]

    def comment() -> None:
        tab.store.append(row.id, "commented", {"text": "a fine cat"}, by="ann",
                         expected_version=row.version)  # fmt: skip

    def step() -> None:
        log = run.folder / "log.jsonl"
        last = next(one for one in reversed(log.read_text().splitlines()) if '"loss"' in one)
        with log.open("a") as file:
            file.write(json.dumps(json.loads(last) | {"step": 5}) + "\n")

    changes = {"fm-team-comments": (comment, {"fm-team-comments", "fm-team-sample"}),
               "fm-run": (step, {"fm-run", "fm-runs", "fm-loss"})}  # fmt: skip
    showing = 0
    for tick in tab.ticks:
        held = {one: one.value for one in tick.inputs}

        def shown(tick=tick, held=held) -> set[str]:
            told = tick.fn(asks(tab.client), held)
            for one, what in told.items():  # an update without a value leaves it as it is
                parts = getattr(what, "constructor_args", {"value": what})
                held[one] = parts.get("value", held.get(one))
            return {one.elem_id for one in told if not isinstance(one, gr.State)}

        first = shown()
        showing += bool(first)
        assert len(first) > 3 or not first  # the forms and the trail wait for their mode
        assert shown() == set()
        again = tick.fn(asks(tab.client), held)
        told = [one for one in again if isinstance(one, gr.State) and again[one] != held[one]]
        assert told == []  # a choice made meanwhile is not set back
        states = [one for one in held if isinstance(one, gr.State) and one in again]
        # The marks alone, or what says that nothing is new: a choice is not in what comes back.
        assert all(isinstance(again[one], dict) for one in states) or len(again) == 1
        for name in first & changes.keys():
            change, wanted = changes.pop(name)
            change()
            assert shown() == wanted
    assert changes == {}
    assert showing == 4  # Dataset, Train, Evaluate, Team
