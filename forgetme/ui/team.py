"""The Team tab of leads: who did what, how well they agree, reviews, second opinions, accounts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from forgetme.curate import team
from forgetme.store import Event, SampleRow
from forgetme.store.passwords import MAX_PASSWORD
from forgetme.store.people import Origin, Role
from forgetme.ui import curate, views
from forgetme.ui.curate import Body, SampleId, Words
from forgetme.ui.who import Lead, Refusal, Work

Json = dict[str, Any]
Name = Annotated[str, Path(min_length=1, max_length=64)]
COMMENTS = 100  # shown
REVIEW_PAGE = 24


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Opinions(_Strict):
    """How many images get how many opinions."""

    share: float = Field(gt=0, le=1)
    copies: int = Field(ge=2, le=team.MAX_COPIES)


class NewPerson(_Strict):
    """An account to be made."""

    name: str = Field(min_length=1, max_length=64)
    role: Role
    origin: Origin = "local"
    password: str | None = Field(default=None, max_length=MAX_PASSWORD)


class Change(_Strict):
    """What is to change of an account."""

    role: Role | None = None
    active: bool | None = None
    password: str | None = Field(default=None, max_length=MAX_PASSWORD)


def router() -> APIRouter:
    """Builds the routes of the Team tab."""
    routes = APIRouter(prefix="/api")
    _add_reads(routes)
    _add_reviews(routes)
    _add_people(routes)
    return routes


def _add_reads(routes: APIRouter) -> None:
    @routes.get("/team")
    def overview(review: Lead) -> Json:
        store = review.store
        found = team.agreement(store)
        return {
            "shares": [asdict(one) for one in team.shares(store, found)],
            "agreement": {
                "copied": found.copied,
                "compared": found.compared,
                "kappa": found.kappa,
                "mask_iou": found.mask_iou,
                "pairs": [asdict(one) for one in found.pairs],
                "disputed": [[_opinion(row) for row in group] for group in found.disputed[:50]],
                "disputes": len(found.disputed),
            },
            "comments": [_comment(*one) for one in store.roster.comments(COMMENTS)],
        }

    @routes.post("/team/overlap")
    def overlap(body: Opinions, review: Lead) -> Json:
        made = team.overlap(review.store, share=body.share, copies=body.copies, by=review.by)
        return asdict(made)


def _add_reviews(routes: APIRouter) -> None:
    @routes.get("/team/reviews")
    def reviews(review: Lead, by: Annotated[str, Query(max_length=64)] = "") -> Json:
        rows, total = review.store.roster.to_review(by=by or None, limit=REVIEW_PAGE)
        return {"rows": [_to_review(row) for row in rows], "total": total}

    @routes.post("/samples/{sample_id}/approve")
    def approve(sample_id: SampleId, body: Body, review: Lead, worker: Work) -> Json:
        team.approve(review, sample_id, seen=_seen(body))
        return _answer(review, worker, sample_id)

    @routes.post("/samples/{sample_id}/return")
    def give_back(sample_id: SampleId, body: Words, review: Lead, worker: Work) -> Json:
        team.give_back(review, sample_id, body.text, seen=_seen(body))
        return _answer(review, worker, sample_id)


def _add_people(routes: APIRouter) -> None:
    @routes.get("/people")
    def people(request: Request, review: Lead) -> Json:
        return {
            "people": [asdict(one) for one in review.store.people.list()],
            "huggingface": request.app.state.door.hub is not None,
        }

    @routes.post("/people")
    def add(body: NewPerson, request: Request, review: Lead) -> Json:
        if body.origin == "huggingface" and request.app.state.door.hub is None:
            raise Refusal(400, "bad", "People sign in with Hugging Face only on a Space.")
        if request.app.state.door.is_open() and body.role != "lead":
            raise Refusal(
                400, "bad", "The first account must be a lead's: from then on everybody signs in."
            )
        made = review.store.people.add(body.name, body.role, body.password, origin=body.origin)
        return asdict(made)

    @routes.post("/people/{name}")
    def change(name: Name, body: Change, review: Lead) -> Json:
        people = review.store.people
        if name == review.by and (body.active is False or body.role not in (None, "lead")):
            raise Refusal(400, "bad", "You cannot take this from yourself; ask another lead.")
        if body.role is not None:
            people.set_role(name, body.role)
        if body.password is not None:
            people.set_password(name, body.password)
        if body.active is not None:
            (people.enable if body.active else people.disable)(name)
        return {"people": [asdict(one) for one in people.list()]}


def _seen(body: Body) -> int:
    if body.seen is None:
        raise Refusal(422, "bad", "seen: name the version that you looked at.")
    return body.seen


def _answer(review: Lead, worker: Work, sample_id: str) -> Json:
    return {"sample": curate.shown(review, worker, sample_id), "saved": curate.clock()}


def _to_review(row: SampleRow) -> Json:
    return views.summary(row) | {
        "mask_sha": row.mask_sha,
        "decided_at": row.decided_at,
        "comment": row.comment,
        "background_sha": row.tries[row.picked_try]["image_sha"],
    }


def _opinion(row: SampleRow) -> Json:
    return {name: getattr(row, name) for name in ("id", "name", "concept", "state", "decided_by")}


def _comment(event: Event, name: str, concept: str) -> Json:
    verdict = event.payload.get("verdict")
    return {
        "id": event.sample_id,
        "name": name,
        "concept": concept,
        "by": event.by,
        "at": event.at,
        "kind": verdict or "commented",
        "text": event.payload.get("text", ""),
    }
