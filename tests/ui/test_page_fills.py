"""Fills on the page: prompts, the strip of tries, the table that compares them, all low ones."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from page_server import TruthModels, fill_store
from test_page_browser import SLOW_MS, Server, browser, name_of, part, ready, saved

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record.sample import Thresholds
from forgetme.record.settings import Settings
from forgetme.store import Store
from forgetme.ui.page import build

__all__ = ["browser"]  # a fixture
API = "/forgetme/api/"
MARK = {"x-forgetme": "1", "origin": "http://127.0.0.1"}
ALL_LOW = Settings(thresholds=Thresholds(low_d=1.0, low_s=1.0))


class Client:
    """The page's routes, asked as one person; `of` is another client of the same page."""

    def __init__(self, review: Review, who: str | None = None, *, of: Client | None = None) -> None:
        self.app = of.app if of else build(review, Worker(review))
        self.review = review
        self.http = TestClient(self.app, base_url="http://127.0.0.1")
        if who is not None:
            token = review.store.people.begin_session(who)
            self.http.cookies.set(self.app.app.state.door.cookie, token)

    def get(self, path: str, **query):
        return self.http.get(API + path, params=query)

    def post(self, path: str, body=None, **more):
        return self.http.post(API + path, json=body or {}, headers=MARK, **more)


@pytest.fixture
def review(store) -> Review:
    """Four prepared samples, all of them low."""
    review = Review(store, TruthModels(fill_store(store, 4, wrong_every=99)), ALL_LOW, by="ann")
    for row in store.samples():
        review.prepare(row.id)
    return review


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A page for questions and refusals, which change nothing."""
    with Store(tmp_path_factory.mktemp("still") / "store") as store:
        review = Review(store, TruthModels(fill_store(store, 4, wrong_every=99)), ALL_LOW, by="ann")
        for row in store.samples():
            review.prepare(row.id)
        yield Client(review)


@pytest.fixture
def asked(monkeypatch) -> list[tuple]:
    """Jobs are written down; no process is started."""
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])
    return []


@pytest.fixture
def team(review) -> dict[str, Client]:
    for role in ("viewer", "curator", "lead"):
        review.store.people.add(role, role, "correct horse")
    nobody = Client(review)
    signed_in = {role: Client(review, role, of=nobody) for role in ("viewer", "curator", "lead")}
    return signed_in | {"nobody": nobody}


# ---------------------------------------------------------------- routes


def test_a_try_comes_with_its_proofs(still):
    row = still.review.store.samples()[0]
    shown = still.get(f"samples/{row.id}").json()["tries"][0]
    assert shown["outside"] == row.tries[0]["outside"]
    assert [one["name"] for one in shown["checks"]] == ["seen", "smear", "seam"]
    assert shown["kind"] == "filled"


def test_suggestions_say_who_made_them(still):
    row = still.review.store.samples()[0]
    found = still.get(f"samples/{row.id}/suggestions").json()
    assert len(found["prompts"]) == 3
    assert (found["made_by"], found["note"]) == ("truth", "")
    assert found["defaults"]["prompt"] == found["prompts"][0]
    assert found["defaults"]["negative_prompt"] == row.concept


def test_low_ones_are_counted_for_each_concept(still):
    everything = still.get("fills/low").json()
    cats = still.get("fills/low", concept="cat").json()
    assert (everything["count"], cats["count"]) == (4, 1)
    assert everything["rows"][0]["name"] == still.review.store.samples()[0].name
    assert set(everything["placeholders"]) == {"setting", "suggestion", "concept", "caption"}
    assert everything["job"] is None


def test_a_round_is_written_down_as_a_job_once(review, asked):
    client = Client(review)
    body = {"prompt": " bare {setting} ", "concept": "cat", "steps": 5, "seed": 9}
    first = client.post("fills/refine_low", body)
    assert first.status_code == 202
    job = review.store.jobs.rows()[0]
    assert (job.kind, job.by, job.arguments["prompt"]) == ("refine_low", "ann", "bare {setting}")
    assert (job.arguments["form"]["steps"], job.arguments["form"]["seed"]) == (5, 9)
    second = client.post("fills/refine_low", body)
    assert second.json()["job"]["id"] == first.json()["job"]["id"]
    assert client.get("fills/low").json()["job"]["id"] == job.id


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": "{nothing}"},
        {"prompt": "x" * 501},
        {"prompt": "x", "steps": 1000},
        {"prompt": "x", "strength": 0},
        {"prompt": "x", "seed": -1},
        {"prompt": "x", "more": 1},
        {"prompt": "x", "concept": "no such thing"},
    ],
)
def test_a_round_that_makes_no_sense_is_refused(still, asked, body):
    answer = still.post("fills/refine_low", body)
    assert answer.status_code in (400, 422)
    assert answer.json()["words"]
    assert still.review.store.jobs.rows() == []


def test_a_round_without_low_ones_is_refused(store, asked):
    review = Review(store, TruthModels(fill_store(store, 1)), by="ann")
    answer = Client(review).post("fills/refine_low", {"prompt": "sand"})
    assert answer.status_code == 400
    assert "nothing to refine" in answer.json()["words"]


def test_only_leads_start_a_round(team, review, asked):
    for role, status in (("viewer", 403), ("curator", 403), ("lead", 202)):
        assert team[role].post("fills/refine_low", {"prompt": "sand"}).status_code == status
    assert [job.by for job in review.store.jobs.rows()] == ["lead"]
    assert team["viewer"].get("fills/low").status_code == 200


def test_nobody_gets_in_without_signing_in(team, review):
    stranger = team["nobody"]
    row = review.store.samples()[0]
    assert stranger.get("fills/low").status_code == 401
    assert stranger.get(f"samples/{row.id}/suggestions").status_code == 401
    assert stranger.post("fills/refine_low", {"prompt": "sand"}).status_code == 401


def test_a_form_of_another_page_starts_nothing(still, asked):
    answer = still.http.post(API + "fills/refine_low", json={"prompt": "sand"})
    assert answer.status_code == 403
    assert still.review.store.jobs.rows() == []


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("fills") / "store", 8)
    yield server
    server.kill()


@pytest.fixture
def page(browser, server: Server) -> Iterator:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    ready(page)
    yield page
    context.close()
    assert errors == []


def refined(page, prompt: str) -> None:
    """Makes one more try, and waits until it is there."""
    page.wait_for_selector("[data-test='try-1']")  # what the page opened with
    count = page.locator(".fm-try").count()
    part(page, "prompt").fill(prompt)
    part(page, "refine").click()
    page.wait_for_selector(f"[data-test='try-{count + 1}']")


@pytest.mark.browser
def test_tries_are_sorted_compared_and_picked(page, server: Server) -> None:
    name = name_of(page)
    refined(page, "bare sand")
    refined(page, "short grass")
    words = part(page, "words")
    assert "outside unchanged, byte by byte" in words.inner_text()
    row = server.rows()[name]
    for check in row.tries[row.picked_try]["checks"]:  # a tick only where it was made and passed
        line = words.locator("li", has_text=check["words"])
        assert line.get_attribute("data-ok") == json.dumps(check["ok"])

    part(page, "compare").click()
    tries = server.rows()[name].tries
    by_s = sorted(range(3), key=lambda k: (-tries[k]["scores"]["s"]["score"], k))
    part(page, "sort-s").click()
    rows = page.locator("[data-test='tries-table'] tbody tr[data-test]")
    shown = rows.evaluate_all("rows => rows.map((row) => row.dataset.test)")
    assert shown == [f"row-{k + 1}" for k in by_s]
    strip = page.locator(".fm-try").evaluate_all("all => all.map((one) => one.dataset.test)")
    assert strip == [f"try-{k + 1}" for k in by_s]

    part(page, "left-1").check()
    part(page, "right-2").check()
    left, right = (
        page.locator(f".fm-compare .fm-slider {one}").get_attribute("src")
        for one in (".fm-slider-frame > img", ".fm-slider-after > img")
    )
    assert tries[0]["image_sha"] in left
    assert tries[1]["image_sha"] in right
    other = 1 if row.picked_try == 0 else 0
    part(page, f"pick-{other + 1}").click()
    page.wait_for_selector(f"[data-test='row-{other + 1}'][aria-selected='true']")
    page.keyboard.press("Escape")
    saved(page)
    assert server.rows()[name].picked_try == other


@pytest.mark.browser
def test_the_batch_says_how_many_it_is_for_and_shows_what_is_refused(page, server: Server) -> None:
    with Store(server.store) as store:
        low = [row for row in store.samples(state="prepared") if row.low]
    part(page, "batch").click()
    count = part(page, "batch-count")
    page.wait_for_function(
        "() => document.querySelector(\"[data-test='batch-count']\").textContent !== ''"
    )
    assert part(page, "batch-prompt").input_value() == "an empty {setting}"
    assert low
    assert count.inner_text().startswith(f"{len(low)} low")
    part(page, "batch-prompt").fill("{nothing}")
    part(page, "batch-start").click()
    page.wait_for_selector(".fm-errors li")
    assert "{setting}" in page.locator("dialog .fm-errors").inner_text()
