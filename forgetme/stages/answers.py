"""A cache in SQLite of a paid verifier's answers."""

from __future__ import annotations

import hashlib
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
                columns = [line[1] for line in db.execute("pragma table_info(verdict)")]
                if "sum" not in columns:  # of a file of before
                    db.execute("alter table verdict add column sum text")
        except (OSError, sqlite3.Error) as error:
            raise VerifierError(
                f"cannot use {path} as the cache of answers ({error}); delete it or name another"
            ) from error

    def get(self, asked: str, made_by: str) -> Verdict | None:
        """Finds the answer of a model; None if there is none, or it is not what was written."""
        try:
            with closing(self._connect()) as db:
                row = db.execute(
                    "select yes, confidence, reason, sum from verdict where asked = ?", (asked,)
                ).fetchone()
        except sqlite3.DatabaseError as error:
            log.warning(
                "%s is damaged (%s): the verifier is asked again; delete it", self.path, error
            )
            return None
        if row is None:
            return None
        if row[3] not in (None, _sum(asked, *row[:3])):
            log.warning("an answer in %s is damaged: the verifier is asked again", self.path)
            return None
        return Verdict(bool(row[0]), row[1], row[2], made_by)

    @staticmethod
    def problems(path: Path) -> list[str]:
        """Returns one sentence for each answer of a file that is not what was written."""
        if not path.is_file():
            return []
        try:
            with closing(sqlite3.connect(path, timeout=30)) as db:
                found = [line[0] for line in db.execute("pragma integrity_check")]
                rows = db.execute("select * from verdict").fetchall()
        except sqlite3.DatabaseError as error:
            return [f"{path} is damaged ({error}); delete it: the verifier is asked again"]
        # rows of before have no hash, files of before no column for one
        damaged = sum(row[4:] not in ((), (None,), (_sum(*row[:4]),)) for row in rows)
        if damaged or found != ["ok"]:
            return [f"{path} is damaged in {damaged} answers; these are asked again"]
        return []

    def put(self, asked: str, verdict: Verdict) -> None:
        """Keeps an answer."""
        row = (asked, int(verdict.yes), verdict.confidence, verdict.reason)
        try:
            with closing(self._connect()) as db, db:
                db.execute(
                    "insert or replace into verdict values (?, ?, ?, ?, ?)", (*row, _sum(*row))
                )
        except sqlite3.Error as error:  # the answer is paid for: keep it, and say so
            log.warning("could not keep an answer in %s: %s", self.path, error)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30)


def _sum(asked: str, yes: object, confidence: object, reason: object) -> str:
    return hashlib.sha256(repr((asked, yes, confidence, reason)).encode()).hexdigest()
