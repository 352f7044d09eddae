"""The Train tab: ask for a run, watch it, stop it, go on, take its patch.

Nothing long runs here: a route writes a run down in the store's folder, hands it to a job and
answers. A run is named, never a path. Leads act, viewers look.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.dataset.store_folders import zipped_files
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.jobs import LINES
from forgetme.ui.who import Curator, Lead, Viewer

if TYPE_CHECKING:
    from forgetme.train import Item, RunSettings
    from forgetme.train.runs import Run

Json = dict[str, Any]
NAME = r"^[a-z0-9][a-z0-9-]{0,79}$"
WORD = r"^[^/\\\x00-\x1f]{1,80}$"  # a concept, which becomes part of a file's name
Name = Annotated[str, Path(pattern=NAME)]
Word = Annotated[str, Field(pattern=WORD)]
MAX_PROMPT = 500  # characters
MAX_KEEP = 100
MAX_JOBS = 300  # looked through
QUIET_SECONDS = 60.0  # a run of a command, whose log is older than this, has ended


Option = Annotated[float, Field(ge=-1e9, le=1e9)] | Annotated[str, Field(pattern=r"^[a-z-]{1,40}$")]


class Settings(BaseModel):
    """All fields of `RunSettings`; the run itself checks how they fit together."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    method: str = Field(max_length=40)
    concept: Word
    also: list[Word] = Field(default=[], max_length=MAX_KEEP)
    prompt: str = Field(default="", max_length=MAX_PROMPT)
    any_prompt: bool = False
    anchor: str = Field(default="", max_length=MAX_PROMPT)
    keep: list[Word] = Field(default=[], max_length=MAX_KEEP)
    watch: list[Word] | None = Field(default=None, max_length=MAX_KEEP)  # None: the rest
    retain_pictures: int = Field(default=0, ge=0, le=100_000)
    trains: str = Field(max_length=40)
    steps: int = Field(ge=0, le=10_000_000)
    lr: float = Field(gt=0, le=1)
    batch: int = Field(ge=1, le=4096)
    accumulate: int = Field(default=1, ge=1, le=4096)
    rank: int = Field(default=4, ge=1, le=1024)
    precision: str = Field(default="no", max_length=10)
    gradient_checkpointing: bool = False
    clip: float = Field(default=1.0, ge=0, le=1e6)
    seed: int = Field(default=0, ge=0, lt=2**31)
    probe_every: int = Field(default=100, ge=0, le=MAX_NUMBER)
    save_every: int = Field(default=100, ge=0, le=MAX_NUMBER)
    options: dict[Annotated[str, Field(max_length=40)], Option] = Field(default={}, max_length=40)


class Plan(BaseModel):
    """What a run would be."""

    model_config = ConfigDict(extra="forbid", strict=True)
    preset: Literal["tiny", "full"]
    probe_pictures: int = Field(default=8, ge=0, le=1000)
    settings: Settings


class Start(Plan):
    """A run to begin."""

    name: str = Field(pattern=NAME)


class GoOn(BaseModel):
    """What may change when a run goes on."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    steps: int | None = Field(default=None, ge=1, le=10_000_000)
    lr: float | None = Field(default=None, gt=0, le=1)
    gradient_checkpointing: bool | None = None


def router() -> APIRouter:
    """Builds the routes of the tab."""
    routes = APIRouter(prefix="/api/train")
    _reads(routes)
    _acts(routes)
    return routes


def _reads(routes: APIRouter) -> None:
    @routes.get("/form")
    def form(review: Viewer) -> Json:
        from forgetme.train import form
        from forgetme.train.cost import machine

        return {
            "methods": form.methods(),
            "presets": form.presets(),
            "preset": review.models.preset,
            "trains": form.TRAINS,
            "choices": form.choices(),
            "words": form.words(),
            "machine": machine(),
        }

    @routes.get("/runs")
    def listed(review: Viewer) -> Json:
        from forgetme.train.runs import runs

        found = _jobs(review)
        accepted = [
            {"name": one.concept, "accepted": one.selected} for one in review.store.table1()
        ]
        return {
            "runs": [_summary(one, _job_of(one, found)) for one in runs(review.store)],
            "concepts": accepted,
        }

    @routes.get("/runs/{name}")
    def one(
        name: Name,
        review: Viewer,
        after: Annotated[str, Query(pattern=r"^(\d{1,20}\.\d{1,15})?$")] = "",
    ) -> Json:
        from forgetme.train.runs import pictures, rows, run_of

        run = run_of(review.store, name)
        return {
            **_summary(run, _job_of(run, _jobs(review))),
            **rows(run.folder, after),
            "settings": run.record,
            "probes": pictures(run),
        }

    @routes.get("/runs/{name}/probes/{step}-{place}.png")
    def strip(
        name: Name,
        step: Annotated[int, Path(ge=0, le=MAX_NUMBER)],
        place: Annotated[int, Path(ge=0, le=MAX_KEEP)],
        review: Viewer,
    ) -> FileResponse:
        from forgetme.train.runs import picture, run_of

        path = picture(run_of(review.store, name), step, place)
        headers = {"cache-control": "private, no-cache"}  # a name can be taken by another run
        return FileResponse(path, media_type="image/png", headers=headers)

    @routes.get("/runs/{name}/lines")
    def lines(name: Name, review: Curator) -> Json:  # they may name files
        from forgetme.train.runs import run_of

        job = _job_of(run_of(review.store, name), _jobs(review))
        return {"log": "" if job is None else jobs.read_log(review.store, job.id, lines=LINES)}


def _acts(routes: APIRouter) -> None:
    @routes.post("/check")
    def check(body: Plan, review: Lead) -> Json:
        return _checked(review, body)

    @routes.post("/runs", status_code=202)
    def start(body: Start, review: Lead) -> Json:
        from forgetme.train import runs

        settings, items = _planned(review, body)
        checked = _checked(review, body)
        if checked["problem"]:
            raise HTTPException(400, checked["problem"])
        run = runs.ask(
            review.store, body.name, settings, items,
            preset=body.preset, probe_pictures=body.probe_pictures, by=review.by,
        )  # fmt: skip
        return _submit(review, run)

    @routes.post("/runs/{name}/stop")
    def stop(name: Name, review: Lead) -> Json:
        from forgetme.train.runs import run_of

        run = run_of(review.store, name)
        job = _job_of(run, _jobs(review))
        if job is None or job.state in jobs.ENDED:
            raise HTTPException(409, "This run is not at work.")
        return _summary(run, jobs.stop(review.store, job.id, review.by))

    @routes.post("/runs/{name}/resume", status_code=202)
    def resume(name: Name, body: GoOn, review: Lead) -> Json:
        from forgetme.train import runs

        run = _idle(review, name)
        changes = body.model_dump(exclude_none=True)
        if run.asked is None:
            raise HTTPException(
                409, "A command made this run; go on with: python -m forgetme train … --resume"
            )
        if changes.get("steps", run.record["steps"]) < run.done:
            raise HTTPException(409, f"This run has {run.done} steps already; name more.")
        if changes:
            settings = replace(run.asked.settings, **changes)
            runs.change(run.folder, replace(run.asked, settings=settings))
        return _submit(review, runs.run_of(review.store, name))

    @routes.post("/runs/{name}/delete")
    def delete(name: Name, review: Lead) -> Json:
        from forgetme.train import runs

        _idle(review, name)
        runs.delete(review.store, name)
        return {"deleted": name}

    @routes.get("/runs/{name}/patch.zip")
    def download(name: Name, review: Lead) -> StreamingResponse:
        from forgetme.train.runs import patch_files

        run = _idle(review, name)
        headers = {
            "content-disposition": f'attachment; filename="{name}.zip"',
            "cache-control": "no-store",
        }
        pieces = zipped_files(name, run.folder / "patch", patch_files(run))
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)


def _planned(review: Review, body: Plan) -> tuple[RunSettings, list[Item]]:
    """Returns the settings, and the accepted samples where the method learns from some."""
    from forgetme.errors import ForgetmeError
    from forgetme.train import RunSettings, items_of_store
    from forgetme.train.form import needs_pictures, watched_apart

    values = body.settings.model_dump()
    try:
        names = (values["concept"], *values["also"])
        watch = watched_apart(body.preset, names, values["keep"], values["watch"])
        settings = RunSettings.of({**values, "watch": watch})
        pictures = needs_pictures(settings.method, settings.options)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error
    wanted = settings.concepts if pictures else ()
    return settings, [item for one in wanted for item in items_of_store(review.store, one)]


def _checked(review: Review, body: Plan) -> Json:
    """Says what stands in a run's way, and what it would cost."""
    from forgetme.errors import ForgetmeError
    from forgetme.train import form
    from forgetme.train.cost import cost, machine, read_measure
    from forgetme.train.runs import runs

    try:
        settings, items = _planned(review, body)
        problem = form.problem(settings, items)
        missing = next(one["problem"] for one in form.presets() if one["name"] == body.preset)
    except ForgetmeError as error:
        return {"problem": str(error), "cost": None}
    found = [one for run in runs(review.store) if (one := read_measure(run.folder))]
    told = cost(settings, body.probe_pictures, body.preset, machine()["device"], found)
    return {"problem": missing or problem, "cost": asdict(told)}


def _submit(review: Review, run: Run) -> Json:
    job = jobs.submit(review.store, "train", {"name": run.name, "at": run.asked.at}, by=review.by)
    return _summary(run, job)


def _idle(review: Review, name: str) -> Run:
    """Returns a run that nobody works at.

    Raises:
        HTTPException: it is at work, or waits for it.
    """
    from forgetme.train.runs import run_of

    run = run_of(review.store, name)
    job = _job_of(run, _jobs(review))
    if job is not None and job.state not in jobs.ENDED:
        raise HTTPException(409, "This run is at work or waits for it. Stop it first.")
    log = run.folder / "log.jsonl"
    if job is None and log.is_file() and time.time() - log.stat().st_mtime < QUIET_SECONDS:
        raise HTTPException(409, "A command is at work on this run. Wait a minute after its end.")
    return run


def _jobs(review: Review) -> Sequence[jobs.Job]:
    return jobs.list(review.store, limit=MAX_JOBS, kind="train")


def _job_of(run: Run, found: Sequence[jobs.Job]) -> jobs.Job | None:
    """Returns a run's latest job; None of a run that a command made."""
    if run.asked is None:
        return None
    wanted = {"name": run.name, "at": run.asked.at}
    return next((job for job in found if job.arguments == wanted), None)


def _summary(run: Run, job: jobs.Job | None) -> Json:
    """Returns what the list shows of a run."""
    from forgetme.train.cost import seconds_left
    from forgetme.train.trouble import advice

    record, trouble = run.record, job and job.trouble
    state = job.state if job else "done" if run.patch == record["steps"] else "stopped"
    told = advice(run, trouble) if trouble and state in ("failed", "died") else None
    left = None
    if run.asked is not None and state == "running":
        pictures = run.asked.probe_pictures
        left = seconds_left(run.asked.settings, pictures, run.recent, run.done)
    return {
        "name": run.name,
        "method": record["method"],
        "concept": record["concept"],
        "keep": record["keep"],
        "watch": record.get("watch", []),
        "trains": record["trains"],
        "preset": run.asked and run.asked.preset,
        "steps": record["steps"],
        "done": run.done,
        "state": state,
        "words": job.words if job and state in ("running", "stopping") else "",
        "seconds": run.seconds,
        "seconds_left": None if left is None else round(left),
        "by": run.asked and run.asked.by,
        "at": run.asked and run.asked.at,
        "pictures": len(run.asked.samples) if run.asked else record.get("pictures"),
        "first": run.first,
        "last": run.last,
        "patch": run.patch,
        "advice": told and asdict(told),
    }
