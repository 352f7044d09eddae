"""What the Evaluate tab does: what it offers, who may start, how a table says what it found."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from page_server import Truth, TruthModels
from small_comparison import add_run
from test_page_jobs import MARK
from test_signin import BLOCKS, _our_routes_only, asks  # noqa: F401 (a fixture)

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record.summed import sealed
from forgetme.store import Store
from forgetme.ui.acts import Acts
from forgetme.ui.page import build

SCORES = (("forgetting", "Forgetting", "overall", True), ("keeping", "Keeping", "overall", True),
          ("still", "Still recognised", "forgetting", False),
          ("lpips", "LPIPS", "quality", False))  # fmt: skip


def value(mean: float | None = None, low: float | None = None, **more: object) -> dict:
    high = None if low is None else mean + 0.1
    return {"mean": mean, "low": low, "high": high, "n": 4, "judge": "", "note": "", "why": "",
            "grey": False, **more}  # fmt: skip


def report() -> dict:
    """An evaluation of one run as `report.json` has it, without its pictures."""
    base = value(why="it is the base")
    missing = value(why="needs LPIPS: pip install lpips")
    return {
        "version": 1, "made": "2026-05-01T10:00:00+00:00", "title": "Forgetting <cat>",
        "concept": "cat", "grid": "quick", "seed": 3, "minutes": 1.25, "judges": ["tiny/ranker"],
        "task": {"family": "object", "scope": "whole subject", "aim": "erase", "count": "one",
                 "way": "text", "anchor": ""},
        "models": [
            {"name": one, "kind": kind, "made_by": "", "digest": "", "forgets": [], "caution": told}
            for one, kind, told in (("base", "base", ""), ("cat-lora", "patch", "another base"))
        ],
        "scores": [{"key": key, "title": title, "aspect": aspect, "up": up, "words": "",
                    "share": False} for key, title, aspect, up in SCORES],
        "values": {
            "base": {"forgetting": base, "keeping": base, "still": value(0.9, 0.85),
                     "lpips": missing},
            "cat-lora": {"forgetting": value(0.75, 0.7), "keeping": value(0.5),
                         "still": value(0.25, 0.2, grey=True), "lpips": missing},
        },
    }  # fmt: skip


def lay(store: Store, name: str, content: str) -> None:
    folder = store.folder / "evaluations" / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(content)
    (folder / "report.html").write_text("<h1>all of it</h1>")


class Tab:
    """The tab's handlers and routes, on a store whose jobs are written down and never begin."""

    def __init__(self, store: Store) -> None:
        review = Review(store, TruthModels(Truth()), by="ann")
        worker = Worker(review)
        app = build(review, worker)
        self.store, self.door = store, app.app.state.door
        self.client = TestClient(app, base_url="http://127.0.0.1:7860", headers=MARK)
        found = BLOCKS(Acts(self.door, review, worker)).fns.values()
        found = [one for one in found if one.fn]
        look = next(  # as the tab opens
            one for one in found
            if "fm-evaluate-job" in [part.elem_id for part in one.outputs] and len(one.inputs) == 1
        )  # fmt: skip
        self.inputs, self.look_ = look.inputs, look.fn
        self.acts = {one.api_name or one.fn.__name__: one.fn for one in found}

    def browser(self, name: str = "", role: str = "") -> TestClient:
        """Returns the browser of a new person; without a name, of somebody who is not signed in."""
        made = TestClient(self.client.app, base_url="http://127.0.0.1:7860", headers=MARK)
        if name:
            self.store.people.add(name, role=role, password="a long password")
            made.cookies.set(self.door.cookie, self.store.people.begin_session(name))
        return made

    def do(self, act: str, *values: object, by: TestClient | None = None):
        """Does an act as the queue does it."""
        return self.acts[act](asks(by or self.client), *values)

    def look(self, by: TestClient | None = None, picked: str = "") -> dict[str, object]:
        """Opens the tab; returns what it shows by element id."""
        chosen = next(iter(self.inputs))
        shown = self.look_(asks(by or self.client), {chosen: picked})
        return {part.elem_id: told for part, told in shown.items() if part.elem_id}


@pytest.fixture
def tab(store: Store, monkeypatch, _our_routes_only: None) -> Tab:  # noqa: F811
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    return Tab(store)


def test_form_offers_the_runs_that_have_a_patch_and_a_lead_starts_a_job(tab: Tab) -> None:
    assert "Train something first" in tab.look()["fm-evaluate-words"]
    add_run(tab.store)
    shown = tab.look()
    assert shown["fm-evaluate-runs"].choices == [("cat-lora", "cat-lora")]
    assert shown["fm-evaluate-concept"].choices == [("cat", "cat")]
    assert "Choose runs" in shown["fm-evaluate-words"]
    assert tab.do("suggest_concept", ["cat-lora"]) == "cat"
    assert tab.do("begin_evaluation", "", "cat", ["cat-lora"], "quick", True) == ""
    (job,) = jobs.list(tab.store, kind="evaluate")
    assert job.by == "ann"
    assert job.arguments == {
        "name": "cat-1", "concept": "cat", "runs": ["cat-lora"], "size": "quick",
        "robustness": True, "seed": 0, "preset": "tiny",
    }  # fmt: skip
    shown = tab.look()
    assert "cat-1" in shown["fm-evaluate-job"]
    assert "waits" in shown["fm-evaluate-job"]
    assert shown["fm-evaluate-stop"].visible
    tab.do("stop_making", "cat-1")
    assert jobs.get(tab.store, job.id).state == "stopped"
    shown = tab.look()
    assert "What it drew is kept" in shown["fm-evaluate-job"]
    assert not shown["fm-evaluate-stop"].visible


def test_what_cannot_be_evaluated_is_refused_with_the_next_step(tab: Tab) -> None:
    add_run(tab.store)
    lay(tab.store, "cat-1", json.dumps(sealed(report())))
    for asked, words in (
        (("", "cat", [], "quick", False), "Choose the runs"),
        (("", None, ["cat-lora"], "quick", False), "Choose what was to be forgotten"),
        (("../x", "cat", ["cat-lora"], "quick", False), "small letters"),
        (("cat-1", "cat", ["cat-lora"], "quick", False), "already"),
        (("cache", "cat", ["cat-lora"], "quick", False), "already"),
        (("next", "cat", ["nowhere"], "quick", False), "No patch in the run"),
        (("next", "cat", ["../../etc"], "quick", False), "pattern"),
        (("next", "../cat", ["cat-lora"], "quick", False), "pattern"),
        (("next", "cat", ["cat-lora"], "vast", False), "quick"),
    ):
        with pytest.raises(gr.Error, match=words):
            tab.do("begin_evaluation", *asked)
    with pytest.raises(gr.Error, match="Nobody is making"):
        tab.do("stop_making", "cat-1")
    assert jobs.list(tab.store) == []


def test_table_shows_intervals_and_says_why_a_score_is_not_shown(tab: Tab) -> None:
    lay(tab.store, "cats", json.dumps(sealed(report())))
    lay(tab.store, "torn", '{"version": 1')
    shown = tab.look()
    lines = shown["fm-evaluations"].value["data"]
    assert lines == [["cats", "cat", "2"], ["torn", "cannot be read", "–"]]
    assert shown["fm-evaluation-scores"].value["headers"] == ["Score", "base", "cat-lora"]
    assert shown["fm-evaluation-scores"].value["data"] == [
        ["Forgetting ↑", "–", "0.75  (0.70 … 0.85)"],
        ["Keeping ↑", "–", "0.50"],
        ["Still recognised ↓", "0.90  (0.85 … 1.00)", "0.25  (0.20 … 0.35), grey"],
    ]  # fmt: skip
    assert "needs LPIPS" in shown["fm-evaluation-notes"]
    assert "the judge fails on the base" in shown["fm-evaluation-notes"]
    assert "cat-lora: another base" in shown["fm-evaluation-notes"]
    assert "Forgetting &lt;cat&gt;" in shown["fm-evaluation"]
    plot = shown["fm-evaluation-plot"].constructor_args
    assert plot["value"].to_numpy().tolist() == [["cat-lora", 0.75, 0.5]]
    assert plot["x_lim"][0] < 0 < 1 < plot["x_lim"][1]
    assert shown["fm-evaluation-page"].link == "forgetme/evaluation/cats/report.html"
    assert "cannot be read" in tab.look(picked="torn")["fm-evaluation"]
    page = tab.client.get("/forgetme/evaluation/cats/report.html")
    assert page.text == "<h1>all of it</h1>"
    assert page.headers["content-disposition"] == 'attachment; filename="cats.html"'


def test_viewers_and_curators_read_and_start_nothing(tab: Tab, tmp_path: Path) -> None:
    add_run(tab.store)
    lay(tab.store, "cats", json.dumps(sealed(report())))
    (tmp_path / "report.html").write_text("secret")
    (tab.store.folder / "evaluations" / "linked").symlink_to(tmp_path, target_is_directory=True)
    lead = tab.browser("lea", "lead")
    tab.do("begin_evaluation", "x", "cat", ["cat-lora"], "quick", False, by=lead)
    for role in ("viewer", "curator"):
        browser = tab.browser(role, role)
        shown = tab.look(by=browser)
        assert "role lead" in shown["fm-evaluate-words"]
        assert "Forgetting" in shown["fm-evaluation"]
        assert browser.get("/forgetme/evaluation/cats/report.html").status_code == 200
        for name in ("linked", "cache", "..%2Fcats", "nowhere"):
            found = browser.get(f"/forgetme/evaluation/{name}/report.html")
            assert found.status_code in (404, 422)
        for act, values in (
            ("begin_evaluation", ("", "cat", ["cat-lora"], "quick", False)),
            ("stop_making", ("x",)),
            ("evaluate", ("a", "cat", ["cat-lora"])),
            ("stop_evaluation", ("x",)),
        ):  # fmt: skip
            with pytest.raises(gr.Error, match="needs the role lead"):
                tab.do(act, *values, by=browser)
    assert tab.do("evaluations", by=browser) == ["cats"]
    assert tab.browser().get("/forgetme/evaluation/cats/report.html").status_code == 401
