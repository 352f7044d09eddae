"""The queue of the page: samples as short lines, and which of them to prepare next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from forgetme.store.database import Database
from forgetme.store.filters import Filter, after, narrowed, order_by, sort_key
from forgetme.store.schema import event, lease, sample, wanted

WANTED_SECONDS = 600.0  # a wish older than this is nobody's any more
Cursor = tuple[Any, int]  # sort value and seq of the last line of a page


@dataclass(frozen=True, slots=True)
class QueueLine:
    """What a list of samples shows of one; the names are those of `SampleRow`."""

    id: str
    name: str
    concept: str
    state: str
    version: int
    image_sha: str | None
    width: int | None
    height: int | None
    error: str | None
    score_d: float | None
    score_s: float | None
    low: bool | None
    clip_score: float | None
    clip_margin: float | None
    verdict: str | None
    disagreement: float | None
    novelty: float | None
    decided_by: str | None
    decided_how: str | None
    decided_at: str | None
    reviewed: str | None
    reviewed_by: str | None
    comment: str | None
    twin_of: str | None
    held_by: str | None  # who has it open at this moment


@dataclass(frozen=True)
class QueuePage:
    """Some lines of the queue.

    Attributes:
        lines: in the order asked for.
        end: where the last line stands; the next page begins after it. None: no line.
        more: whether there are lines after it.
    """

    lines: list[QueueLine]
    end: Cursor | None
    more: bool


_NAMES = tuple(one.name for one in fields(QueueLine))
_WIDTH = len(_NAMES)


class Queue:
    """The samples of a store as a curator works through them."""

    def __init__(self, database: Database) -> None:
        """Works on the store's own database."""
        self._database = database

    def page(
        self,
        where: Filter | None = None,
        *,
        order: str = "import",
        start: Cursor | None = None,
        limit: int = 200,
    ) -> QueuePage:
        """Returns the first lines, or those after `start`.

        Args:
            where: which samples.
            order: one of `filters.ORDERS`, "-" in front for from the highest down; samples
                without the value go last.
            start: `end` of the page before, of the same order.
            limit: at most this many lines.

        Raises:
            ValueError: an unknown order.
        """
        now = time.time()
        query = narrowed(select(sample.c.id), where)
        if start is not None:
            query = query.where(after(order, *start))
        chosen = query.order_by(*order_by(order, sorted_anew=True)).limit(limit + 1).subquery()
        lines = _lines(now, sort_key(order), sample.c.seq)
        lines = lines.join_from(sample, chosen, chosen.c.id == sample.c.id)
        with self._database.read() as connection:
            found = connection.execute(lines.order_by(*order_by(order))).all()
        rows = found[:limit]
        end = (rows[-1][-2], rows[-1][-1]) if rows else None
        return QueuePage([_line(row) for row in rows], end, len(found) > limit)

    def count(self, where: Filter | None = None) -> int:
        """Returns how many samples a filter lets through."""
        query = narrowed(select(func.count()).select_from(sample), where)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def lines(self, ids: Sequence[str]) -> list[QueueLine]:
        """Returns the lines of these samples, those that exist, in the order of `ids`."""
        query = _lines(time.time()).where(sample.c.id.in_(ids))
        with self._database.read() as connection:
            found = {row[0]: _line(row) for row in connection.execute(query)}
        return [found[one] for one in ids if one in found]

    def deciders(self) -> list[str]:
        """Returns everybody whose decision is in force somewhere, in alphabetical order."""
        query = select(sample.c.decided_by).where(sample.c.decided_by.is_not(None)).distinct()
        with self._database.read() as connection:
            return sorted(connection.scalars(query))

    # What curators will look at soon

    def want(self, sample_ids: Sequence[str]) -> None:
        """Says which samples somebody will look at next, the nearest first."""
        insert_ = (sqlite if self._database.is_sqlite else postgresql).insert
        now = time.time()
        with self._database.write() as connection:
            connection.execute(delete(wanted).where(wanted.c.at < now - WANTED_SECONDS))
            for place, sample_id in enumerate(dict.fromkeys(sample_ids)):
                new = {"at": now, "place": place}
                connection.execute(
                    insert_(wanted)
                    .values(sample_id=sample_id, **new)
                    .on_conflict_do_update(index_elements=[wanted.c.sample_id], set_=new)
                )

    def to_prepare(self, *, ready: int, limit: int) -> list[str]:
        """Returns samples that a machine may prepare next, the most urgent first.

        First those that somebody will look at, then of each concept the first ones in the order
        of import, until `ready` of it wait for a decision. What somebody has open is left out:
        the page itself prepares that.

        Args:
            ready: undecided samples of a concept to keep prepared.
            limit: return at most this many.
        """
        columns = sample.c
        fresh = select(columns.id).where(_fresh(), _nobody_has_it())
        unfilled = and_(
            columns.state == "prepared", columns.chosen.is_not(None), columns.picked_try.is_(None)
        )
        near = _near(or_(_fresh(), unfilled)).limit(limit)
        with self._database.read() as connection:
            found = list(connection.scalars(near))
            for concept in connection.scalars(
                select(columns.concept).where(_fresh()).distinct()
            ).all():
                if len(found) >= limit:
                    break
                lacking = ready - _count_ready(connection, concept, ready)
                if lacking > 0:
                    query = fresh.where(columns.concept == concept).order_by(columns.seq)
                    found += connection.scalars(query.limit(min(lacking, limit)))
        return list(dict.fromkeys(found))[:limit]

    def is_brought(self, sample_id: str) -> bool:
        """Tells whether a sample's mask is as a dataset brought it, and waits for its fill."""
        query = select(sample.c.id).where(sample.c.id == sample_id, _is_brought())
        with self._database.read() as connection:
            return connection.scalar(query) is not None

    def to_embed(self) -> list[str]:
        """Returns the images of prepared samples that somebody will look at, the nearest first."""
        columns = sample.c
        near = _near(columns.state.in_(("prepared", "waiting")), columns.image_sha)
        with self._database.read() as connection:
            return [sha for sha in connection.scalars(near) if sha is not None]


def _fresh() -> ColumnElement[bool]:
    """Whether nothing was done to a sample since it came, so that a machine may begin."""
    return or_(sample.c.state == "new", _is_brought())


def _is_brought() -> ColumnElement[bool]:
    """Whether a mask is as a dataset brought it, without its fill; no hand has edited it since."""
    columns = sample.c
    brought = (
        select(event.c.id)
        .where(
            event.c.sample_id == columns.id,
            event.c.kind == "mask_edited",
            event.c.payload["how"].as_string() == "imported",
            event.c.payload["mask_sha"].as_string() == columns.mask_sha,
        )
        .correlate(sample)
    )
    unfilled = and_(columns.state == "prepared", columns.picked_try.is_(None))
    return and_(unfilled, columns.chosen.is_(None), brought.exists())


def _nobody_has_it() -> ColumnElement[bool]:
    held = select(lease.c.sample_id).where(lease.c.until > time.time())
    return sample.c.id.not_in(held)


def _near(condition: ColumnElement[bool], what: Column = sample.c.id) -> Select[Any]:
    """Selects among the samples that somebody will look at and nobody has open."""
    return (
        select(what)
        .join(wanted, wanted.c.sample_id == sample.c.id)
        .where(wanted.c.at >= time.time() - WANTED_SECONDS, condition, _nobody_has_it())
        .order_by(wanted.c.place, wanted.c.at.desc())
    )


def _count_ready(connection: Connection, concept: str, enough: int) -> int:
    columns = sample.c
    ready = and_(columns.state.in_(("prepared", "waiting")), ~_is_brought())
    query = select(columns.id).where(columns.concept == concept, ready).limit(enough)
    return len(connection.execute(query).all())


def _lines(now: float, *more: ColumnElement[Any]) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [sample.c[name] for name in _NAMES if name != "held_by"]
    holder = (
        select(lease.c.holder)
        .where(and_(lease.c.sample_id == sample.c.id, lease.c.until > now))
        .scalar_subquery()
    )
    return select(*columns, holder.label("held_by"), *more)


def _line(row: Row[Any]) -> QueueLine:
    return QueueLine(*row[:_WIDTH])
