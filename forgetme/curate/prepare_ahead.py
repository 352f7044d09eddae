"""Prepares samples before a curator reaches them, in a process that stands back for the page."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol

from forgetme import jobs
from forgetme.curate import pipeline
from forgetme.errors import ForgetmeError, StaleVersionError
from forgetme.stages.models import Models, Preset, load_models
from forgetme.store import Store, process

log = logging.getLogger(__name__)

READY = 32  # undecided samples of each concept that are kept prepared
LOOK_SECONDS = 0.5  # between looks, when all is ready
KEEP_SECONDS = 5.0  # between looks whether the process lives
RESTARTS = 3  # within RESTARTS_SECONDS; then something is wrong that a restart does not cure
RESTARTS_SECONDS = 600.0
KEPT = 5  # ended preparing processes that stay in the list of jobs
MACHINE = "machine"  # who prepares what nobody asked for
PAGE = "page"  # who stops a preparing process when a page ends


class Progress(Protocol):
    """The part of `jobs.Running` that the work needs."""

    @property
    def should_stop(self) -> bool:
        """Whether to finish this step and return."""

    def step(
        self, done: int, total: int | None = None, words: str = "", *, subject: str | None = None
    ) -> None:
        """Says how far it is."""

    def pause(self, seconds: float) -> None:
        """Waits, at most until it is to stop."""


def page_identity() -> dict[str, Any]:
    """Names the asking process, so that the preparing one ends when it has gone."""
    pid = os.getpid()
    return {"host": process.machine(), "pid": pid, "start": process.started(pid)}


def prepare_ahead(
    store: Store,
    job: Progress,
    *,
    preset: Preset = "tiny",
    verifier: str | None = None,
    page: dict[str, Any] | None = None,
    ready: int = READY,
) -> dict[str, Any]:
    """Prepares the next samples until it is stopped or the page that asked has gone.

    What curators look at comes first, see `Store.queue.want`; then `ready` samples of each concept.

    Args:
        store: the store.
        job: hears how far it is, and says when to stop.
        preset: of the models.
        verifier: instead of the preset's, see `load_models`.
        page: the process to work for, see `page_identity`; None = until it is stopped.
        ready: undecided samples of a concept to keep prepared.

    Returns:
        How many were prepared and how many failed.
    """
    models = load_models(preset, verifier=verifier, embeddings=store.embeddings)
    done, failed, embedded = 0, set(), set()
    while not job.should_stop and _page_lives(page):
        found = store.queue.to_prepare(ready=ready, limit=len(failed) + 1)
        if sample_id := _first_not_in(failed, found):
            job.step(done, None, store.sample(sample_id).name, subject=sample_id)
            if _prepare(store, sample_id, models):
                done += 1
            else:
                failed.add(sample_id)
        elif sha := _first_not_in(embedded, store.queue.to_embed()):
            models.segmenter.embed(store.get_image(sha))
            embedded.add(sha)
        else:
            job.step(done, None, "all is ready")
            job.pause(LOOK_SECONDS)
    return {"prepared": done, "failed": len(failed)}


def _first_not_in(known: set[str], found: Iterable[str]) -> str | None:
    return next((one for one in found if one not in known), None)


def _prepare(store: Store, sample_id: str, models: Models) -> bool:
    """Prepares one sample; False where it failed, so that the next look passes it over."""
    row = store.sample(sample_id)
    try:
        pipeline.prepare(store, row, models, by=MACHINE)
    except StaleVersionError:  # a human was quicker
        return True
    except pipeline.STOPS_EVERYTHING:
        raise
    except Exception as error:  # one picture must not stop the others
        words = str(error) if isinstance(error, ForgetmeError) else repr(error)
        log.warning("%s could not be prepared: %s", row.name, words)
        log.debug("%s", row.name, exc_info=True)
        return False
    return True


def _page_lives(page: dict[str, Any] | None) -> bool:
    if page is None or page["start"] is None or page["host"] != process.machine():
        return True
    return process.is_alive(page["pid"], page["start"])


class Keeper:
    """Keeps one preparing process alive while the page runs, and starts what waits in the queue.

    keeper = Keeper(store, preset="tiny", by="ann").start()
    keeper.stop()
    """

    def __init__(
        self,
        store: Store,
        *,
        preset: Preset,
        by: str,
        verifier: str | None = None,
        ready: int = READY,
    ) -> None:
        """Takes the store and the models to prepare with; `ready` samples of each concept."""
        self._store, self._by = store, by
        self._arguments = {
            "preset": preset,
            "verifier": verifier,
            "page": page_identity(),
            "ready": ready,
        }
        self._starts: list[float] = []
        self._job: str | None = None
        self._subject: str | None = None
        self._looked = 0.0  # when it was asked for
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forgetme-keeper", daemon=True)

    def start(self) -> Keeper:
        """Starts the thread and returns the keeper."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Asks the preparing process to finish its sample and end; does not wait for it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._job is not None:
            job = jobs.get(self._store, self._job)
            if job.arguments["page"] == self._arguments["page"]:  # not that of another page
                jobs.stop(self._store, self._job, PAGE)

    def working_on(self) -> str | None:
        """Names the sample that is being prepared at this moment; asks the store now and then."""
        now = time.monotonic()
        if self._job is not None and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            job = jobs.get(self._store, self._job)
            self._subject = job.subject if job.state == "running" else None
        return self._subject

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                jobs.start_queued(self._store)
                self._keep()
            except Exception:  # the database may be locked or gone for a moment
                log.exception("cannot look after the jobs")
            self._stopping.wait(KEEP_SECONDS)

    def _keep(self) -> None:
        if self._job is not None:
            job = jobs.get(self._store, self._job)
            on_purpose = job.state in ("stopping", "stopped") and job.stop_by != PAGE
            if job.state in ("queued", "running") or on_purpose:
                return
        now = time.monotonic()
        self._starts = [one for one in self._starts if now - one < RESTARTS_SECONDS]
        if len(self._starts) > RESTARTS:
            return
        self._starts.append(now)
        self._store.jobs.forget("prepare", keep=KEPT)
        self._job = jobs.submit(self._store, "prepare", self._arguments, self._by, only_one=True).id
