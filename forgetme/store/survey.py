"""Reads over a whole store: every sample's scores at once, cards of a few, the audit trail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from forgetme.store.database import Database
from forgetme.store.record import Event, SampleRow
from forgetme.store.rows import event_of, light_columns, rows_in
from forgetme.store.schema import event, sample

_STREAM = 500  # events a page of a long read


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """What a histogram and a filter need to know of one sample."""

    id: str
    concept: str
    state: str
    low: bool | None
    d: float | None  # Entangled-D of the picked try
    s: float | None  # Entangled-S of the picked try
    clip: float | None  # of the chosen proposal, else of the best one
    image_sha: str | None
    lineage: dict[str, Any] | None


@dataclass(frozen=True)
class Scores:
    """The lines of a store, or those that changed since an earlier read."""

    upto: int  # id of the last event they tell of; the next read continues after it
    whole: bool  # all lines of the store, in the order of import
    lines: list[ScoreLine]


@dataclass(frozen=True)
class TrailFilter:
    """Which events of the audit trail; None: any."""

    by: str | None = None
    kind: str | None = None
    sample_id: str | None = None


class Survey:
    """Reads a store's samples as a set; twins are second opinions and no part of the dataset."""

    def __init__(self, database: Database) -> None:
        """Reads from the store's own database."""
        self._database = database

    def scores(self, after: int = 0) -> Scores:
        """Returns the scores of all samples, or only of those with events since `after`.

        Args:
            after: `upto` of an earlier read, 0 for everything. One that lies ahead of the store,
                as after a backup was brought back, gives everything too.
        """
        columns = sample.c
        query = (
            select(
                columns.id, columns.concept, columns.state, columns.low,
                columns.score_d, columns.score_s, columns.clip_score,
                columns.image_sha, columns.lineage,
            )
            .where(columns.twin_of.is_(None))
            .order_by(columns.seq)
        )  # fmt: skip
        with self._database.read() as connection:
            upto = connection.scalar(select(func.max(event.c.id))) or 0
            if after == upto > 0:
                return Scores(upto, False, [])  # the page asks often, and mostly nothing is new
            whole = not 0 < after <= upto
            if not whole:
                query = query.where(
                    columns.id.in_(select(event.c.sample_id).where(event.c.id > after))
                )
            lines = [ScoreLine(*line) for line in connection.execute(query)]
        return Scores(upto, whole, lines)

    def rows(self, ids: Sequence[str]) -> list[SampleRow]:
        """Returns the light rows of these samples, those that exist, in the order of `ids`."""
        query = select(*light_columns()).where(sample.c.id.in_(ids))
        with self._database.read() as connection:
            found = {row.id: row for row in rows_in(connection, query)}
        return [found[one] for one in ids if one in found]

    def names(self, ids: Sequence[str]) -> dict[str, str]:
        """Returns the names of these samples by id."""
        query = select(sample.c.id, sample.c.name).where(sample.c.id.in_(set(ids)))
        with self._database.read() as connection:
            return {line.id: line.name for line in connection.execute(query)}

    def actors(self) -> list[str]:
        """Returns everybody who ever did something, in alphabetical order."""
        query = select(event.c.actor).distinct().order_by(event.c.actor)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def trail(self, which: TrailFilter, *, before: int | None = None, limit: int) -> list[Event]:
        """Returns the last events below the id `before`, newest first."""
        query = _chosen(which).order_by(event.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(event.c.id < before)
        with self._database.read() as connection:
            return [event_of(line) for line in connection.execute(query).mappings()]

    def whole_trail(self, which: TrailFilter) -> Iterator[Event]:
        """Yields the events from the first to the last one there is now, a few at a time.

        No transaction stays open between two of them, so a slow reader holds nobody up.
        """
        with self._database.read() as connection:
            last = connection.scalar(select(func.max(event.c.id))) or 0
        query = _chosen(which).where(event.c.id <= last).order_by(event.c.id).limit(_STREAM)
        at = 0
        while True:
            with self._database.read() as connection:
                found = connection.execute(query.where(event.c.id > at)).mappings().all()
            yield from map(event_of, found)
            if len(found) < _STREAM:
                return
            at = found[-1]["id"]


def _chosen(which: TrailFilter) -> Select:
    query = select(event)
    if which.by is not None:
        query = query.where(event.c.actor == which.by)
    if which.kind is not None:
        query = query.where(event.c.kind == which.kind)
    if which.sample_id is not None:
        query = query.where(event.c.sample_id == which.sample_id)
    return query
