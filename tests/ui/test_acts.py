"""Gradio's own queue over HTTP: what it runs asks each time who it is, whatever the page shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from safe_page import Answer, SafePage, serving

from forgetme.ui import endpoints

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
    ended, revoked = cookie("lea"), page.store.tokens.add("lea", "old")
    page.store.people.end_sessions("lea")
    page.store.tokens.revoke("lea", "old")
    for headers in ({}, {"cookie": ended}, {"cookie": ended[:-1]}, {"authorization": "Bearer x"},
                    {"authorization": f"Bearer {revoked}", "cookie": cookie("ann")}):  # fmt: skip
        assert {one.status for one in outside(page, **headers)} == {401}
        for path in ("queue/data?session_hash=x", "call/people/x", "call/v2/people/x"):
            assert page.ask(f"/gradio_api/{path}", **headers).status == 401
    assert page.ask("/").status == page.ask("/config").status == 200, (
        "the shell, over which one signs in"
    )
    foreign = {"cookie": cookie("lea"), "origin": "http://evil.example"}
    assert {one.status for one in outside(page, **foreign)} == {403}


def test_a_program_with_a_token_acts_as_its_person(page):
    token = page.store.tokens.add("ann", "program")
    headers = {"Authorization": f"Bearer {token}"}
    client = Client(f"http://127.0.0.1:{page.port}", headers=headers, verbose=False)
    (row,) = client.predict("prepared", api_name="/samples")
    client.predict(row["id"], "from afar", api_name="/comment")
    assert page.store.events(row["id"])[-1].by == "ann"
    with pytest.raises(AppError, match="needs the role lead; you are curator"):
        client.predict(api_name="/people")
    page.store.tokens.revoke("ann", "program")
    with pytest.raises(Exception, match="401"):
        client.predict("prepared", api_name="/samples")


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


def test_another_program_curates_as_readme_says(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = next(
        one for one in re.findall(r"```python\n(.*?)```", readme, re.S) if "Client(" in one
    )
    with serving(tmp_path / "store") as page:
        code = block.replace("http://127.0.0.1:7860", f"http://127.0.0.1:{page.port}")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "cat_2 is accepted by ann" in done.stdout
        (row,) = [one for one in page.store.samples() if one.name == "cat_2"]
        assert (row.state, row.decided_by) == ("accepted", "ann")
        listed = json.loads(page.ask("/gradio_api/info").body)["named_endpoints"]
        wanted = {act.__name__ for act in (*endpoints.READS, *endpoints.ACTS)}
        assert {f"/{name}" for name in wanted} <= set(listed)
        assert listed["/accept"]["description"] == "Accepts a sample as it is."
        arguments = [one["parameter_name"] for one in listed["/accept"]["parameters"]]
        assert arguments == ["sample_id", "seen"], "who asks is no argument"


def test_nobody_gets_past_a_sample_that_somebody_else_holds(page, cookie):
    (row,) = page.store.samples(state="prepared")
    page.store.holds.take([row.id], "ben")
    for act, more in (("accept", [None]), ("reject", ["", None]), ("comment", ["mine", None]),
                      ("propose", []), ("undo", [])):  # fmt: skip
        ended, said = call(page, act, row.id, *more, cookie=cookie("ann"))
        assert (ended, "ben" in said["error"]) == ("error", True), (act, said)
    page.store.holds.leave_all("ben")
    assert page.store.sample(row.id).version == row.version
    ended, said = call(page, "skip", row.id, None, cookie=cookie("vic"))
    assert (ended, "needs the role curator" in said["error"]) == ("error", True)
