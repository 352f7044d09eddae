"""A sample's mask history, read from its events: what undo and redo walk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from forgetme.record.lru import Lru
from forgetme.store import Store


@dataclass(frozen=True)
class MaskStep:
    """One place in a sample's mask history: a chosen proposal or a mask edited by hand."""

    index: int | None = None  # the proposal, when the mask is one
    mask_sha: str | None = None  # the edited mask, when it is not; both None: no mask
    points: tuple[tuple[float, float, int], ...] = ()  # the clicks that made it: x, y, 1 fg / 0 bg


@dataclass(frozen=True)
class _Past:
    """A sample's mask history as far as its events were read."""

    last_event: int = 0
    steps: tuple[MaskStep, ...] = (MaskStep(),)
    at: int = 0
    note: str = ""

    def and_then(self, event_id: int, kind: str, payload: dict[str, Any]) -> _Past:
        past = replace(self, last_event=event_id)
        if kind == "proposed":
            past = replace(past, note=payload.get("note", ""))
            if "asked" not in payload:
                return replace(past, steps=(_step(payload),), at=0)
        elif kind == "relabelled":  # proposals of the other concept are no way back
            now = past.steps[past.at]
            kept = now if now.index is None else MaskStep()
            return replace(past, steps=(kept,), at=0, note="")
        elif kind not in ("chosen", "mask_edited") or "try" in payload:
            return past
        how = payload.get("how")
        if how in ("undo", "redo"):
            return replace(past, at=past.at + (1 if how == "redo" else -1))
        step, now = _step(payload), past.steps[past.at]
        same = step.mask_sha == now.mask_sha and step.index == now.index
        if same and (kind == "proposed" or step.points == now.points):
            return past  # such as a question to the verifier that left the mask as it was
        return replace(past, steps=(*past.steps[: past.at + 1], step), at=past.at + 1)


class Pasts:
    """The mask histories of the samples last asked for, so that only new events are read.

    A `proposed` event of a large photo holds megabytes of masks; a stroke must not read it again.
    """

    def __init__(self, keep: int = 512) -> None:
        """Keeps the latest `keep`."""
        self._held: Lru[str, _Past] = Lru(keep)

    def get(self, store: Store, sample_id: str) -> _Past:
        """Returns the history up to the newest event."""
        past = self._held.get(sample_id) or _Past()
        for event in store.events(sample_id, after=past.last_event):
            past = past.and_then(event.id, event.kind, event.payload)
        return self._held.put(sample_id, past)


def _step(payload: dict[str, Any]) -> MaskStep:
    index = payload.get("index", payload.get("chosen"))
    points = tuple((x, y, int(label)) for x, y, label in payload.get("points", ()))
    return MaskStep(index, payload.get("mask_sha"), points)
