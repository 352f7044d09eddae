"""Jobs on the page: who may see, stop and start them; the panel; pictures fetched ahead."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import small_store
from fastapi.testclient import TestClient
from page_server import Truth, TruthModels
from test_page import free_port

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.errors import ForgetmeError
from forgetme.store import Store
from forgetme.ui.page import build

HERE = Path(__file__).parents[1]
API = "/forgetme/api/"
MARK = {"X-ForgetMe": "1"}
SLOW_MS = 180_000  # a busy machine
START_SECONDS = 400


@pytest.fixture
def client(store: Store) -> TestClient:
    """The page's routes; nobody has an account, so that whoever asks is the lead ann."""
    review = Review(store, TruthModels(Truth()), by="ann")
    return TestClient(build(review, Worker(review)), base_url="http://127.0.0.1:7860")


def sign_in(client: TestClient, store: Store, name: str, role: str) -> dict[str, str]:
    """Makes an account and returns the headers of a request by it."""
    store.people.add(name, role=role, password="a long password")
    client.cookies.clear()
    door = client.app.app.state.door
    return MARK | {"Cookie": f"{door.cookie}={store.people.begin_session(name)}"}


def test_jobs_are_listed_with_state_step_and_time_left(client, store):
    with jobs.recorded(store, "prepare", {}, "ann") as job:
        job.step(30, 120, "beach_018", subject="0" * 16)
        job._write()
        (shown,) = client.get(API + "jobs").json()["jobs"]
    assert shown["id"] == job.id
    assert (shown["state"], shown["step"], shown["total"]) == ("running", 30, 120)
    assert (shown["words"], shown["by"], shown["trouble"]) == ("beach_018", "ann", None)
    assert shown["seconds_left"] == pytest.approx(3 * shown["seconds"], abs=1)
    assert "pid" not in shown
    assert "arguments" not in shown


def test_one_job_comes_with_its_last_lines_only(client, store):
    with jobs.recorded(store, "prepare", {}, "ann") as job:
        pass
    store.jobs.folder.mkdir(parents=True)
    store.jobs.log_path(job.id).write_text("".join(f"line {n}\n" for n in range(500)))
    log = client.get(f"{API}jobs/{job.id}").json()["log"].splitlines()
    assert log[-1] == "line 499"
    assert len(log) == 60


@pytest.mark.parametrize("job_id", ["0" * 16, "../../store.db", "x", "0" * 15, "%2e%2e"])
def test_ids_that_are_no_job_get_nothing(client, job_id):
    assert client.get(f"{API}jobs/{job_id}").status_code in (404, 422)
    assert client.post(f"{API}jobs/{job_id}/stop", json={}, headers=MARK).status_code != 200


def test_changes_need_the_mark_and_no_further_words(client, store):
    row = store.jobs.add("prepare", {}, "ann", heavy=False)
    assert client.post(f"{API}jobs/{row.id}/stop", json={}).status_code == 403
    wrong = client.post(f"{API}jobs/{row.id}/stop", json={"pid": 1}, headers=MARK)
    assert wrong.status_code == 422
    assert jobs.get(store, row.id).state == "queued"
    stopped = client.post(f"{API}jobs/{row.id}/stop", json={}, headers=MARK)
    assert stopped.json()["state"] == "stopped"


def test_roles_decide_who_may_look_stop_and_start_again(client, store):
    row = store.jobs.add("prepare", {}, "ann", heavy=False)
    lead = sign_in(client, store, "lena", "lead")
    curator = sign_in(client, store, "cem", "curator")
    viewer = sign_in(client, store, "vic", "viewer")
    assert client.get(API + "jobs").status_code == 401
    for who in (viewer, curator, lead):
        assert client.get(API + "jobs", headers=who).status_code == 200
    assert client.get(f"{API}jobs/{row.id}", headers=viewer).status_code == 403  # logs name files
    assert client.get(f"{API}jobs/{row.id}", headers=curator).status_code == 200
    stop, again = f"{API}jobs/{row.id}/stop", f"{API}jobs/{row.id}/again"
    for who in (viewer, curator):  # it is not theirs
        assert client.post(stop, json={}, headers=who).status_code == 403
        assert client.post(again, json={}, headers=who).status_code == 403
    assert client.post(again, json={}, headers=lead).status_code == 409  # it has not ended
    assert client.post(stop, json={}, headers=lead).status_code == 200
    own = store.jobs.add("prepare", {}, "cem", heavy=False)
    assert client.post(f"{API}jobs/{own.id}/stop", json={}, headers=curator).status_code == 200


def test_lead_starts_a_stopped_job_again(client, store, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "start_queued", lambda store: started.append(1))
    row = store.jobs.add("prepare", {"preset": "tiny"}, "ben", heavy=False)
    jobs.stop(store, row.id, "ben")
    answer = client.post(f"{API}jobs/{row.id}/again", json={}, headers=MARK)
    assert answer.status_code == 202
    second = jobs.get(store, answer.json()["id"])
    assert (second.kind, second.arguments, second.by) == ("prepare", {"preset": "tiny"}, "ann")
    assert second.id != row.id
    assert started


def test_pulse_hands_on_what_the_curator_sees(client, store, monkeypatch):
    row = small_store.add(store, 1)
    seen = []
    monkeypatch.setattr(Worker, "look_at", lambda worker, ids: seen.append(list(ids)))
    assert client.get(f"{API}pulse?ids={row.id}").status_code == 200
    assert seen == [[row.id]]


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page as a process of its own on drawn scenes; its address and its store."""
    store = tmp_path_factory.mktemp("jobs") / "store"
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "page_server.py", str(store), str(port), "12"]
    program = subprocess.Popen(command, cwd=HERE)
    deadline = time.monotonic() + START_SECONDS
    while not _prepared(url):
        assert program.poll() is None, "the page did not start"
        assert time.monotonic() < deadline, f"the page was not ready in {START_SECONDS} s"
        time.sleep(0.2)
    yield url, store
    program.send_signal(signal.SIGTERM)
    program.wait(60)


def _prepared(url: str) -> bool:
    try:
        session = httpx.get(url + "forgetme/api/session", timeout=30)
    except httpx.HTTPError:
        return False
    return session.json()["counts"]["new"] == 0


@pytest.fixture
def page(server: tuple[str, Path]) -> Iterator:
    """The page with its first sample ready; it must log no error."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(found for name in names if (found := shutil.which(name)))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(SLOW_MS)
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server[0])
        page.wait_for_selector("[data-test=accept]:not([disabled])")
        page.wait_for_function("document.querySelector('.fm').curate.stage.ready")
        yield page
        browser.close()
        assert errors == []


def part(page, name: str):
    return page.locator(f"[data-test='{name}']")


@pytest.mark.browser
def test_panel_shows_a_job_stops_it_and_tells_of_its_failure(page, server):
    asked = threading.Event()
    with Store(server[1]) as store:
        with jobs.recorded(store, "export", {}, "ann") as job:
            job.step(30, 120, "beach_018")
            part(page, "jobs").get_by_text(re.compile(r"export 25 %")).wait_for()
            part(page, "jobs").click()
            row = part(page, f"job-{job.id}")
            row.get_by_text("30 of 120 · beach_018").wait_for()
            row.locator("[data-test=job-stop]").click()
            row.get_by_text("finishing its step").wait_for()
            asked.set()
            deadline = time.monotonic() + 60
            while not job.should_stop:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        row.get_by_text("stopped", exact=True).wait_for()
        page.keyboard.press("Escape")
        with pytest.raises(ForgetmeError), jobs.recorded(store, "export", {}, "ann") as job:
            raise ForgetmeError("the folder is not empty; name another")
        page.evaluate("document.dispatchEvent(new CustomEvent('fm-jobs'))")
        part(page, "jobs").get_by_text("1 failed").wait_for()
        part(page, "jobs").click()
        part(page, f"job-{job.id}").get_by_text("the folder is not empty; name another").wait_for()
        part(page, f"job-{job.id}").locator("[data-test=job-log]").click()
        part(page, f"job-{job.id}").get_by_text("It has not written anything.").wait_for()
        if shots := os.environ.get("FORGETME_SHOTS"):
            page.screenshot(path=f"{shots}/jobs.png")
        page.keyboard.press("Escape")
        page.wait_for_function("!document.querySelector('dialog[open]')")


@pytest.mark.browser
def test_next_pictures_are_decoded_before_their_key_is_pressed(page):
    page.wait_for_function(
        """() => {
          const { shelf, list } = document.querySelector(".fm").curate;
          const next = list.rows.slice(list.index + 1, list.index + 4);
          return next.length === 3 && next.every((row) => shelf.get(row.id)
            && shelf.pictures.get(row.image_sha)?.image.dataset.decoded);
        }"""
    )
    fetched = []
    page.on("request", lambda one: fetched.append(one.url))
    sha = page.evaluate(
        """() => {
          const { list } = document.querySelector(".fm").curate;
          return list.rows[list.index + 1].image_sha;
        }"""
    )
    page.keyboard.press("ArrowRight")
    # In the very task in which the key arrives the picture is there, with its outline's record.
    shown = page.evaluate(
        """() => {
          const { stage, sample } = document.querySelector(".fm").curate;
          return [stage.shownSha, stage.ready, sample.loading ?? false, sample.tries.length > 0];
        }"""
    )
    assert shown == [sha, True, False, True]
    page.wait_for_function("document.querySelector('.fm').curate.acts.inFlight === 0")
    assert not [url for url in fetched if f"picture/{sha}" in url]
