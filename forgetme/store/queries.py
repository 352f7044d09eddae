"""Reads over a whole store: scores, cards, the audit log, and what a team did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, Select, case, func, or_, select

from forgetme.store.database import Database
from forgetme.store.project import DECISIONS
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


@dataclass(frozen=True)
class Tally:
    """One person's decisions that are in force."""

    by: str
    accepted: int
    rejected: int
    skipped: int
    flagged: int
    low: int  # accepted ones whose scores are low
    approved: int  # by a lead


class Queries:
    """Reads a store's samples and events as sets; writes nothing."""

    def __init__(self, database: Database) -> None:
        """Reads from the store's own database."""
        self._database = database

    # The dataset, of which twins, which are second opinions, are no part

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

    # The team

    def tallies(self) -> list[Tally]:
        """Returns what each person decided, by name; the policy is no person."""
        columns = sample.c

        def count(condition):  # noqa: ANN001, ANN202 (SQL expressions)
            return func.sum(case((condition, 1), else_=0)).cast(Integer)

        accepted = columns.state == "accepted"
        query = (
            select(
                columns.decided_by,
                *(count(columns.state == state) for state in DECISIONS),
                count(accepted & columns.low.is_(True)),
                count(columns.reviewed == "approved"),
            )
            .where(columns.decided_by.is_not(None), columns.decided_how == "human")
            .group_by(columns.decided_by)
            .order_by(columns.decided_by)
        )
        with self._database.read() as connection:
            return [Tally(*line) for line in connection.execute(query)]

    def moments(self, limit: int = 20_000) -> list[tuple[str, str]]:
        """Returns (who, when) of the last decisions, oldest first, undone ones too."""
        columns = event.c
        query = (
            select(columns.actor, columns.at)
            .where(columns.kind.in_(DECISIONS), columns.actor != "policy")
            .order_by(columns.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [tuple(line) for line in connection.execute(query)][::-1]

    def returned(self) -> dict[str, int]:
        """Returns how often each person's decisions were sent back by a lead."""
        decision = event.alias("decision")
        # Few events are reviews, so their payloads are read here rather than in two SQL dialects.
        query = select(event.c.payload).where(event.c.kind == "reviewed")
        with self._database.read() as connection:
            payloads = list(connection.scalars(query))
            ids = [one["event"] for one in payloads if one["verdict"] == "returned"]
            found = select(decision.c.id, decision.c.actor).where(decision.c.id.in_(ids))
            actor = dict(connection.execute(found).all())
        counts: dict[str, int] = {}
        for one in ids:
            counts[actor[one]] = counts.get(actor[one], 0) + 1
        return counts

    def comments(self, limit: int = 100) -> list[tuple[Event, str, str]]:
        """Returns the last comments and reviews, newest first, with sample name and concept."""
        columns = event.c
        query = (
            select(event, sample.c.name, sample.c.concept)
            .join(sample, sample.c.id == columns.sample_id)
            .where(or_(columns.kind == "commented", columns.kind == "reviewed"))
            .order_by(columns.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            lines = connection.execute(query).mappings().all()
        return [(event_of(line), line["name"], line["concept"]) for line in lines]

    def copies(self) -> list[list[SampleRow]]:
        """Returns the samples that are there more than once: the original first, then its twins."""
        twin = sample.alias("twin")
        has_twins = select(twin.c.id).where(twin.c.twin_of == sample.c.id).exists()
        query = (
            select(*light_columns())
            .where(or_(sample.c.twin_of.is_not(None), has_twins))
            .order_by(func.coalesce(sample.c.twin_of, sample.c.id), sample.c.seq)
        )
        with self._database.read() as connection:
            rows = rows_in(connection, query)
        groups: dict[str, list[SampleRow]] = {}
        for row in rows:
            groups.setdefault(row.twin_of or row.id, []).append(row)
        return list(groups.values())

    def to_review(self, *, by: str | None = None, limit: int = 60) -> tuple[list[SampleRow], int]:
        """Returns accepted samples that no lead has reviewed, oldest decision first, and how many.

        Args:
            by: only this person's.
            limit: at most this many rows.
        """
        columns = sample.c
        waiting = [columns.state == "accepted", columns.reviewed.is_(None)]
        if by is not None:
            waiting.append(columns.decided_by == by)
        query = select(*light_columns()).where(*waiting).order_by(columns.decided_event)
        with self._database.read() as connection:
            total = connection.scalar(select(func.count()).select_from(sample).where(*waiting))
            return rows_in(connection, query.limit(limit)), total or 0


def _chosen(which: TrailFilter) -> Select:
    query = select(event)
    if which.by is not None:
        query = query.where(event.c.actor == which.by)
    if which.kind is not None:
        query = query.where(event.c.kind == which.kind)
    if which.sample_id is not None:
        query = query.where(event.c.sample_id == which.sample_id)
    return query
