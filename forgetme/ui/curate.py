"""The Curate tab: queue, picture and decisions of one curator.

The screen is one component of our own (`static/curate.js`) that speaks the JSON routes below.
Each of them checks its arguments, then either reads the store, appends one event by a `Review` act,
or hands heavy work to the `Worker`; none of them keeps anything in the browser's session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from forgetme.errors import BrokenImageError, StaleVersionError
from forgetme.images import read_image_with_notes
from forgetme.pipeline import check_concept
from forgetme.review import Review
from forgetme.sample import STATES, FillSettings
from forgetme.store import SampleRow
from forgetme.ui import views
from forgetme.work import Worker

Json = dict[str, Any]
SampleId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
MAX_CONCEPT = 80  # characters
# What "to review" means; decided samples leave it.
VIEWS: dict[str, tuple[str, ...]] = {
    "review": ("new", "prepared", "waiting", "broken"),
    "all": STATES,
    **{state: (state,) for state in STATES},
}
# Events that the machine adds by itself; an act on the version before them is not a conflict.
MACHINE = ("filled", "refined", "proposed")


Point = Annotated[list[float], Field(min_length=3, max_length=3)]


class Body(BaseModel):
    """Arguments of an act: the version that the curator saw, and nothing that is not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)
    seen: int | None = Field(default=None, ge=0)


class Choice(Body):
    """One of the proposals, 0-based."""

    index: int = Field(ge=0, lt=1000)


class Try(Body):
    """One of the tries, 0-based."""

    k: int = Field(ge=0, lt=1000)


class Points(Body):
    """All clicks of this mask: x, y, 1 on the object or 0 off it."""

    points: list[Point] = Field(min_length=1, max_length=100)


class Growth(Body):
    """Pixels to grow by; negative shrinks."""

    px: int = Field(ge=-64, le=64)


class Words(Body):
    """A reason or a comment."""

    text: str = Field(default="", max_length=2000)


class Prompt(Body):
    """The refine form."""

    prompt: str = Field(default="", max_length=500)
    negative_prompt: str = Field(default="", max_length=500)
    strength: float = Field(default=1.0, gt=0, le=1)
    steps: int = Field(default=20, ge=1, le=100)
    guidance: float = Field(default=5.0, ge=0, le=30)
    seed: int = Field(default=0, ge=0, lt=2**31)


class Undo(BaseModel):
    """Whose decision to take back: the last one, or that of a sample."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sample_id: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$")


class Focus(BaseModel):
    """The concept that the curator is on."""

    model_config = ConfigDict(extra="forbid", strict=True)
    concept: str | None = Field(default=None, max_length=MAX_CONCEPT)


def router(review: Review, worker: Worker) -> APIRouter:
    """Builds the JSON routes of the Curate tab."""
    routes = APIRouter(prefix="/api")
    _add_reads(routes, review, worker)
    _add_acts(routes, review, worker)
    _add_work(routes, review, worker)
    _add_intake(routes, review, worker)
    return routes


def _add_reads(routes: APIRouter, review: Review, worker: Worker) -> None:
    store = review.store

    @routes.get("/session")
    def session() -> Json:
        limits = review.settings.thresholds
        return {
            "preset": review.models.preset,
            "by": review.by,
            "thresholds": {"d": limits.low_d, "s": limits.low_s},
            "defaults": _form(review.settings.fill),
            "concepts": store.concepts(),
            "counts": store.counts(),
            "last": _last_ten(review),
        }

    @routes.get("/queue")
    def queue(
        concept: Annotated[str, Query(max_length=MAX_CONCEPT)] = "",
        view: Annotated[str, Query(pattern=f"^({'|'.join(VIEWS)})$")] = "review",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 200,
    ) -> Json:
        chosen = {"state": VIEWS[view], "concept": concept or None}
        counts = store.counts(concept or None)
        rows = store.samples(**chosen, offset=offset, limit=limit, light=True)
        return {
            "rows": [views.summary(row) for row in rows],
            "total": sum(counts.get(state, 0) for state in VIEWS[view]),
            "counts": counts,
            "concepts": store.concepts(),
        }

    @routes.get("/samples/{sample_id}")
    def sample(sample_id: SampleId) -> Json:
        return _shown(review, worker, sample_id)

    @routes.get("/samples/{sample_id}/suggestions")
    def suggestions(sample_id: SampleId) -> Json:
        defaults = review.refine_defaults(sample_id)
        return {"prompts": review.suggestions(sample_id), "defaults": _form(defaults)}

    @routes.get("/pulse")
    def pulse(
        ids: Annotated[str, Query(pattern=r"^([0-9a-f]{16}(,[0-9a-f]{16}){0,63})?$")] = "",
        concept: Annotated[str, Query(max_length=MAX_CONCEPT)] = "",
    ) -> Json:
        status = worker.status()
        running = status.running
        return {
            "alive": status.alive,
            "running": running and {"kind": running.kind, "sample": running.sample_id},
            "seconds": round(status.running_seconds, 1),
            "queued": len(status.queued),
            "counts": store.counts(concept or None),
            "concepts": store.concepts(),
            "rows": [
                _work_on(worker, one) | views.summary(store.sample(one))  # in this order
                for one in ids.split(",")
                if one
            ],
        }


def _add_acts(routes: APIRouter, review: Review, worker: Worker) -> None:
    def act(sample_id: str, name: str, seen: int | None, *arguments: Any) -> Json:
        _over_the_machine(review, sample_id, name, seen, *arguments)
        shown = _shown(review, worker, sample_id)
        return {"sample": shown, "saved": _clock(), "last": _last_ten(review)}

    @routes.post("/samples/{sample_id}/choose")
    def choose(sample_id: SampleId, body: Choice) -> Json:
        return act(sample_id, "choose", body.seen, body.index)

    @routes.post("/samples/{sample_id}/click")
    def click(sample_id: SampleId, body: Points) -> Json:
        return act(sample_id, "click", body.seen, body.points)

    @routes.post("/samples/{sample_id}/grow")
    def grow(sample_id: SampleId, body: Growth) -> Json:
        return act(sample_id, "grow", body.seen, body.px)

    @routes.post("/samples/{sample_id}/{name}_mask")
    def edit_mask(sample_id: SampleId, name: Literal["undo", "redo", "clear"], body: Body) -> Json:
        return act(sample_id, f"{name}_mask", body.seen)

    @routes.post("/samples/{sample_id}/fill_holes")
    def fill_holes(sample_id: SampleId, body: Body) -> Json:
        return act(sample_id, "fill_holes", body.seen)

    @routes.post("/samples/{sample_id}/pick_try")
    def pick_try(sample_id: SampleId, body: Try) -> Json:
        return act(sample_id, "pick_try", body.seen, body.k)

    @routes.post("/samples/{sample_id}/accept")
    def accept(sample_id: SampleId, body: Body) -> Json:
        return act(sample_id, "accept", body.seen)

    @routes.post("/samples/{sample_id}/skip")
    def skip(sample_id: SampleId, body: Body) -> Json:
        return act(sample_id, "skip", body.seen)

    @routes.post("/samples/{sample_id}/reject")
    def reject(sample_id: SampleId, body: Words) -> Json:
        return act(sample_id, "reject", body.seen, body.text)

    @routes.post("/samples/{sample_id}/flag")
    def flag(sample_id: SampleId, body: Words) -> Json:
        return act(sample_id, "flag", body.seen, body.text)

    @routes.post("/samples/{sample_id}/comment")
    def comment(sample_id: SampleId, body: Words) -> Json:
        return act(sample_id, "comment", body.seen, body.text)

    @routes.post("/undo")
    def undo(body: Undo) -> Json:
        row = review.undo(body.sample_id)
        shown = None if row is None else _shown(review, worker, row.id)
        return {"sample": shown, "saved": _clock(), "last": _last_ten(review)}


def _add_work(routes: APIRouter, review: Review, worker: Worker) -> None:
    def submit(kind: Any, sample_id: str, **arguments: Any) -> Json:
        review.store.sample(sample_id)  # there must be one
        worker.submit(kind, sample_id, by=review.by, **arguments)
        return {"sample": _shown(review, worker, sample_id)}

    @routes.post("/samples/{sample_id}/prepare", status_code=202)
    def prepare(sample_id: SampleId, body: Body) -> Json:
        return submit("prepare", sample_id)

    @routes.post("/samples/{sample_id}/fill", status_code=202)
    def fill(sample_id: SampleId, body: Body) -> Json:
        # The page asks whenever it sees a mask without a fill; one answer is enough.
        under_way = worker.busy(sample_id) == "fill"
        if under_way or review.store.sample(sample_id).tries:
            return {"sample": _shown(review, worker, sample_id)}
        return submit("fill", sample_id)

    @routes.post("/samples/{sample_id}/ask", status_code=202)
    def ask(sample_id: SampleId, body: Choice) -> Json:
        return submit("ask_verifier", sample_id, index=body.index)

    @routes.post("/samples/{sample_id}/refine", status_code=202)
    def refine(sample_id: SampleId, body: Prompt) -> Json:
        form = FillSettings(**body.model_dump(exclude={"seen"}))
        return submit("refine", sample_id, fill_settings=form)

    @routes.post("/focus", status_code=202)
    def focus(body: Focus) -> Json:
        worker.focus(body.concept or None)
        return {}


def _add_intake(routes: APIRouter, review: Review, worker: Worker) -> None:
    @routes.post("/images")
    async def images(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=200)],
        concept: Annotated[str, Query(min_length=1, max_length=MAX_CONCEPT)],
    ) -> Json:
        data = await request.body()
        return await asyncio.to_thread(take, data, name, concept)

    def take(data: bytes, name: str, concept: str) -> Json:
        concept = check_concept(concept)
        try:
            read = read_image_with_notes(data)
        except BrokenImageError as error:
            raise BrokenImageError(str(error).replace("the image", name, 1)) from error
        row = review.store.import_image(
            read.image,
            name=name,
            concept=concept,
            by=review.by,
            source=f"dropped in: {name}",
            notes=read.notes,
        )
        return {"sample": _shown(review, worker, row.id), "saved": _clock()}


def _over_the_machine(
    review: Review, sample_id: str, name: str, seen: int | None, *arguments: Any
) -> SampleRow:
    """Runs an act; what only the machine added meanwhile does not stop it, people's acts do.

    Accepting is the exception: a background that arrived after the look was not looked at.
    """
    act: Callable[..., SampleRow] = getattr(review, name)
    try:
        return act(sample_id, *arguments, seen=seen)
    except StaleVersionError as error:
        if name == "accept" or not machine_only(review, sample_id, error.mine):
            raise
        return act(sample_id, *arguments, seen=error.theirs.version)


def machine_only(review: Review, sample_id: str, seen: int) -> bool:
    """Tells whether all that happened to a sample since version `seen` is the machine's work."""
    since = [one for one in review.store.events(sample_id) if one.version > seen]
    return bool(since) and all(one.kind in MACHINE for one in since)


def _shown(review: Review, worker: Worker, sample_id: str) -> Json:
    work = _work_on(worker, sample_id)  # first: what ended before is in the row, then
    return views.detail(review, review.store.sample(sample_id)) | work


def _work_on(worker: Worker, sample_id: str) -> Json:
    error = worker.status().errors.get(sample_id)
    return {"busy": worker.busy(sample_id), "trouble": error.words if error else None}


def _last_ten(review: Review) -> list[Json]:
    return [
        {
            "event": one.id,
            "id": one.sample_id,
            "state": one.kind,
            "name": review.store.sample(one.sample_id).name,
        }
        for one in review.store.recent_decisions(review.by, n=10)
    ]


def _form(fill: FillSettings) -> Json:
    names = ("prompt", "negative_prompt", "strength", "steps", "guidance", "seed")
    return {name: getattr(fill, name) for name in names}


def _clock() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
