"""Gradio's own queue over HTTP: what it runs asks each time who it is, whatever the page shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from safe_page import Answer, SafePage, serving

ROLES = {"vic": "viewer", "ann": "curator", "lea": "lead"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SafePage]:
    with serving(tmp_path_factory.mktemp("acts") / "store") as page:
        for name, role in ROLES.items():
            page.store.people.add(name, role, origin="huggingface")
        yield page


@pytest.fixture
def cookie(page: SafePage) -> Callable[[str], str]:
    """Returns the cookie of somebody who has just signed in."""
    name = page.app.state.door.cookie
    return lambda who: f"{name}={page.store.people.begin_session(who)}"


def call(page: SafePage, act: str, *values: object, **headers: str) -> tuple[str, object]:
    """Calls an endpoint as any client does; returns how it ended and what it said."""
    begun = page.post(f"/gradio_api/call/{act}", {"data": values}, **headers)
    assert begun.status == 200, begun.body
    event = json.loads(begun.body)["event_id"]
    lines = page.ask(f"/gradio_api/call/{act}/{event}", **headers).body.decode().splitlines()
    return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def outside(page: SafePage, **headers: str) -> list[Answer]:
    """Posts to all that Gradio's queue offers."""
    fns = json.loads(page.ask("/config").body)["dependencies"]
    body = {"data": [], "fn_index": fns[0]["id"], "session_hash": "x"}
    return [
        page.post("/gradio_api/queue/join", body, **headers),
        page.post("/gradio_api/call/people", {"data": []}, **headers),
        page.post("/gradio_api/call/v2/people", {}, **headers),
    ]


def test_the_queue_is_closed_to_outsiders_and_to_a_session_that_ended(page, cookie):
    ended = cookie("lea")
    page.store.people.end_sessions("lea")
    for headers in ({}, {"cookie": ended}, {"cookie": ended[:-1]}, {"authorization": "Bearer x"}):
        assert {one.status for one in outside(page, **headers)} == {401}
        for path in ("queue/data?session_hash=x", "call/people/x", "call/v2/people/x"):
            assert page.ask(f"/gradio_api/{path}", **headers).status == 401
    assert page.ask("/").status == page.ask("/config").status == 200, (
        "the shell, over which one signs in"
    )
    foreign = {"cookie": cookie("lea"), "origin": "http://evil.example"}
    assert {one.status for one in outside(page, **foreign)} == {403}


@pytest.mark.parametrize("who", ["vic", "ann"])
def test_the_queue_says_which_role_is_missing_and_does_nothing(page, cookie, who):
    before = page.store.people.list()
    new = ["max", "lead", "max's long password", "local"]
    for act, values in (
        ("people", []),
        ("add_person", new),
        ("change_person", [who, "lead", None, None]),
    ):
        ended, said = call(page, act, *values, cookie=cookie(who))
        assert ended == "error"
        assert f"needs the role lead; you are {ROLES[who]}" in said["error"]
    assert page.store.people.list() == before


def test_a_lead_does_it_and_wrong_arguments_are_said_in_words(page, cookie):
    lead = {"cookie": cookie("lea")}
    ended, (listed,) = call(page, "people", **lead)
    assert ended == "complete"
    assert {one["name"]: one["role"] for one in listed} == ROLES
    for act, values, words in (
        ("ask_for_opinions", [7, 2], "share: Input should be less than or equal to 1"),
        ("ask_for_opinions", [0.5, 10**30], "copies: "),
        ("approve", ["../../etc/passwd", 1], "sample_id: "),
        ("change_person", ["lea", "viewer", None, None], "ask another lead"),
    ):
        ended, said = call(page, act, *values, **lead)
        assert (ended, words in said["error"]) == ("error", True), said


def test_accepted_sample_is_approved_once_in_the_version_that_was_seen(page, cookie):
    lead = {"cookie": cookie("lea")}
    (row,) = page.store.samples(state="accepted")
    ended, said = call(page, "approve", row.id, row.version - 1, **lead)
    assert (ended, "changed this" in said["error"]) == ("error", True)
    assert call(page, "approve", row.id, row.version, **lead)[0] == "complete"
    assert page.store.sample(row.id).reviewed == "approved"
    assert page.store.events(row.id)[-1].by == "lea"
