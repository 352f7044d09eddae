"""Who gets in, and how far: raw requests to every route, named after what broke elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
from fastapi.routing import APIRoute
from gradio.blocks import BlockFunction
from page_server import TruthModels, fill_store
from starlette.requests import Request
from starlette.testclient import TestClient

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.errors import ForgetmeError
from forgetme.store import Store, passwords
from forgetme.ui import page, who
from forgetme.ui.acts import Acts
from forgetme.ui.oauth import hub_sign_in

API = "/forgetme/api/"
MARK = {"X-ForgetMe": "1"}
HOME = "http://127.0.0.1:7860"
BLOCKS = page.blocks
PASSWORD = "{}'s long password"
PUBLIC = {f"{API}{name}" for name in ("door", "sign-in", "sign-out")}
# What a viewer may send: their own keys and views, and what to show without keeping it.
OWN = {
    f"{API}{name}" for name in ("queue/views", "keys", "keys/reset", "side/{foreground}/preview")
}
ROLES = {"vic": "viewer", "ann": "curator", "ben": "curator", "lea": "lead"}
SPACE = {
    "SPACE_ID": "team/forgetme",
    "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": "client-secret",
    "SPACE_HOST": "team-forgetme.hf.space",
    "SPACE_AUTHOR_NAME": "olga",
}


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_COST", {"n": 16, "r": 8, "p": 1})
    monkeypatch.setattr(passwords, "NOBODYS", passwords.hash_password("nobody's password"))


@pytest.fixture(autouse=True)
def _our_routes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves Gradio's own routes out: they take seconds to build, and `test_safety` has them."""
    monkeypatch.setattr(page, "blocks", lambda _: None)
    monkeypatch.setattr("gradio.mount_gradio_app", lambda *_, **__: None)


class House:
    """A page with a store, and a browser for each person."""

    def __init__(self, store: Store, **options: object) -> None:
        self.store = store
        self.review = Review(store, TruthModels(fill_store(store, 3)), by="owner")
        self.worker = Worker(self.review)  # not started: nothing here waits for it
        self.app = page.build(self.review, self.worker, **options)
        self.ids = [row.id for row in store.samples()]

    def browser(self, name: str | None = None, *, home: str = HOME) -> TestClient:
        browser = TestClient(self.app, base_url=home, headers=MARK, follow_redirects=False)
        if name is not None:
            assert self.sign_in(browser, name).status_code == 200
        return browser

    def program(self, token: str, *, mark: bool = False) -> TestClient:
        """Returns a program that comes with an access token and without the page's header."""
        headers = {"Authorization": f"Bearer {token}"} | (MARK if mark else {})
        return TestClient(self.app, base_url=HOME, headers=headers, follow_redirects=False)

    def sign_in(self, browser: TestClient, name: str, password: str | None = None):
        password = PASSWORD.format(name) if password is None else password
        return browser.post(f"{API}sign-in", json={"name": name, "password": password})

    @cached_property
    def acts(self) -> list[BlockFunction]:
        """All that Gradio's queue runs: the handlers of the tabs and the endpoints."""
        bound = Acts(self.app.app.state.door, self.review, self.worker)
        return [one for one in BLOCKS(bound).fns.values() if one.fn is not None]

    def act(self, browser: TestClient, name: str, *values: object):
        """Does what an endpoint does, as the queue runs it, for whoever has the browser's cookies.

        Raises:
            gr.Error: it is refused; the message says why.
        """
        return next(one.fn for one in self.acts if one.api_name == name)(asks(browser), *values)

    def routes(self) -> list[APIRoute]:
        """Returns our own routes, not those of Gradio."""
        return [one for one in walk(self.app.app.routes) if one.path.startswith("/forgetme/")]


def asks(browser: TestClient) -> gr.Request:
    """Returns a browser's request as Gradio hands it to a handler."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = [(b"cookie", cookies.encode()), (b"host", b"127.0.0.1:7860")]
    headers += [(b"authorization", one.encode()) for one in [browser.headers.get("authorization")]
                if one]  # fmt: skip
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": headers,
             "query_string": b"", "scheme": "http", "server": ("127.0.0.1", 7860)}  # fmt: skip
    return gr.Request(Request(scope))


def walk(routes) -> Iterator[APIRoute]:
    """Yields all routes, those of included routers too."""
    for one in routes:
        if isinstance(one, APIRoute):
            yield one
        elif hasattr(one, "effective_candidates"):
            yield from (found for found in one.effective_candidates())
        elif "gradio" not in type(getattr(one, "app", None)).__module__:
            yield from walk(getattr(one, "routes", None) or [])


@pytest.fixture
def house(store) -> House:
    """A page of a team: a viewer, two curators and a lead."""
    for name, role in ROLES.items():
        store.people.add(name, role, PASSWORD.format(name))
    return House(store)


def needs(route: APIRoute) -> str | None:
    """Returns the role that a route asks for; None when it asks for none."""
    found, todo = [], [route.dependant]
    while todo:
        one = todo.pop()
        todo += one.dependencies
        if one.call in (who.viewer, who.curator, who.lead):
            found.append(one.call.__name__)
    assert len(found) <= 1, f"{route.path} asks for {found}"
    return found[0] if found else None


def ask(browser: TestClient, route: APIRoute, sample_id: str):
    """Asks a route with arguments of the right form."""
    known = {"sample_id": sample_id, "side": "128", "name": "undo", "what": "mask", "version": "1"}
    path = route.path
    for field in route.param_convertors:
        long = {"sha": "f" * 64, "key": "f" * 32}.get(field, "1")
        value = known.get(field, long)
        path = path.replace(f"{{{field}}}", value)
    method = next(iter(route.methods))
    body = None if method == "GET" else {}
    return browser.request(method, path, json=body)


# ------------------------------ every route


def test_every_route_asks_for_a_role(house):
    routes = house.routes()
    assert len(routes) > 30, "the walk must find our routes"
    bare = {one.path for one in routes if needs(one) is None}
    assert bare == PUBLIC


def test_every_route_is_closed_to_whoever_is_not_signed_in(house):
    stranger = house.browser()
    for route in house.routes():
        if route.path not in PUBLIC:
            answer = ask(stranger, route, house.ids[0])
            assert answer.status_code == 401, (route.path, answer.text)
            assert answer.json()["error"] == "sign-in"


@pytest.mark.parametrize(("name", "role"), [("vic", "viewer"), ("ann", "curator")])
def test_every_route_above_a_role_is_closed_to_it(house, name, role):
    browser, before = house.browser(name), house.store.events()
    for route in house.routes():
        wanted = needs(route)
        if wanted and who.RANK[wanted] > who.RANK[role]:
            answer = ask(browser, route, house.ids[0])
            assert (answer.status_code, answer.json()["error"]) == (403, "role"), route.path
            assert wanted in answer.json()["words"]
    assert house.store.events() == before


def test_every_change_asks_for_more_than_looking(house):
    for route in house.routes():
        if route.methods - {"GET", "HEAD"} and route.path not in PUBLIC:
            assert needs(route) in ("curator", "lead") or route.path in OWN, route.path


def test_every_handler_and_endpoint_of_gradio_asks_for_a_role(house):
    assert len(house.acts) > 15, "the walk must find them"
    before, people = house.store.events(), house.store.people.list()
    for browser, rank in (
        (house.browser(), -1),
        (house.browser("vic"), 0),
        (house.browser("ann"), 1),
    ):
        for one in house.acts:
            if who.RANK[one.fn.role] > rank:
                words = "Sign in" if rank < 0 else f"needs the role {one.fn.role}"
                with pytest.raises(gr.Error, match=words):
                    one.fn(asks(browser), *[None] * len(one.inputs))
    assert (house.store.events(), house.store.people.list()) == (before, people)


def test_act_is_recorded_under_the_signed_in_name_only(house):
    ann = house.browser("ann")
    path = f"{API}samples/{house.ids[0]}/reject"
    assert ann.post(path, json={"text": "", "by": "lea"}).status_code == 422
    assert ann.post(path, json={"text": ""}, headers={"X-Forwarded-User": "lea"}).status_code == 200
    assert house.store.sample(house.ids[0]).decided_by == "ann"


# ------------------------------ the door


def test_without_accounts_this_machine_needs_no_sign_in(store):
    house = House(store)
    session = house.browser().get(f"{API}session").json()
    assert (session["by"], session["role"], session["signed_in"]) == ("owner", "lead", False)


def test_without_accounts_another_host_name_is_refused(store):
    answer = House(store).browser(home="http://evil.example").get(f"{API}session")
    assert answer.status_code == 421


def test_without_accounts_a_page_for_the_network_lets_nobody_in(store):
    browser = House(store, any_host=True).browser(home="http://photos.example")
    assert browser.get(f"{API}session").status_code == 401


def test_first_account_closes_the_door_of_a_running_page(store):
    house = House(store)
    owner = house.browser()
    with pytest.raises(gr.Error, match="must be a lead's"):
        house.act(owner, "add_person", "lea", "curator", PASSWORD.format("lea"))
    assert house.act(owner, "add_person", "lea", "lead", PASSWORD.format("lea"))["role"] == "lead"
    assert owner.get(f"{API}session").status_code == 401
    assert house.browser("lea").get(f"{API}session").json()["role"] == "lead"


# ------------------------------ behind a proxy

OUTSIDE = "https://photos.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": HOME}, 200),
        ({"origin": OUTSIDE, "x-forwarded-host": "photos.example"}, 200),
        ({"origin": OUTSIDE, "x-forwarded-host": "photos.example, inner.example"}, 200),
        ({"origin": OUTSIDE, "x-forwarded-for": "203.0.113.9"}, 200),  # Host is the proxy's own
        ({"origin": OUTSIDE, "sec-fetch-site": "same-origin"}, 200),
        ({"origin": OUTSIDE}, 403),
        ({"origin": "https://evil.example", "x-forwarded-host": "photos.example"}, 403),
        (
            {"origin": OUTSIDE, "x-forwarded-for": "203.0.113.9", "sec-fetch-site": "cross-site"},
            403,
        ),
        ({"origin": "null", "x-forwarded-for": "203.0.113.9"}, 403),
        ({"origin": OUTSIDE, "x-forwarded-for": "203.0.113.9", "x-forgetme": ""}, 403),
    ],
)
def test_people_sign_in_through_a_proxy_and_other_pages_do_not(store, headers, status):
    store.people.add("ann", "curator", PASSWORD.format("ann"))
    browser = TestClient(House(store, any_host=True).app, base_url=HOME)
    body = {"name": "ann", "password": PASSWORD.format("ann")}
    sent = {name: text for name, text in (MARK | headers).items() if text}
    if not headers.get("x-forgetme", "1"):
        sent.pop("X-ForgetMe")
    assert browser.post(f"{API}sign-in", json=body, headers=sent).status_code == status


def test_the_public_address_is_the_only_other_name(store):
    store.people.add("ann", "curator", PASSWORD.format("ann"))
    house = House(store, any_host=True, public="photos.example")
    forwarded = MARK | {"x-forwarded-for": "203.0.113.9"}
    for origin, status in ((OUTSIDE, 200), (HOME, 200), ("https://evil.example", 403)):
        browser = TestClient(house.app, base_url=HOME, headers=forwarded | {"origin": origin})
        assert house.sign_in(browser, "ann").status_code == status, origin


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-forwarded-for": "127.0.0.1"}, 200),
        ({"x-forwarded-for": "203.0.113.9"}, 421),
        ({"x-forwarded-for": "127.0.0.1, 203.0.113.9"}, 421),
        ({"x-forwarded-host": "photos.example"}, 421),
    ],
)
def test_without_accounts_a_proxy_lets_nobody_else_in(store, headers, status):
    browser = House(store).browser()
    assert browser.get(f"{API}session", headers=headers).status_code == status


# ------------------------------ two people


def test_act_on_a_held_sample_is_refused(house):
    ann, ben = house.browser("ann"), house.browser("ben")
    assert ann.post(f"{API}hold", json={"take": house.ids[:2]}).json() == {"kept_back": {}}
    kept = ben.post(f"{API}hold", json={"take": house.ids}).json()["kept_back"]
    assert {one: why["by"] for one, why in kept.items()} == dict.fromkeys(house.ids[:2], "ann")
    before = house.store.events()
    for path, body in (
        (f"samples/{house.ids[0]}/reject", {}),
        (f"samples/{house.ids[0]}/comment", {"text": "mine"}),
        (f"samples/{house.ids[0]}/prepare", {}),
        ("undo", {"sample_id": house.ids[0]}),
    ):
        answer = ben.post(API + path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (409, "held"), path
        assert "ann" in answer.json()["words"]
    assert house.store.events() == before
    assert ben.get(f"{API}samples/{house.ids[0]}").status_code == 200, "looking is free"
    ann.post(f"{API}hold", json={"leave": house.ids[:1]})
    assert ben.post(f"{API}samples/{house.ids[0]}/reject", json={}).status_code == 200


def test_second_opinion_is_refused_to_whoever_gave_the_first(house):
    ann, ben = house.browser("ann"), house.browser("ben")
    lea = house.browser("lea")
    assert ann.post(f"{API}samples/{house.ids[0]}/reject", json={}).status_code == 200
    assert house.act(lea, "ask_for_opinions", 1.0, 2)["added"] == 3
    twin = next(g[1].id for g in house.store.queries.copies() if g[0].id == house.ids[0])
    answer = ann.post(f"{API}samples/{twin}/reject", json={})
    assert (answer.status_code, answer.json()["error"]) == (409, "twin")
    assert ben.post(f"{API}samples/{twin}/reject", json={}).status_code == 200
    found = house.act(lea, "team_report")
    assert found["agreement"]["compared"] == 1
    assert [one["by"] for one in found["shares"]] == ["ann", "ben"]


def test_versions_of_a_conflict_can_be_seen_side_by_side(house):
    ann, ben = house.browser("ann"), house.browser("ben")
    sample = house.ids[0]
    seen = ann.get(f"{API}samples/{sample}").json()["version"]
    ben.post(f"{API}samples/{sample}/comment", json={"text": "look at the tail"})
    late = ann.post(f"{API}samples/{sample}/reject", json={"seen": seen})
    assert (late.status_code, late.json()["error"]) == (409, "stale")
    both = ann.get(f"{API}samples/{sample}/at/{seen}").json()
    assert both["sample"]["version"] == seen
    assert [(one["by"], one["words"]) for one in both["since"]] == [
        ("ben", "wrote: look at the tail")
    ]
    assert house.store.sample(sample).state == "new"


def test_lead_cannot_lock_the_team_out_by_mistake(house):
    lea = house.browser("lea")
    for role, active in (("viewer", True), (None, False)):
        with pytest.raises(gr.Error, match="take this from yourself"):
            house.act(lea, "change_person", "lea", role, active)
    house.act(lea, "change_person", "ann", "viewer")
    assert house.store.people.get("ann").role == "viewer"
    for name, role, words in (("nobody", "viewer", "nobody"), ("ann", "king", "role")):
        with pytest.raises(gr.Error, match=words):
            house.act(lea, "change_person", name, role)


def test_role_taken_away_counts_at_the_next_request(house):
    ann = house.browser("ann")
    house.store.people.set_role("ann", "viewer")
    assert ann.post(f"{API}samples/{house.ids[0]}/reject", json={}).status_code == 403
    house.store.people.disable("ann")
    assert ann.get(f"{API}session").status_code == 401


# ------------------------------ Hugging Face


class Provider(BaseHTTPRequestHandler):
    """What Hugging Face answers: a token for a known code, a name for that token."""

    asked: list[tuple[str, str, dict]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {key: value[0] for key, value in parse_qs(body).items()}
        Provider.asked.append((self.path, self.headers["authorization"], form))
        if form["code"].startswith("code-of-"):
            self.answer(200, {"access_token": f"token-{form['code'][8:]}"})
        else:
            self.answer(400, {"error": "invalid_grant"})

    def do_GET(self) -> None:
        Provider.asked.append((self.path, self.headers["authorization"], {}))
        name = self.headers["authorization"].removeprefix("Bearer token-")
        self.answer(200, {"sub": "1", "preferred_username": name})

    def answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def space(store, provider) -> House:
    """The page as it runs on a Space, which strangers reach by its name."""
    Provider.asked.clear()
    hub = hub_sign_in(SPACE | {"OPENID_PROVIDER_URL": provider})
    return House(store, any_host=True, hub=hub)


ON_SPACE = "https://team-forgetme.hf.space"


def come_back(browser: TestClient, name: str, *, state: str | None = None):
    """Goes to the provider and comes back as `name`."""
    there = browser.get("/login/huggingface")
    assert there.status_code == 303
    sent = parse_qs(urlsplit(there.headers["location"]).query)
    assert sent["redirect_uri"] == [f"{ON_SPACE}/login/callback"]
    query = {"code": f"code-of-{name}", "state": sent["state"][0] if state is None else state}
    return browser.get("/login/callback", params=query)


def test_space_owner_signs_in_as_lead(space, provider):
    olga = space.browser(home=ON_SPACE)
    answer = come_back(olga, "olga")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert olga.get(f"{API}session").json()["role"] == "lead"
    assert all("secure" in one.lower() for one in answer.headers.get_list("set-cookie")[1:])
    (path, basic, form), (_, bearer, _) = Provider.asked
    assert (path, form["grant_type"]) == ("/oauth/token", "authorization_code")
    assert basic.startswith("Basic ")
    assert bearer == "Bearer token-olga"


def test_space_lets_in_only_whom_a_lead_added(space):
    stranger = space.browser(home=ON_SPACE)
    assert come_back(stranger, "max").headers["location"] == "/?refused=unknown"
    assert stranger.get(f"{API}session").status_code == 401
    assert space.store.people.get("max") is None
    olga = space.browser(home=ON_SPACE)
    come_back(olga, "olga")
    space.act(olga, "add_person", "max", "curator", None, "huggingface")
    assert come_back(stranger, "max").headers["location"] == "/"
    assert stranger.get(f"{API}session").json()["by"] == "max"


def test_space_guests_get_the_role_that_was_given_to_guests(store, provider):
    hub = hub_sign_in(SPACE | {"OPENID_PROVIDER_URL": provider}, guests="viewer")
    guest = House(store, any_host=True, hub=hub).browser(home=ON_SPACE)
    come_back(guest, "max")
    assert guest.get(f"{API}session").json()["role"] == "viewer"


def test_space_does_not_mix_a_hugging_face_name_with_a_local_account(space):
    space.store.people.add("lea", "lead", PASSWORD.format("lea"))
    thief = space.browser(home=ON_SPACE)
    assert come_back(thief, "lea").headers["location"] == "/?refused=unknown"
    assert thief.get(f"{API}session").status_code == 401


@pytest.mark.parametrize("state", ["", "forged"])
def test_space_takes_no_answer_that_it_did_not_ask_for(space, state):
    browser = space.browser(home=ON_SPACE)
    assert come_back(browser, "olga", state=state).headers["location"] == "/?refused=again"
    assert Provider.asked == []
    fresh = space.browser(home=ON_SPACE)
    forged = fresh.get("/login/callback", params={"code": "code-of-olga", "state": ""})
    assert forged.headers["location"] == "/?refused=again"


def test_space_says_so_when_hugging_face_refuses_the_code(space, caplog):
    browser = space.browser(home=ON_SPACE)
    state = parse_qs(urlsplit(browser.get("/login/huggingface").headers["location"]).query)
    query = {"code": "a-stolen-code", "state": state["state"][0]}
    answer = browser.get("/login/callback", params=query)
    assert answer.headers["location"] == "/?refused=silent"
    assert "client-secret" not in caplog.text
    assert "a-stolen-code" not in caplog.text


def test_space_without_oauth_says_what_is_missing(caplog):
    assert hub_sign_in({"SPACE_ID": "team/forgetme", "SPACE_HOST": "x"}) is None
    assert "OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, SPACE_AUTHOR_NAME" in caplog.text
    assert "hf_oauth: true" in caplog.text
    with pytest.raises(ForgetmeError, match="https://"):
        hub_sign_in(SPACE | {"OPENID_PROVIDER_URL": "http://evil.example"})
    assert "client-secret" not in repr(hub_sign_in(SPACE))


def test_demo_shows_everything_to_everybody_and_changes_nothing(store):
    house = House(store, any_host=True, demo=True)
    visitor = house.browser(home=ON_SPACE)
    session = visitor.get(f"{API}session").json()
    assert (session["by"], session["role"], session["demo"]) == ("visitor", "viewer", True)
    assert session["signed_in"] is False
    before = [store.events(one) for one in house.ids]
    asked = 0
    for route in house.routes():
        if route.path in PUBLIC or not route.methods - {"GET", "HEAD"}:
            continue
        answer = ask(visitor, route, house.ids[0])
        assert answer.status_code == 403, route.path
        asked += "demo to look at" in answer.json()["words"]
    assert asked > 30
    assert [store.events(one) for one in house.ids] == before
    assert not store.people.any()
    assert visitor.get(f"{API}samples/{house.ids[0]}").status_code == 200
    leads_only = [one for one in house.routes() if needs(one) == "lead" and "GET" in one.methods]
    assert {ask(visitor, one, house.ids[0]).status_code for one in leads_only} == {403}


def test_space_may_be_framed_by_hugging_face_and_by_nobody_else(space, house):
    policy = space.browser(home=ON_SPACE).get("/").headers["content-security-policy"]
    assert "frame-ancestors 'self' http://127.0.0.1:" in policy
    policy = house.browser().get("/").headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self'")
