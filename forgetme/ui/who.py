"""Who asks: the person behind a request, what they may do, and the review that acts in their name.

Every route names one of `viewer`, `curator` and `lead` as a dependency; a raw request gets no
further than the page would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from forgetme.review import Review

Role = Literal["viewer", "curator", "lead"]
RANK: dict[Role, int] = {"viewer": 0, "curator": 1, "lead": 2}


@dataclass(frozen=True)
class Person:
    """Who is signed in."""

    name: str
    role: Role


def person(request: Request) -> Person:
    """Returns the person behind a request; on this machine alone, the one who started the page."""
    return Person(request.app.state.review.by, "lead")


def need(role: Role, who: Person) -> Person:
    """Refuses whoever has a lower role."""
    if RANK[who.role] < RANK[role]:
        raise HTTPException(403, f"This needs the role {role}; you are {who.role}. Ask a lead.")
    return who


def viewer(request: Request) -> Review:
    """Returns the review of whoever may look."""
    return replace(request.app.state.review, by=need("viewer", person(request)).name)


def curator(request: Request) -> Review:
    """Returns the review of whoever may decide."""
    return replace(request.app.state.review, by=need("curator", person(request)).name)


def lead(request: Request) -> Review:
    """Returns the review of whoever may lead."""
    return replace(request.app.state.review, by=need("lead", person(request)).name)


Viewer = Annotated[Review, Depends(viewer)]
Curator = Annotated[Review, Depends(curator)]
Lead = Annotated[Review, Depends(lead)]
