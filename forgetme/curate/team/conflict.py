"""Two people at one sample: what the other did, and how to keep one's own beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError, StaleVersionError
from forgetme.store import Event, SampleRow, Store
from forgetme.store.project import project


@dataclass(frozen=True)
class Change:
    """One thing that happened to a sample, in words."""

    by: str
    at: str  # UTC
    kind: str
    words: str


def row_at(store: Store, sample_id: str, version: int) -> SampleRow:
    """Returns a sample as it was at a version.

    Raises:
        ForgetmeError: it has no such version.
    """
    return project(_until(store.events(sample_id), sample_id, version))


def changes(store: Store, sample_id: str, after: int) -> list[Change]:
    """Returns what happened to a sample after a version, in order."""
    return [
        Change(one.by, one.at, one.kind, _WORDS[one.kind](one))
        for one in store.events(sample_id)
        if one.version > after
    ]


def keep_mine(review: Review, sample_id: str, version: int, *, seen: int) -> SampleRow:
    """Brings a sample's mask and background back to what they were at a version.

    Both are put on top as new events; what others did stays in the log and can be brought back in
    the same way. A decision is not made again: whoever keeps theirs decides next.

    Args:
        review: acts in the person's name.
        sample_id: the sample.
        version: whose mask and background are wanted.
        seen: the newest version, which the person saw beside it.

    Raises:
        StaleVersionError: the sample moved on once more.
        ForgetmeError: there is no such version, or it had no mask.
    """
    store = review.store
    now = store.sample(sample_id)
    if now.version != seen:
        raise StaleVersionError(
            f"{now.name} changed once more; look at it again", mine=seen, theirs=now
        )
    events = _until(store.events(sample_id), sample_id, version)
    mine = project(events)
    if mine.mask_sha is None:
        raise ForgetmeError("Your version had no mask, so there is nothing of it to keep.")
    row = now
    decided = now.decided_event is not None
    if now.mask_sha != mine.mask_sha or (decided and mine.picked_try is None):
        payload = {"mask_sha": mine.mask_sha, "how": "kept", "points": []}
        row = store.append(
            sample_id, "mask_edited", payload, by=review.by, expected_version=row.version
        )
    if mine.picked_try is None:
        return row
    made = mine.tries[mine.picked_try]
    same = [k for k, one in enumerate(row.tries) if one["image_sha"] == made["image_sha"]]
    if same:
        kind, payload = "chosen", {"try": same[-1]}
    else:
        kind = made["kind"]
        own = ("kind", "by", "at", "event", "came_back_with_mask")  # of the row, not of the event
        payload = {key: made[key] for key in made if key not in own}
        payload["pick"] = True
    return store.append(sample_id, kind, payload, by=review.by, expected_version=row.version)


def _until(events: list[Event], sample_id: str, version: int) -> list[Event]:
    if not 1 <= version <= len(events):
        raise ForgetmeError(
            f"sample {sample_id} has the versions 1 to {len(events)}, got {version}"
        )
    return events[:version]


def _reason(event: Event) -> str:
    reason = event.payload.get("reason", "")
    return f"{event.kind} it: {reason}" if reason else f"{event.kind} it"


def _chosen(event: Event) -> str:
    if "try" in event.payload:
        return f"picked background {event.payload['try'] + 1}"
    return f"picked mask {event.payload['index'] + 1}"


def _reviewed(event: Event) -> str:
    text = event.payload.get("text", "")
    return f"{event.payload['verdict']} it" + (f": {text}" if text else "")


_WORDS: dict[str, Callable[[Event], str]] = {
    "imported": lambda event: "added the image",
    "proposed": lambda event: "proposed masks",
    "chosen": _chosen,
    "mask_edited": lambda event: f"changed the mask ({event.payload.get('how', 'by hand')})",
    "filled": lambda event: "filled the hole",
    "refined": lambda event: "refined the background",
    "accepted": _reason,
    "rejected": _reason,
    "skipped": _reason,
    "flagged": _reason,
    "deleted": lambda event: "deleted it",
    "relabelled": lambda event: f"changed the concept to {event.payload['concept']}",
    "commented": lambda event: f"wrote: {event.payload['text']}",
    "reviewed": _reviewed,
    "undone": lambda event: "took the decision back",
}
