"""Looking after a store: compare it with its events, derive it again, copy it."""

from collections.abc import Iterator
from itertools import groupby, islice

from sqlalchemy import Connection, delete, insert, select, text

from forgetme.errors import ForgetmeError
from forgetme.store.blobs import Blobs
from forgetme.store.database import Database
from forgetme.store.project import project
from forgetme.store.record import Event, SampleRow
from forgetme.store.rows import event_of, first_row, values_of
from forgetme.store.schema import event, metadata, sample

BATCH = 500  # rows a statement
_STREAM = {"yield_per": BATCH}
_SHA_KEYS = ("image_sha", "mask_sha")


def check(database: Database, blobs: Blobs) -> list[str]:
    """Returns one sentence for each damage found in the database or among the images."""
    problems, shas = [], set()
    with database.read() as connection:
        if database.is_sqlite:
            found = connection.scalars(text("PRAGMA integrity_check")).all()
            problems += [f"{database.name}: {line}" for line in found if line != "ok"]
        for events in _histories(connection):
            row = first_row(connection, select(sample).where(sample.c.id == events[0].sample_id))
            problems += _compare(events, row)
            shas |= {one.payload.get(key) for one in events for key in _SHA_KEYS} - {None}
        known = select(event.c.sample_id)
        for lost in connection.scalars(select(sample.c.id).where(sample.c.id.not_in(known))):
            problems.append(f"sample {lost} has no events; run rebuild")
    return problems + [problem for sha in sorted(shas) if (problem := blobs.problem(sha))]


def rebuild(database: Database) -> int:
    """Derives all samples from the events again, in one transaction, and returns their number."""
    with database.write() as connection:
        return derive(connection)


def derive(connection: Connection) -> int:
    """Derives all samples from the events inside a transaction that is already open.

    Raises:
        ForgetmeError: the events of a sample do not fit each other.
    """
    connection.execute(delete(sample))
    rows = (values_of(_folded(events)) for events in _histories(connection))
    count = 0
    while batch := list(islice(rows, BATCH)):
        connection.execute(insert(sample), batch)
        count += len(batch)
    return count


def _folded(events: list[Event]) -> SampleRow:
    try:
        return project(events)
    except (KeyError, ValueError) as error:
        raise ForgetmeError(
            f"the events of sample {events[0].sample_id} do not fit each other ({error}); "
            "bring back a backup"
        ) from error


def copy(source: Database, target: Database) -> None:
    """Copies every table that is meant to last, as of one moment, into a new store."""
    with source.read() as old, target.write() as new:
        for table in metadata.sorted_tables:
            if not table.info.get("copied", True):
                continue
            lines = old.execute(select(table), execution_options=_STREAM).mappings()
            for part in lines.partitions():
                new.execute(insert(table), [dict(line) for line in part])


def _histories(connection: Connection) -> Iterator[list[Event]]:
    query = select(event).order_by(event.c.sample_id, event.c.version)
    lines = connection.execute(query, execution_options=_STREAM).mappings()
    for _, events in groupby(map(event_of, lines), key=lambda one: one.sample_id):
        yield list(events)


def _compare(events: list[Event], row: SampleRow | None) -> list[str]:
    sample_id = events[0].sample_id
    if [one.version for one in events] != list(range(1, len(events) + 1)):
        return [f"sample {sample_id}: events are missing; bring back a backup"]
    try:
        derived = project(events)
    except (KeyError, ValueError) as error:
        return [f"sample {sample_id}: its events do not fit ({error}); bring back a backup"]
    return [] if derived == row else [f"sample {sample_id} differs from its events; run rebuild"]
