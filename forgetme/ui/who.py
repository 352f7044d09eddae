"""Who asks: the person behind a request, what they may do, and the review that acts in their name.

Every route names one of `Viewer`, `Curator` and `Lead` as an argument; a raw request gets no
further than the page would. Where the route changes a sample, its id is in the path, and nobody
gets past a sample that somebody else holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from starlette.exceptions import HTTPException

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import Store
from forgetme.store.names import all_without_places
from forgetme.store.people import ROLES, SESSION_SECONDS, Role
from forgetme.ui.guard import READING
from forgetme.ui.oauth import HubSignIn

RANK: dict[Role, int] = {role: rank for rank, role in enumerate(ROLES)}
SIGN_IN = "Sign in to go on; nothing you did is lost."
NO_TOKEN = "This access token was revoked, or is none. Ask a lead for another one."
VISITOR = "visitor"  # everybody, in a demo
LOOK_ONLY = (
    "This is a demo to look at; nothing is kept. Run ForgetMe yourself, or duplicate the Space and "
    "sign in, to curate."
)


@dataclass(frozen=True)
class Person:
    """Who is signed in."""

    name: str
    role: Role


@dataclass(frozen=True)
class Door:
    """How people get in.

    Attributes:
        store: has the accounts.
        alone: who everybody is while the store has no account; None: nobody gets in then.
        hub: how people sign in with Hugging Face, where this is a Space.
        demo: everybody may look, and nobody may change or keep anything.
    """

    store: Store
    alone: str | None = None
    hub: HubSignIn | None = None
    demo: bool = False

    @property
    def cookie(self) -> str:
        """The session cookie's name; two stores on one machine must not overwrite each other's."""
        return f"forgetme-{hashlib.sha256(self.store.location.encode()).hexdigest()[:8]}"

    def is_open(self) -> bool:
        """Tells whether no sign-in is needed: this machine alone, and no account was made."""
        return not self.demo and self.alone is not None and not self.store.people.any()

    def let_in(self, request: Request, answer: Response, name: str) -> None:
        """Begins a session; its token goes into a cookie that scripts cannot read.

        A session that the browser had before ends: a token put there by somebody else is no way in.
        """
        before = request.cookies.get(self.cookie)
        if before:
            self.store.people.end_session(before)
        answer.set_cookie(
            self.cookie,
            self.store.people.begin_session(name),
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="lax",
            secure=self.hub is not None or request.url.scheme == "https",
            path="/",
        )


class Refusal(HTTPException):
    """A refusal of its own kind, which the page can tell from others."""

    def __init__(self, status: int, kind: str, words: str) -> None:
        """Keeps the kind beside the words."""
        super().__init__(status, words)
        self.kind = kind


def person(request: Request) -> Person:
    """Returns the person behind a request.

    Raises:
        Refusal: nobody is signed in, and somebody must be.
    """
    return recognised(request.app.state.door, request)


def recognised(door: Door, request: Request) -> Person:
    """Returns the person whose access token or cookie comes with a request, ours or Gradio's.

    Raises:
        Refusal: nobody is signed in, and somebody must be; or the token opens nothing.
    """
    if door.demo:
        return Person(VISITOR, "viewer")
    token = bearer(request.headers)
    if token is not None:  # then the cookie counts for nothing
        return of_token(door, token)
    token = request.cookies.get(door.cookie)
    found = door.store.people.of_session(token) if token else None
    if found is not None:
        return Person(found.name, found.role)
    if door.is_open():
        return Person(door.alone, "lead")
    raise Refusal(401, "sign-in", SIGN_IN)


def of_token(door: Door, token: str) -> Person:
    """Returns the person in whose name an access token acts.

    Raises:
        Refusal: it opens nothing.
    """
    found = door.store.tokens.owner(token)
    if found is None:
        raise Refusal(401, "token", NO_TOKEN)
    return Person(found.name, found.role)


def bearer(headers: Mapping[str, str]) -> str | None:
    """Returns the access token that comes with a request; None where it has none."""
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def need(role: Role, asking: Person) -> Person:
    """Refuses whoever has a lower role."""
    if RANK[asking.role] < RANK[role]:
        raise Refusal(
            403, "role", f"This needs the role {role}; you are {asking.role}. Ask a lead."
        )
    return asking


def about(request: Request) -> dict[str, Any]:
    """Returns what the page says of the person: name, role, and whether they can sign out."""
    asking = person(request)
    door: Door = request.app.state.door
    signed_in = not (door.is_open() or door.demo)
    return {"by": asking.name, "role": asking.role, "signed_in": signed_in, "demo": door.demo}


def told(asking: Person | None, value: Any) -> Any:
    """Returns an answer as it may be told: whoever is no lead hears names, not places of files."""
    if asking is not None and asking.role == "lead":
        return value
    return all_without_places(value)


def check_free(review: Review, sample_id: str) -> None:
    """Refuses an act on a sample that is somebody else's at the moment.

    Raises:
        Refusal: somebody else holds it, or the person decided another copy of it.
    """
    kept_back = review.store.holds.kept_back([sample_id], review.by).get(sample_id)
    if kept_back is not None:
        raise Refusal(409, kept_back.kind, kept_back.words)


def viewer(request: Request) -> Review:
    """Returns the review of whoever may look."""
    return _review(request, "viewer")


def curator(request: Request) -> Review:
    """Returns the review of whoever may decide, on a sample that is free for them."""
    return _review(request, "curator")


def lead(request: Request) -> Review:
    """Returns the review of whoever may lead."""
    return _review(request, "lead")


def worker(request: Request) -> Worker:
    """Returns the page's worker."""
    return request.app.state.worker


def _review(request: Request, role: Role) -> Review:
    if request.app.state.door.demo and request.method not in READING:
        raise Refusal(403, "demo", LOOK_ONLY)
    review = replace(request.app.state.review, by=need(role, person(request)).name)
    sample_id = request.path_params.get("sample_id")
    if sample_id is not None and request.method not in READING:
        check_free(review, sample_id)
    return review


Asking = Annotated[Person, Depends(person)]
Viewer = Annotated[Review, Depends(viewer)]
Curator = Annotated[Review, Depends(curator)]
Lead = Annotated[Review, Depends(lead)]
Work = Annotated[Worker, Depends(worker)]
