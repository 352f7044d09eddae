"""Long work as the page sees it: what runs, how far it is, stop it, read its last lines.

What a job is asked to do comes from routes of its own (export, push, refine …), never from here.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from forgetme import jobs
from forgetme.ui.who import Asking, Curator, Lead, Viewer, need, told

Json = dict[str, Any]
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
LINES = 60  # of a log's end


class Stop(BaseModel):
    """How to stop: after the step, or at once."""

    model_config = ConfigDict(extra="forbid", strict=True)
    at_once: bool = False


def router() -> APIRouter:
    """Builds the JSON routes of the jobs."""
    routes = APIRouter(prefix="/api")

    @routes.get("/jobs")
    def listed(
        review: Viewer, asking: Asking, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> Json:
        found = [view(job) for job in jobs.list(review.store, limit=limit)]
        return {"jobs": told(asking, found)}

    @routes.get("/jobs/{job_id}")
    def one(job_id: JobId, review: Curator, asking: Asking) -> Json:
        job = jobs.get(review.store, job_id)
        log = jobs.read_log(review.store, job_id, lines=LINES)
        return told(asking, {**view(job), "log": log})

    @routes.post("/jobs/{job_id}/stop")
    def stop(job_id: JobId, body: Stop, review: Curator, asking: Asking) -> Json:
        if jobs.get(review.store, job_id).by != review.by:
            need("lead", asking)
        return told(asking, view(jobs.stop(review.store, job_id, review.by, at_once=body.at_once)))

    @routes.post("/jobs/{job_id}/again", status_code=202)
    def again(job_id: JobId, review: Lead) -> Json:
        if jobs.get(review.store, job_id).state not in jobs.ENDED:
            raise HTTPException(409, "This job has not ended yet. Stop it, then start it again.")
        return view(jobs.again(review.store, job_id, review.by))

    return routes


def view(job: jobs.Job) -> Json:
    """Returns what the page shows of a job; whoever is no lead is `told` it without places."""
    left = job.seconds_left
    return {
        "id": job.id,
        "kind": job.kind,
        "what": jobs.KINDS[job.kind].words if job.kind in jobs.KINDS else job.kind,
        "state": job.state,
        "by": job.by,
        "host": jobs.host_name(job),
        "created": job.created,
        "ended": job.ended,
        "seconds": round(job.seconds, 1),
        "seconds_left": None if left is None else round(left),
        "step": job.step,
        "total": job.total,
        "words": job.words,
        "subject": job.subject,
        "result": job.result,
        "trouble": job.trouble,
        "stopped_by": job.stop_by,
        "standing": job.kind == "prepare",  # goes on as long as the page; no work to wait for
    }
