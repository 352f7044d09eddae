"""Who may use the page: accounts with hashed passwords, sessions, and what each person prefers.

A password is kept as a salted scrypt hash and a session as the hash of its token, so that nobody
can sign in with what a copy of the database holds.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from sqlalchemy import delete, insert, or_, select

from forgetme.errors import ForgetmeError
from forgetme.store import passwords
from forgetme.store.database import Database
from forgetme.store.names import name_key
from forgetme.store.schema import access_token, person, preference, session
from forgetme.store.sums import Line, change, damage, is_whole, sealed, whole_lines

Role = Literal["viewer", "curator", "lead"]
Origin = Literal["local", "huggingface"]
ROLES: tuple[Role, ...] = get_args(Role)

MAX_PREFERENCE_BYTES = 16 * 2**10
IDLE_SECONDS = 12 * 3600.0  # a session ends when nobody used it for this long
SESSION_SECONDS = 30 * 24 * 3600.0  # and after this long in any case
_RENEW_SECONDS = 600.0  # how old a session's end may get before it is moved
_NAME = re.compile(r"[^\W_](?:[\w.@ -]{0,62}[\w.@-])?")
_RESERVED = ("policy", "import", "nobody")  # names that the program itself writes
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Person:
    """One account, without its password."""

    name: str
    role: Role
    origin: Origin
    active: bool
    added_at: str  # UTC, ISO 8601


class People:
    """Accounts, sessions and preferences of a store."""

    def __init__(self, database: Database) -> None:
        """Works on the store's own database."""
        self._database = database

    # Accounts

    def add(
        self, name: str, role: Role, password: str | None = None, *, origin: Origin = "local"
    ) -> Person:
        """Makes an account.

        Args:
            name: 1 to 64 letters, digits, spaces and `. @ - _`; it is written beside decisions.
            role: viewer looks, curator decides, lead manages.
            password: at least 8 characters; none for `origin="huggingface"`.
            origin: where the person signs in.

        Raises:
            ForgetmeError: the name is taken or not one, or the password is too short.
        """
        name = _checked_name(name)
        _check_role(role)
        if (origin == "local") != (password is not None):
            raise ForgetmeError(
                "a local account needs a password and a Hugging Face account has none here; "
                f"got origin {origin!r} {'without' if password is None else 'with'} a password"
            )
        hashed = None if password is None else passwords.hash_password(password)
        added_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        values = {
            "name": name,
            "name_key": name_key(name),
            "role": role,
            "origin": origin,
            "password": hashed,
            "active": True,
            "added_at": added_at,
        }
        with self._database.write() as connection:
            taken = connection.scalar(
                select(person.c.name).where(person.c.name_key == name_key(name))
            )
            if taken is not None:
                raise ForgetmeError(f"there is an account {taken!r} already; take another name")
            connection.execute(insert(person).values(sealed(person, values)))
        return Person(name, role, origin, True, added_at)

    def list(self) -> list[Person]:
        """Returns all accounts by name.

        Raises:
            ForgetmeError: one of them is damaged.
        """
        with self._database.read() as connection:
            lines = connection.execute(select(person).order_by(person.c.name_key)).mappings()
            return [_person(line) for line in lines]

    def any(self) -> bool:
        """Tells whether there is an account, so that nobody gets in without signing in."""
        with self._database.read() as connection:
            return connection.scalar(select(person.c.name).limit(1)) is not None

    def get(self, name: str) -> Person | None:
        """Returns the account of a name, whatever its capitals; None when there is none.

        Raises:
            ForgetmeError: it is damaged.
        """
        query = select(person).where(person.c.name_key == name_key(name))
        with self._database.read() as connection:
            line = connection.execute(query).mappings().first()
        return None if line is None else _person(line)

    def remove(self, name: str) -> None:
        """Deletes an account, its sessions, tokens and preferences; what it decided stays.

        Raises:
            ForgetmeError: there is no such account.
        """
        named = or_(person.c.name_key == name_key(name), person.c.name == name)
        with self._database.write() as connection:
            names = list(connection.scalars(select(person.c.name).where(named)))  # damaged or not
            for table in (session, access_token, preference):
                connection.execute(delete(table).where(table.c.person.in_(names)))
            connection.execute(delete(person).where(named))
        if not names:
            self.need(name)

    def disable(self, name: str) -> None:
        """Ends all sessions of an account and lets nobody in to it, by password or token."""
        self._change(name, end_sessions=True, active=False)

    def enable(self, name: str) -> None:
        """Lets a disabled account sign in again."""
        self._change(name, end_sessions=False, active=True)

    def set_role(self, name: str, role: Role) -> None:
        """Gives an account another role, from its next request on."""
        _check_role(role)
        self._change(name, end_sessions=False, role=role)

    def set_password(self, name: str, password: str) -> None:
        """Gives a local account another password and ends its sessions.

        Raises:
            ForgetmeError: no such account, not a local one, or the password is too short.
        """
        if self.need(name).origin != "local":
            raise ForgetmeError(f"{name} signs in at Hugging Face and has no password here")
        self._change(name, end_sessions=True, password=passwords.hash_password(password))

    def check_password(self, name: str, password: str) -> Person | None:
        """Returns the account when the password is its own and it may sign in, else None.

        Takes the same time for a name that does not exist as for a wrong password.

        Raises:
            ForgetmeError: the account is damaged.
        """
        query = select(person).where(person.c.name_key == name_key(name))
        with self._database.read() as connection:
            line = connection.execute(query).mappings().first()
        kept = None if line is None else line["password"]
        right = passwords.same_password(password, kept or passwords.NOBODYS)
        found = None if line is None else _person(line)
        return found if right and found is not None and found.active else None

    # Sessions

    def begin_session(self, name: str, *, idle_seconds: float = IDLE_SECONDS) -> str:
        """Signs a person in and returns the token; only its hash is kept.

        Args:
            name: of an account.
            idle_seconds: how long the session lasts when nothing uses it.
        """
        token, now = secrets.token_urlsafe(32), time.time()
        values = {
            "token_sha": token_sha(token),
            "person": self.need(name).name,
            "began": now,
            "until": now + idle_seconds,
        }
        with self._database.write() as connection:
            connection.execute(delete(session).where(session.c.until < now))
            connection.execute(insert(session).values(sealed(session, values)))
        return token

    def of_session(self, token: str) -> Person | None:
        """Returns whose session a token is, and prolongs it; None when it ended or never was.

        Raises:
            ForgetmeError: the account is damaged; a damaged session has ended.
        """
        now = time.time()
        mine = session.c.token_sha == token_sha(token)
        with self._database.read() as connection:
            query = select(session).where(mine, session.c.until > now)
            lines = whole_lines(session, connection.execute(query).mappings())
            query = select(person).where(person.c.name == (lines[0]["person"] if lines else None))
            found = connection.execute(query).mappings().first()
        if found is None or not _person(found).active:
            return None
        until = min(now + IDLE_SECONDS, lines[0]["began"] + SESSION_SECONDS)
        if until - lines[0]["until"] > _RENEW_SECONDS:
            with self._database.write() as connection:
                change(connection, session, mine, until=until)
        return _person(found)

    def end_session(self, token: str) -> None:
        """Signs out; nothing happens when the session ended before."""
        with self._database.write() as connection:
            connection.execute(delete(session).where(session.c.token_sha == token_sha(token)))

    def end_sessions(self, name: str) -> None:
        """Signs a person out everywhere."""
        self._change(name, end_sessions=True)

    # Preferences

    def preference(self, by: str, key: str) -> Any:
        """Returns what a person keeps under a key; None when there is nothing, or it is damaged."""
        query = select(preference).where(
            preference.c.person == by, preference.c.key == _checked_key(key)
        )
        with self._database.read() as connection:
            lines = whole_lines(preference, connection.execute(query).mappings())
        return lines[0]["value"] if lines else None

    def set_preference(self, by: str, key: str, value: Any) -> None:
        """Keeps a JSON value for a person; None deletes it.

        Args:
            by: the person's name.
            key: lower-case letters, digits and `. _ -`, at most 64.
            value: plain JSON of at most 16 KiB.

        Raises:
            ForgetmeError: the key is not one, or the value is too large or no JSON.
        """
        mine = (preference.c.person == by, preference.c.key == _checked_key(key))
        _check_value(key, value)
        with self._database.write() as connection:
            connection.execute(delete(preference).where(*mine))
            if value is not None:
                line = sealed(preference, {"person": by, "key": key, "value": value})
                connection.execute(insert(preference).values(line))

    def need(self, name: str) -> Person:
        """Returns the account of a name.

        Raises:
            ForgetmeError: there is none.
        """
        found = self.get(name)
        if found is None:
            known = ", ".join(one.name for one in self.list()) or "none"
            raise ForgetmeError(f"there is no account {name!r}; there are: {known}")
        return found

    def _change(self, name: str, *, end_sessions: bool, **values: Any) -> None:
        name = self.need(name).name
        with self._database.write() as connection:
            if values:
                change(connection, person, person.c.name == name, **values)
            if end_sessions:
                connection.execute(delete(session).where(session.c.person == name))


def token_sha(token: str) -> str:
    """Returns what is kept of a secret of 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _person(line: Line) -> Person:
    if not is_whole(person, line):
        raise ForgetmeError(
            f"{damage(person, line)}; nobody signs in to it. Bring back a backup, or remove the "
            "account and add it again: python -m forgetme people remove"
        )
    return Person(*(line[name] for name in ("name", "role", "origin", "active", "added_at")))


def _checked_name(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip()
    if not _NAME.fullmatch(name):
        raise ForgetmeError(
            "a name has 1 to 64 letters, digits, spaces and . @ - _, and starts with a letter or "
            f"digit; got {name[:80]!r}"
        )
    if name.casefold() in _RESERVED:
        raise ForgetmeError(f"{name!r} is written by the program itself; take another name")
    return name


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ForgetmeError(f"unknown role {role!r}; known: {', '.join(ROLES)}")


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ForgetmeError(
            f"a preference's key has 1 to 64 of a-z 0-9 . _ -, got {key[:80]!r}; take such a one"
        )
    return key


def _check_value(key: str, value: Any) -> None:
    try:
        size = len(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise ForgetmeError(f"{key} must be plain JSON to be kept, got {error}") from error
    if size > MAX_PREFERENCE_BYTES:
        raise ForgetmeError(
            f"{key} has {size:,} bytes and at most {MAX_PREFERENCE_BYTES:,} are kept; make it less"
        )
