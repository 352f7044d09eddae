"""The page as tools of an agent: a client curates with an access token, and nobody without one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import uvicorn
from mcp import ClientSession
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from page_server import Truth, TruthModels, fill_store
from safe_page import Bait
from starlette.testclient import TestClient
from test_page import free_port, wait_for

from forgetme.cli.serve import main
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import Store
from forgetme.ui import endpoints
from forgetme.ui.acts import OUR_OWN
from forgetme.ui.mcp import PATH
from forgetme.ui.page import build

PASSWORD = "a long enough password"
SECONDS = 300  # a busy machine
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
JSON = "application/json"
SENT = {"accept": f"{JSON}, text/event-stream"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A team's page with two scenes, and an agent for a curator and for a viewer."""
    with Store(tmp_path_factory.mktemp("mcp") / "store") as store:
        for name, role in (("robot", "curator"), ("vic", "viewer"), ("lea", "lead")):
            store.people.add(name, role, PASSWORD)
        review = Review(store, TruthModels(fill_store(store, 2)), by="owner")
        worker, port = Worker(review), free_port()
        app = build(review, worker, any_host=True, with_mcp=True)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        worker.start()
        thread.start()
        wait_for(lambda: server.started)
        token = {name: store.tokens.add(name, "agent") for name in ("robot", "vic", "lea")}
        yield SimpleNamespace(store=store, door=app.app.state.door, token=token,
                              url=f"http://127.0.0.1:{port}{PATH}")  # fmt: skip
        server.should_exit = True
        thread.join(20)
        worker.stop(timeout=20)


class Agent:
    """What an agent does with its tools."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def use(self, tool: str, **arguments: object):
        """Uses a tool and returns what it says; a refusal is an `AssertionError`."""
        answer = await self.session.call_tool(tool, arguments)
        words = answer.content[0].text if answer.content else "null"
        assert not answer.isError, words
        return json.loads(words)

    async def rest(self, sample_id: str) -> dict:
        """Waits until nothing is done to a sample any more."""
        async with asyncio.timeout(SECONDS):
            while (told := await self.use("sample", sample_id=sample_id))["busy"]:
                await asyncio.sleep(0.05)
        assert told["trouble"] is None
        return told


def act(page: SimpleNamespace, token: str, do: Callable) -> object:
    """Does something with an agent's tools."""

    async def connected() -> object:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            create_mcp_http_client(headers=headers) as client,
            streamable_http_client(page.url, http_client=client) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await do(Agent(session))

    return asyncio.run(connected())


def test_agent_lists_the_queue_proposes_clicks_fills_and_accepts(page) -> None:
    async def curate(agent: Agent) -> str:
        tools = {one.name: one for one in (await agent.session.list_tools()).tools}
        assert {one.__name__ for one in (*endpoints.READS, *endpoints.ACTS)} <= set(tools)
        assert tools["accept"].description.startswith("Accepts a sample as it is.")
        assert "request" not in tools["accept"].inputSchema["properties"]
        first = (await agent.use("samples"))[0]["id"]  # the page may have prepared it already
        await agent.use("propose", sample_id=first)
        told = await agent.rest(first)
        mask = page.store.get_mask(page.store.sample(first).mask_sha)
        y, x = (int(one[len(one) // 2]) for one in np.nonzero(mask))
        await agent.use("click", sample_id=first, points=[[x, y, 1]])
        await agent.rest(first)
        await agent.use("fill", sample_id=first)
        tries = len((await agent.rest(first))["tries"])
        assert tries > len(told["tries"]) - 1
        done = await agent.use("accept", sample_id=first)
        assert done["state"] == "accepted"
        return first

    sample = act(page, page.token["robot"], curate)
    row = page.store.sample(sample)
    assert (row.state, row.decided_by) == ("accepted", "robot")
    by = {one.kind: one.by for one in page.store.events(sample)}
    assert by["mask_edited"] == by["accepted"] == "robot"


def test_agent_has_its_persons_role_and_arguments_are_checked(page) -> None:
    row = page.store.samples()[-1]
    before = page.store.events()

    async def refused(agent: Agent) -> list[str]:
        found = []
        for tool, arguments in (
            ("accept", {"sample_id": row.id}), ("add_token", {"name": "lea", "label": "mine"}),
            ("people", {}), ("sample", {"sample_id": "../../etc/passwd"}), ("nothing", {}),
        ):  # fmt: skip
            answer = await agent.session.call_tool(tool, arguments)
            assert answer.isError, tool
            found.append(answer.content[0].text)
        return found

    words = act(page, page.token["vic"], refused)
    wanted = ("role curator", "role lead", "role lead", "sample_id", "nothing")
    assert all(one in said for one, said in zip(wanted, words, strict=True)), words
    page.store.holds.take([row.id], "lea")

    async def held(agent: Agent) -> str:
        answer = await agent.session.call_tool("reject", {"sample_id": row.id, "reason": ""})
        return answer.content[0].text

    assert "lea is working" in act(page, page.token["robot"], held)
    page.store.holds.leave_all("lea")
    assert page.store.events() == before
    assert len(page.store.tokens.list()) == 3


def test_only_a_token_opens_the_tools_and_only_where_they_are_asked_for(page) -> None:
    revoked = page.store.tokens.add("robot", "old")
    page.store.tokens.revoke("robot", "old")
    cookie = {"cookie": f"{page.door.cookie}={page.store.people.begin_session('lea')}"}
    for sent in ({}, cookie, {"authorization": f"Bearer {revoked}"}, {"authorization": "Bearer x"},
                 cookie | {"authorization": "Basic bGVhOng="}):  # fmt: skip
        for method in ("GET", "POST"):
            answer = httpx.request(method, page.url, json=HELLO, headers=SENT | sent)
            assert (answer.status_code, answer.json()["error"]) == (401, "token"), sent
    mine = {"authorization": f"Bearer {page.token['robot']}"}
    assert httpx.post(page.url, json=HELLO, headers=SENT | mine).status_code == 200
    foreign = mine | {"origin": "http://evil.example"}
    assert httpx.post(page.url, json=HELLO, headers=SENT | foreign).status_code == 403
    bait = Bait()  # Gradio would send calls, and tokens, to the host that a request names
    named = SENT | mine | {"x-forwarded-host": urlsplit(bait.url).netloc}
    for method, params, said in (
        ("tools/call", {"name": "samples", "arguments": {}}, "image_sha"),
        ("resources/read", {"uri": "file:///etc/passwd"}, "tools alone"),
        ("prompts/get", {"name": "samples"}, "tools alone"),
    ):
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(page.url, json=call, headers=named)
        assert (answer.status_code, said in answer.text) == (200, True), answer.text
        assert bait.asked == []

    for path in ("sse", "schema", "messages/", "http/"):
        assert httpx.get(page.url + path, headers=mine).status_code == 404
    review = Review(page.store, TruthModels(Truth()), by="owner")
    usual = build(review, Worker(review), any_host=True)
    browser = TestClient(usual, base_url="http://127.0.0.1", headers=mine)
    assert browser.post(PATH, json=HELLO, headers=SENT).status_code == 404


def test_no_argument_of_any_tool_ends_in_an_error_of_our_own(page) -> None:
    lea = SENT | {"authorization": f"Bearer {page.token['lea']}"}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}

    def told(body: dict | str | bytes) -> str:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = httpx.post(page.url, content=data, headers=lea | {"content-type": JSON})
        assert answer.status_code < 500, (data[:90], answer.text)
        assert OUR_OWN not in answer.text, data[:90]
        return answer.text

    answer = told(HELLO)
    tools = json.loads(answer[answer.index("{") :])["result"]["tools"]
    assert len(tools) > 30
    for tool, value in zip(tools, cycle((10**400, "\ud800", float("nan"))), strict=False):
        given = dict.fromkeys(tool["inputSchema"].get("properties", {}), value)
        told(call | {"params": {"name": tool["name"], "arguments": given}})
    for raw in (b"", b"{", b"NaN", b"[]", b"[" * 900 + b"]" * 900, b"\xff", b'{"method": 1}'):
        told(raw)


def test_a_store_without_accounts_is_told_what_to_do(tmp_path: Path, capsys, monkeypatch) -> None:
    assert main(["--store", str(tmp_path / "store"), "--mcp"]) == 1
    assert "people token NAME --make agent" in capsys.readouterr().err
