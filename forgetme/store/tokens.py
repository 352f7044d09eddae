"""Personal access tokens: how a program acts in a person's name.

A token is shown once, when it is made; the store keeps its hash.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone

from sqlalchemy import delete, insert, select

from forgetme.errors import ForgetmeError
from forgetme.store.database import Database
from forgetme.store.people import People, Person, token_sha
from forgetme.store.schema import access_token
from forgetme.store.sums import sealed, whole_lines

PREFIX = "forgetme_"  # so that a scanner of secrets, and a person, can tell what was found
MAX_TOKENS = 100  # of one person
_LABEL = re.compile(r"[^\W_](?:[\w. -]{0,62}[\w.-])?")


@dataclass(frozen=True)
class Token:
    """One token, without its secret."""

    person: str
    label: str
    added_at: str  # UTC, ISO 8601


class Tokens:
    """The tokens of a store's accounts."""

    def __init__(self, database: Database, people: People) -> None:
        """Works on the store's own database, for its accounts."""
        self._database, self._people = database, people

    def add(self, name: str, label: str) -> str:
        """Makes a token and returns it; it can never be read again.

        Args:
            name: of the account that it acts for, with that account's role of the moment.
            label: what the person calls it, such as "nightly export"; 1 to 64 letters, digits,
                spaces and `. - _`, and each once.

        Raises:
            ForgetmeError: no such account, the label is taken or none, or there are too many.
        """
        if not _LABEL.fullmatch(label):
            raise ForgetmeError(
                "a token's label has 1 to 64 letters, digits, spaces and . - _, and starts with a "
                f"letter or digit; got {label[:80]!r}"
            )
        owner, made = self._people.need(name).name, PREFIX + secrets.token_urlsafe(32)
        values = {
            "token_sha": token_sha(made),
            "person": owner,
            "label": label,
            "added_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        with self._database.write() as connection:
            query = select(access_token.c.label).where(access_token.c.person == owner)
            labels = list(connection.scalars(query))
            if label in labels:
                raise ForgetmeError(
                    f"{owner} has a token {label!r} already; revoke it or take another label"
                )
            if len(labels) >= MAX_TOKENS:
                raise ForgetmeError(f"{owner} has {MAX_TOKENS} tokens; revoke one first")
            connection.execute(insert(access_token).values(sealed(access_token, values)))
        return made

    def list(self, name: str | None = None) -> list[Token]:
        """Returns everybody's tokens, or one person's, by person and label."""
        query = select(access_token).order_by(access_token.c.person, access_token.c.label)
        if name is not None:
            query = query.where(access_token.c.person == self._people.need(name).name)
        with self._database.read() as connection:
            lines = whole_lines(access_token, connection.execute(query).mappings())
        return [
            Token(*(line[field] for field in ("person", "label", "added_at"))) for line in lines
        ]

    def owner(self, made: str) -> Person | None:
        """Returns whose token this is; None where it was revoked or never was one.

        Raises:
            ForgetmeError: the account is damaged; a damaged token opens nothing.
        """
        query = select(access_token).where(access_token.c.token_sha == token_sha(made))
        with self._database.read() as connection:
            lines = whole_lines(access_token, connection.execute(query).mappings())
        found = self._people.get(lines[0]["person"]) if lines else None
        return found if found is not None and found.active else None

    def revoke(self, name: str, label: str) -> None:
        """Lets a token open nothing any more, from the next request on.

        Raises:
            ForgetmeError: no such account or token.
        """
        owner = self._people.need(name).name
        mine = (access_token.c.person == owner, access_token.c.label == label)
        with self._database.write() as connection:
            gone = connection.execute(delete(access_token).where(*mine)).rowcount
        if not gone:
            known = ", ".join(one.label for one in self.list(owner)) or "none"
            raise ForgetmeError(f"{owner} has no token {label!r}; there are: {known}")
