"""Evaluations of this store's runs: what can be done with them, and the page of each.

A run is named, never a path. Nothing long runs here: an act hands an evaluation to a job.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse
from pydantic import Field

from forgetme import jobs
from forgetme.compare.saved import NAME, Run, saved_runs
from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError
from forgetme.ui.jobs import view
from forgetme.ui.who import Viewer

Json = dict[str, Any]
Name = Annotated[str, Field(pattern=NAME)]
Word = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,80}$")]
Size = Literal["quick", "standard", "full"]
MAX_RUNS = 16
MAX_JOBS = 20  # looked at


def evaluate(
    review: Review,
    name: Name,
    concept: Word,
    runs: Annotated[list[Name], Field(min_length=1, max_length=MAX_RUNS)],
    size: Size = "quick",
    robustness: bool = False,
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0,
) -> Json:
    """Has runs of this store evaluated side by side with the base; answers with the job."""
    known = {one.name for one in saved_runs(review.store)}
    if unknown := [one for one in runs if one not in known]:
        raise ForgetmeError(
            f"No patch in the run {unknown[0]!r}. Let it finish, or choose another."
        )
    if name in _taken(review):
        raise ForgetmeError(f"There is an evaluation {name!r} already; take another name.")
    asked = {
        "name": name, "concept": concept, "runs": list(dict.fromkeys(runs)), "size": size,
        "robustness": robustness, "seed": seed, "preset": review.models.preset,
    }  # fmt: skip
    return view(jobs.submit(review.store, "evaluate", asked, by=review.by))


def stop_evaluation(review: Review, name: Name) -> Json:
    """Stops the making of an evaluation; what it drew is kept for the next."""
    open_ = [one for one in _jobs(review) if one.state not in jobs.ENDED]
    job = next((one for one in open_ if one.arguments.get("name") == name), None)
    if job is None:
        raise ForgetmeError(f"Nobody is making the evaluation {name!r}. Look again.")
    return view(jobs.stop(review.store, job.id, review.by))


def evaluations(review: Review) -> list[str]:
    """Names the evaluations that are made."""
    from forgetme.evaluate.as_job import evaluations

    return evaluations(review.store)


def evaluation(review: Review, name: Name) -> Json:
    """Tells all of an evaluation: models, scores with their intervals, prompts, probes."""
    from forgetme.evaluate.as_job import read_evaluation

    return read_evaluation(review.store, name)


def router() -> APIRouter:
    """Builds the route of an evaluation's page."""
    routes = APIRouter()

    @routes.get("/evaluation/{name}/report.html")
    def report(name: Annotated[str, Path(pattern=NAME)], review: Viewer) -> FileResponse:
        from forgetme.evaluate.as_job import page_path

        # To be kept, never shown here: a page of this address could act in the reader's name.
        return FileResponse(
            page_path(review.store, name),
            media_type="text/html",
            filename=f"{name}.html",
            headers={"cache-control": "no-store"},
        )

    return routes


def all_made(review: Review) -> list[tuple[str, Json | str]]:
    """Returns each evaluation, the latest first, and why where one cannot be read."""
    found: list[tuple[str, Json | str]] = []
    for name in evaluations(review):
        try:
            found.append((name, evaluation(review, name)))
        except ForgetmeError as error:
            found.append((name, str(error)))
    return sorted(found, key=lambda one: "" if isinstance(one[1], str) else one[1]["made"],
                  reverse=True)  # fmt: skip


def _jobs(review: Review) -> list[jobs.Job]:
    return [*jobs.list(review.store, limit=MAX_JOBS, kind="evaluate")]


def shown_job(review: Review) -> Json | None:
    """Returns the job at work or next in line; else the last one, if it made nothing."""
    found = _jobs(review)
    waiting = [one for one in found if one.state not in jobs.ENDED]
    unmade = [one for one in found[:1] if one.state != "done"]
    job = next(iter(waiting[::-1] or unmade), None)
    return job and {**view(job), "name": job.arguments.get("name", "")}


def _taken(review: Review) -> set[str]:
    waiting = (one for one in _jobs(review) if one.state not in jobs.ENDED)
    return {"cache", *evaluations(review), *(one.arguments.get("name") for one in waiting)}


def free_name(review: Review, concept: str) -> str:
    """Returns a name that no evaluation has, such as cat-2."""
    stem = re.sub(r"[^a-z0-9]+", "-", concept.lower()).strip("-")[:60] or "evaluation"
    taken = _taken(review)
    return next(name for at in range(1, len(taken) + 2) if (name := f"{stem}-{at}") not in taken)


def concepts(review: Review, runs: list[Run]) -> list[str]:
    """Names what can have been forgotten: what the store or a run is about."""
    told = (one.record.get("concept") for one in runs)
    return list(dict.fromkeys([*review.store.concepts(), *filter(None, told)]))
