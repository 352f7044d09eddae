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

from forgetme.curate.batch import check_concept
from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.errors import BrokenImageError, ForgetmeError, StaleVersionError
from forgetme.record.images import read_image_with_notes
from forgetme.record.sample import FillSettings
from forgetme.store import SampleRow
from forgetme.store.moment import look_again
from forgetme.ui import queue, views, who
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.who import Curator, Viewer, Work

Json = dict[str, Any]
SampleId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
MAX_CONCEPT = 80  # characters
# Events that the machine adds by itself; an act on the version before them is not a conflict.
MACHINE = ("filled", "refined", "proposed")


Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
Point = Annotated[list[Coordinate], Field(min_length=3, max_length=3)]


class Body(BaseModel):
    """Arguments of an act: the version that the curator saw, and nothing that is not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)
    seen: Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None = None


class Choice(Body):
    """One of the proposals, 0-based."""

    index: int = Field(ge=0, lt=1000)


class Try(Body):
    """One of the tries, 0-based."""

    k: int = Field(ge=0, lt=1000)


class Points(Body):
    """All clicks of this mask: x, y, 1 on the object or 0 off it."""

    points: list[Point] = Field(min_length=1, max_length=100)
    mend: bool | None = None  # the current mask, or ask for the object there anew; see Review.click


class Growth(Body):
    """Pixels to grow by; negative shrinks."""

    px: int = Field(ge=-64, le=64)


class Words(Body):
    """A reason or a comment."""

    text: str = Field(default="", max_length=2000)


class Concept(Body):
    """Another concept."""

    concept: str = Field(min_length=1, max_length=MAX_CONCEPT)


class Several(BaseModel):
    """Samples of the queue, and what is done to all of them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    ids: list[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]] = Field(
        min_length=1, max_length=500
    )
    act: Literal["delete", "relabel", "reject", "skip", "flag"]
    concept: str | None = Field(default=None, min_length=1, max_length=MAX_CONCEPT)


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


def router() -> APIRouter:
    """Builds the JSON routes of the Curate tab."""
    routes = APIRouter(prefix="/api")
    for add in (_add_reads, _add_masks, _add_decisions, _add_work, _add_intake):
        add(routes)
    return routes


def _add_reads(routes: APIRouter) -> None:
    @routes.get("/session")
    def session(request: Request, review: Viewer) -> Json:
        store, limits = review.store, review.settings.thresholds
        return {
            "preset": review.models.preset,
            **who.about(request),
            "thresholds": {"d": limits.low_d, "s": limits.low_s},
            "defaults": form(review.settings.fill),
            "concepts": store.concepts(),
            "counts": store.counts(),
            "last": last_ten(review),
        }

    @routes.get("/samples/{sample_id}")
    def sample(sample_id: SampleId, review: Viewer, worker: Work) -> Json:
        return shown(review, worker, sample_id)

    @routes.get("/pulse")
    def pulse(
        review: Viewer,
        worker: Work,
        ids: Annotated[str, Query(pattern=r"^([0-9a-f]{16}(,[0-9a-f]{16}){0,63})?$")] = "",
        concept: Annotated[str, Query(max_length=MAX_CONCEPT)] = "",
    ) -> Json:
        status, store = worker.status(), review.store
        asked = [one for one in ids.split(",") if one]
        worker.look_at(asked)
        work = {one: _work_on(worker, one) for one in asked}  # first: what ended is in the rows
        running = status.running
        return {
            "alive": status.alive,
            "running": running and {"kind": running.kind, "sample": running.sample_id},
            "seconds": round(status.running_seconds, 1),
            "queued": len(status.queued),
            "counts": store.counts(concept or None),
            "concepts": store.concepts(),
            "rows": [work[line.id] | queue.line(line) for line in store.queue.lines(asked)],
        }


def _add_masks(routes: APIRouter) -> None:
    @routes.post("/samples/{sample_id}/choose")
    def choose(sample_id: SampleId, body: Choice, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "choose", body.seen, body.index)

    @routes.post("/samples/{sample_id}/click")
    def click(sample_id: SampleId, body: Points, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "click", body.seen, body.points, body.mend)

    @routes.post("/samples/{sample_id}/grow")
    def grow(sample_id: SampleId, body: Growth, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "grow", body.seen, body.px)

    @routes.post("/samples/{sample_id}/{name}_mask")
    def edit_mask(
        sample_id: SampleId,
        name: Literal["undo", "redo", "clear"],
        body: Body,
        review: Curator,
        worker: Work,
    ) -> Json:
        return act(review, worker, sample_id, f"{name}_mask", body.seen)

    @routes.post("/samples/{sample_id}/fill_holes")
    def fill_holes(sample_id: SampleId, body: Body, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "fill_holes", body.seen)


def _add_decisions(routes: APIRouter) -> None:
    @routes.post("/samples/{sample_id}/pick_try")
    def pick_try(sample_id: SampleId, body: Try, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "pick_try", body.seen, body.k)

    @routes.post("/samples/{sample_id}/accept")
    def accept(sample_id: SampleId, body: Body, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "accept", body.seen)

    @routes.post("/samples/{sample_id}/skip")
    def skip(sample_id: SampleId, body: Body, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "skip", body.seen)

    @routes.post("/samples/{sample_id}/reject")
    def reject(sample_id: SampleId, body: Words, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "reject", body.seen, body.text)

    @routes.post("/samples/{sample_id}/flag")
    def flag(sample_id: SampleId, body: Words, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "flag", body.seen, body.text)

    @routes.post("/samples/{sample_id}/comment")
    def comment(sample_id: SampleId, body: Words, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "comment", body.seen, body.text)

    @routes.post("/samples/{sample_id}/delete")
    def delete(sample_id: SampleId, body: Body, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "delete", body.seen)

    @routes.post("/samples/{sample_id}/relabel")
    def relabel(sample_id: SampleId, body: Concept, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "relabel", body.seen, body.concept)

    @routes.post("/several")
    def several(body: Several, review: Curator) -> Json:
        if (body.concept is None) == (body.act == "relabel"):
            raise ForgetmeError("relabel needs a concept, and nothing else takes one")
        given = [body.concept] if body.act == "relabel" else []
        held = review.store.holds.kept_back(body.ids, review.by)
        done, refused = [], [{"id": one, "words": why.words} for one, why in held.items()]
        for one in dict.fromkeys(body.ids):
            if one in held:
                continue
            try:
                getattr(review, body.act)(one, *given)
                done.append(one)
            except (ForgetmeError, ValueError) as error:  # one must not stop the others
                refused.append({"id": one, "words": str(error)})
        return {"done": done, "refused": refused, "saved": clock(), "last": last_ten(review)}

    @routes.post("/undo")
    def undo(body: Undo, review: Curator, worker: Work) -> Json:
        if body.sample_id is not None:
            who.check_free(review, body.sample_id)
        row = review.undo(body.sample_id)
        detail = None if row is None else shown(review, worker, row.id)
        return {"sample": detail, "saved": clock(), "last": last_ten(review)}


def _add_work(routes: APIRouter) -> None:
    @routes.post("/samples/{sample_id}/prepare", status_code=202)
    def prepare(sample_id: SampleId, body: Body, review: Curator, worker: Work) -> Json:
        return submit(review, worker, "prepare", sample_id)

    @routes.post("/samples/{sample_id}/fill", status_code=202)
    def fill(sample_id: SampleId, body: Body, review: Curator, worker: Work) -> Json:
        # The page asks whenever it sees a mask without a fill; one answer is enough.
        under_way = worker.busy(sample_id) == "fill"
        if under_way or review.store.sample(sample_id).tries:
            return {"sample": shown(review, worker, sample_id)}
        return submit(review, worker, "fill", sample_id)

    @routes.post("/samples/{sample_id}/ask", status_code=202)
    def ask(sample_id: SampleId, body: Choice, review: Curator, worker: Work) -> Json:
        return submit(review, worker, "ask_verifier", sample_id, index=body.index)

    @routes.post("/samples/{sample_id}/refine", status_code=202)
    def refine(sample_id: SampleId, body: Prompt, review: Curator, worker: Work) -> Json:
        wanted = FillSettings(**body.model_dump(exclude={"seen"}))
        return submit(review, worker, "refine", sample_id, fill_settings=wanted)

    @routes.post("/focus", status_code=202)
    def focus(body: Focus, review: Curator, worker: Work) -> Json:
        worker.focus(body.concept or None)
        return {}


def _add_intake(routes: APIRouter) -> None:
    @routes.post("/images")
    async def images(
        request: Request,
        review: Curator,
        worker: Work,
        name: Annotated[str, Query(min_length=1, max_length=200)],
        concept: Annotated[str, Query(min_length=1, max_length=MAX_CONCEPT)],
    ) -> Json:
        data = await request.body()
        return await asyncio.to_thread(take, review, worker, data, name, concept)

    def take(review: Review, worker: Worker, data: bytes, name: str, concept: str) -> Json:
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
        if row.state == "deleted":  # who brings it again wants it
            review.undo(row.id)
        return {"sample": shown(review, worker, row.id), "saved": clock()}


def act(
    review: Review, worker: Worker, sample_id: str, name: str, seen: int | None, *arguments: Any
) -> Json:
    """Runs the act `name` of a review on a sample; returns what every act answers."""
    _over_the_machine(review, sample_id, name, seen, *arguments)
    detail = shown(review, worker, sample_id)
    return {"sample": detail, "saved": clock(), "last": last_ten(review)}


def submit(review: Review, worker: Worker, kind: Any, sample_id: str, **arguments: Any) -> Json:
    """Hands heavy work on a sample to the worker, in the person's name."""
    review.store.sample(sample_id)  # there must be one
    worker.submit(kind, sample_id, by=review.by, **arguments)
    return {"sample": shown(review, worker, sample_id)}


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


def shown(review: Review, worker: Worker, sample_id: str) -> Json:
    """Returns a sample as the page shows it, with what the worker does to it."""
    work = _work_on(worker, sample_id)  # first: what ended before is in the row, then
    look_again()
    return views.detail(review, review.store.sample(sample_id)) | work


def _work_on(worker: Worker, sample_id: str) -> Json:
    error = worker.status().errors.get(sample_id)
    return {"busy": worker.busy(sample_id), "trouble": error.words if error else None}


def last_ten(review: Review) -> list[Json]:
    """Returns the person's last decisions that are in force, the newest first."""
    last = review.store.recent_decisions(review.by, n=10)
    names = review.store.queries.names([one.sample_id for one in last])
    return [
        {"event": one.id, "id": one.sample_id, "state": one.kind, "name": names[one.sample_id]}
        for one in last
    ]


def form(fill: FillSettings) -> Json:
    """Returns what the refine form shows of a fill's settings."""
    names = ("prompt", "negative_prompt", "strength", "steps", "guidance", "seed")
    return {name: getattr(fill, name) for name in names}


def clock() -> str:
    """Returns the time that the page shows beside the word saved."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
