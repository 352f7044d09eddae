"""From events to a sample's row: a pure fold, so that a rebuild gives exactly the live rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from forgetme.store.record import Event, SampleRow
from forgetme.store.signals import signals

DECISIONS = ("accepted", "rejected", "skipped", "flagged")
UNDOABLE = (*DECISIONS, "deleted")

Payload = dict[str, Any]


def project(events: Sequence[Event]) -> SampleRow:
    """Folds all events of one sample, oldest first, into its row.

    A decision that a later `undone` names is left out; all others are applied in order.

    Args:
        events: at least the `imported` event, versions 1, 2, 3 …

    Returns:
        The row; its version and time are those of the last event.

    Raises:
        ValueError: an event does not fit the ones before it.
    """
    undone = {event.payload["event"] for event in events if event.kind == "undone"}
    row = None
    for event in events:
        if event.id not in undone:
            row = apply(row, event)
    assert row is not None, "a sample has an imported event"
    return row


def apply(row: SampleRow | None, event: Event) -> SampleRow:
    """Applies one event to the row before it (None before the import).

    Args:
        row: the sample so far.
        event: the next event; an `undone` only counts here, `project` leaves out what it names.

    Returns:
        The row after it.

    Raises:
        ValueError: unknown kind, a missing key, or an index, mask or try that is not there.
    """
    if event.kind not in _HANDLERS:
        raise ValueError(f"unknown event kind {event.kind!r}; known: {', '.join(_HANDLERS)}")
    missing = [key for key in _REQUIRED.get(event.kind, ()) if key not in event.payload]
    if missing:
        raise ValueError(f"a {event.kind} event needs {', '.join(missing)} in its payload")
    if row is None and event.kind != "imported":
        raise ValueError(f"a sample begins with imported, not with {event.kind}")
    row = _HANDLERS[event.kind](row, event.payload, event)
    return replace(row, version=event.version, updated_at=event.at)


def _imported(row: SampleRow | None, payload: Payload, event: Event) -> SampleRow:
    image = {
        "state": "broken" if payload["image_sha"] is None else "new",
        "image_sha": payload["image_sha"],
        "width": payload.get("width"),
        "height": payload.get("height"),
        "caption": payload.get("caption", ""),
        "notes": payload.get("notes", []),
        "error": payload.get("error"),
    }
    if row is not None:  # a broken file that was replaced by a readable one
        return replace(_open(row, image.pop("state")), **image)
    return SampleRow(
        id=event.sample_id,
        name=payload["name"],
        concept=payload["concept"],
        source=payload.get("source", ""),
        version=event.version,
        seq=event.id,
        lineage=payload.get("lineage"),
        twin_of=payload.get("twin_of"),
        twin_number=payload.get("twin_number"),
        **image,
    )


def _proposed(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    _needs_image(row, event)
    proposals, chosen = payload["proposals"], payload["chosen"]
    if chosen is not None:
        _check_index("proposal", chosen, proposals)
    row = replace(row, proposals=proposals, novelty=payload.get("novelty", row.novelty))
    if "asked" in payload and payload.get("mask_sha") == row.mask_sha:
        return _signalled(row)  # a verdict alone: mask and tries stay
    return _masked(row, chosen, None if chosen is None else payload["mask_sha"])


def _chosen(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    if "try" in payload:
        return _picked(_open(row, "prepared"), _index_of_try(row, payload))
    if "index" not in payload:
        raise ValueError("a chosen event needs index (a proposal) or try in its payload")
    _needs_image(row, event)
    _check_index("proposal", payload["index"], row.proposals)
    return _masked(row, payload["index"], payload["mask_sha"])


def _index_of_try(row: SampleRow, payload: Payload) -> int:
    """The try that an event picks: by the event that made it.

    An event of a store from before tries came back with their mask has only a number, which counts
    those made since the mask was last set.
    """
    if "made_by_event" in payload:
        made = payload["made_by_event"]
        found = [k for k, one in enumerate(row.tries) if one["event"] == made]
        return found[0] if found else _check_index("try", payload["try"], [])
    made_since = [k for k, one in enumerate(row.tries) if not one.get("came_back_with_mask")]
    return made_since[_check_index("try", payload["try"], made_since)]


def _mask_edited(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    _needs_image(row, event)
    return _masked(row, None, payload["mask_sha"])


def _filled(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    made_for = payload.get("made_for", row.mask_sha)
    if made_for is None:
        raise ValueError(f"{event.kind} needs a mask; choose a proposal or edit a mask first")
    made = {**payload, "kind": event.kind, "by": event.by, "at": event.at, "event": event.id}
    pick = payload.get("pick", True)
    if made_for != row.mask_sha:
        return _set_aside(row, made_for, [made], 0 if pick else None)
    row = replace(row, tries=[*row.tries, made])
    return _picked(_open(row, "prepared"), len(row.tries) - 1) if pick else row


def _decided(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    how = payload.get("how", "human")
    if how not in ("human", "policy"):
        raise ValueError(f"how must be 'human' or 'policy', got {how!r}")
    if event.kind == "accepted" and (row.mask_sha is None or row.picked_try is None):
        raise ValueError("accepted needs a mask and a picked try; fill the mask first")
    return replace(
        row,
        state=event.kind,
        decided_by=event.by,
        decided_how=how,
        decided_event=event.id,
        decided_at=event.at,
        reviewed=None,
        reviewed_by=None,
    )


def _relabelled(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    """Gives the sample another concept: what a hand drew stays, what was found for the other goes.

    Proposals are ranked and verified for one concept; without them the sample is prepared anew.
    """
    drawn = row.chosen is None and row.mask_sha is not None
    row = replace(row, concept=payload["concept"], name=payload["name"])
    if drawn:
        return _signalled(replace(_open(row, "prepared"), proposals=[]))
    row = replace(_masked(row, None, None), proposals=[])
    return _signalled(replace(row, state=_state_before_deciding(row)))


def _commented(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    return replace(row, comment=payload["text"])


def _reviewed(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    verdict = payload["verdict"]
    if verdict not in ("approved", "returned"):
        raise ValueError(f"verdict must be 'approved' or 'returned', got {verdict!r}")
    if payload["event"] != row.decided_event:
        return row  # the decision that was reviewed has been undone since
    if verdict == "returned":
        row = replace(_open(row, _state_before_deciding(row)), comment=payload.get("text", ""))
    return replace(row, reviewed=verdict, reviewed_by=event.by)


def _undone(row: SampleRow, payload: Payload, event: Event) -> SampleRow:
    return row


def _open(row: SampleRow, state: str) -> SampleRow:
    """Returns the row without a decision: work on a decided sample takes it up again.

    An approval goes with the decision; that it was returned is known until the next one.
    """
    returned = row.reviewed == "returned"
    return replace(
        row,
        state=state,
        decided_by=None,
        decided_how=None,
        decided_event=None,
        decided_at=None,
        reviewed=row.reviewed if returned else None,
        reviewed_by=row.reviewed_by if returned else None,
    )


def _state_before_deciding(row: SampleRow) -> str:
    if row.image_sha is None:
        return "broken"
    if row.mask_sha is not None:
        return "prepared"
    return "waiting" if row.proposals else "new"


def _masked(row: SampleRow, chosen: int | None, mask_sha: str | None) -> SampleRow:
    """Returns the row with another mask, and the tries that were made for that one before.

    Fills of the mask that goes are no tries of the one that comes; they are set aside for it.
    """
    row = _open(row, "waiting" if mask_sha is None else "prepared")
    if row.tries:
        row = _set_aside(row, row.mask_sha, row.tries, row.picked_try)
    others = dict(row.other_tries or {})
    back = others.pop(mask_sha, {"tries": [], "picked": None})
    tries = [{**one, "came_back_with_mask": True} for one in back["tries"]]
    row = replace(row, chosen=chosen, mask_sha=mask_sha, tries=tries, other_tries=others)
    return _signalled(_picked(row, back["picked"]))


def _set_aside(
    row: SampleRow, mask_sha: str, tries: list[Payload], picked: int | None
) -> SampleRow:
    """Returns the row with tries of a mask that is not in force, behind those it has of it."""
    others = dict(row.other_tries or {})
    known = others.get(mask_sha, {"tries": [], "picked": None})
    if picked is not None:
        known = {**known, "picked": len(known["tries"]) + picked}
    others[mask_sha] = {**known, "tries": [*known["tries"], *tries]}
    return replace(row, other_tries=others)


def _signalled(row: SampleRow) -> SampleRow:
    return replace(row, **signals(row.proposals or [], row.chosen))


def _picked(row: SampleRow, index: int | None) -> SampleRow:
    scores = {} if index is None else row.tries[index]["scores"]
    d, s = scores.get("d") or {}, scores.get("s") or {}
    return replace(
        row,
        picked_try=index,
        score_d=d.get("score"),
        score_s=s.get("score"),
        variant=d.get("variant"),
        low=scores.get("low"),
    )


def _needs_image(row: SampleRow, event: Event) -> None:
    if row.image_sha is None:
        raise ValueError(f"{row.name} is broken ({row.error}), so it cannot be {event.kind}")


def _check_index(what: str, index: Any, among: Sequence[Any]) -> int:
    if type(index) is not int or not 0 <= index < len(among):
        raise ValueError(f"{what} {index!r} does not exist; there are {len(among)}, from 0")
    return index


_HANDLERS = {
    "imported": _imported,
    "proposed": _proposed,
    "chosen": _chosen,
    "mask_edited": _mask_edited,
    "filled": _filled,
    "refined": _filled,
    "accepted": _decided,
    "rejected": _decided,
    "skipped": _decided,
    "flagged": _decided,
    "deleted": _decided,
    "relabelled": _relabelled,
    "commented": _commented,
    "reviewed": _reviewed,
    "undone": _undone,
}
_REQUIRED = {
    "imported": ("name", "concept", "image_sha"),
    "proposed": ("proposals", "chosen"),
    "mask_edited": ("mask_sha",),
    "filled": ("image_sha", "mask_sha", "made_by", "settings", "scores"),
    "refined": ("image_sha", "mask_sha", "made_by", "settings", "scores"),
    "relabelled": ("concept", "name"),
    "commented": ("text",),
    "reviewed": ("verdict", "event"),
    "undone": ("event",),
}
