"""Lines of the database to the records handed out, and back."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import Column, Connection, Select, select

from forgetme.errors import ForgetmeError
from forgetme.store.database import Unreadable
from forgetme.store.names import name_key, plain_text
from forgetme.store.project import project
from forgetme.store.record import Event, SampleRow
from forgetme.store.schema import BULKY, event, sample
from forgetme.store.sums import bulky_digest, digest, is_whole

_log = logging.getLogger(__name__)
_FIELDS = tuple(field.name for field in fields(SampleRow))


def light_columns() -> list[Column[Any]]:
    """Returns all columns of a sample but the bulky ones."""
    return [column for column in sample.c if column.name not in BULKY]


def rows_in(connection: Connection, query: Select[Any]) -> list[SampleRow]:
    """Returns the samples that a query finds; what a line lacks is None.

    One that is not what was written is derived from its events.

    Raises:
        ForgetmeError: its events are damaged, too.
    """
    lines = connection.execute(query).mappings().all()
    return [_row(line) if is_whole(sample, line) else _derived(connection, line) for line in lines]


def _row(line: Mapping[str, Any]) -> SampleRow:
    return SampleRow(**{name: line.get(name) for name in _FIELDS})


def _derived(connection: Connection, line: Mapping[str, Any]) -> SampleRow:
    words = f"the row of sample {line['id']} is damaged; run `python -m forgetme store rebuild`"
    events = events_of(connection, line["id"])
    if not events:
        raise ForgetmeError(words)
    _log.warning("%s. Until then it is derived from its events each time", words)
    return _row({name: value for name, value in values_of(project(events)).items() if name in line})


def values_of(row: SampleRow) -> dict[str, Any]:
    """Returns a sample's line."""
    values = {name: getattr(row, name) for name in _FIELDS}
    identity = row.image_sha or broken_identity(row.source, row.name)
    if row.twin_number is not None:
        identity = twin_identity(identity, row.twin_number)
    return {**values, "identity": identity, "name_key": name_key(row.name)}


def line_of(row: SampleRow) -> dict[str, Any]:
    """Returns a sample's line with its hashes."""
    values = values_of(row)
    return {**values, "digest": digest(sample, values), "bulky_digest": bulky_digest(values)}


def twin_identity(image_sha: str, number: int) -> str:
    """Returns what lets one image be in a concept more than once."""
    return f"{image_sha}#{number}"


def broken_identity(source: str, name: str) -> str:
    """Returns what makes a file without pixels the same sample again."""
    return f"broken:{plain_text(source or name)}"


def first_row(connection: Connection, query: Select[Any]) -> SampleRow | None:
    """Returns the first sample that a query finds."""
    return next(iter(rows_in(connection, query.limit(1))), None)


def row_by_id(connection: Connection, sample_id: str, *, light: bool = False) -> SampleRow:
    """Returns a sample with all it has, or without its bulky parts.

    Raises:
        ForgetmeError: there is no such sample.
    """
    query = select(*light_columns()) if light else select(sample)
    row = first_row(connection, query.where(sample.c.id == sample_id))
    if row is None:
        raise ForgetmeError(f"the store has no sample {sample_id!r}; list them with samples()")
    return row


def event_of(line: Mapping[str, Any]) -> Event:
    """Returns the record of a line.

    Raises:
        ForgetmeError: it is not what was written.
    """
    if damage := event_problem(line):
        raise ForgetmeError(damage)
    return Event(
        id=line["id"],
        at=line["at"],
        by=line["actor"],
        sample_id=line["sample_id"],
        kind=line["kind"],
        payload=line["payload"],
        version=line["version"],
    )


def event_problem(line: Mapping[str, Any]) -> str | None:
    """Says that a line of the log is not what was written, or None."""
    event_id, known = line["id"], line["digest"]
    if not isinstance(line["payload"], Unreadable) and known in (None, event_digest(line)):
        return None
    return (
        f"event {event_id} of sample {line['sample_id']} is damaged: it is not what was written; "
        "bring back a backup"
    )


def event_digest(line: Mapping[str, Any]) -> str:
    """Hashes all that an event says, but its id: 64 hex digits."""
    parts = [line[key] for key in ("at", "actor", "sample_id", "kind", "version", "payload")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


def events_of(connection: Connection, sample_id: str) -> list[Event]:
    """Returns all events of a sample, oldest first.

    Raises:
        ForgetmeError: one of them is damaged or missing.
    """
    query = select(event).where(event.c.sample_id == sample_id).order_by(event.c.version)
    events = [event_of(line) for line in connection.execute(query).mappings()]
    if [one.version for one in events] != list(range(1, len(events) + 1)):
        raise ForgetmeError(f"sample {sample_id}: events are missing; bring back a backup")
    return events
