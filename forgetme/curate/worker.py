"""The page's background worker: one thread, one queue, results as events in the store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, get_args

from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError, StaleVersionError

log = logging.getLogger(__name__)

JobKind = Literal["prepare", "fill", "refine", "ask_verifier"]
IDLE_SECONDS = 1.0  # between looks for samples to prepare, when nobody asks for anything
WISH_SECONDS = 60.0  # after this the same wish is written again
MACHINE = "machine"  # who prepares samples that nobody asked for


@dataclass(frozen=True)
class Job:
    """One piece of heavy work on one sample."""

    kind: JobKind
    sample_id: str
    by: str
    arguments: dict[str, Any] = field(default_factory=dict, compare=False)
    urgent: bool = False  # somebody waits for it


@dataclass(frozen=True)
class JobError:
    """Why a job failed, in words for the curator."""

    kind: JobKind
    sample_id: str
    words: str
    at: float  # seconds since 1970


@dataclass(frozen=True)
class WorkerStatus:
    """What the worker is doing at this moment."""

    alive: bool
    running: Job | None
    running_seconds: float  # 0 when nothing runs
    queued: tuple[Job, ...]  # in the order they will run
    errors: dict[str, JobError]  # each sample's last failure, until it is asked for again
    done: int  # jobs finished since the start, failed ones included


class Preparing(Protocol):
    """Another process that prepares samples, such as `ahead.Keeper` keeps."""

    def working_on(self) -> str | None:
        """Names the sample that it prepares at this moment."""


class Worker:
    """Runs the heavy acts of a Review in one background thread, the curator's wishes first.

    When nobody asks for anything it prepares new samples ahead of the curator, unless another
    process does that (`ahead=0`). Whatever a job raises ends up in `status().errors`; the thread
    goes on.

        worker = Worker(review, ahead=6).start()
        worker.focus("cat")
        worker.submit("refine", sample_id, by="ann", fill_settings=FillSettings(prompt="sand"))
        worker.status()  # cheap: poll it
        worker.stop()
    """

    def __init__(
        self, review: Review, *, ahead: int = 4, preparing: Preparing | None = None
    ) -> None:
        """Takes the acts to run.

        Args:
            review: the store, the models and the settings.
            ahead: how many undecided samples to keep ready; 0 = only what somebody asks for.
            preparing: the process that prepares the others.
        """
        self._review = review
        self._ahead = ahead
        self._preparing = preparing
        self._wishes_written: dict[tuple[str, ...], float] = {}
        self._concept: str | None = None
        self._queue: list[Job] = []
        self._served: dict[str, int] = {}  # when each person's last job began, as a count
        self._running: Job | None = None
        self._since = 0.0
        self._errors: dict[str, JobError] = {}
        self._done = 0
        self._wishes = 0  # counts what others asked for, so that none is missed while looking
        self._stopping = False
        self._idle = False  # nothing queued, running, or to prepare
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="forgetme-worker", daemon=True)

    def start(self) -> Worker:
        """Starts the thread and returns the worker."""
        self._thread.start()
        return self

    def stop(self, timeout: float | None = None) -> bool:
        """Finishes the running job, drops the queued ones, ends the thread.

        Args:
            timeout: seconds to wait for the running job; None waits until it is done.

        Returns:
            Whether the thread has ended.
        """
        with self._changed:
            self._stopping = True
            self._queue.clear()
            self._changed.notify_all()
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def submit(
        self, kind: JobKind, sample_id: str, *, by: str, urgent: bool = True, **arguments: Any
    ) -> Job:
        """Queues a job and returns at once.

        Args:
            kind: the Review's method to call.
            sample_id: on this sample. A job of the same kind and sample that is still queued is
                replaced by this one.
            by: name recorded with the events.
            urgent: before everything that is not; within both, people take turns, and what one
                of them asked for is done in that order.
            arguments: the method's further arguments: `fill_settings` for "refine", `index` for
                "ask_verifier".

        Raises:
            ValueError: unknown kind.
            ForgetmeError: the worker was stopped.
        """
        if kind not in get_args(JobKind):
            raise ValueError(f"unknown job {kind!r}; known: {', '.join(get_args(JobKind))}")
        job = Job(kind, sample_id, by, arguments, urgent)
        with self._changed:
            if self._stopping:
                raise ForgetmeError("The worker is stopping; start the page again.")
            self._queue = [one for one in self._queue if not _same(one, job)] + [job]
            self._errors.pop(sample_id, None)
            self._wake()
        return job

    def focus(self, concept: str | None = None) -> None:
        """Says which concept the curator is on; None: any. Its next samples are prepared first."""
        with self._changed:
            self._concept = concept
            self._wake()

    def look_at(self, sample_ids: Sequence[str]) -> None:
        """Says what the curator sees and will see next, for the process that prepares ahead."""
        now, ids = time.monotonic(), tuple(sample_ids)
        with self._changed:
            fresh = {k: at for k, at in self._wishes_written.items() if now - at < WISH_SECONDS}
            if self._preparing is None or not ids or ids in fresh:
                return
            self._wishes_written = {**fresh, ids: now}
            store = self._review.store
        store.queue.want(ids)

    def use(self, review: Review) -> None:
        """Takes another review (models, settings) from the next job on."""
        with self._changed:
            self._review = review
            self._wake()

    def status(self) -> WorkerStatus:
        """Tells what is running and queued, and what failed."""
        with self._changed:
            return WorkerStatus(
                alive=self._thread.is_alive(),
                running=self._running,
                running_seconds=time.monotonic() - self._since if self._running else 0.0,
                queued=tuple(self._in_turn()),
                errors=dict(self._errors),
                done=self._done,
            )

    def busy(self, sample_id: str) -> JobKind | None:
        """Names the job that runs or waits for this sample: for "preparing …" beside it."""
        with self._changed:
            jobs = [*([self._running] if self._running else []), *self._queue]
        found = next((job.kind for job in jobs if job.sample_id == sample_id), None)
        if found is None and self._preparing and self._preparing.working_on() == sample_id:
            return "prepare"
        return found

    def wait(self, timeout: float) -> bool:
        """Waits until nothing is running, queued or left to prepare; False if it took longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._idle or not self._thread.is_alive(), timeout
            )

    def _wake(self) -> None:
        self._wishes += 1
        self._idle = False
        self._changed.notify_all()

    # ---------------------------------------------------------------- in the thread
    def _run(self) -> None:
        while (job := self._next()) is not None:
            error = self._work(job)
            with self._changed:
                self._running = None
                self._done += 1
                if error is not None:
                    self._errors[job.sample_id] = JobError(
                        job.kind, job.sample_id, error, time.time()
                    )
                self._changed.notify_all()

    def _next(self) -> Job | None:
        """Takes the next job, waiting for one; None when the worker is to stop."""
        while True:
            with self._changed:
                if self._stopping:
                    return None
                if self._queue:
                    job = self._in_turn()[0]
                    self._queue.remove(job)
                    self._served[job.by] = max(self._served.values(), default=0) + 1
                    return self._take(job)
                review, concept, failed = self._review, self._concept, set(self._errors)
                wishes = self._wishes
            job = self._look_ahead(review, concept, failed)  # asks the store: without the lock
            with self._changed:
                if self._stopping or wishes != self._wishes:
                    continue
                if job is not None:
                    return self._take(job)
                self._idle = True
                self._changed.notify_all()
                self._changed.wait(IDLE_SECONDS)

    def _in_turn(self) -> list[Job]:
        """The queue in the order in which it will run: no one's many wishes hold up another's."""
        served, left, found = dict(self._served), list(self._queue), []
        while left:
            job = min(left, key=lambda one: (not one.urgent, served.get(one.by, 0)))
            served[job.by] = max(served.values(), default=0) + 1
            left.remove(job)
            found.append(job)
        return found

    def _take(self, job: Job) -> Job:
        self._running, self._since, self._idle = job, time.monotonic(), False
        return job

    def _look_ahead(self, review: Review, concept: str | None, failed: set[str]) -> Job | None:
        """Finds a new sample to prepare while fewer than `ahead` are ready for the curator."""
        if not self._ahead:
            return None
        try:
            counts = review.store.counts(concept)
            if counts["prepared"] + counts["waiting"] >= self._ahead:
                return None
            # Those that failed are left alone until somebody asks for them.
            limit = len(failed) + 1
            fresh = review.store.samples(state="new", concept=concept, limit=limit, light=True)
        except Exception:  # the store may be locked or gone for a moment; the next look tells
            log.exception("cannot look for samples to prepare")
            return None
        ids = (row.id for row in fresh if row.id not in failed)
        return next((Job("prepare", sample_id, MACHINE) for sample_id in ids), None)

    def _work(self, job: Job) -> str | None:
        """Runs one job and returns what went wrong, in words."""
        with self._changed:
            review = replace(self._review, by=job.by)
        act: Callable[..., Any] = getattr(review, job.kind)
        try:
            act(job.sample_id, **job.arguments)
        except StaleVersionError as error:
            # A human who was quicker needs no word: preparing is a favour, and the page asks for
            # another fill when the mask was drawn on meanwhile.
            return None if job.kind in ("prepare", "fill") else str(error)
        except ForgetmeError as error:
            return str(error)
        except Exception as error:  # the thread must live; the log has the trace
            log.exception("%s of %s failed", job.kind, job.sample_id)
            return (
                f"This could not be done ({type(error).__name__}: {error}). Try again; if it fails "
                "again, the log of the page's terminal has the details."
            )
        return None


def _same(one: Job, other: Job) -> bool:
    return (one.kind, one.sample_id) == (other.kind, other.sample_id)
