"""The side story on the page: a foreground placed on another background, seen, and kept.

The page drags and scales a copy of the foreground; where it comes to rest, the server shows the
real merge at a small size. Saving does the same at full resolution.
"""

from __future__ import annotations

import asyncio
import base64
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from forgetme.curate import side_story
from forgetme.curate.review import Review
from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.images import read_image_with_notes
from forgetme.store import SampleRow
from forgetme.ui import views, who
from forgetme.ui.curate import clock, last_ten, shown
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.who import Curator, Viewer, Work

Json = dict[str, Any]
# Not called sample_id: the foreground's sample is only read, so nobody needs to hold it. The sample
# that is made is checked when it turns out to be one that is there already.
Foreground = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
FAR_PX = 50_000  # no object is moved further


class Behind(BaseModel):
    """A background: the sample's own, another sample's, or an uploaded picture."""

    model_config = ConfigDict(extra="forbid", strict=True)
    source: Literal["own", "sample", "uploaded"] = "own"
    name: str | None = Field(default=None, pattern=r"^([0-9a-f]{16}|[0-9a-f]{64})$")


class Placing(BaseModel):
    """Where the foreground goes, and on what."""

    model_config = ConfigDict(extra="forbid", strict=True)
    behind: Behind = Field(default_factory=Behind)
    x: int = Field(default=0, ge=-FAR_PX, le=FAR_PX)
    y: int = Field(default=0, ge=-FAR_PX, le=FAR_PX)
    scale: float = Field(
        default=1.0, ge=side_story.MIN_SCALE, le=side_story.MAX_SCALE, allow_inf_nan=False
    )
    feather_px: int = Field(default=2, ge=0, le=side_story.MAX_FEATHER_PX)
    method: Literal["feather", "poisson"] = "feather"


def router() -> APIRouter:
    """Builds the routes of the side story."""
    routes = APIRouter(prefix="/api/side")

    @routes.get("/backdrops")
    def backdrops(review: Viewer, offset: Annotated[int, Query(ge=0, le=MAX_NUMBER)] = 0) -> Json:
        rows, more = side_story.backdrops(review.store, offset=offset)
        return {"rows": [_backdrop(row) for row in rows], "more": more}

    @routes.post("/uploads")
    async def upload(
        request: Request,
        review: Curator,
        name: Annotated[str, Query(min_length=1, max_length=200)],
    ) -> Json:
        return await asyncio.to_thread(_keep, review, await request.body(), name)

    @routes.get("/{foreground}")
    def begin(foreground: Foreground, review: Viewer) -> Json:
        row = review.store.sample(foreground)
        x, y, width, height = side_story.box_of(review.store, row)
        return {
            "id": row.id,
            "name": row.name,
            "concept": row.concept,
            "width": row.width,
            "height": row.height,
            "box": {"x": x, "y": y, "width": width, "height": height},
            "layers": views.layers_key(row),
            "own": None if row.picked_try is None else _backdrop(row),
            "scales": {"least": side_story.MIN_SCALE, "most": side_story.MAX_SCALE},
        }

    @routes.post("/{foreground}/preview")
    def preview(foreground: Foreground, body: Placing, review: Viewer) -> Json:
        row, behind, place = _asked(review, foreground, body)
        made = side_story.compose(review.store, row, behind, place, side=side_story.PREVIEW_SIDE)
        return {
            "picture": _data("jpeg", side_story.preview_bytes(made)),
            "seam": _data("png", side_story.seam_bytes(made)),
            "score": made.seam.score,
            "words": made.seam.words(),
        }

    @routes.post("/{foreground}/save")
    def save(foreground: Foreground, body: Placing, review: Curator, worker: Work) -> Json:
        row, behind, place = _asked(review, foreground, body)
        made = side_story.save(
            review.store, row, behind, place, by=review.by, settings=review.settings,
            check_free=partial(who.check_free, review),
        )  # fmt: skip
        detail = shown(review, worker, made.id)
        return {"sample": detail, "saved": clock(), "last": last_ten(review)}

    return routes


def _asked(
    review: Review, foreground: str, body: Placing
) -> tuple[SampleRow, side_story.Backdrop, side_story.Place]:
    store = review.store
    row = store.sample(foreground)
    if body.behind.source != "own" and body.behind.name is None:
        raise ForgetmeError("Choose a background first.")
    behind = side_story.backdrop(store, row, body.behind.source, body.behind.name)
    return row, behind, side_story.Place(body.x, body.y, body.scale, body.feather_px, body.method)


def _backdrop(row: SampleRow) -> Json:
    return {
        "id": row.id,
        "name": row.name,
        "concept": row.concept,
        "sha": row.tries[row.picked_try]["image_sha"],
        "width": row.width,
        "height": row.height,
    }


def _keep(review: Review, data: bytes, name: str) -> Json:
    """Reads an uploaded picture, checks it, and keeps its pixels; its bytes are never kept."""
    try:
        read = read_image_with_notes(data)
    except BrokenImageError as error:
        raise BrokenImageError(str(error).replace("the image", name, 1)) from error
    height, width = read.image.shape[:2]
    sha = review.store.put_image(read.image)
    return {"sha": sha, "name": name, "width": width, "height": height}


def _data(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
