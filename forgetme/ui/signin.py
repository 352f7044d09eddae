"""Signing in and out with an account of the store; guesses are slowed down."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from forgetme.store.names import name_key
from forgetme.store.passwords import MAX_PASSWORD
from forgetme.ui import oauth
from forgetme.ui.who import Door, Refusal

log = logging.getLogger(__name__)
Json = dict[str, Any]
FREE_TRIES = {"pair": 5, "address": 20, "name": 50}  # before waiting begins
LONGEST_WAIT = 900.0  # seconds
FORGET_AFTER = 3600.0  # seconds without a try


class Throttle:
    """Counts failed tries; after some free ones, each waits twice as long as the one before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, keep: int = 10_000) -> None:
        """Keeps the latest `keep` counts."""
        self._clock, self._keep = clock, keep
        self._counts: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, name: str, address: str) -> float:
        """Counts a try as failed, and returns how many seconds it must wait; 0: it may go on.

        Counting comes first, so that guesses sent side by side do not share one free try.
        """
        now = self._clock()
        with self._lock:
            waits = [self._left(key, now) for key in _keys(name, address)]
            if max(waits) > 0:
                return max(waits)
            for key in _keys(name, address):
                count, at = self._counts.pop(key, (0, now))
                self._counts[key] = (1 if now - at > FORGET_AFTER else count + 1, now)
            while len(self._counts) > self._keep:
                self._counts.popitem(last=False)
        return 0.0

    def succeeded(self, name: str, address: str) -> None:
        """Forgets the tries of a person who got in, and takes theirs off the address."""
        with self._lock:
            pair, by_address, by_name = _keys(name, address)
            mine, _ = self._counts.pop(pair, (0, 0.0))
            for key in (by_address, by_name):
                count, at = self._counts.get(key, (0, 0.0))
                if count > mine:
                    self._counts[key] = (count - mine, at)
                else:
                    self._counts.pop(key, None)

    def _left(self, key: tuple[str, str], now: float) -> float:
        count, at = self._counts.get(key, (0, now))
        over = count - FREE_TRIES[key[0]]
        if over < 0 or now - at > FORGET_AFTER:
            return 0.0
        return max(0.0, at + min(LONGEST_WAIT, 2.0**over) - now)


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    return ("pair", f"{name}\0{address}"), ("address", address), ("name", name)


class Credentials(BaseModel):
    """What the sign-in form sends."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=MAX_PASSWORD)


def door_of(request: Request) -> Door:
    """Returns how people get in."""
    return request.app.state.door


AtDoor = Annotated[Door, Depends(door_of)]


def router(throttle: Throttle | None = None) -> APIRouter:
    """Builds the routes that anybody may call: they let people in and out."""
    routes = APIRouter(prefix="/api")
    throttle = throttle or Throttle()

    @routes.get("/door")
    def ways(door: AtDoor) -> Json:
        start = None if door.hub is None else oauth.START
        return {"open": door.is_open(), "huggingface": start}

    @routes.post("/sign-in")
    def sign_in(body: Credentials, request: Request, response: Response, door: AtDoor) -> Json:
        address = request.client.host if request.client else "?"
        key = name_key(body.name.strip())
        seconds = throttle.wait(key, address)
        if seconds > 0:
            raise Refusal(
                429, "slow", f"Too many wrong tries. Wait {seconds:.0f} s, then try again."
            )
        found = door.store.people.check_password(body.name.strip(), body.password)
        if found is None:
            known = door.store.people.get(body.name.strip())  # else it may be a password
            log.warning("sign-in failed: %s from %s", known.name if known else "?", address)
            raise Refusal(403, "wrong", "The name or the password is wrong. Try again.")
        throttle.succeeded(key, address)
        door.let_in(request, response, found.name)
        return {"by": found.name, "role": found.role}

    @routes.post("/sign-out")
    def sign_out(request: Request, response: Response, door: AtDoor) -> Json:
        token = request.cookies.get(door.cookie)
        found = door.store.people.of_session(token) if token else None
        if found is not None:
            door.store.holds.leave_all(found.name)
            door.store.people.end_session(token)
        response.delete_cookie(door.cookie, path="/")
        return {}

    return routes
