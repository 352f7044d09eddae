"""Keeps a paid verifier's answers, so that no question is paid for twice."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from forgetme.errors import VerifierError
from forgetme.record.sample import Verdict

log = logging.getLogger(__name__)


class AnswerCache:
    """Answers in a SQLite file that threads and processes may share.

    A key is a hash of all that was asked: picture, question, instructions, model and server.
    """

    def __init__(self, path: Path) -> None:
        """Opens or makes the file; raises VerifierError where it cannot be used."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as db, db:
                db.execute(
                    "create table if not exists verdict (asked text primary key, "
                    "yes integer, confidence real, reason text)"
                )
        except (OSError, sqlite3.Error) as error:
            raise VerifierError(
                f"cannot use {path} as the cache of answers ({error}); delete it or name another"
            ) from error

    def get(self, asked: str, made_by: str) -> Verdict | None:
        """Finds the answer of a model; None if there is none."""
        with closing(self._connect()) as db:
            row = db.execute(
                "select yes, confidence, reason from verdict where asked = ?", (asked,)
            ).fetchone()
        return Verdict(bool(row[0]), row[1], row[2], made_by) if row else None

    def put(self, asked: str, verdict: Verdict) -> None:
        """Keeps an answer."""
        row = (asked, verdict.yes, verdict.confidence, verdict.reason)
        try:
            with closing(self._connect()) as db, db:
                db.execute("insert or replace into verdict values (?, ?, ?, ?)", row)
        except sqlite3.Error as error:  # the answer is paid for: keep it, and say so
            log.warning("could not keep an answer in %s: %s", self.path, error)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30)
