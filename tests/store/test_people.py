"""Accounts, sessions and preferences in the store, and who holds which sample; both databases."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_store import accept, add, prepare, step
from sqlalchemy import text

from forgetme.errors import ForgetmeError
from forgetme.store import Store, passwords, people
from forgetme.store.people import IDLE_SECONDS, SESSION_SECONDS

pytest_plugins = ["small_postgres"]
ROOT = Path(__file__).parents[2]
PASSWORD = "a long enough password"
CHEAP = {"n": 16, "r": 8, "p": 1}


@pytest.fixture
def store(place):
    """An empty store on each kind of database."""
    with Store(**place) as store:
        yield store


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real hash takes a third of a second."""
    monkeypatch.setattr(passwords, "_COST", CHEAP)


def everything(store: Store) -> str:
    """All that the database says of people, as text."""
    with store._database.read() as connection:
        tables = ("person", "session", "access_token", "preference")
        return "\n".join(
            str(list(connection.execute(text(f"SELECT * FROM {table}")))) for table in tables
        )


# ------------------------------ accounts


def test_password_is_kept_as_a_salted_hash_only(store):
    store.people.add("ann", "lead", PASSWORD)
    store.people.add("ben", "curator", PASSWORD)
    kept = everything(store)
    assert PASSWORD not in kept
    with store._database.read() as connection:
        hashes = list(connection.scalars(text("SELECT password FROM person")))
    assert len(set(hashes)) == 2, "the same password must not give the same hash"
    assert all(one.startswith("scrypt$16$8$1$") for one in hashes)


def test_password_hash_costs_enough_by_default():
    # 32 MiB three times over: what OWASP calls the least for scrypt
    source = (ROOT / "forgetme/store/passwords.py").read_text()
    assert '_COST = {"n": 2**15, "r": 8, "p": 3}' in source


def test_password_opens_its_own_account_only(store):
    store.people.add("ann", "lead", PASSWORD)
    store.people.add("ben", "curator", "another password")
    assert store.people.check_password("ann", PASSWORD).name == "ann"
    assert store.people.check_password("ANN", PASSWORD).role == "lead"
    for name, password in (("ann", "another password"), ("ann", ""), ("ann", "x" * 2000)):
        assert store.people.check_password(name, password) is None


def test_password_of_an_unknown_name_costs_the_same_hash(store, monkeypatch):
    store.people.add("ann", "lead", PASSWORD)
    monkeypatch.setattr(passwords, "NOBODYS", passwords.hash_password("nobody's own password"))
    asked = []
    real = passwords._scrypt
    monkeypatch.setattr(
        passwords, "_scrypt", lambda *a, **more: asked.append(more) or real(*a, **more)
    )
    assert store.people.check_password("ann", "wrong password") is None
    assert store.people.check_password("nobody at all", "wrong password") is None
    assert asked == [CHEAP, CHEAP]


def test_password_typed_on_another_keyboard_is_the_same(store):
    store.people.add("ann", "lead", "Zoë and the cat")  # ë as one character
    assert store.people.check_password("ann", "Zoe\u0308 and the cat") is not None


@pytest.mark.parametrize(
    ("name", "role", "password", "says"),
    [
        ("Ann", "lead", PASSWORD, "take another name"),
        ("policy", "lead", PASSWORD, "written by the program"),
        ("<img src=x>", "lead", PASSWORD, "1 to 64 letters"),
        ("../ann", "lead", PASSWORD, "1 to 64 letters"),
        ("b" * 65, "lead", PASSWORD, "1 to 64 letters"),
        ("ben", "boss", PASSWORD, "known: viewer, curator, lead"),
        ("ben", "lead", "short", "8 to 1000"),
        ("ben", "lead", None, "needs a password"),
    ],
)
def test_account_that_makes_no_sense_is_refused(store, name, role, password, says):
    store.people.add("ann", "lead", PASSWORD)
    with pytest.raises(ForgetmeError, match=says):
        store.people.add(name, role, password)
    assert [one.name for one in store.people.list()] == ["ann"]


def test_account_of_hugging_face_has_no_password_here(store):
    store.people.add("hal", "viewer", origin="huggingface")
    assert store.people.check_password("hal", "") is None
    with pytest.raises(ForgetmeError, match="signs in at Hugging Face"):
        store.people.set_password("hal", PASSWORD)


def test_removed_account_takes_its_sessions_and_preferences_with_it(store):
    store.people.add("ann", "lead", PASSWORD)
    token = store.people.begin_session("ann")
    store.people.set_preference("ann", "keys", {"accept": ["a"]})
    store.people.remove("ann")
    store.people.add("ann", "viewer", PASSWORD)
    assert store.people.of_session(token) is None
    assert store.people.preference("ann", "keys") is None


# ------------------------------ access tokens


def test_token_opens_its_own_account_until_it_is_revoked_and_only_its_hash_is_kept(store):
    for name, role in (("ann", "curator"), ("lea", "lead")):
        store.people.add(name, role, PASSWORD)
    made, other = store.tokens.add("Ann", "nightly export"), store.tokens.add("ann", "agent")
    hers = store.tokens.add("lea", "agent")
    assert made.startswith("forgetme_")
    assert len(set(made)) > 16
    assert not any(one in everything(store) for one in (made, made.removeprefix("forgetme_")))
    assert [store.tokens.owner(one).name for one in (made, other, hers)] == ["ann", "ann", "lea"]
    assert store.people.of_session(made) is None
    session = store.people.begin_session("ann")
    for wrong in (made[:-1], made + "A", made.upper(), "", "\ud800", session):
        assert store.tokens.owner(wrong) is None
    store.people.set_role("ann", "viewer")
    assert store.tokens.owner(made).role == "viewer"
    assert [(one.person, one.label) for one in store.tokens.list()] == [
        ("ann", "agent"), ("ann", "nightly export"), ("lea", "agent")]  # fmt: skip
    store.tokens.revoke("ann", "agent")
    assert store.tokens.owner(other) is None
    assert [store.tokens.owner(one).name for one in (made, hers)] == ["ann", "lea"]
    assert [one.label for one in store.tokens.list("ann")] == ["nightly export"]
    store.people.disable("ann")
    assert store.tokens.owner(made) is None
    store.people.remove("ann")
    store.people.add("ann", "lead", PASSWORD)
    assert store.tokens.owner(made) is None, "another ann"


def test_token_that_makes_no_sense_is_refused(store, monkeypatch):
    store.people.add("ann", "curator", PASSWORD)
    store.tokens.add("ann", "agent")
    monkeypatch.setattr("forgetme.store.tokens.MAX_TOKENS", 2)
    for name, label, says in (
        ("nobody", "agent", "no account"), ("ann", "agent", "already"), ("ann", "", "1 to 64"),
        ("ann", "x" * 65, "1 to 64"), ("ann", "a\nb", "1 to 64"), ("ann", " a", "1 to 64"),
    ):  # fmt: skip
        with pytest.raises(ForgetmeError, match=says):
            store.tokens.add(name, label)
    for name, label, says in (("nobody", "agent", "no account"), ("ann", "x", "there are: agent")):
        with pytest.raises(ForgetmeError, match=says):
            store.tokens.revoke(name, label)
    store.tokens.add("ann", "second")
    with pytest.raises(ForgetmeError, match="revoke one first"):
        store.tokens.add("ann", "third")


# ------------------------------ sessions


def test_session_token_is_not_in_the_database(store):
    store.people.add("ann", "lead", PASSWORD)
    token = store.people.begin_session("ann")
    assert store.people.of_session(token).name == "ann"
    assert token not in everything(store)
    assert store.people.of_session(token[:-1]) is None


def test_session_ends_when_nobody_uses_it(store, monkeypatch):
    store.people.add("ann", "lead", PASSWORD)
    token, began = store.people.begin_session("ann"), time.time()
    monkeypatch.setattr(people.time, "time", lambda: began + IDLE_SECONDS + 1)
    assert store.people.of_session(token) is None


def test_session_in_use_goes_on_but_not_for_ever(store, monkeypatch):
    store.people.add("ann", "lead", PASSWORD)
    token, began = store.people.begin_session("ann"), time.time()
    now = began
    while now < began + SESSION_SECONDS - 1:
        monkeypatch.setattr(people.time, "time", lambda now=now: now)
        assert store.people.of_session(token) is not None, (now - began) / 3600
        now += IDLE_SECONDS - 1
    monkeypatch.setattr(people.time, "time", lambda: began + SESSION_SECONDS + 1)
    assert store.people.of_session(token) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda people: people.set_password("ann", "the next password"),
        lambda people: people.disable("ann"),
        lambda people: people.end_sessions("ann"),
    ],
    ids=["password", "disable", "everywhere"],
)
def test_session_ends_with_the_account_s_change(store, change):
    store.people.add("ann", "lead", PASSWORD)
    store.people.add("ben", "lead", PASSWORD)
    token, other = store.people.begin_session("ann"), store.people.begin_session("ben")
    change(store.people)
    assert store.people.of_session(token) is None
    assert store.people.of_session(other) is not None


def test_session_has_the_role_of_this_moment(store):
    store.people.add("ann", "lead", PASSWORD)
    token = store.people.begin_session("ann")
    store.people.set_role("ann", "viewer")
    assert store.people.of_session(token).role == "viewer"


def test_disabled_account_does_not_open(store):
    store.people.add("ann", "lead", PASSWORD)
    store.people.disable("ann")
    assert store.people.check_password("ann", PASSWORD) is None
    store.people.enable("ann")
    assert store.people.check_password("ann", PASSWORD) is not None


# ------------------------------ preferences


def test_preference_is_each_person_s_own(store):
    store.people.set_preference("ann", "keys", {"accept": ["a"]})
    store.people.set_preference("ann", "keys", {"accept": ["b"]})
    store.people.set_preference("ben", "keys", {"accept": ["c"]})
    assert store.people.preference("ann", "keys") == {"accept": ["b"]}
    store.people.set_preference("ann", "keys", None)
    assert store.people.preference("ann", "keys") is None
    assert store.people.preference("ben", "keys") == {"accept": ["c"]}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("views", "x" * 16_384, "make it less"),
        ("Views", 1, "a-z 0-9"),
        ("../views", 1, "a-z 0-9"),
        ("views", float("nan"), "plain JSON"),
        ("views", {1, 2}, "plain JSON"),
    ],
)
def test_preference_that_cannot_be_kept_is_refused(store, key, value, says):
    with pytest.raises(ForgetmeError, match=says):
        store.people.set_preference("ann", key, value)


# ------------------------------ holds


def test_hold_keeps_others_back_until_it_is_left(store):
    one, other = add(store, 1).id, add(store, 2).id
    assert store.holds.take([one, other], "ann") == {}
    kept = store.holds.kept_back([one, other], "ben")
    assert {(found.kind, found.by) for found in kept.values()} == {("held", "ann")}
    assert store.holds.take([one], "ben")[one].words.startswith("ann is working on this one")
    assert store.holds.take([other], "ann", leave=[one]) == {}
    assert store.holds.of([one, other]) == {other: "ann"}
    assert store.holds.take([one], "ben") == {}
    store.holds.take([], "ben", leave=[other])  # not his to leave
    assert store.holds.of([one, other]) == {one: "ben", other: "ann"}


def test_hold_runs_out(store):
    one = add(store, 1).id
    store.holds.take([one], "ann", seconds=-1)
    assert store.holds.kept_back([one], "ben") == {}
    assert store.holds.take([one], "ben") == {}


def test_hold_is_given_to_one_of_many_who_ask_at_once(store):
    ids = [add(store, seed).id for seed in range(6)]
    got: dict[str, list[str]] = {}

    def ask(name: str) -> None:
        kept = store.holds.take(ids, name)
        got[name] = [one for one in ids if one not in kept]

    threads = [threading.Thread(target=ask, args=(f"curator {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one for mine in got.values() for one in mine) == sorted(ids)


def test_hold_is_refused_to_whoever_decided_another_copy(store):
    row = prepare(store, add(store, 1))
    image = store.get_image(row.image_sha)
    about = {"name": "copy", "concept": "cat", "by": "lea", "twin_of": row.id}
    second, third = store.import_image(image, **about), store.import_image(image, **about)
    row = step(store, row, "accepted", {"how": "human"}, by="ann")
    kept = store.holds.take([row.id, second.id, third.id], "ann")
    assert {one: why.kind for one, why in kept.items()} == {second.id: "twin", third.id: "twin"}
    assert store.holds.take([second.id], "ben") == {}
    step(store, second, "rejected", {}, by="ben")
    store.holds.leave_all("ann")
    assert set(store.holds.kept_back([row.id, third.id], "ben")) == {row.id, third.id}
    store.undo("ben")
    assert store.holds.kept_back([row.id, third.id], "ben") == {}


def test_signing_out_leaves_all_holds(store):
    ids = [add(store, seed).id for seed in range(3)]
    store.holds.take(ids, "ann")
    store.holds.leave_all("ann")
    assert store.holds.of(ids) == {}


# ------------------------------ the command


def forgetme(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "forgetme", *map(str, arguments)],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
    )


def test_people_command_makes_the_first_lead_of_a_new_store(tmp_path):
    folder = tmp_path / "new"
    done = forgetme(
        *("people", "add", "lea", "--role", "lead", "--store", folder, "--password-stdin"),
        stdin=f"{PASSWORD}\n",
    )
    assert (done.returncode, done.stdout) == (0, "lea can sign in as lead.\n"), done.stderr
    with Store(folder) as store:
        assert store.people.check_password("lea", PASSWORD).role == "lead"
    listed = forgetme("people", "list", "--store", folder, "--json").stdout
    assert '"name": "lea"' in listed
    assert "scrypt" not in listed


def test_people_command_makes_lists_and_revokes_tokens(tmp_path):
    with Store(tmp_path) as store:
        store.people.add("ann", "curator", PASSWORD)
        token = ("people", "token", "ann", "--store", tmp_path)
        made = forgetme(*token, "--make", "agent").stdout.strip()
        assert store.tokens.owner(made).name == "ann"
        listed = forgetme(*token).stdout
        assert "agent" in listed
        assert made not in listed
        assert forgetme(*token, "--make", "b", "--revoke", "agent").returncode == 1
        assert forgetme(*token, "--revoke", "agent").returncode == 0
        assert store.tokens.list() == []
        assert store.tokens.owner(made) is None


def test_people_command_takes_no_password_from_the_command_line(tmp_path):
    done = forgetme("people", "add", "lea", "--store", tmp_path / "new", "--password", PASSWORD)
    assert done.returncode == 2
    done = forgetme("people", "add", "lea", "--store", tmp_path / "new")
    assert done.returncode == 1
    assert "--password-stdin" in done.stderr


def test_people_command_asks_for_second_opinions(tmp_path):
    with Store(tmp_path / "store") as store:
        for seed in range(3):
            accept(store, add(store, seed))
    done = forgetme("people", "overlap", "--store", tmp_path / "store", "--share", "1", "--json")
    assert '"added": 3' in done.stdout, done.stderr
