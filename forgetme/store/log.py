"""The writes: an import, an event or an undo is one transaction on the log and its row."""

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from forgetme.errors import ForgetmeError, StaleVersionError
from forgetme.store.holds import drop
from forgetme.store.names import (
    clean_concept,
    name_key,
    plain_text,
    safe_stem,
    sample_id,
    without_suffix,
)
from forgetme.store.project import UNDOABLE, apply, project
from forgetme.store.record import Event, SampleRow
from forgetme.store.rows import (
    broken_identity,
    event_digest,
    events_of,
    first_row,
    line_of,
    row_by_id,
    twin_identity,
    values_of,
)
from forgetme.store.schema import BULKY
from forgetme.store.schema import event as event_table
from forgetme.store.schema import sample as sample_table
from forgetme.store.sums import bulky_digest, digest


def add_sample(
    connection: Connection, identity: str, name: str, payload: dict[str, Any], by: str
) -> SampleRow:
    """Imports a sample, unless its concept has one of this identity, which is returned.

    A broken sample of the same source takes the image.
    """
    concept = payload["concept"]
    if payload.get("twin_of") is not None:
        return _add_twin(connection, identity, name, payload, by)
    row = _by_identity(connection, concept, identity)
    if row is not None:
        return row
    broken = _by_identity(connection, concept, broken_identity(payload["source"], name))
    if broken is not None:
        payload = {**payload, "name": broken.name}
        event = _insert_event(connection, broken.id, "imported", payload, by, broken.version + 1)
        return _save(connection, broken, apply(broken, event))
    return _add_new(connection, identity, name, payload, by)


def _add_twin(
    connection: Connection, image_sha: str, name: str, payload: dict[str, Any], by: str
) -> SampleRow:
    """Imports one more copy of a sample; each call makes another one."""
    first = row_by_id(connection, payload["twin_of"])
    same = (payload["concept"], image_sha, None) == (first.concept, first.image_sha, first.twin_of)
    if not same:
        raise ValueError(
            f"a twin is a copy of an original: {first.name} must have the same image and the "
            f"concept {payload['concept']!r}, and be no twin itself"
        )
    columns = sample_table.c
    newest = select(func.max(columns.twin_number)).where(columns.twin_of == first.id)
    number = (connection.scalar(newest) or 1) + 1
    payload = {**payload, "twin_number": number}
    return _add_new(connection, twin_identity(image_sha, number), name, payload, by)


def _add_new(
    connection: Connection, identity: str, name: str, payload: dict[str, Any], by: str
) -> SampleRow:
    concept = payload["concept"]
    new_id = _free_id(connection, concept, identity)
    stem = safe_stem(without_suffix(plain_text(name)))
    payload = {**payload, "name": _free_name(connection, concept, stem, new_id)}
    event = _insert_event(connection, new_id, "imported", payload, by, 1)
    return _save(connection, None, apply(None, event))


def add_event(
    connection: Connection,
    sample_id: str,
    kind: str,
    payload: dict[str, Any],
    by: str,
    expected_version: int,
) -> SampleRow:
    """Appends an event to a sample that is still at the version its writer saw."""
    row = row_by_id(connection, sample_id)
    _check_version(row, expected_version)
    if kind == "undone":
        _check_undoable(connection, sample_id, payload.get("event"))
    if kind == "reviewed":
        payload = {**payload, "event": _decision_of(row)}
    if kind == "relabelled":
        payload = _relabelling(connection, row, clean_concept(payload["concept"]))
    event = _insert_event(connection, sample_id, kind, payload, by, row.version + 1)
    if kind == "undone":
        return _save(connection, row, project(events_of(connection, sample_id)))
    if kind in UNDOABLE:
        drop(connection, sample_id, by)
    return _save(connection, row, apply(row, event))


def add_undo(connection: Connection, by: str, sample_id: str | None) -> SampleRow | None:
    """Takes back the last decision in force of a curator, or of a sample."""
    columns = sample_table.c
    query = select(sample_table).where(columns.decided_event.is_not(None))
    if sample_id is None:
        query = query.where(columns.decided_by == by)
        query = query.order_by(columns.decided_event.desc()).limit(1)
    else:
        query = query.where(columns.id == sample_id)
    row = first_row(connection, query)
    if row is None:
        return None
    payload = {"event": row.decided_event}
    return add_event(connection, row.id, "undone", payload, by, row.version)


def _check_version(row: SampleRow, expected: int) -> None:
    if row.version != expected:
        raise StaleVersionError(
            f"{row.name} changed meanwhile: you saw version {expected}, it is at version "
            f"{row.version} ({row.state}); look at it again and repeat",
            mine=expected,
            theirs=row,
        )


def _decision_of(row: SampleRow) -> int:
    if row.decided_event is None:
        raise ValueError(f"{row.name} is not decided, so there is nothing to review yet")
    return row.decided_event


def _by_identity(connection: Connection, concept: str, identity: str) -> SampleRow | None:
    columns = sample_table.c
    query = select(sample_table).where(columns.concept == concept, columns.identity == identity)
    return first_row(connection, query)


def _relabelling(connection: Connection, row: SampleRow, concept: str) -> dict[str, Any]:
    """Completes the event that gives a sample another concept, where it has room for it."""
    if row.twin_of is not None:
        raise ForgetmeError(f"{row.name} is a second opinion; change the concept of its original")
    there = _by_identity(connection, concept, values_of(row)["identity"])
    if there is not None:
        raise ForgetmeError(
            f"{concept} has this image already, as {there.name} ({there.state}); delete this one"
        )
    name = _free_name(connection, concept, row.name, row.id)
    return {"concept": concept, "name": name, "before": row.concept}


def _free_id(connection: Connection, concept: str, identity: str) -> str:
    """The id of a new sample; one that was given another concept keeps the id that it had."""
    number = 1
    new_id = sample_id(concept, identity)
    while connection.scalar(select(sample_table.c.id).where(sample_table.c.id == new_id)):
        number += 1
        new_id = sample_id(concept, f"{identity}#{number}")
    return new_id


def _free_name(connection: Connection, concept: str, stem: str, new_id: str) -> str:
    columns = sample_table.c
    for name in (stem, *(f"{stem}-{n}" for n in range(2, 10)), f"{stem}-{new_id}"):
        same = select(columns.id).where(
            columns.concept == concept, columns.name_key == name_key(name)
        )
        if connection.scalar(same) is None:
            return name
    raise AssertionError("an id is given once")


def _insert_event(
    connection: Connection,
    sample_id: str,
    kind: str,
    payload: dict[str, Any],
    by: str,
    version: int,
) -> Event:
    at = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    by = plain_text(by)
    values = {
        "at": at,
        "actor": by,
        "sample_id": sample_id,
        "kind": kind,
        "payload": payload,
        "version": version,
    }
    values["digest"] = event_digest(values)
    (event_id,) = connection.execute(insert(event_table).values(values)).inserted_primary_key
    return Event(event_id, at, by, sample_id, kind, payload, version)


def _save(connection: Connection, before: SampleRow | None, after: SampleRow) -> SampleRow:
    values = values_of(after)
    if before is None:
        connection.execute(insert(sample_table).values(line_of(after)))
    else:
        old = values_of(before)
        changed = {key: value for key, value in values.items() if value != old[key]}
        changed["digest"] = digest(sample_table, values)
        if changed.keys() & set(BULKY):
            changed["bulky_digest"] = bulky_digest(values)
        connection.execute(
            update(sample_table).where(sample_table.c.id == after.id).values(changed)
        )
    return after


def _check_undoable(connection: Connection, sample_id: str, event_id: Any) -> None:
    events = events_of(connection, sample_id)
    undone = {event.payload["event"] for event in events if event.kind == "undone"}
    decisions = [event.id for event in events if event.kind in UNDOABLE]
    if event_id not in decisions or event_id in undone:
        raise ValueError(
            f"event {event_id!r} is no decision on {sample_id} that can be undone; "
            f"there are {[number for number in decisions if number not in undone]}"
        )
