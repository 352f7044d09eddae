"""The drawing routes of the mask canvas: strokes and prompts in, the mask made here.

The page sends what the hand did, in pixels of the image. The mask is made at full resolution by
`forgetme.curate.mask_edits`; the answer has its outline, as that of every other act.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from forgetme.record.strokes import Stroke
from forgetme.ui.curate import Body, SampleId, act
from forgetme.ui.who import Curator, Work

Json = dict[str, Any]
MAX_STROKES = 64  # of one act
MAX_POINTS = 20_000  # of all strokes of one act
MAX_RADIUS = 1000  # px
FAR_PX = 50_000  # no point lies further out

Mode = Literal["add", "erase"]
Pixel = Annotated[float, Field(ge=-FAR_PX, le=FAR_PX, allow_inf_nan=False)]
Place = Annotated[list[Pixel], Field(min_length=2, max_length=2)]


class OneStroke(BaseModel):
    """The way of a round brush."""

    model_config = ConfigDict(extra="forbid", strict=True)
    mode: Mode
    radius: float = Field(ge=0, le=MAX_RADIUS)
    points: list[Place] = Field(min_length=1, max_length=MAX_POINTS)


class Strokes(Body):
    """Brush strokes, in the order in which they were drawn."""

    strokes: list[OneStroke] = Field(min_length=1, max_length=MAX_STROKES)

    @model_validator(mode="after")
    def _not_too_long(self) -> Strokes:
        count = sum(len(stroke.points) for stroke in self.strokes)
        if count > MAX_POINTS:
            raise ValueError(f"at most {MAX_POINTS} points in all, got {count}")
        return self


class Box(Body):
    """A box around the object: x, y, width, height."""

    box: list[Pixel] = Field(min_length=4, max_length=4)


class Polygon(Body):
    """The corners of an area to add or to cut away."""

    points: list[Place] = Field(min_length=3, max_length=MAX_POINTS)
    mode: Mode = "add"


class Smoothing(Body):
    """How far to smooth, in pixels."""

    sigma: float = Field(gt=0, le=64)


def router() -> APIRouter:
    """Builds the routes of the mask canvas."""
    routes = APIRouter(prefix="/api/samples/{sample_id}")

    @routes.post("/paint")
    def paint(sample_id: SampleId, body: Strokes, review: Curator, worker: Work) -> Json:
        drawn = [
            Stroke(one.mode, one.radius, tuple((x, y) for x, y in one.points))
            for one in body.strokes
        ]
        return act(review, worker, sample_id, "paint", body.seen, drawn)

    @routes.post("/polygon")
    def polygon(sample_id: SampleId, body: Polygon, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "polygon", body.seen, body.points, body.mode)

    @routes.post("/box")
    def box(sample_id: SampleId, body: Box, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "box", body.seen, body.box)

    @routes.post("/largest")
    def largest(sample_id: SampleId, body: Body, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "keep_largest", body.seen)

    @routes.post("/smooth")
    def smooth(sample_id: SampleId, body: Smoothing, review: Curator, worker: Work) -> Json:
        return act(review, worker, sample_id, "smooth", body.seen, body.sigma)

    return routes
