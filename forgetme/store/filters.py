"""Which samples, and in which order: the filter of a queue as conditions on the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from sqlalchemy import Column, ColumnElement, Select, and_, func, or_, select

from forgetme.record.sample import STATES
from forgetme.store.names import name_key, plain_text
from forgetme.store.schema import lease, sample

Range = tuple[float | None, float | None]  # both ends included; None: open
VerdictIs = Literal["yes", "no", "none"]
ReviewIs = Literal["approved", "returned", "none"]
HeldIs = Literal["free", "held"]
HowIs = Literal["human", "policy"]
MAX_TEXT = 200

_RANGES: dict[str, Column[Any]] = {
    "clip": sample.c.clip_score,
    "margin": sample.c.clip_margin,
    "d": sample.c.score_d,
    "s": sample.c.score_s,
    "disagreement": sample.c.disagreement,
    "novelty": sample.c.novelty,
}
RANGES = tuple(_RANGES)
_ORDERS: dict[str, Column[Any]] = {
    "import": sample.c.seq,
    "name": sample.c.name_key,
    "updated": sample.c.updated_at,
    "decided": sample.c.decided_event,
    **_RANGES,
}
ORDERS = tuple(_ORDERS)  # each also with "-" in front: from the highest down


@dataclass(frozen=True)
class Filter:
    """Which samples a queue shows; a field left at its default lets everything through."""

    state: tuple[str, ...] = ()
    concept: str | None = None
    curator: str | None = None  # whose decision is in force
    how: HowIs | None = None  # a person decided, or the policy
    verdict: VerdictIs | None = None
    low: bool | None = None  # False: scored and not low
    reviewed: ReviewIs | None = None
    held: HeldIs | None = None
    text: str | None = None  # part of the name, in any case
    clip: Range | None = None
    margin: Range | None = None
    d: Range | None = None
    s: Range | None = None
    disagreement: Range | None = None
    novelty: Range | None = None
    originals: bool = False  # leave out the copies made for second opinions
    fair_to: str | None = None  # leave out copies of images that this person has decided

    def __post_init__(self) -> None:
        """Refuses what no sample can match because it is misspelt.

        Raises:
            ValueError: an unknown word, or a range that is none.
        """
        for one in self.state:
            _one_of("state", one, STATES)
        closed = {"how": HowIs, "verdict": VerdictIs, "reviewed": ReviewIs, "held": HeldIs}
        for name, words in closed.items():
            if getattr(self, name) is not None:
                _one_of(name, getattr(self, name), get_args(words))
        for name in RANGES:
            low, high = getattr(self, name) or (None, None)
            if low is not None and high is not None and not low <= high:
                raise ValueError(f"{name} must go from low to high, got {low} to {high}")

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return all(getattr(self, one.name) == one.default for one in fields(self))

    def conditions(self) -> list[ColumnElement[bool]]:
        """Returns what a line of `sample` must fulfil, for WHERE."""
        c = sample.c
        found = [*self._ranges()]
        if self.state:
            found.append(c.state.in_(self.state))
        # coalesce() keeps to the index of the queue, which holds all that a filter asks for; the
        # indexes of concepts and of decisions lead to the wide line of each sample found.
        if self.concept is not None:
            found.append(func.coalesce(c.concept, "") == plain_text(self.concept).strip())
        if self.curator is not None:
            found.append(func.coalesce(c.decided_by, "") == plain_text(self.curator))
        if self.how is not None:
            found.append(c.decided_how == self.how)
        if self.low is not None:
            found.append(c.low.is_(self.low))
        for column, value in ((c.verdict, self.verdict), (c.reviewed, self.reviewed)):
            if value is not None:
                found.append(column.is_(None) if value == "none" else column == value)
        if self.held is not None:
            taken = held_now()
            found.append(taken if self.held == "held" else ~taken)
        if self.text:
            found.append(_contains(c.name_key, self.text))
        if self.originals:
            found.append(c.twin_of.is_(None))
        if self.fair_to is not None:
            found.append(~kept_from(self.fair_to))
        return found

    def _ranges(self) -> list[ColumnElement[bool]]:
        found = []
        for name, column in _RANGES.items():
            low, high = getattr(self, name) or (None, None)
            if low is not None:
                found.append(column >= low)
            if high is not None:
                found.append(column <= high)
        return found


def narrowed(query: Select[Any], where: Filter | None) -> Select[Any]:
    """Returns the query with a filter's conditions."""
    return query if where is None else query.where(*where.conditions())


def order_by(order: str, *, sorted_anew: bool = False) -> list[ColumnElement[Any]]:
    """Returns what ORDER BY needs: what has no value goes last, ties in the order of import.

    Args:
        order: one of `ORDERS`, "-" in front for from the highest down.
        sorted_anew: keep the database from walking along an index of the order, which reads the
            whole line of every sample that a rare filter does not let through.

    Raises:
        ValueError: an unknown order.
    """
    column, down = _order(order)
    seq = sample.c.seq + 0 if sorted_anew else sample.c.seq
    if column is sample.c.seq:
        return [seq.desc() if down else seq]
    nulls = [column.is_(None)] if column.nullable else []
    return [*nulls, column.desc() if down else column, seq]


def sort_key(order: str) -> Column[Any]:
    """Returns the column of an order."""
    return _order(order)[0]


def after(order: str, value: Any, seq: int) -> ColumnElement[bool]:
    """Returns the condition of all lines behind one whose sort value and `seq` are given.

    A page that begins behind the last one misses nothing and repeats nothing, whatever was decided
    in between; a count of lines to pass over would.
    """
    column, down = _order(order)
    if column is sample.c.seq:
        return column < seq if down else column > seq
    later = sample.c.seq > seq
    if value is None:
        return and_(column.is_(None), later)
    beyond = column < value if down else column > value
    tie = and_(column == value, later)
    nulls = [column.is_(None)] if column.nullable else []
    return or_(beyond, tie, *nulls)


def held_now() -> ColumnElement[bool]:
    """Returns the condition that somebody holds the sample at this moment."""
    return sample.c.id.in_(select(lease.c.sample_id).where(lease.c.until > time.time()))


def kept_from(by: str) -> ColumnElement[bool]:
    """Returns the condition that a person has decided another copy of the sample's image."""
    twin, original = sample.alias("twin"), sample.alias("original")
    # A copy is rare and a decision is not, so the search begins with the copies: an index on who
    # decided is of no use for coalesce().
    copies = select(twin.c.twin_of).where(twin.c.twin_of.is_not(None))
    decided = copies.where(func.coalesce(twin.c.decided_by, "") == by).union(
        copies.join(original, original.c.id == twin.c.twin_of).where(
            func.coalesce(original.c.decided_by, "") == by
        )
    )
    image = func.coalesce(sample.c.twin_of, sample.c.id)
    return and_(image.in_(decided), func.coalesce(sample.c.decided_by, "") != by)


def _order(order: str) -> tuple[Column[Any], bool]:
    name = order.removeprefix("-")
    _one_of("order", name, ORDERS)
    return _ORDERS[name], order.startswith("-")


def _contains(column: Column[Any], text: str) -> ColumnElement[bool]:
    return func.replace(column, name_key(plain_text(text)[:MAX_TEXT]), "") != column


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
