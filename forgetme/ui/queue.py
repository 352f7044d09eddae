"""The queue of the Curate tab: filter, order, pages, saved views.

The address of the page, a saved view and the request for a page of the queue hold the same
fields, those of `Asked`, so that each can become another.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException

from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError
from forgetme.record.sample import STATES
from forgetme.store import Filter, Store
from forgetme.store.filters import ORDERS, RANGES, sort_key
from forgetme.store.names import MAX_CONCEPT_CHARS, plain_text
from forgetme.store.queue import Cursor, QueueLine
from forgetme.ui import views
from forgetme.ui.who import Viewer

Json = dict[str, Any]

TO_REVIEW = ("new", "prepared", "waiting", "broken")  # decided samples leave it
VIEWS: dict[str, tuple[str, ...]] = {
    "review": TO_REVIEW,
    "all": tuple(state for state in STATES if state != "deleted"),
    "decided": ("accepted", "rejected", "skipped", "flagged"),
    **{state: (state,) for state in STATES},
}
PREFERENCE = "queue.views"
MAX_VIEWS = 30
PACE_DECISIONS = 20
_RANGE = re.compile(r"(\d?(?:\.\d{1,4})?)\.\.(\d?(?:\.\d{1,4})?)")


class Asked(BaseModel):
    """What a curator asks the queue for; "" lets everything through."""

    model_config = ConfigDict(extra="forbid")
    concept: str = Field(default="", max_length=MAX_CONCEPT_CHARS)
    view: str = "review"
    curator: str = Field(default="", max_length=200)
    how: Literal["", "human", "policy"] = ""
    verdict: Literal["", "yes", "no", "none"] = ""
    low: Literal["", "yes", "no"] = ""
    reviewed: Literal["", "approved", "returned", "none"] = ""
    held: Literal["", "free", "held"] = ""
    text: str = Field(default="", max_length=200)
    clip: str = ""  # ranges: "0.2..0.5", "..0.5" or "0.2.."
    margin: str = ""
    d: str = ""
    s: str = ""
    disagreement: str = ""
    novelty: str = ""
    order: str = "import"

    @field_validator("view")
    @classmethod
    def _known_view(cls, value: str) -> str:
        if value not in VIEWS:
            raise ValueError(f"must be one of {', '.join(VIEWS)}")
        return value

    @field_validator("order")
    @classmethod
    def _known_order(cls, value: str) -> str:
        if value.removeprefix("-") not in ORDERS:
            raise ValueError(f"must be one of {', '.join(ORDERS)}, with or without - in front")
        return value

    @field_validator(*RANGES)
    @classmethod
    def _range(cls, value: str) -> str:
        if value:
            _ends(value)
        return value

    def where(self, by: str) -> Filter:
        """Returns the filter; `by` never gets another copy of an image to review."""
        ranges = {name: _ends(value) for name in RANGES if (value := getattr(self, name))}
        words = ("concept", "curator", "how", "verdict", "reviewed", "held", "text")
        return Filter(
            state=VIEWS[self.view],
            low=None if not self.low else self.low == "yes",
            fair_to=by if self.view == "review" else None,
            **{name: getattr(self, name) or None for name in words},
            **ranges,
        )


class Page(Asked):
    """A page of what was asked for."""

    after: str = Field(default="", max_length=400)  # of the page before
    limit: int = Field(default=200, ge=1, le=500)


class Save(BaseModel):
    """A view to keep under a name, in the place of one that has it; without `asked`: forget it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=40, pattern=r"^\S(.*\S)?$")
    asked: Asked | None = None


def router() -> APIRouter:
    """Builds the routes of the queue."""
    routes = APIRouter(prefix="/api")

    @routes.get("/queue")
    def queue(review: Viewer, asked: Annotated[Page, Query()]) -> Json:
        return _page(review, asked)

    @routes.get("/queue/views")
    def saved(review: Viewer) -> Json:
        return {"views": saved_views(review.store, review.by)}

    @routes.post("/queue/views")
    def save(review: Viewer, body: Save) -> Json:
        return {"views": save_view(review.store, review.by, body.name, body.asked)}

    return routes


def line(one: QueueLine) -> Json:
    """Returns what the list shows of a sample, with who holds it."""
    return {
        **views.summary(one),
        "clip": one.clip_score,
        "margin": one.clip_margin,
        "verdict": one.verdict,
        "disagreement": one.disagreement,
        "novelty": one.novelty,
        "decided_at": one.decided_at,
        "held_by": one.held_by,
    }


def saved_views(store: Store, by: str) -> list[Json]:
    """Returns a person's saved views, in alphabetical order; those of an older version are left."""
    kept = store.people.preference(by, PREFERENCE)
    found = []
    for one in kept if isinstance(kept, list) else []:
        try:
            view = Save(**one)
        except (TypeError, ValueError):
            continue
        if view.asked is not None:
            found.append({"name": view.name, "asked": _short(view.asked)})
    return sorted(found, key=lambda one: one["name"].casefold())


def save_view(store: Store, by: str, name: str, asked: Asked | None) -> list[Json]:
    """Keeps or forgets a view and returns all that are kept.

    Raises:
        ForgetmeError: there are too many.
    """
    kept = [one for one in saved_views(store, by) if one["name"] != name]
    if asked is not None:
        if len(kept) >= MAX_VIEWS:
            raise ForgetmeError(f"At most {MAX_VIEWS} views are kept. Delete one, then save this.")
        kept.append({"name": name, "asked": _short(asked)})
    store.people.set_preference(by, PREFERENCE, kept or None)
    return saved_views(store, by)


def _page(review: Review, asked: Page) -> Json:
    store, where = review.store, asked.where(review.by)
    start = _cursor(asked.after, asked.order) if asked.after else None
    page = store.queue.page(where, order=asked.order, start=start, limit=asked.limit)
    return {
        "rows": [line(one) for one in page.lines],
        "after": None if page.end is None else json.dumps(page.end),
        "more": page.more,
        "total": store.queue.count(where),
        "hidden": _hidden(store, where, review.by),
        "counts": store.counts(asked.concept or None),
        "concepts": store.concepts(),
        "curators": store.queue.deciders(),
        "by": review.by,
        "times": [one.at for one in store.recent_decisions(review.by, n=PACE_DECISIONS)],
    }


def _hidden(store: Store, where: Filter, by: str) -> int:
    """Counts the samples to review that a filter does not show."""
    everything = Filter(state=TO_REVIEW, fair_to=by)
    if where == everything:
        return 0
    states = tuple(state for state in where.state or STATES if state in TO_REVIEW)
    shown = store.queue.count(replace(where, state=states, fair_to=by)) if states else 0
    return store.queue.count(everything) - shown


def _ends(value: str) -> tuple[float | None, float | None]:
    """Reads "0.2..0.5"; both ends are in [0, 10)."""
    found = _RANGE.fullmatch(value)
    if found is None or not any(found.groups()):
        raise ValueError("must be a range such as 0.2..0.5, ..0.5 or 0.2..")
    low, high = (float(end) if end else None for end in found.groups())
    if low is not None and high is not None and low > high:
        raise ValueError("must go from low to high")
    return low, high


def _cursor(text: str, order: str) -> Cursor:
    """Reads the place after which a page begins, as an earlier answer gave it."""
    try:
        value, seq = json.loads(text)
    except (ValueError, TypeError):
        value, seq = None, None
    kinds = (sort_key(order).type.python_type, type(None))
    fits = type(value) in (*kinds, int) if float in kinds else type(value) in kinds
    numbers = [one for one in (value, seq) if isinstance(one, int)]
    if not fits or type(seq) is not int or not all(0 <= one < 2**63 for one in numbers):
        raise HTTPException(422, "after: not a place of this order. Load the queue again.")
    return plain_text(value) if isinstance(value, str) else value, seq


def _short(asked: Asked) -> Json:
    """Returns what differs from the usual."""
    return asked.model_dump(exclude_defaults=True, include=set(Asked.model_fields))
