"""Signing in with Hugging Face, where the page runs as a Space and nowhere else.

The Space's owner is a lead. Others get in when a lead added their Hugging Face name, or as what
`guests` says. A token of theirs is used once, to ask who they are, and is not kept.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import secrets
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from forgetme.errors import ForgetmeError
from forgetme.store import Store
from forgetme.store.people import Person, Role

log = logging.getLogger(__name__)
PROVIDER = "https://huggingface.co"
START, CALLBACK = "/login/huggingface", "/login/callback"  # where a Space's OAuth app returns to
STATE_COOKIE = "forgetme-oauth-state"
STATE_SECONDS = 600
ANSWER_SECONDS = 15.0
MAX_ANSWER = 2**20  # bytes


class UnknownPersonError(ForgetmeError):
    """Hugging Face knows them, and this store does not."""


@dataclass(frozen=True)
class HubSignIn:
    """The OAuth app that Hugging Face made for this Space.

    Attributes:
        client_id: of the app.
        client_secret: of the app.
        address: of the page, without a slash at the end.
        owner: the Space's owner, who is a lead.
        provider: who signs people in.
        guests: the role of whoever has no account here; None: they do not get in.
    """

    client_id: str
    client_secret: str = field(repr=False)
    address: str
    owner: str
    provider: str = PROVIDER
    guests: Role | None = None

    def to_provider(self, state: str) -> str:
        """Returns the address that asks the person at Hugging Face."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.address + CALLBACK,
            "response_type": "code",
            "scope": "openid profile",
            "state": state,
        }
        return f"{self.provider}/oauth/authorize?{urlencode(query)}"

    def name_of(self, code: str) -> str:
        """Returns the name of whoever came back with `code`.

        Raises:
            OSError: Hugging Face does not answer, or refuses the code.
            ValueError: its answer is none.
        """
        pair = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.address + CALLBACK,
            "client_id": self.client_id,
        }
        token = self._ask("/oauth/token", f"Basic {pair}", urlencode(form).encode())["access_token"]
        name = self._ask("/oauth/userinfo", f"Bearer {token}")["preferred_username"]
        if not isinstance(name, str):
            raise ValueError("preferred_username is no text")
        return name

    def _ask(self, path: str, authorization: str, data: bytes | None = None) -> dict[str, Any]:
        headers = {"authorization": authorization, "accept": "application/json"}
        request = urllib.request.Request(self.provider + path, data, headers)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.loads(answer.read(MAX_ANSWER))


def hub_sign_in(environ: Mapping[str, str], *, guests: Role | None = None) -> HubSignIn | None:
    """Returns how people sign in with Hugging Face; None where this is no Space, or one without.

    Args:
        environ: the environment that a Space sets.
        guests: the role of whoever has no account in the store.

    Raises:
        ForgetmeError: who signs people in is not asked over https.
    """
    if not environ.get("SPACE_ID"):
        return None
    needed = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SPACE_HOST", "SPACE_AUTHOR_NAME")
    missing = [name for name in needed if not environ.get(name)]
    if missing:
        log.warning(
            "This Space lets nobody sign in with Hugging Face (%s is not set); to change that, add "
            "`hf_oauth: true` to the front matter of its README.md",
            ", ".join(missing),
        )
        return None
    provider = environ.get("OPENID_PROVIDER_URL", PROVIDER).rstrip("/")
    if urlsplit(provider).scheme != "https" and urlsplit(provider).hostname != "127.0.0.1":
        raise ForgetmeError(f"OPENID_PROVIDER_URL must start with https://, got {provider}")
    return HubSignIn(
        client_id=environ["OAUTH_CLIENT_ID"],
        client_secret=environ["OAUTH_CLIENT_SECRET"],
        address=f"https://{environ['SPACE_HOST'].split(',')[0].strip().rstrip('/')}",
        owner=environ["SPACE_AUTHOR_NAME"],
        provider=provider,
        guests=guests,
    )


def admit(hub: HubSignIn, store: Store, name: str) -> Person:
    """Returns the account of a Hugging Face user; the owner's and guests' are made here.

    Raises:
        ForgetmeError: they have no account and guests get none, or the name is a local account's.
    """
    known = store.people.get(name)
    if known is None:
        role = "lead" if name == hub.owner else hub.guests
        if role is None:
            raise UnknownPersonError(f"{name} has no account in this store; ask a lead to add it")
        return store.people.add(name, role, origin="huggingface")
    if known.origin != "huggingface" or not known.active:
        raise UnknownPersonError(f"{name} may not sign in with Hugging Face here; ask a lead")
    return known


def router(hub: HubSignIn) -> APIRouter:
    """Builds the two addresses of the way to Hugging Face and back."""
    routes = APIRouter()

    @routes.get(START)
    def start() -> RedirectResponse:
        state = secrets.token_urlsafe(24)
        answer = RedirectResponse(hub.to_provider(state), 303)
        flags = {"httponly": True, "secure": True, "samesite": "lax", "path": CALLBACK}
        answer.set_cookie(STATE_COOKIE, state, max_age=STATE_SECONDS, **flags)
        return answer

    @routes.get(CALLBACK)
    def callback(
        request: Request,
        state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str, Query(max_length=2000)] = "",
    ) -> RedirectResponse:
        sent = request.cookies.get(STATE_COOKIE, "")
        if not sent or not code or not hmac.compare_digest(sent.encode(), state.encode()):
            return _home("again")
        try:
            person = admit(hub, request.app.state.door.store, hub.name_of(code))
        except (OSError, ValueError, KeyError) as error:
            log.warning("Hugging Face did not say who signs in: %s", type(error).__name__)
            return _home("silent")
        except UnknownPersonError as error:
            log.info("%s", error)
            return _home("unknown")
        answer = _home(None)
        request.app.state.door.let_in(request, answer, person.name)
        return answer

    return routes


def _home(refused: str | None) -> RedirectResponse:
    """Back to the page, and nowhere else; the page has the words for `refused`."""
    answer = RedirectResponse("/" if refused is None else f"/?refused={refused}", 303)
    answer.delete_cookie(STATE_COOKIE, path=CALLBACK)
    return answer
