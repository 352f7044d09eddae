"""Which samples the Dataset tab shows: filter, order and histograms over the whole store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, field
from threading import Lock
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from forgetme.curate.review import Review
from forgetme.dataset.splits import SPLITS, split_of
from forgetme.store import SampleRow, Store
from forgetme.store.queries import ScoreLine
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.views import summary

Json = dict[str, Any]
Show = Literal["accepted", "to review", "flagged", "rejected or skipped", "all states"]
Order = Literal[
    "in order of import", "lowest D first", "highest D first", "lowest S first",
    "highest S first", "lowest CLIP first", "highest CLIP first",
]  # fmt: skip
Part = Literal["", "train", "validation", "test"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None

SHOWS: dict[Show, tuple[str, ...]] = {
    "accepted": ("accepted",),
    "to review": ("new", "prepared", "waiting"),
    "flagged": ("flagged",),
    "rejected or skipped": ("rejected", "skipped"),
    "all states": (),
}
MEASURES = {"d": "Entangled-D", "s": "Entangled-S", "clip": "CLIP"}
BINS = 40  # over [0, 1]
PAGE = 48  # samples
COLUMNS = ("id", "concept", "state", "split", "low", *MEASURES)
SHOWN, LEFT_OUT = "shown", "left out"
EMPTY = pd.Series(dtype=float), pd.Series(dtype=bool)
Page = Annotated[int, Field(ge=0, le=MAX_NUMBER)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Range:
    """Which values of a measure; None: no limit.

    Attributes:
        least: the lowest value that passes.
        below: values below it pass; 1 passes, too, where it is 1.
    """

    least: Share = None
    below: Share = None

    @property
    def narrow(self) -> bool:
        """Whether it leaves anything out, a missing value among it."""
        return (self.least or 0) > 0 or (self.below is not None and self.below < 1)

    def holds(self, values: pd.Series) -> pd.Series:
        """Returns which values lie in it; a missing one lies in no range."""
        most = values <= 1 if self.below in (None, 1) else values < self.below
        return (values >= (self.least or 0)) & most


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Filter:
    """Which samples, and in which order.

    Attributes:
        concept: what was to be forgotten; empty: all.
        show: by state.
        split: train, validation or test; empty: all.
        low: only those whose scores are low.
        order: those without the score come last.
        d: of Entangled-D.
        s: of Entangled-S.
        clip: of the ranker's score of the mask.
    """

    concept: Annotated[str, Field(max_length=200)] = ""
    show: Show = "accepted"
    split: Part = ""
    low: bool = False
    order: Order = "in order of import"
    d: Range = field(default_factory=Range)
    s: Range = field(default_factory=Range)
    clip: Range = field(default_factory=Range)

    @property
    def words(self) -> list[str]:
        """What narrows the choice beyond the state, in words."""
        ranges = [f"a range of {title}" for name, title in MEASURES.items()
                  if getattr(self, name).narrow]  # fmt: skip
        parts = [self.concept, self.split and f"{self.split} split", "low only" if self.low else ""]
        return [*filter(None, parts), *ranges]


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Found:
    """What a filter lets through.

    Attributes:
        ids: of the samples, in order.
        of: how many have the wanted states.
        total: of them, before the split and the ranges.
        splits: of these, how many in each.
        bars: of each measure the histogram: `score` (middle of a bin), `pictures`, `part`.
        means: of each measure over what is shown; None without scores.
        missing: of each measure, how many of the shown have none.
    """

    ids: list[str]
    of: int
    total: int
    splits: dict[str, int]
    bars: dict[str, pd.DataFrame]
    means: dict[str, float | None]
    missing: dict[str, int]


class Known:
    """The scores of all samples of a store: read once, then only what changed since."""

    def __init__(self, store: Store) -> None:
        """Reads nothing yet."""
        self._store, self._lock, self._upto = store, Lock(), 0
        self._lines: dict[str, tuple] = {}
        self._table = _table([])

    def now(self) -> tuple[int, pd.DataFrame]:
        """Returns up to which event, and a line a sample in the order of import."""
        with self._lock:
            found = self._store.queries.scores(self._upto)
            if found.whole:
                self._lines = {}
            if found.whole or found.lines:
                self._lines |= {one.id: _line(one) for one in found.lines}
                self._table = _table(list(self._lines.values()))
            self._upto = found.upto
            return self._upto, self._table


def filtered(table: pd.DataFrame, asked: Filter) -> Found:
    """Chooses, orders and counts the lines of a table."""
    states = SHOWS[asked.show]
    mine = table[table["state"].isin(states)] if states else table
    of = len(mine)
    if asked.concept:
        mine = mine[mine["concept"] == asked.concept]
    if asked.low:
        mine = mine[mine["low"]]
    total, splits = len(mine), mine["split"].value_counts()
    if asked.split:
        mine = mine[mine["split"] == asked.split]
    inside = pd.Series(True, index=mine.index)
    for name in MEASURES:
        one: Range = getattr(asked, name)
        if one.narrow:
            inside &= one.holds(mine[name])
    shown = mine[inside]
    if asked.order != "in order of import":
        direction, measure, _ = asked.order.split()
        shown = shown.sort_values(measure.lower(), ascending=direction == "lowest", kind="stable")
    means = {name: shown[name].mean() for name in MEASURES}
    return Found(
        ids=shown["id"].tolist(),
        of=of,
        total=total,
        splits={name: int(splits.get(name, 0)) for name in SPLITS},
        bars={name: histogram(mine[name], inside) for name in MEASURES},
        means={name: None if pd.isna(one) else float(one) for name, one in means.items()},
        missing={name: int(shown[name].isna().sum()) for name in MEASURES},
    )


def histogram(values: pd.Series, inside: pd.Series) -> pd.DataFrame:
    """Counts values in [0, 1], those that are inside beside those that are left out.

    Empty bins are there, too: the chart shows the axis from its first bin to its last.
    """
    there = values.notna()
    bins = (values[there] * BINS).floordiv(1).clip(0, BINS - 1).astype(int)
    lines = [
        ((place + 0.5) / BINS, int(count), part)
        for part, which in ((SHOWN, inside[there]), (LEFT_OUT, ~inside[there]))
        for place, count in bins[which].value_counts().reindex(range(BINS), fill_value=0).items()
    ]
    typed = {"score": float, "pictures": int, "part": str}
    return pd.DataFrame(lines, columns=list(typed)).astype(typed)


def snapped(start: float, end: float) -> Range:
    """Returns the range of the bins that a brush touches."""
    low = min(BINS - 1, max(0, int(math.floor(min(start, end) * BINS + 1e-9))))
    high = min(BINS, max(low + 1, int(math.ceil(max(start, end) * BINS - 1e-9))))
    return Range(low / BINS or None, None if high == BINS else high / BINS)


def table1(review: Review) -> list[Json]:
    """Tells of each concept how many images it has, and what became of them."""
    return [asdict(line) for line in review.store.table1()]


def cards(store: Store, ids: Sequence[str]) -> list[Json]:
    """Returns what the gallery shows of samples; their pictures by content."""
    return [_card(row) for row in store.queries.rows(ids)]


def _card(row: SampleRow) -> Json:
    picked = None if row.picked_try is None else row.tries[row.picked_try]
    return {
        **summary(row),
        "mask_sha": row.mask_sha,
        "background_sha": picked and picked["image_sha"],
        "clip": row.clip_score,
        "split": split_of(row),
    }


def _line(one: ScoreLine) -> tuple:
    return (one.id, one.concept, one.state, split_of(one), bool(one.low), one.d, one.s, one.clip)


def _table(lines: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    return table.astype({"low": bool, **dict.fromkeys(MEASURES, float)})
