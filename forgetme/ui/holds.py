"""Who has which sample open, and what to do when two people changed the same one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from forgetme.curate import team
from forgetme.errors import StaleVersionError
from forgetme.ui import curate, views
from forgetme.ui.curate import SampleId
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.who import Curator, Viewer, Work

Json = dict[str, Any]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Hold(BaseModel):
    """What a page has open or gets next, and what it has left."""

    model_config = ConfigDict(extra="forbid", strict=True)
    take: list[Id] = Field(default=[], max_length=8)
    leave: list[Id] = Field(default=[], max_length=64)


class Mine(BaseModel):
    """The version on which a person's own work stands, and the one that they saw beside it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    version: int = Field(ge=1, le=MAX_NUMBER)
    seen: int = Field(ge=1, le=MAX_NUMBER)


def router() -> APIRouter:
    """Builds the routes that keep two people apart."""
    routes = APIRouter(prefix="/api")

    @routes.post("/hold")
    def hold(body: Hold, review: Curator) -> Json:
        kept_back = review.store.holds.take(body.take, review.by, leave=body.leave)
        return {
            "kept_back": {
                one: {"kind": why.kind, "by": why.by, "words": why.words}
                for one, why in kept_back.items()
            }
        }

    @routes.get("/samples/{sample_id}/at/{version}")
    def at(
        sample_id: SampleId, version: Annotated[int, Path(ge=1, le=MAX_NUMBER)], review: Viewer
    ) -> Json:
        row = team.row_at(review.store, sample_id, version)
        return {
            "sample": views.detail(review, row),
            "since": [
                {"by": one.by, "at": one.at, "kind": one.kind, "words": one.words}
                for one in team.changes(review.store, sample_id, version)
            ],
        }

    @routes.post("/samples/{sample_id}/keep_mine")
    def keep_mine(sample_id: SampleId, body: Mine, review: Curator, worker: Work) -> Json:
        try:
            team.keep_mine(review, sample_id, body.version, seen=body.seen)
        except StaleVersionError as error:
            if not curate.machine_only(review, sample_id, body.seen):
                raise
            team.keep_mine(review, sample_id, body.version, seen=error.theirs.version)
        return {
            "sample": curate.shown(review, worker, sample_id),
            "saved": curate.clock(),
            "last": curate.last_ten(review),
        }

    return routes
