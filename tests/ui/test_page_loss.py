"""A full disk, an ended sign-in, a closed tab, a second tab and a restart lose nothing."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from page_server import Truth, TruthModels
from small_store import add, prepare
from sqlalchemy import event
from starlette.testclient import TestClient
from test_page import free_port, wait_for
from test_page_browser import (
    SLOW_MS,
    Server,
    browser,  # noqa: F401 (a fixture)
    name_of,
    ready,
    saved,
    shows_another,
)
from test_signin import (
    API,
    HOME,
    MARK,
    PASSWORD,
    _cheap_hashes,  # noqa: F401 (a fixture)
    _our_routes_only,  # noqa: F401 (a fixture)
)

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import Store
from forgetme.ui import page

STROKE = {"strokes": [{"mode": "add", "radius": 2.5, "points": [[4, 4], [20, 9]]}]}


class Program:
    """The page's routes on a store, as one start of the program makes them."""

    def __init__(self, place: Path) -> None:
        self.store = Store(place)
        review = Review(self.store, TruthModels(Truth()), by="owner")
        self.app = page.build(review, Worker(review))  # not started: nothing here waits for it

    def tab(self, name: str, cookies: httpx.Cookies | None = None) -> TestClient:
        """Opens the page, signed in as `name` unless the browser still has its cookie."""
        tab = TestClient(self.app, base_url=HOME, headers=MARK, cookies=cookies)
        if cookies is None:
            sign_in(tab, name)
        return tab

    def kinds(self, sample: str) -> list[str]:
        return [one.kind for one in self.store.events(sample)]


def sign_in(tab: TestClient, name: str) -> None:
    answer = tab.post(f"{API}sign-in", json={"name": name, "password": PASSWORD.format(name)})
    assert answer.status_code == 200, answer.text


def act(tab: TestClient, sample: str, name: str, **body: object) -> httpx.Response:
    return tab.post(f"{API}samples/{sample}/{name}", json=body)


def seen(tab: TestClient, sample: str) -> int:
    return tab.get(f"{API}samples/{sample}").json()["version"]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A page of two curators with two samples that can be decided."""
    program = Program(tmp_path / "store")
    for name in ("ann", "ben"):
        program.store.people.add(name, "curator", PASSWORD.format(name))
    program.samples = [prepare(program.store, add(program.store, seed)).id for seed in (1, 2)]
    yield program
    program.store.close()


# ------------------------------ a full disk


@pytest.fixture
def disk(program: Program, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes the disk full, for the database by SQLite's own limit, and free again."""
    most, sync = [2**30], os.fsync

    def limit(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {most[0]}")

    def refuse(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def set_full(full: bool) -> None:
        with program.store._database.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        most[0] = pages if full else 2**30
        monkeypatch.setattr(os, "fsync", refuse if full else sync)

    event.listen(program.store._database.engine, "checkout", limit)
    return set_full


def is_refusal_of_a_full_disk(answer: httpx.Response) -> bool:
    body = answer.json()
    return (
        answer.status_code == 400
        and body["error"] == "DiskFullError"
        and "free some disk space and try again" in body["words"]
        and "saved" not in body
    )


def test_full_disk_takes_nothing_by_half_and_the_same_is_sent_again(program, disk):
    ann, sample = program.tab("ann"), program.samples[0]
    disk(True)
    said = []
    while (answer := act(ann, sample, "comment", text="y" * 1900)).status_code == 200:
        said.append(answer.json()["sample"]["version"])
        assert len(said) < 50, "the disk is never full"
    assert is_refusal_of_a_full_disk(answer), answer.text
    assert seen(ann, sample) == (said[-1] if said else 3), "what was refused is not there"
    assert program.kinds(sample).count("commented") == len(said)
    disk(False)
    version = seen(ann, sample)
    assert act(ann, sample, "accept", seen=version).json()["sample"]["state"] == "accepted"
    assert program.store.check() == []


def test_full_disk_leaves_the_mask_under_a_stroke_as_it_was(program, disk):
    ann, sample = program.tab("ann"), program.samples[0]
    version, mask = seen(ann, sample), program.store.sample(sample).mask_sha
    disk(True)
    assert is_refusal_of_a_full_disk(act(ann, sample, "paint", seen=version, **STROKE))
    assert program.store.sample(sample).mask_sha == mask
    disk(False)
    assert act(ann, sample, "paint", seen=version, **STROKE).json()["saved"]
    assert program.store.sample(sample).mask_sha != mask
    assert program.store.check() == []


# ------------------------------ an ended sign-in


def test_act_after_the_sign_in_ended_is_sent_again_and_done_once(program):
    ann, sample = program.tab("ann"), program.samples[0]
    assert ann.post(f"{API}hold", json={"take": [sample]}).json()["kept_back"] == {}
    version = seen(ann, sample)
    program.store.people.end_sessions("ann")
    refused = act(ann, sample, "accept", seen=version)
    assert (refused.status_code, refused.json()["error"]) == (401, "sign-in")
    assert "accepted" not in program.kinds(sample)
    assert act(program.tab("ben"), sample, "reject").json()["error"] == "held", "it is still ann's"
    sign_in(ann, "ann")
    assert act(ann, sample, "accept", seen=version).status_code == 200
    assert act(ann, sample, "accept", seen=version).status_code == 409, "a repeat is not done twice"
    assert program.kinds(sample).count("accepted") == 1


# ------------------------------ tabs


def test_second_tab_overwrites_nothing_and_sees_what_the_first_did(program):
    first = program.tab("ann")
    second = program.tab("ann", first.cookies)
    sample = program.samples[0]
    version = seen(second, sample)
    assert seen(first, sample) == version
    assert act(first, sample, "paint", seen=version, **STROKE).status_code == 200
    mask = program.store.sample(sample).mask_sha
    stale = act(second, sample, "grow", seen=version, px=3)
    assert (stale.status_code, stale.json()["error"]) == (409, "stale")
    assert program.store.sample(sample).mask_sha == mask
    assert stale.json()["sample"]["version"] == seen(first, sample)
    assert act(second, sample, "reject", seen=seen(second, sample)).status_code == 200
    undone = first.post(f"{API}undo", json={}).json()["sample"]
    assert (undone["id"], undone["state"]) == (sample, "prepared"), "one list of decisions for both"
    assert program.store.sample(sample).mask_sha == mask


def test_act_under_way_when_its_tab_closes_is_kept(program, monkeypatch):
    under_way, closed = threading.Event(), threading.Event()
    reject = Review.reject

    def wait_and_reject(*arguments, **more):
        under_way.set()
        assert closed.wait(60)
        return reject(*arguments, **more)

    monkeypatch.setattr(Review, "reject", wait_and_reject)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(program.app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    tab, sample = program.tab("ann"), program.samples[0]
    cookie = "; ".join(f"{name}={value}" for name, value in tab.cookies.items())
    body = b"{}"
    lines = (
        f"POST {API}samples/{sample}/reject HTTP/1.1", f"Host: 127.0.0.1:{port}",
        f"Cookie: {cookie}", "X-ForgetMe: 1", "Content-Type: application/json",
        f"Content-Length: {len(body)}", "", "",
    )  # fmt: skip
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.sendall("\r\n".join(lines).encode() + body)
        assert under_way.wait(60)
    closed.set()
    wait_for(lambda: program.store.sample(sample).state == "rejected")
    server.should_exit = True
    thread.join(30)
    assert program.store.check() == []


@pytest.mark.browser
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_tab_asks_before_it_closes_on_acts_that_are_not_saved_yet(browser, tmp_path):  # noqa: F811
    server = Server(tmp_path / "shown", 4)
    tab = browser.new_page()
    tab.set_default_timeout(SLOW_MS)
    asked = []
    tab.on("dialog", lambda one: (asked.append(one.type), one.dismiss()))
    tab.goto(server.next)
    ready(tab)
    name = name_of(tab)
    server.process.send_signal(signal.SIGSTOP)  # it answers nothing for a while
    tab.keyboard.press("x")
    shows_another(tab, name)
    tab.evaluate("setTimeout(() => location.reload())")  # what closing asks, leaving asks
    wait_for(lambda: tab.wait_for_timeout(50) or asked)
    server.process.send_signal(signal.SIGCONT)
    saved(tab)
    assert asked == ["beforeunload"]
    assert server.rows()[name].state == "rejected"
    tab.close()
    server.process.terminate()
    server.process.wait(30)


# ------------------------------ a restart


def test_restart_keeps_sign_in_hold_history_and_every_act(program, tmp_path):
    ann, (sample, other) = program.tab("ann"), program.samples
    assert act(ann, sample, "paint", seen=seen(ann, sample), **STROKE).status_code == 200
    assert act(ann, other, "flag", text="two cats").status_code == 200
    assert ann.post(f"{API}hold", json={"take": [sample]}).status_code == 200
    before = ann.get(f"{API}samples/{sample}").json()
    again = Program(tmp_path / "store")  # the first one was never closed, as after a crash
    try:
        tab = again.tab("ann", ann.cookies)
        session = tab.get(f"{API}session").json()
        assert (session["by"], [one["id"] for one in session["last"]]) == ("ann", [other])
        assert tab.get(f"{API}samples/{sample}").json() == before
        assert before["can_undo_mask"]
        assert act(again.tab("ben"), sample, "reject").json()["error"] == "held"
        assert act(tab, sample, "undo_mask", seen=before["version"]).status_code == 200
        assert tab.post(f"{API}undo", json={}).json()["sample"]["id"] == other
    finally:
        again.store.close()
