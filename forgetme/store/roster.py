"""What a team did, read from the store: tallies, times, comments, reviews, second opinions."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Integer, case, func, or_, select

from forgetme.store.database import Database
from forgetme.store.project import DECISIONS
from forgetme.store.record import Event, SampleRow
from forgetme.store.rows import event_of, light_columns, rows_in
from forgetme.store.schema import event, sample


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


class Roster:
    """Reads who did what; writes nothing."""

    def __init__(self, database: Database) -> None:
        """Reads the store's own database."""
        self._database = database

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
