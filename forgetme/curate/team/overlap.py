"""Second opinions: copies of images that somebody else decides."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from forgetme.errors import ForgetmeError
from forgetme.store import SampleRow, Store

MAX_COPIES = 5


@dataclass(frozen=True)
class Overlap:
    """What `overlap` did."""

    images: int  # that are there `copies` times
    added: int  # twins made by this call


def overlap(store: Store, *, share: float, copies: int, by: str) -> Overlap:
    """Makes twins of a share of the images, so that several people decide them.

    Which images is told by their ids alone: the same call again adds only what new images need,
    and a larger share keeps those of a smaller one. A twin starts with the machine's own proposals,
    never with what a person made of the original.

    Args:
        store: whose images.
        share: of the originals, (0, 1].
        copies: of each of them, the original included, 2 to 5.
        by: who asks for it.

    Raises:
        ForgetmeError: share or copies is out of range.
    """
    if not 0 < share <= 1 or not 2 <= copies <= MAX_COPIES:
        raise ForgetmeError(
            f"share must be above 0 and at most 1, and copies 2 to {MAX_COPIES}; "
            f"got {share} and {copies}"
        )
    there = {group[0].id: len(group) for group in store.queries.copies()}
    chosen = [
        row
        for row in store.walk()
        if row.twin_of is None and row.image_sha is not None and _place(row.id) < share
    ]
    added = 0
    for row in chosen:
        for _ in range(copies - there.get(row.id, 1)):
            _add_twin(store, row, by)
            added += 1
    return Overlap(images=len(chosen), added=added)


def _place(sample_id: str) -> float:
    """Puts a sample somewhere in [0, 1), evenly and for good."""
    return (
        int.from_bytes(hashlib.sha256(f"overlap {sample_id}".encode()).digest()[:8], "big") / 2**64
    )


def _add_twin(store: Store, row: SampleRow, by: str) -> None:
    twin = store.import_image(
        store.get_image(row.image_sha),
        name=row.name,
        concept=row.concept,
        by=by,
        source=row.source,
        notes=row.notes,
        caption=row.caption,
        twin_of=row.id,
    )
    for event in store.events(row.id):
        if event.kind == "proposed":  # the first: no verdict that somebody asked for later
            payload = {key: event.payload[key] for key in event.payload if key != "asked"}
            store.append(twin.id, "proposed", payload, by=event.by, expected_version=twin.version)
            return
