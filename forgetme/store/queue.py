"""The queue of the page: a page of samples as short lines, by any filter and order, and counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, select

from forgetme.store.database import Database
from forgetme.store.filters import Filter, after, narrowed, order_by, sort_key
from forgetme.store.schema import lease, sample

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
    """Reads the samples of a store as a curator works through them."""

    def __init__(self, database: Database) -> None:
        """Reads from the store's own database."""
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
