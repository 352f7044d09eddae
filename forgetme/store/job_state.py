"""What is written down of a job, and what state that amounts to at this moment.

Whether its process lives is found out each time; no column is believed for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any, Literal

from forgetme.store import process

State = Literal["queued", "running", "stopping", "done", "stopped", "failed", "died"]
ENDED: tuple[State, ...] = ("done", "stopped", "failed", "died")

SILENT_SECONDS = 60.0  # a process that cannot be looked at is dead after this silence
DIED = (
    "The process ended without a word: it was killed, the machine was restarted, or memory ran "
    "out. What it had finished is saved; its last lines say how far it was. "
    "Start it again: it goes on or begins anew, and removes what this one left half-made."
)


@dataclass(frozen=True)
class JobRow:
    """One job as it was written down; `forgetme.jobs` adds what state that amounts to."""

    id: str
    kind: str
    arguments: dict[str, Any]
    by: str
    heavy: bool
    created: float
    host: str | None = None
    claimed: float | None = None  # when a process was about to be started for it
    pid: int | None = None
    process_start: str | None = None
    began: float | None = None
    heartbeat: float | None = None
    step: int = 0
    total: int | None = None
    words: str = ""  # what it does at this moment
    subject: str | None = None  # on what, such as a sample's id
    stop_by: str | None = None  # who asked it to stop
    ended: float | None = None
    outcome: str | None = None  # "done", "failed" or "stopped"; None: no end was written
    result: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Job(JobRow):
    """A job, and the state that it was found in."""

    state: State = "queued"

    @property
    def seconds(self) -> float:
        """How long it has been or was at work."""
        if self.began is None:
            return 0.0
        last = self.heartbeat if self.state == "died" else time.time()
        return max(0.0, (self.ended or last or self.began) - self.began)

    @property
    def seconds_left(self) -> float | None:
        """How long it will take yet at its pace so far; None before that can be told."""
        if self.state != "running" or not self.step or not self.total:
            return None
        return self.seconds / self.step * max(0, self.total - self.step)

    @property
    def trouble(self) -> str | None:
        """What went wrong and what to do, if anything."""
        return DIED if self.state == "died" else self.error


def found(row: JobRow) -> Job:
    """Returns a job with its state as of now."""
    values = {field.name: getattr(row, field.name) for field in fields(JobRow)}
    return Job(**values, state=state_of(row))


def state_of(row: JobRow) -> State:
    """Tells the state of a job from its row and the processes of this machine."""
    if row.outcome is not None:
        return row.outcome
    if row.pid is None:
        return "queued"
    if not lives(row):
        return "died"
    return "running" if row.stop_by is None else "stopping"


def lives(row: JobRow) -> bool:
    """Tells whether the process of a job is alive; of another machine's its heartbeat tells."""
    if row.pid is None:
        return False
    if row.host == process.machine() and row.process_start is not None:
        return process.is_alive(row.pid, row.process_start)
    return time.time() - (row.heartbeat or 0.0) < SILENT_SECONDS


def host_name(row: JobRow) -> str:
    """Names the machine of a job for people."""
    return (row.host or "no machine yet").split(" ", maxsplit=1)[0]
