"""Long work as processes of their own, written down in the store so that nothing is lost.

    job = jobs.submit(store, "export", {"format": "folders"}, by="ann")  # returns at once
    jobs.list(store)  # found by any page, any tab
    jobs.stop(store, job.id, by="ann")  # it finishes its step, saves, ends

A kind of job is a function `work(store, job, **arguments) -> dict | None` named in `KINDS`:

    def work(store, job, *, format):
        for done, sample in enumerate(samples):
            if job.should_stop:
                break
            job.step(done, len(samples), sample.name)

Its process is `python -m forgetme job run ID`. What state a job is in is found out each time (does
the process live? was an end written?) and never believed from a column.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetme.errors import ForgetmeError
from forgetme.store import process
from forgetme.store.job_state import ENDED, Job, JobRow, State, found, host_name, lives, state_of
from forgetme.store.jobs import DAMAGED

if TYPE_CHECKING:
    from forgetme.store import Store

__all__ = [
    "ENDED", "KINDS", "Job", "Kind", "Running", "State", "again", "end_children", "get",
    "host_name", "list", "read_log", "recorded", "run", "running", "start_queued", "stop", "submit",
]  # fmt: skip

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between looks whether a job is to stop, and writes of its step
BEAT_SECONDS = 10.0  # between writes of a job that has nothing new to say
CLAIM_SECONDS = 30.0  # a claim without a process is open to others after this
LOG_BYTES = 64 * 2**10  # of a log's end that are shown


@dataclass(frozen=True)
class Kind:
    """One kind of job."""

    words: str  # what it does, for people
    work: str  # "module:function", imported by the job's own process only
    heavy: bool = True  # one heavy job at a time on a machine; others do not wait
    nice: int = 0  # how far it stands back for the rest of the machine


KINDS: dict[str, Kind] = {
    "prepare": Kind(
        "prepares the next samples",
        "forgetme.curate.prepare_ahead:prepare_ahead",
        heavy=False,
        nice=10,
    ),
    "export": Kind("exports the dataset", "forgetme.dataset.as_jobs:export_job", heavy=False),
    "push": Kind("pushes the dataset", "forgetme.dataset.as_jobs:push_job", heavy=False),
    "import": Kind("imports a dataset", "forgetme.dataset.as_jobs:import_job", heavy=False),
    "refine_low": Kind("refines all low fills", "forgetme.curate.refine:refine_low"),
    "compare": Kind("compares fills", "forgetme.compare.as_job:compare_fills_job"),
    "evaluate": Kind("evaluates models", "forgetme.evaluate.as_job:evaluate_job", nice=5),
    "train": Kind("makes a model forget", "forgetme.train.errand:train_kept", nice=5),
}


def submit(
    store: Store,
    kind: str,
    arguments: Mapping[str, Any],
    by: str,
    *,
    heavy: bool | None = None,
    only_one: bool = False,
) -> Job:
    """Writes a job down and starts it as soon as its machine has room.

    Args:
        store: the store that it works on.
        kind: one of `KINDS`.
        arguments: plain JSON, handed to the kind's function; never a secret.
        by: who asks.
        heavy: wait for other heavy jobs of this machine; None = as the kind says.
        only_one: return a job of this kind that has not ended, instead of a second one.

    Returns:
        The job as it stands.

    Raises:
        ValueError: the kind is unknown, or an argument is no JSON.
    """
    _check_kind(kind)
    heavy = KINDS[kind].heavy if heavy is None else heavy
    unless = _is_open if only_one else None
    row = store.jobs.add(kind, dict(arguments), by, heavy=heavy, unless=unless)
    start_queued(store)
    return get(store, row.id)


def again(store: Store, job_id: str, by: str) -> Job:
    """Asks for the same work once more.

    Raises:
        ForgetmeError: what was asked for is damaged.
    """
    row = store.jobs.get(job_id)
    if row.error == DAMAGED:
        raise ForgetmeError(DAMAGED)
    return submit(store, row.kind, row.arguments, by, heavy=row.heavy)


def get(store: Store, job_id: str) -> Job:
    """Returns a job with its state as of now.

    Raises:
        ForgetmeError: there is no such job.
    """
    return found(store.jobs.get(job_id))


def stop(store: Store, job_id: str, by: str, *, at_once: bool = False) -> Job:
    """Asks a job to finish its step, save and end; one that still waits ends here.

    Args:
        store: its store.
        job_id: the job.
        by: who asks.
        at_once: end its process by force: the step it is at is lost, what was saved is not.

    Raises:
        ForgetmeError: there is no such job, or it cannot be ended by force from this machine.
    """
    row = store.jobs.ask_to_stop(job_id, by)
    if at_once and row.outcome is None and lives(row):
        if row.host != process.machine() or not process.is_alive(row.pid, row.process_start):
            raise ForgetmeError(
                f"job {job_id} runs on {host_name(row)}; end it there, or wait until it has "
                "finished its step"
            )
        os.kill(row.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        store.jobs.end(job_id, "stopped", error=f"ended by force by {by}")
    return get(store, job_id)


def read_log(store: Store, job_id: str, *, lines: int = 200) -> str:
    """Returns the last lines that a job wrote; "" before it wrote any."""
    path = store.jobs.log_path(store.jobs.get(job_id).id)
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _is_open(row: JobRow) -> bool:
    return state_of(row) not in ENDED and row.stop_by is None


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of job {kind!r}; known: {', '.join(KINDS)}")


# ---------------------------------------------------------------- starting processes

_children: list[subprocess.Popen] = []  # to be asked for their end, so that none stays a zombie


def start_queued(store: Store) -> Sequence[str]:
    """Starts the jobs that wait and for which there is room; safe to call at any time.

    Returns:
        The ids of the jobs started.
    """
    _children[:] = [child for child in _children if child.poll() is None]
    began = []
    while (row := store.jobs.claim(process.machine(), _next)) is not None:
        began.append(row.id)
        try:
            _spawn(store, row)
        except OSError as error:
            store.jobs.end(row.id, "failed", error=f"no process could be started: {error}")
    return began


def end_children() -> None:
    """Asks the jobs that this process started to finish their step, and waits for them."""
    for child in _children:
        child.terminate()
    for child in _children:
        child.wait()


def _next(rows: Sequence[JobRow]) -> JobRow | None:
    """Chooses the oldest job that may begin; one heavy job at a time on this machine."""
    here = process.machine()
    busy = any(one.heavy and one.host == here and (lives(one) or _claimed(one)) for one in rows)
    for row in rows:
        waits = row.pid is None and not _claimed(row) and row.stop_by is None
        if waits and row.kind in KINDS and not (row.heavy and busy):
            return row
    return None


def _claimed(row: JobRow) -> bool:
    fresh = row.claimed is not None and time.time() - row.claimed < CLAIM_SECONDS
    return row.pid is None and fresh


def _threads() -> str:
    """Half of the cores; threads that fight for a core with the page's lose far more than half."""
    return str(max(1, (os.cpu_count() or 2) // 2))


def _spawn(store: Store, row: JobRow) -> None:
    store.jobs.folder.mkdir(parents=True, exist_ok=True)
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", _threads()),
        "FORGETME_STORE": store.jobs.address,  # may hold a password, so never on a command line
        "FORGETME_BLOBS": str(store.jobs.blobs),
    }
    with store.jobs.log_path(row.id).open("ab") as words:
        child = subprocess.Popen(
            [sys.executable, "-m", "forgetme", "job", "run", row.id],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C in the page's terminal is not for the job
        )
    _children.append(child)
    start = process.started(child.pid)
    if child.poll() is not None:
        start = "ended"
    store.jobs.spawned(row.id, process.machine(), child.pid, start)


# ---------------------------------------------------------------- in the job's own process


def run(store: Store, job_id: str) -> Job:
    """Does a job in this process, then starts the next one that waits.

    Raises:
        ForgetmeError: the job has ended, or is at work elsewhere; or what its work raises.
    """
    try:
        with running(store, job_id) as job:
            kind = KINDS[job.kind]
            if kind.nice and hasattr(os, "nice"):
                os.nice(kind.nice)
            module, _, name = kind.work.partition(":")
            try:
                job.result = getattr(import_module(module), name)(store, job, **job.arguments)
            except ForgetmeError:
                raise
            except Exception as error:
                traceback.print_exc()  # before its end is written: who reads that finds the trace
                raise ForgetmeError(_words(error)) from error
    finally:
        start_queued(store)
    return get(store, job_id)


class Running:
    """A job as its own process sees it; safe to call from any of its threads."""

    def __init__(self, store: Store, row: JobRow) -> None:
        """Wraps the row of a job that has begun."""
        self.id, self.kind, self.arguments, self.by = row.id, row.kind, row.arguments, row.by
        self.result: dict[str, Any] | None = None
        self._store = store
        self._now = {"step": row.step, "total": row.total, "words": "", "subject": None}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stop = threading.Event()
        self._over = threading.Event()
        if row.stop_by is not None:
            self._stop.set()

    @property
    def should_stop(self) -> bool:
        """Whether to finish this step, save and return."""
        return self._stop.is_set()

    def step(
        self, done: int, total: int | None = None, words: str = "", *, subject: str | None = None
    ) -> None:
        """Says how far the job is; returns at once.

        Args:
            done: steps finished.
            total: of how many; None = nobody knows.
            words: what it does at this moment.
            subject: what it works on, such as a sample's id.
        """
        with self._lock:
            self._now = {"step": done, "total": total, "words": words, "subject": subject}
            self._news.set()

    def pause(self, seconds: float) -> None:
        """Waits, but not longer than until the job is to stop."""
        self._stop.wait(seconds)

    def end_early(self, *_: object) -> None:
        """Asks this job to stop, as a signal does; a second time it is interrupted."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()

    def beat(self) -> None:
        """Writes the heartbeat until the job is over; runs in a thread of its own."""
        last = 0.0
        while not self._over.wait(LOOK_SECONDS):
            try:
                if self._news.is_set() or time.monotonic() - last >= BEAT_SECONDS:
                    last = time.monotonic()
                    asked = self._write()
                else:
                    asked = self._store.jobs.get(self.id).stop_by is not None
            except Exception:  # a full disk or a locked database must not end the work
                log.exception("cannot write how far job %s is", self.id)
                continue
            if asked:
                self._stop.set()

    def end(self, error: BaseException | None) -> None:
        """Writes how the job ended."""
        self._over.set()
        self._write()
        outcome, words = _outcome(error)
        if outcome == "done" and self.should_stop and self._now["step"] != self._now["total"]:
            outcome = "stopped"
        self._store.jobs.end(self.id, outcome, result=self.result, error=words)

    def _write(self) -> bool:
        with self._lock:
            self._news.clear()
            now = dict(self._now)
        return self._store.jobs.beat(self.id, **now)


def _outcome(error: BaseException | None) -> tuple[State, str | None]:
    if error is None:
        return "done", None
    if isinstance(error, KeyboardInterrupt):
        return "stopped", None
    if isinstance(error, ForgetmeError):
        return "failed", str(error)
    return "failed", _words(error)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}. Its last lines have the details; try it again."


@contextmanager
def running(store: Store, job_id: str) -> Iterator[Running]:
    """Makes this process the one that does a job, and writes down how it ends.

    SIGTERM and Ctrl-C ask the job to stop; a second one interrupts it.

    Raises:
        ForgetmeError: the job has ended, or another process that lives is at it.
    """
    pid = os.getpid()
    row = store.jobs.begin(job_id, process.machine(), pid, process.started(pid), lives)
    job = Running(store, row)
    beat = threading.Thread(target=job.beat, name="forgetme-heartbeat", daemon=True)
    beat.start()
    try:
        with _signals(job):
            yield job
    except BaseException as error:
        job.end(error)
        raise
    else:
        job.end(None)
    finally:
        beat.join()


@contextmanager
def recorded(store: Store, kind: str, arguments: Mapping[str, Any], by: str) -> Iterator[Running]:
    """Writes down work that this very process does, so that the page shows a command's too."""
    _check_kind(kind)
    row = store.jobs.add(kind, dict(arguments), by, heavy=False, claimed_by=process.machine())
    with running(store, row.id) as job:
        yield job


@contextmanager
def _signals(job: Running) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = (signal.SIGTERM, signal.SIGINT)
    before = {one: signal.signal(one, job.end_early) for one in asked}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def list(store: Store, *, limit: int = 50, kind: str | None = None) -> Sequence[Job]:
    """Returns the latest jobs with their states as of now, the newest first."""
    return [found(row) for row in store.jobs.rows(limit=limit, kind=kind)]
