"""Looking after a store: compare it with its events, derive it again, copy it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby, islice
from typing import Any

import numpy as np
from sqlalchemy import (
    Connection,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    insert,
    select,
    text,
    update,
)

from forgetme.errors import ForgetmeError
from forgetme.record.images import array_sha, read_image
from forgetme.record.masks import rle_decode
from forgetme.store.blobs import Blobs
from forgetme.store.database import Database
from forgetme.store.project import project
from forgetme.store.record import Event, SampleRow
from forgetme.store.rows import event_digest, event_of, event_problem, events_of, line_of
from forgetme.store.schema import (
    access_token,
    event,
    job,
    look,
    metadata,
    person,
    preference,
    sample,
    session,
)
from forgetme.store.sums import damage, digest, is_whole, same

BATCH = 500  # rows a statement
_STREAM = {"yield_per": BATCH}
_SHA_KEYS = ("image_sha", "mask_sha")
_LESS = (
    session,
    access_token,
    preference,
    job,
    look,
)  # lines of these cost no more than doing a thing again
_SEALED = (person, *_LESS)


def check(database: Database, blobs: Blobs) -> list[str]:
    """Returns one sentence for each damage found in the database or among the images."""
    problems: list[str] = []
    shas: set[str | None] = set()
    try:
        with database.read() as connection:
            _check_rows(database, connection, problems, shas)
    except ForgetmeError as error:  # so damaged that it cannot be read on
        problems.append(str(error))
    named = sorted(shas - {None})
    return problems + [problem for sha in named if (problem := blobs.problem(sha))]


def _check_rows(
    database: Database, connection: Connection, problems: list[str], shas: set[str | None]
) -> None:
    if database.is_sqlite:
        found = connection.scalars(text("PRAGMA integrity_check")).all()
        problems += [f"{database.name}: {line}" for line in found if line != "ok"]
    for lines in _lines(connection):
        if damaged := [problem for line in lines if (problem := event_problem(line))]:
            problems += damaged
            continue
        events = [event_of(line) for line in lines]
        found = select(sample).where(sample.c.id == events[0].sample_id)
        problems += _compare(events, connection.execute(found).mappings().first())
        shas |= {one.payload.get(key) for one in events for key in _SHA_KEYS}
    known = select(event.c.sample_id)
    for lost in connection.scalars(select(sample.c.id).where(sample.c.id.not_in(known))):
        problems.append(f"sample {lost} has no events; run rebuild")
    for table, line in _damaged(connection):
        todo = "run rebuild, which removes it"
        if table is person:
            todo = f"bring back a backup, or: python -m forgetme people remove {line['name']}"
        problems.append(f"{damage(table, line)}; {todo}")


def _damaged(connection: Connection) -> Iterator[tuple[Table, Mapping[str, Any]]]:
    """Yields the lines of the tables beside the log that are not what was written."""
    for table in _SEALED:
        for line in connection.execute(select(table)).mappings().all():
            if not is_whole(table, line):
                yield table, line


def rebuild(database: Database, blobs: Blobs) -> int:
    """Derives all samples from the events again, in one transaction, and returns their number.

    Images that are lost or damaged are made again where the log says how. What is damaged beside
    the log and can be had again, such as a session, is removed.
    """
    with database.write() as connection:
        database.mend_indexes(connection)
        count = derive(connection)
        for table, line in list(_damaged(connection)):
            if table in _LESS:
                connection.execute(delete(table).where(same(table, line)))
    database.go_on()
    with database.read() as connection:
        shas = {
            one.payload.get(k)
            for events in _histories(connection)
            for one in events
            for k in _SHA_KEYS
        }
    for sha in sorted(shas - {None}):
        if blobs.problem(sha):
            remake(database, blobs, sha)
    return count


def derive(connection: Connection) -> int:
    """Derives all samples from the events inside a transaction that is already open.

    Raises:
        ForgetmeError: the events of a sample do not fit each other.
    """
    connection.execute(delete(sample))
    rows = (line_of(_folded(events)) for events in _histories(connection))
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


def seal(connection: Connection) -> None:
    """Hashes the lines that an older version wrote without."""
    query = select(event).where(event.c.digest.is_(None)).order_by(event.c.id).limit(BATCH)
    while lines := connection.execute(query).mappings().all():
        sums = [{"one": line["id"], "sum": event_digest(line)} for line in lines]
        change = update(event).where(event.c.id == bindparam("one")).values(digest=bindparam("sum"))
        connection.execute(change, sums)
    for table in _SEALED:
        for line in connection.execute(select(table).where(table.c.digest.is_(None))).mappings():
            change = update(table).where(same(table, line)).values(digest=digest(table, line))
            connection.execute(change)


def remake(database: Database, blobs: Blobs, sha: str) -> bool:
    """Makes a lost or damaged image again, where the log says how; returns whether it did.

    A mask is made from its proposal, an original from the file that it came from.
    """
    found = cast(event.c.payload, Text).contains(sha)
    query = select(event.c.sample_id).where(found).distinct()
    with database.read() as connection:
        ids = list(connection.scalars(query))
        histories = [events_of(connection, sample_id) for sample_id in ids]
    return any(blobs.put(made) == sha for events in histories for made in _makings(events, sha))


def _makings(events: list[Event], sha: str) -> Iterator[np.ndarray]:
    """Yields what may be the image: made as each event that names it was."""
    proposals: list[dict[str, Any]] = []
    for one in events:
        proposals = one.payload.get("proposals", proposals)
        index = one.payload.get("chosen" if one.kind == "proposed" else "index")
        if one.payload.get("mask_sha") == sha and type(index) is int and index < len(proposals):
            with suppress(ValueError, KeyError):
                yield rle_decode(proposals[index]["rle"])
        if one.kind == "imported" and one.payload.get("image_sha") == sha:
            with suppress(ForgetmeError):
                image = read_image(one.payload.get("source", ""))
                if array_sha(image) == sha:
                    yield image


def _lines(connection: Connection) -> Iterator[list[Mapping[str, Any]]]:
    """Yields the lines of the log, sample by sample."""
    query = select(event).order_by(event.c.sample_id, event.c.version)
    lines = connection.execute(query, execution_options=_STREAM).mappings()
    for _, group in groupby(lines, key=lambda line: line["sample_id"]):
        yield list(group)


def _histories(connection: Connection) -> Iterator[list[Event]]:
    return ([event_of(line) for line in lines] for lines in _lines(connection))


def _compare(events: list[Event], line: Mapping[str, Any] | None) -> list[str]:
    sample_id = events[0].sample_id
    if [one.version for one in events] != list(range(1, len(events) + 1)):
        return [f"sample {sample_id}: events are missing; bring back a backup"]
    try:
        derived = line_of(project(events))
    except (KeyError, ValueError) as error:
        return [f"sample {sample_id}: its events do not fit ({error}); bring back a backup"]
    fits = line is not None and dict(line) == derived
    return [] if fits else [f"sample {sample_id} differs from its events; run rebuild"]
