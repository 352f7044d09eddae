"""What a stranger, a colleague and a log may not have: a way in, another's rights, a secret.

Each test is named after what was published; see `test_safety.py`.
"""

from __future__ import annotations

import argparse
import json
import logging
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
import small_store
from small_postgres import cluster
from starlette.testclient import TestClient
from test_signin import (
    API,
    HOME,
    MARK,
    ON_SPACE,
    PASSWORD,
    House,
    _cheap_hashes,
    _our_routes_only,
    ask,
    house,
    provider,
    space,
)

import app
from forgetme import jobs
from forgetme.cli import serve
from forgetme.dataset import export
from forgetme.store import Store
from forgetme.store.database import Database, url_of
from forgetme.ui.acts import OUR_OWN
from forgetme.ui.signin import FREE_TRIES, LONGEST_WAIT, Throttle

__all__ = ["_cheap_hashes", "_our_routes_only", "cluster", "house", "provider", "space"]
TOKENS = {"HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQr", "OPENAI_API_KEY": "sk-proj-0123456789abcdef"}


# ------------------------------ the session


def test_cve_2023_43791_session_cannot_be_made_from_what_is_public(house):
    """CVE-2023-43791: sessions were signed with a key that stood in the source."""
    guess, cookie = house.browser(), house.app.app.state.door.cookie
    mine = house.browser("ann").cookies[cookie]
    for token in ("", "x", "0" * 43, "ann", json.dumps({"name": "ann"}), mine[:-1], mine + "A"):
        guess.cookies.set(cookie, token)
        assert guess.get(f"{API}session").status_code == 401
    tokens = {house.store.people.begin_session("ann") for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 43, "256 bits, which nobody guesses"
    assert all(len(set(signs)) > 1 for signs in zip(*tokens, strict=True))


def test_cve_2023_43791_session_of_one_store_is_none_of_another(house, tmp_path):
    """CVE-2023-43791: with one key for all, a session made at home opened every installation."""
    with Store(tmp_path / "other") as other:
        other.people.add("ann", "lead", "ann's other password")
        foreign = other.people.begin_session("ann")
    thief = house.browser()
    thief.cookies.set(house.app.app.state.door.cookie, foreign)
    assert thief.get(f"{API}session").status_code == 401


def test_cookie_is_out_of_reach_of_scripts_and_other_pages(house):
    answer = house.sign_in(house.browser(), "ann")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie, "it would never be sent over plain HTTP on this machine"
    https = house.browser(home="https://127.0.0.1:7860")
    assert "secure" in house.sign_in(https, "ann").headers["set-cookie"].lower()


def test_cookie_is_of_no_use_after_signing_out(house):
    ann = house.browser("ann")
    kept = dict(ann.cookies)
    house.store.holds.take(house.ids[:1], "ann")
    assert ann.post(f"{API}sign-out", json={}).status_code == 200
    assert not ann.cookies
    thief = house.browser()
    thief.cookies.update(kept)
    assert thief.get(f"{API}session").status_code == 401
    assert house.store.holds.of(house.ids) == {}


def test_cookie_that_somebody_planted_does_not_become_a_session(house):
    browser = house.browser("ben")
    planted = dict(browser.cookies)
    victim = house.browser()
    for name, value in planted.items():
        victim.cookies.set(name, value, domain="127.0.0.1", path="/")
    house.sign_in(victim, "ann")
    assert dict(victim.cookies) != planted
    thief = house.browser()
    thief.cookies.update(planted)
    assert thief.get(f"{API}session").status_code == 401


def test_cve_2026_28415_coming_back_leads_nowhere_else(space):
    """CVE-2026-28415: after signing in, `_target_url` sent people to any host."""
    browser = space.browser(home=ON_SPACE)
    there = browser.get("/login/huggingface?_target_url=https://evil.example&next=//evil.example")
    state = parse_qs(urlsplit(there.headers["location"]).query)["state"][0]
    query = {"code": "code-of-olga", "state": state, "_target_url": "https://evil.example"}
    assert browser.get("/login/callback", params=query).headers["location"] == "/"


# ------------------------------ access tokens


def test_token_of_another_person_gives_that_persons_rights_only(house):
    made = {name: house.store.tokens.add(name, "agent") for name in ("vic", "ann", "ben")}
    programs = {name: house.program(token) for name, token in made.items()}
    for name, program in programs.items():
        told = program.get(f"{API}session").json()
        assert (told["by"], told["role"]) == (name, house.store.people.get(name).role)
    sample = house.ids[0]
    assert programs["ann"].post(f"{API}hold", json={"take": [sample]}).json() == {"kept_back": {}}
    path, before = f"{API}samples/{sample}/reject", house.store.events()
    for name, kind in (("vic", "role"), ("ben", "held")):
        assert programs[name].post(path, json={"text": ""}).json()["error"] == kind
    for name, words in (("vic", "needs the role curator"), ("ben", "ann is working")):
        with pytest.raises(gr.Error, match=words):
            house.act(programs[name], "reject", sample, "", None)
    lead = house.browser("lea")  # whose browser is lent a viewer's token
    lead.headers["Authorization"] = f"Bearer {made['vic']}"
    for program in (*programs.values(), lead):
        for act, values in (("add_token", ["lea", "mine"]), ("revoke_token", ["ben", "agent"]),
                            ("tokens", []), ("push_dataset", [{"repo": "team/cats"}])):  # fmt: skip
            with pytest.raises(gr.Error, match="needs the role lead"):
                house.act(program, act, *values)
    assert house.store.events() == before
    assert len(house.store.tokens.list()) == 3
    assert programs["ann"].post(path, json={"text": ""}).status_code == 200
    assert house.store.sample(sample).decided_by == "ann"


def test_token_that_was_revoked_or_never_was_one_opens_nothing(house):
    lead, sample = house.browser("lea"), house.ids[0]
    made = house.act(lead, "add_token", "ann", "agent")["token"]
    program = house.program(made)
    assert house.act(program, "samples", "", "", 100)
    assert house.act(lead, "revoke_token", "ann", "agent") == []
    away = house.store.tokens.add("ben", "agent")
    house.act(lead, "change_person", "ben", None, False, None)
    before = house.store.events()
    for token in (made, away, "", "x", made + "A", made[:-1], "ann", "agent"):
        for program in (house.program(token), house.program(token, mark=True), lead):
            program.headers["Authorization"] = f"Bearer {token}"
            answer = program.post(f"{API}samples/{sample}/reject", json={"text": ""})
            assert (answer.status_code, answer.json()["error"]) == (401, "token"), token
            with pytest.raises(gr.Error, match="revoked, or is none"):
                house.act(program, "samples", "", "", 100)
    lead.headers["Authorization"] = "Basic bGVhOng="  # a proxy's own; the cookie counts
    assert lead.get(f"{API}session").json()["by"] == "lea"
    assert house.store.events() == before


def test_token_is_told_once_and_never_again(house, caplog):
    caplog.set_level(logging.DEBUG)
    lead = house.browser("lea")
    made = house.act(lead, "add_token", "ann", "agent")["token"]
    program = house.program(made)
    told = [program.get(f"{API}session").text, program.get(f"{API}samples/nothing").text]
    told += [str(house.act(lead, act)) for act in ("tokens", "people", "team_report")]
    for act in ("add_token", "revoke_token"):
        with pytest.raises(gr.Error) as refused:
            house.act(program, act, "ann", made)
        told.append(refused.value.message)
    with pytest.raises(gr.Error) as refused:
        house.act(lead, "add_token", "ann", "agent")
    kept = house.store.folder / "store.db"
    files = b"".join(one.read_bytes() for one in house.store.folder.rglob("*") if one.is_file())
    assert kept.is_file()
    assert made.encode() not in files
    assert not any(made in words for words in (*told, refused.value.message, caplog.text))


# ------------------------------ rights


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("keys", {"changes": {"accept": ["<img src=x onerror=alert(1)>"]}}, 400),
        ("keys", {"changes": {"accept": ["javascript:alert(1)"]}}, 400),
        ("keys", {"changes": {"__proto__": ["g"]}}, 400),
        ("keys", {"changes": {"accept": "g"}}, 422),
        ("keys", {"changes": {"accept": [["g"]]}}, 422),
        ("keys", {"changes": {"accept": ["g" * 10_000]}}, 422),
        ("keys", {"changes": {f"act{n}": ["g"] for n in range(1000)}}, 422),
        ("keys", {"changes": {}, "by": "ben"}, 422),
        ("keys", {"changes": {"accept": ["g"]}, "by": "ben"}, 422),
        ("keys/reset", {"by": "ben"}, 422),
    ],
)
def test_cve_2026_22033_keys_are_never_script_nor_anothers(house, path, body, status):
    """CVE-2026-22033: a colleague's hotkeys were written, and ran as script in their page."""
    ann, ben = house.browser("ann"), house.browser("ben")
    usual = ben.get(f"{API}keys").json()
    answer = ann.post(API + path, json=body)
    assert answer.status_code == status
    assert answer.json()["words"]
    assert ann.get(f"{API}keys").json() == usual == ben.get(f"{API}keys").json()


def test_cve_2026_22033_what_one_keeps_changes_nothing_for_others(house):
    """CVE-2026-22033: the same act with good arguments stays with the account that asked."""
    ann, ben = house.browser("ann"), house.browser("ben")
    assert ann.post(f"{API}keys", json={"changes": {"accept": ["j"]}}).status_code == 200
    view = {"name": "mine", "asked": {"concept": "cat"}}
    assert ann.post(f"{API}queue/views", json=view).status_code == 200
    assert ben.get(f"{API}keys").json()["own"] == []
    assert ben.get(f"{API}queue/views").json()["views"] == []
    assert ann.get(f"{API}keys").json()["keys"]["accept"] == ["j"]


def test_ai_toolkit_pictures_need_a_sign_in_too(house):
    """ai-toolkit's `/api/img` and `/api/files` were open to whoever knew a name."""
    row = house.store.sample(house.ids[0])
    ann, stranger = house.browser("ann"), house.browser()
    for path in (f"picture/{row.image_sha}.png", f"thumbnail/128/{row.image_sha}.png"):
        assert ann.get(f"/forgetme/{path}").status_code == 200
        assert stranger.get(f"/forgetme/{path}").status_code == 401
    for path in ("comparison/cat/report.html", f"comparison/cat/{'0' * 16}.png",
                 "api/train/runs/cat/patch.zip", "api/data/exports/cats.zip",
                 f"sample/{row.id}/{'0' * 32}/mask.png"):  # fmt: skip
        assert stranger.get(f"/forgetme/{path}").status_code == 401, path


def test_nobody_makes_an_account_for_themselves(house):
    """Labelling tools on the internet had sign-in, and a form that let anybody register."""
    before, stranger = house.store.people.list(), house.browser()
    new = {"name": "max", "role": "viewer", "password": "max's long password"}
    for browser, words in ((stranger, "Sign in"), (house.browser("ann"), "needs the role lead")):
        with pytest.raises(gr.Error, match=words):
            house.act(browser, "add_person", *new.values())
    assert house.sign_in(stranger, "max", new["password"]).status_code == 403
    for path in ("sign-up", "register", "people", "people/max", "door"):
        assert stranger.post(API + path, json=new).status_code in (401, 404, 405)
    assert house.store.people.list() == before


def test_a_host_that_others_can_reach_is_refused_without_accounts(tmp_path, capsys):
    assert app.main(["--host", "0.0.0.0", "--store", str(tmp_path / "store")]) == 1
    assert "people add NAME --role lead" in capsys.readouterr().err


# ------------------------------ guesses


def test_sign_in_from_a_foreign_page_is_refused(house):
    body = {"name": "ann", "password": PASSWORD.format("ann")}
    plain = TestClient(house.app, base_url=HOME)
    assert plain.post(f"{API}sign-in", json=body).status_code == 403
    foreign = {"Origin": "http://evil.example"} | MARK
    assert plain.post(f"{API}sign-in", json=body, headers=foreign).status_code == 403
    assert not plain.cookies


def test_wrong_password_and_wrong_name_read_the_same(house):
    browser = house.browser()
    wrong = house.sign_in(browser, "ann", "not the password")
    nobody = house.sign_in(browser, "nobody", "not the password")
    assert (wrong.status_code, wrong.json()) == (nobody.status_code, nobody.json())
    assert wrong.status_code == 403


def test_guesses_are_slowed_down(house):
    house = House(house.store, any_host=True)  # as behind a proxy
    browser, said = house.browser(), []
    spellings = ("ann", " ann ", "ANN", "Ann")  # of one account
    for number in range(8):
        browser.headers["x-forwarded-for"] = f"203.0.113.{number}"  # which anybody can send
        guess = house.sign_in(browser, spellings[number % 4], f"guess number {number}")
        said.append(guess.status_code)
    assert said == [403] * FREE_TRIES["pair"] + [429] * 3
    assert house.sign_in(browser, "ann").status_code == 429, "even the right one waits"
    assert house.sign_in(house.browser(), "ben").status_code == 200, "others do not"


def test_throttle_waits_twice_as_long_each_time_and_forgives():
    now = [0.0]
    throttle = Throttle(clock=lambda: now[0])
    for _ in range(FREE_TRIES["pair"]):
        assert throttle.wait("ann", "here") == 0
    waits = []
    for _ in range(12):
        waits.append(throttle.wait("ann", "here"))
        now[0] += waits[-1]
        assert throttle.wait("ann", "here") == 0, "the wait was served"
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) == LONGEST_WAIT
    throttle.succeeded("ann", "here")
    assert throttle.wait("ann", "here") == 0


@pytest.mark.parametrize("kind", ["address", "name"])
def test_throttle_counts_an_address_over_all_names_and_a_name_over_all_addresses(kind):
    throttle = Throttle(clock=lambda: 0.0)
    try_ = (lambda n: (f"name {n}", "here")) if kind == "address" else (lambda n: ("ann", str(n)))
    tries = [throttle.wait(*try_(n)) for n in range(FREE_TRIES[kind] + 1)]
    assert tries[:-1] == [0.0] * FREE_TRIES[kind]
    assert tries[-1] > 0
    assert throttle.wait("name", "elsewhere") == 0


# ------------------------------ secrets


def test_password_appears_nowhere_but_in_the_request(house, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "a secret typed in the wrong field"
    browser = house.browser()
    answers = [
        house.sign_in(browser, secret, "wrong password"),
        house.sign_in(browser, "ann", secret),
        browser.post(f"{API}sign-in", json={"name": "ann", "password": {"is": secret}}),
        browser.post(f"{API}sign-in", json={"name": "ann", "password": "x", "more": secret}),
    ]
    assert all(secret not in one.text for one in answers)
    house.sign_in(browser, "ann")
    assert secret not in caplog.text
    assert PASSWORD.format("ann") not in caplog.text
    assert PASSWORD.format("ann") not in str(house.store.events())
    assert "scrypt" not in str(house.act(house.browser("lea"), "people"))


def test_an_error_of_the_database_shows_no_hash_on_the_page_or_in_the_log(house, caplog):
    lea = TestClient(house.app, base_url=HOME, headers=MARK, raise_server_exceptions=False)
    house.sign_in(lea, "lea")
    with house.store._database.write() as connection:
        for table in ("person", "session"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER no_{table} BEFORE INSERT ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
            )
    new = {"name": "max", "role": "viewer", "password": "max's long password"}
    with pytest.raises(gr.Error) as refused:
        house.act(lea, "add_person", *new.values())
    assert refused.value.message == OUR_OWN
    answer = house.sign_in(lea, "lea")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "refused" not in answer.text
    assert caplog.text.count("refused by the test") >= 2, "the log tells what happened"
    for secret in (new["password"], PASSWORD.format("lea"), "scrypt$"):
        assert secret not in caplog.text
    assert "INSERT INTO session" in caplog.text
    assert "[parameters" not in caplog.text


def test_tokens_of_the_environment_are_in_no_answer_event_log_or_export(
    house, monkeypatch, caplog, tmp_path
):
    for name, token in TOKENS.items():
        monkeypatch.setenv(name, token)
    monkeypatch.setattr(jobs, "start_queued", lambda store: [])  # written down, not begun
    caplog.set_level(logging.DEBUG)
    lea = TestClient(house.app, base_url=HOME, headers=MARK, raise_server_exceptions=False)
    house.sign_in(lea, "lea")
    assert house.act(lea, "published")["token"] is True
    assert house.act(lea, "push_dataset", {"repo": "team/cats"})["state"] == "queued"
    small_store.accept(house.store, small_store.add(house.store, 1))
    reads = [route for route in house.routes() if "GET" in route.methods]
    said = [ask(lea, route, house.ids[0]).text for route in reads]
    said += [lea.get(f"{API}data/trail/file?format=jsonl").text, lea.get(f"{API}nothing").text]
    export(house.store, tmp_path / "out", "folders")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    for token in TOKENS.values():
        assert not [one for one in said if token in one]
        assert token not in caplog.text
        assert token not in str(house.store.events()) + str(jobs.list(house.store))
        assert not [path for path in written if token.encode() in path.read_bytes()]


def test_password_of_the_database_is_shown_nowhere():
    pytest.importorskip("psycopg", reason='psycopg is missing; pip install "psycopg[binary]"')
    for address in ("postgresql://ann:hidden@host/db", "postgresql://ann@host/db?password=hidden"):
        database = Database(url_of(address))
        assert database.url.render_as_string(hide_password=False).count("hidden") == 1
        assert "hidden" not in database.name
        assert "ann" in database.name


@pytest.mark.postgres
def test_page_says_where_its_database_is_without_the_password(cluster, tmp_path, capsys):
    cluster.empty()
    address = cluster.url.replace("forgetme@", "forgetme:hidden@")
    arguments = ["--store", address, "--blobs", str(tmp_path / "blobs"), "--host", "0.0.0.0"]
    assert app.main(arguments) == 1
    with Store(address, blobs=tmp_path / "blobs") as store:
        serve._say_where(argparse.Namespace(store=address, port=7860), "127.0.0.1", store)
    said = capsys.readouterr()
    assert "forgetme:***@" in said.out
    assert "forgetme:***@" in said.err
    assert "hidden" not in said.out + said.err
