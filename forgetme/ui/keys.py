"""Which key does what: the table that the page ships, and what each person changed in it.

`static/keymap.json` is the one table of acts with their usual keys; the page reads it too. What a
person changes is kept with the account. It is a stranger's text like any other: only acts of the
table, only keys that a keyboard has, and no key for two acts.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgetme.errors import ForgetmeError
from forgetme.store import Store
from forgetme.ui.who import Viewer

Json = dict[str, Any]
Keys = dict[str, tuple[str, ...]]  # by act

TABLE = Path(__file__).parent / "static" / "keymap.json"
PREFERENCE = "keys"
MAX_KEYS = 3  # of one act
MAX_KEY_CHARS = 40
MODIFIERS = ("ctrl", "alt", "shift")  # in this order; ctrl is ⌘ on a Mac
NAMED = frozenset(
    ["space", "enter", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown"]
    + ["arrowleft", "arrowright", "arrowup", "arrowdown", "f2", "f4", "f7", "f8", "f9", "f10"]
)
# What browsers and people already use: tabs, windows, find, print, reload, copy, paste, zoom …
BROWSER_CTRL = frozenset("acdfghijklnopqrtuvwx0123456789-+=")
BROWSER = frozenset(["alt+arrowleft", "alt+arrowright", "alt+home", "alt+d", "alt+f4", "ctrl+f4"])


@dataclass(frozen=True)
class Act:
    """One act that a key can start."""

    id: str
    words: str  # what it does
    keys: tuple[str, ...]  # the usual ones
    drag: bool = False  # only together with the mouse, so it may share a key with another act


class Changes(BaseModel):
    """New keys by act; an act that is not named keeps its keys."""

    model_config = ConfigDict(extra="forbid", strict=True)
    changes: dict[
        Annotated[str, Field(max_length=MAX_KEY_CHARS)],
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARS)]],
            Field(max_length=MAX_KEYS),
        ],
    ] = Field(min_length=1, max_length=100)


class Nothing(BaseModel):
    """No arguments."""

    model_config = ConfigDict(extra="forbid", strict=True)


def router() -> APIRouter:
    """Builds the routes that read and change the asking person's keys."""
    routes = APIRouter(prefix="/api")

    @routes.get("/keys")
    def read(review: Viewer) -> Json:
        return _shown(own_keys(review.store, review.by))

    @routes.post("/keys")
    def change(review: Viewer, body: Changes) -> Json:
        changes = {act: tuple(keys) for act, keys in body.changes.items()}
        return _shown(change_keys(review.store, review.by, changes))

    @routes.post("/keys/reset")
    def reset(review: Viewer, body: Nothing) -> Json:
        review.store.people.set_preference(review.by, PREFERENCE, None)
        return _shown({})

    return routes


def _shown(own: Keys) -> Json:
    return {"keys": effective(own), "own": sorted(own)}


def acts() -> dict[str, Act]:
    """Returns the table by act id, in the order in which it is shown."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    found = [
        Act(one["id"], one["words"], tuple(one["keys"]), one.get("drag", False))
        for group in table
        for one in group["acts"]
    ]
    return {one.id: one for one in found}


def own_keys(store: Store, by: str) -> Keys:
    """Returns what a person changed, without what the table or the rules no longer know."""
    kept = store.people.preference(by, PREFERENCE)
    known, own = acts(), {}
    for act, keys in kept.items() if isinstance(kept, dict) else ():
        try:
            Changes(changes={act: keys})
            _check_change(known, act, tuple(keys))
            _check_shared(known, own | {act: tuple(keys)})
        except (ForgetmeError, ValidationError):
            continue  # an act or a rule of another release; the usual keys stand in
        own[act] = tuple(keys)
    return own


def effective(own: Keys) -> Keys:
    """Returns every act's keys: the person's own, else the usual ones that are still free."""
    known = acts()
    taken = {(known[act].drag, key) for act, keys in own.items() for key in keys}
    return {
        one.id: own[one.id]
        if one.id in own
        else tuple(key for key in one.keys if (one.drag, key) not in taken)
        for one in known.values()
    }


def change_keys(store: Store, by: str, changes: Keys) -> Keys:
    """Gives acts other keys for one person and keeps that with the account.

    Args:
        store: where accounts keep what they prefer.
        by: the person.
        changes: all keys of each act that changes; none at all leaves the act without a key.

    Returns:
        What the person has changed, all in all.

    Raises:
        ForgetmeError: no such act, no such key, or a key that another act has.
    """
    known, own = acts(), own_keys(store, by)
    for act, keys in changes.items():
        _check_change(known, act, keys)
    _check_shared(known, effective(own) | changes)
    own = {act: keys for act, keys in (own | changes).items() if keys != known[act].keys}
    plain = {act: list(keys) for act, keys in own.items()}
    store.people.set_preference(by, PREFERENCE, plain or None)
    return own


def _check_change(known: dict[str, Act], act: str, keys: tuple[str, ...]) -> None:
    if act not in known:
        raise ForgetmeError(f"There is no act {act!r} to give a key. Reload the page.")
    if len(keys) > MAX_KEYS:
        raise ForgetmeError(f"“{known[act].words}” has {MAX_KEYS} keys already. Remove one first.")
    for key in keys:
        check_key(key)


def _check_shared(known: dict[str, Act], keys_of: Keys) -> None:
    """Refuses a key for two acts; one that is held while dragging may start a second act."""
    taken: dict[tuple[bool, str], str] = {}
    for act, keys in keys_of.items():
        for key in keys:
            place = (known[act].drag, key)
            if place in taken:
                words = known[taken[place]].words
                raise ForgetmeError(f"That key already means “{words}”. Press another key.")
            taken[place] = act


def check_key(key: str) -> str:
    """Returns a key's name as it is when a keyboard can send it and the browser leaves it to us.

    Names are "a", "ö", "?", "space", "arrowleft", "shift+z", "ctrl+shift+z": the key after its
    modifiers in this order. A sign that shift makes stands without it: "?", not "shift+/".

    Raises:
        ForgetmeError: it is no such name, or browsers and people need that key for themselves.

    Example:
        >>> check_key("ctrl+z"), check_key("?")
        ('ctrl+z', '?')
    """
    rest, given = key, []
    for modifier in MODIFIERS:
        if rest.startswith(f"{modifier}+"):
            given.append(modifier)
            rest = rest[len(modifier) + 1 :]
    sign = len(rest) == 1 and rest.isprintable() and rest == rest.lower() and not rest.isspace()
    if not (rest in NAMED or (sign and unicodedata.category(rest)[0] != "M")):
        raise ForgetmeError(f"{key!r} is no key to use here. Press a letter, a digit or a sign.")
    if sign and not rest.isalpha() and "shift" in given:
        raise ForgetmeError(f"{key!r} is no sign of its own. Press the sign that shift makes.")
    if key in BROWSER or ("ctrl" in given and rest in BROWSER_CTRL):
        raise ForgetmeError(f"The browser needs {key} for itself. Press another key.")
    return key
