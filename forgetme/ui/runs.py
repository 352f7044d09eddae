"""What the Train tab does: ask for a run, watch it, stop it, go on, take its patch.

Nothing long runs here: an act writes a run down in the store's folder, hands it to a job and
answers. A run is named, never a path. Leads act, viewers look.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from starlette.exceptions import HTTPException

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.dataset.store_folders import zipped_files
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.jobs import LINES
from forgetme.ui.who import Lead, Viewer

if TYPE_CHECKING:
    from forgetme.train import Item, RunSettings
    from forgetme.train.runs import Run

Json = dict[str, Any]
NAME = r"^[a-z0-9][a-z0-9-]{0,79}$"
WORD = r"^[^/\\\x00-\x1f]{1,80}$"  # a concept, which becomes part of a file's name
MAX_PROMPT = 500  # characters
MAX_KEEP = 100
MAX_JOBS = 300  # looked through
MAX_STEPS = 10_000_000
QUIET_SECONDS = 60.0  # a run of a command, whose log is older than this, has ended

Name = Annotated[str, Field(pattern=NAME)]
Word = Annotated[str, Field(pattern=WORD)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Count = Annotated[int, Field(strict=True, ge=1, le=4096)]
Often = Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER)]
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Steps = Annotated[int, Field(strict=True, ge=0, le=MAX_STEPS)]
Pictures = Annotated[int, Field(strict=True, ge=0, le=1000)]
Number = Annotated[float, Field(strict=True, ge=-1e9, le=1e9, allow_inf_nan=False)]
Option = Number | Annotated[str, Field(pattern=r"^[a-z-]{1,40}$")]
Options = dict[Annotated[str, Field(max_length=40)], Option]
Preset = Literal["tiny", "full"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Settings:
    """All fields of `RunSettings` with their limits; the run checks how they fit together."""

    method: Annotated[str, Field(max_length=40)]
    concept: Word
    trains: Annotated[str, Field(max_length=40)]
    steps: Steps
    lr: Rate
    batch: Count
    also: Annotated[tuple[Word, ...], Field(max_length=MAX_KEEP)] = ()
    prompt: Prompt = ""
    any_prompt: bool = False
    anchor: Prompt = ""
    keep: Annotated[tuple[Word, ...], Field(max_length=MAX_KEEP)] = ()
    watch: Annotated[tuple[Word, ...], Field(max_length=MAX_KEEP)] | None = None  # None: the rest
    retain_pictures: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 0
    accumulate: Count = 1
    rank: Annotated[int, Field(strict=True, ge=1, le=1024)] = 4
    precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    clip: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**31)] = 0
    probe_every: Often = 100
    save_every: Often = 100
    options: Annotated[Options, Field(max_length=40)] = field(default_factory=dict)


# ------------------------------ acts


def list_runs(review: Review) -> list[Json]:
    """Lists the store's runs, the newest first: state, steps, scores before and after."""
    from forgetme.train.runs import runs

    found = _jobs(review)
    return [summary(one, _job_of(one, found)) for one in runs(review.store)]


def check_run(
    review: Review, settings: Settings, preset: Preset = "tiny", probe_pictures: Pictures = 8
) -> Json:
    """Says what stands in a run's way (`problem`, or nothing), and what it would cost."""
    from forgetme.errors import ForgetmeError
    from forgetme.train import form
    from forgetme.train.cost import cost, machine, read_measure
    from forgetme.train.runs import runs

    try:
        planned, items = _planned(review, settings, preset)
        problem = form.problem(planned, items)
        missing = next(one["problem"] for one in form.presets() if one["name"] == preset)
    except ForgetmeError as error:
        return {"problem": str(error), "cost": None}
    found = [one for run in runs(review.store) if (one := read_measure(run.folder))]
    told = cost(planned, probe_pictures, preset, machine()["device"], found)
    return {"problem": missing or problem, "cost": asdict(told)}


def start_run(
    review: Review,
    name: Name,
    settings: Settings,
    preset: Preset = "tiny",
    probe_pictures: Pictures = 8,
) -> Json:
    """Begins a run of training in a process of its own; it goes on when the page is closed."""
    from forgetme.train import runs

    planned, items = _planned(review, settings, preset)
    checked = check_run(review, settings, preset, probe_pictures)
    if checked["problem"]:
        raise HTTPException(400, checked["problem"])
    run = runs.ask(review.store, name, planned, items, preset=preset,
                   probe_pictures=probe_pictures, by=review.by)  # fmt: skip
    return _submit(review, run)


def stop_run(review: Review, name: Name) -> Json:
    """Ends a run after its step; it is saved, and can go on."""
    from forgetme.train.runs import run_of

    run = run_of(review.store, name)
    job = _job_of(run, _jobs(review))
    if job is None or job.state in jobs.ENDED:
        raise HTTPException(409, "This run is not at work.")
    return summary(run, jobs.stop(review.store, job.id, review.by))


def resume_run(
    review: Review,
    name: Name,
    steps: Annotated[int, Field(strict=True, ge=1, le=MAX_STEPS)] | None = None,
    lr: Rate | None = None,
    gradient_checkpointing: bool | None = None,
) -> Json:
    """Lets a stopped or finished run go on, with more steps where they are given."""
    from forgetme.train import runs

    run = _idle(review, name)
    given = {"steps": steps, "lr": lr, "gradient_checkpointing": gradient_checkpointing}
    changes = {key: value for key, value in given.items() if value is not None}
    if run.asked is None:
        words = "A command made this run; go on with: python -m forgetme train … --resume"
        raise HTTPException(409, words)
    if changes.get("steps", run.record["steps"]) < run.done:
        raise HTTPException(409, f"This run has {run.done} steps already; name more.")
    if changes:
        settings = replace(run.asked.settings, **changes)
        runs.change(run.folder, replace(run.asked, settings=settings))
    return _submit(review, runs.run_of(review.store, name))


def delete_run(review: Review, name: Name) -> Json:
    """Deletes a run that nobody works at, with its patch."""
    from forgetme.train import runs

    _idle(review, name)
    runs.delete(review.store, name)
    return {"deleted": name}


def run_log(review: Review, name: Name) -> str:
    """Returns the last lines that a run's process wrote; they may name files."""
    from forgetme.train.runs import run_of

    job = _job_of(run_of(review.store, name), _jobs(review))
    return "" if job is None else jobs.read_log(review.store, job.id, lines=LINES)


# ------------------------------ files


def router() -> APIRouter:
    """Builds the routes of a run's pictures and of its patch."""
    routes = APIRouter(prefix="/api/train")

    @routes.get("/runs/{name}/probes/{step}-{place}.png")
    def strip(
        name: Annotated[str, Path(pattern=NAME)],
        step: Annotated[int, Path(ge=0, le=MAX_NUMBER)],
        place: Annotated[int, Path(ge=0, le=MAX_KEEP)],
        review: Viewer,
    ) -> FileResponse:
        from forgetme.train.runs import picture, run_of

        path = picture(run_of(review.store, name), step, place)
        headers = {"cache-control": "private, no-cache"}  # a name can be taken by another run
        return FileResponse(path, media_type="image/png", headers=headers)

    @routes.get("/runs/{name}/patch.zip")
    def download(name: Annotated[str, Path(pattern=NAME)], review: Lead) -> StreamingResponse:
        from forgetme.train.runs import patch_files

        run = _idle(review, name)
        headers = {
            "content-disposition": f'attachment; filename="{name}.zip"',
            "cache-control": "no-store",
        }
        pieces = zipped_files(name, run.folder / "patch", patch_files(run))
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)

    return routes


# ------------------------------ helpers


def _planned(review: Review, asked: Settings, preset: Preset) -> tuple[RunSettings, list[Item]]:
    """Returns the settings, and the accepted samples where the method learns from some."""
    from forgetme.errors import ForgetmeError
    from forgetme.train import RunSettings, items_of_store
    from forgetme.train.form import needs_pictures, watched_apart

    values = asdict(asked)
    try:
        names = (values["concept"], *values["also"])
        watch = watched_apart(preset, names, values["keep"], values["watch"])
        settings = RunSettings.of({**values, "watch": watch})
        pictures = needs_pictures(settings.method, settings.options)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error
    wanted = settings.concepts if pictures else ()
    return settings, [item for one in wanted for item in items_of_store(review.store, one)]


def _submit(review: Review, run: Run) -> Json:
    job = jobs.submit(review.store, "train", {"name": run.name, "at": run.asked.at}, by=review.by)
    return summary(run, job)


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


def summary(run: Run, job: jobs.Job | None) -> Json:
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
