"""The table of long work: what was asked for, which process does it, how far it is.

Whether a process lives is not kept here: `forgetme.jobs` finds that out each time it is asked.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from forgetme.errors import ForgetmeError
from forgetme.store.database import Database
from forgetme.store.job_state import JobRow
from forgetme.store.payloads import plain_json
from forgetme.store.schema import job
from forgetme.store.sums import Line, change, is_whole, sealed

DAMAGED = (
    "What was written down of this job is damaged; ask for the work anew. "
    "`python -m forgetme store rebuild` removes this line."
)
_MANY = 500  # values in one statement
_ID = re.compile(r"[0-9a-f]{16}")


class Jobs:
    """Writes and reads the rows; every change is one durable transaction."""

    def __init__(self, database: Database, folder: Path, blobs: Path) -> None:
        """Works on the store's own database; logs go into `folder`."""
        self._database = database
        self.folder = folder
        self.blobs = blobs

    @property
    def address(self) -> str:
        """Where the store is, for a process that opens it too; may hold a password."""
        if self._database.is_sqlite:
            return str(Path(self._database.url.database).parent)
        return self._database.url.render_as_string(hide_password=False)

    def log_path(self, job_id: str) -> Path:
        """Returns the file that a job's words go to.

        Raises:
            ForgetmeError: that is no job's id.
        """
        if not _ID.fullmatch(job_id):
            raise ForgetmeError(f"a job is named by 16 hex digits, got {job_id!r}; list the jobs")
        return self.folder / f"{job_id}.log"

    # Asking

    def add(
        self,
        kind: str,
        arguments: dict[str, Any],
        by: str,
        *,
        heavy: bool,
        unless: Callable[[JobRow], bool] | None = None,
        claimed_by: str | None = None,
    ) -> JobRow:
        """Writes a new job into the queue.

        Args:
            kind: what to do.
            arguments: plain JSON; never a secret.
            by: who asks.
            heavy: whether it takes its turn among the heavy ones of a machine.
            unless: an unfinished job of the same kind for which this holds is returned instead.
            claimed_by: the host whose asking process does it itself; None = any may start it.
        """
        now = time.time()
        row = JobRow(secrets.token_hex(8), kind, plain_json(arguments), by, heavy, now)
        if claimed_by is not None:
            row = replace(row, host=claimed_by, claimed=now)
        with self._database.write() as connection:
            if unless is not None:
                open_ones = _rows(connection, job.c.outcome.is_(None), job.c.kind == kind)
                if found := next((one for one in open_ones if unless(one)), None):
                    return found
            connection.execute(insert(job).values(sealed(job, _values(row))))
        return row

    def get(self, job_id: str) -> JobRow:
        """Returns a job.

        Raises:
            ForgetmeError: there is no such job.
        """
        with self._database.read() as connection:
            return _one(connection, job_id)

    def rows(self, *, limit: int = 50, kind: str | None = None) -> list[JobRow]:
        """Returns the latest jobs, the newest first."""
        query = select(job).order_by(job.c.created.desc(), job.c.id).limit(limit)
        if kind is not None:
            query = query.where(job.c.kind == kind)
        with self._database.read() as connection:
            return [_row(line) for line in connection.execute(query).mappings()]

    def unfinished(self) -> list[JobRow]:
        """Returns the jobs without a written end, the oldest first."""
        with self._database.read() as connection:
            return _rows(connection, job.c.outcome.is_(None))

    # The way of a job

    def claim(self, host: str, pick: Callable[[Sequence[JobRow]], JobRow | None]) -> JobRow | None:
        """Lets `pick` choose among all unfinished jobs, and marks its choice as this host's.

        Nobody else claims at the same time.
        """
        with self._database.write() as connection:
            chosen = pick(_rows(connection, job.c.outcome.is_(None)))
            if chosen is not None:
                values = {"host": host, "claimed": time.time()}
                change(connection, job, job.c.id == chosen.id, **values)
        return chosen

    def spawned(self, job_id: str, host: str, pid: int, start: str | None) -> None:
        """Writes down the process that was started for a job, unless it has done so itself."""
        still = (job.c.id == job_id, job.c.outcome.is_(None), job.c.pid.is_(None))
        values = {"host": host, "pid": pid, "process_start": start, "heartbeat": time.time()}
        with self._database.write() as connection:
            change(connection, job, *still, **values)

    def begin(
        self, job_id: str, host: str, pid: int, start: str | None, alive: Callable[[JobRow], bool]
    ) -> JobRow:
        """Writes down which process does a job.

        Raises:
            ForgetmeError: it has ended, or another process that lives is at it.
        """
        with self._database.write() as connection:
            row = _one(connection, job_id)
            other = row.pid is not None and (row.host, row.pid, row.process_start) != (
                host, pid, start,
            )  # fmt: skip
            if row.outcome is not None or (other and alive(row)):
                why = row.outcome or f"at work in process {row.pid}"
                raise ForgetmeError(f"job {job_id} is {why}; ask for it again to run it again")
            now = time.time()
            values = {"host": host, "pid": pid, "process_start": start, "heartbeat": now}
            values["began"] = row.began or now
            change(connection, job, job.c.id == job_id, **values)
            return _one(connection, job_id)

    def beat(
        self,
        job_id: str,
        *,
        step: int,
        total: int | None,
        words: str,
        subject: str | None,
    ) -> bool:
        """Says that a job lives and how far it is; returns whether it was asked to stop."""
        values = {"step": step, "total": total, "words": words, "subject": subject}
        with self._database.write() as connection:
            change(connection, job, job.c.id == job_id, heartbeat=time.time(), **values)
            return connection.scalar(select(job.c.stop_by).where(job.c.id == job_id)) is not None

    def end(
        self,
        job_id: str,
        outcome: str,
        *,
        result: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Writes a job's end, once; a later word about it changes nothing."""
        values = {"outcome": outcome, "result": result, "error": error, "ended": time.time()}
        still = (job.c.id == job_id, job.c.outcome.is_(None))
        with self._database.write() as connection:
            change(connection, job, *still, subject=None, **values)

    def ask_to_stop(self, job_id: str, by: str) -> JobRow:
        """Marks a job to be stopped; one that no process was started for has ended with that."""
        with self._database.write() as connection:
            row = _one(connection, job_id)
            if row.outcome is None:
                values: dict[str, Any] = {"stop_by": row.stop_by or by}
                if row.claimed is None and row.pid is None:
                    values |= {"outcome": "stopped", "ended": time.time()}
                change(connection, job, job.c.id == job_id, **values)
            return _one(connection, job_id)

    def forget(self, kind: str, *, keep: int) -> None:
        """Drops the jobs of a kind that have ended, with their logs, but for the latest."""
        ended = (job.c.kind == kind, job.c.outcome.is_not(None))
        query = select(job.c.id).where(*ended).order_by(job.c.created.desc()).offset(keep)
        with self._database.write() as connection:
            gone = list(connection.scalars(query.limit(_MANY)))
            connection.execute(delete(job).where(job.c.id.in_(gone)))
        for job_id in gone:
            self.log_path(job_id).unlink(missing_ok=True)


def _rows(connection: Connection, *conditions: Any) -> list[JobRow]:
    query = select(job).where(*conditions).order_by(job.c.created, job.c.id)
    rows = [_row(line) for line in connection.execute(query).mappings()]
    return [row for row in rows if row.error != DAMAGED]


def _one(connection: Connection, job_id: str) -> JobRow:
    line = connection.execute(select(job).where(job.c.id == job_id)).mappings().first()
    if line is None:
        raise ForgetmeError(f"there is no job {job_id!r}; list the jobs")
    return _row(line)


def _row(line: Line) -> JobRow:
    if is_whole(job, line):
        return JobRow(**{name: line[name] for name in line if name != "digest"})
    kind, by = str(line["kind"]), str(line["by"])
    return JobRow(line["id"], kind, {}, by, False, 0.0, outcome="failed", error=DAMAGED)


def _values(row: JobRow) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}
