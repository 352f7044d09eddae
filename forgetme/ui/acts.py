"""What a person can do, bound to who asks: every Gradio handler and endpoint goes through here.

Gradio runs a handler for whoever posts to its queue, so a hidden button protects nothing: identity,
role and arguments are checked in each call. A refusal is one sentence with the next step.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

import gradio as gr
from pydantic import ValidationError, validate_call
from starlette.exceptions import HTTPException

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.errors import ForgetmeError, StaleVersionError
from forgetme.store.people import Role
from forgetme.ui import curate, who

log = logging.getLogger(__name__)
FILLED_IN = (Review, who.Person, Worker, gr.Request)
validated = validate_call(config={"arbitrary_types_allowed": True})
_PLACED = inspect.Parameter.POSITIONAL_OR_KEYWORD
OUR_OWN = "ForgetMe met an error of its own; the terminal shows it. Nothing saved is lost."


@dataclass(frozen=True)
class Acts:
    """Binds functions to the page's store and to who asks.

    Attributes:
        door: how people get in.
        review: the acts on the store, with the models.
        worker: does what somebody waits for.
    """

    door: who.Door
    review: Review
    worker: Worker

    def by(self, role: Role, act: Callable[..., Any], *, reads: bool = False) -> Callable[..., Any]:
        """Returns the handler of an act: for Gradio's events and for `gr.api`.

        Args:
            role: the least that who asks must be.
            act: takes the components' values by type-hinted names; they are validated. A parameter
                of type `Review`, `Person`, `Worker` or `gr.Request` is filled in: the review acts
                in the name of who asks. One of type `gr.SelectData` is filled in by Gradio.
            reads: it changes nothing, so that a demo may do it.
        """
        hints, parameters = get_type_hints(act), inspect.signature(act).parameters
        ours = {name: hints[name] for name in parameters if hints.get(name) in FILLED_IN}
        given = [
            one.replace(annotation=hints.get(name, inspect.Parameter.empty))
            for name, one in parameters.items()
            if name not in ours
        ]
        checked = validated(act)

        def handler(request: gr.Request, *values: Any) -> Any:
            asking = None
            try:
                asking = who.need(role, who.recognised(self.door, request))
                if self.door.demo and not reads:
                    raise who.Refusal(403, "demo", who.LOOK_ONLY)
                own = {
                    Review: replace(self.review, by=asking.name),
                    who.Person: asking,
                    Worker: self.worker,
                    gr.Request: request,
                }
                filled = {name: own[kind] for name, kind in ours.items()}
                named = {one.name: value for one, value in zip(given, values, strict=False)}
                return who.told(asking, checked(**filled, **named))
            except gr.Error:
                raise
            except Exception as error:
                words = who.told(asking, refusal(self.review, error))
                words = words.replace("<", "&lt;")  # Gradio shows it as HTML
                raise gr.Error(words, title="Not done", print_exception=False) from error

        first = inspect.Parameter("request", _PLACED, annotation=gr.Request)
        answer = hints.get("return", inspect.Signature.empty)
        handler.__signature__ = inspect.Signature([first, *given], return_annotation=answer)
        handler.__annotations__ = {one.name: one.annotation for one in (first, *given)}
        handler.__name__, handler.__doc__ = act.__name__, act.__doc__
        handler.role = role  # a test walks all handlers
        return handler


def refusal(review: Review, error: Exception) -> str:
    """Says what was refused and what to do; an error that nobody expected goes to the log."""
    if isinstance(error, StaleVersionError):
        return stale(review, error)
    if isinstance(error, ValidationError):
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "the request"
        return f"{where}: {wrong['msg']}. Correct it and try again."
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, UnicodeError):  # half of a pair, which JSON can write
        return "This holds characters that are no text. Take them out and try again."
    if isinstance(error, ForgetmeError):
        return str(error)
    log.error("an act failed", exc_info=error)
    return OUR_OWN


def stale(review: Review, error: StaleVersionError) -> str:
    """Says that a sample is no longer what was looked at, and whose doing it is."""
    row = error.theirs
    if curate.machine_only(review, row.id, error.mine):
        return "A new background came while you decided. Look at it, then decide again."
    if row.decided_by:
        return f"Someone else changed this: it is {row.state}, by {row.decided_by}."
    return "Someone else changed this while you looked at it. Look again, then decide."
