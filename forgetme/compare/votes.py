"""Blind votes between two columns of a comparison: dealt, kept, counted.

Which column hides behind A is drawn from the voter, the pair and the row, so nothing has to be
remembered between a ballot and its vote, and a vote that is sent twice counts once. Votes are
lines of `votes.jsonl` in the comparison's folder; a line is never changed, the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from forgetme.errors import ForgetmeError
from forgetme.metrics.summary import wilson

VOTES = "votes.jsonl"
Choice = Literal["a", "b", "tie", "skip", "back"]  # "back" takes the vote back


@dataclass(frozen=True)
class Ballot:
    """Two pictures of one row; whose they are is not said to the voter.

    Attributes:
        row: 0-based index into the table's rows.
        a: key of the column shown as A.
        b: key of the column shown as B.
    """

    row: int
    a: str
    b: str


@dataclass(frozen=True)
class Vote:
    """One vote that is in force."""

    by: str
    row: int
    a: str
    b: str
    choice: Choice
    at: str  # UTC, ISO 8601


@dataclass(frozen=True)
class Tally:
    """What was voted on one pair of columns.

    `rate` is the share of the decided votes that `left` won, with its 95 % Wilson interval from
    `low` to `high`; the three are None without a decided vote. Ties and skips do not enter it.
    """

    left: str
    right: str
    won: int  # by left
    lost: int
    ties: int
    skips: int
    people: int
    rate: float | None
    low: float | None
    high: float | None


def deal(
    table: Mapping[str, Any],
    votes: Sequence[Vote],
    by: str,
    pair: tuple[str, str] | None = None,
) -> tuple[Ballot | None, int]:
    """Returns the next ballot of a voter, and how many are left with it.

    Args:
        table: the comparison's table.json.
        votes: all that are in force.
        by: the voter.
        pair: two columns; None = all pairs, mixed.

    Raises:
        ForgetmeError: the pair is not of two columns of the table.
    """
    pairs = combinations((one["key"] for one in table["columns"]), 2)
    wanted = pairs if pair is None else [_ordered(table, *pair)]
    seen = {(one.row, *sorted((one.a, one.b))) for one in votes if one.by == by}
    left = [
        (row, *two)
        for two in wanted
        for row in range(len(table["rows"]))
        if _differ(table, row, *two) and (row, *sorted(two)) not in seen
    ]
    if not left:
        return None, 0
    row, *two = min(left, key=lambda one: _draw("order", table["made"], by, *map(str, one)))
    return ballot(table, row, two[0], two[1], by), len(left)


def ballot(table: Mapping[str, Any], row: int, left: str, right: str, by: str) -> Ballot:
    """Returns the ballot of a row and a pair, with the sides that this voter always gets.

    Raises:
        ForgetmeError: there are no two different pictures of these columns in that row.
    """
    left, right = _ordered(table, left, right)
    if not 0 <= row < len(table["rows"]) or not _differ(table, row, left, right):
        raise ForgetmeError(f"row {row + 1} has no two different pictures of {left} and {right}")
    turned = _draw("side", table["made"], by, str(row), left, right)[0] % 2
    return Ballot(row, right, left) if turned else Ballot(row, left, right)


def cast(folder: Path, given: Ballot, choice: Choice, by: str) -> Vote:
    """Writes a vote down; when this returns it is on the disk.

    Args:
        folder: of the comparison.
        given: the ballot that the voter saw.
        choice: what the voter said of it.
        by: the voter.
    """
    at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    vote = Vote(by=by, choice=choice, at=at, **asdict(given))
    with _alone(folder / VOTES) as file:
        begun = file.seek(0, os.SEEK_END) > 0
        if begun:
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"  # a writer was killed within its line
        line = json.dumps(asdict(vote), ensure_ascii=False).encode() + b"\n"
        file.write(b"\n" + line if begun and torn else line)
        file.flush()
        os.fsync(file.fileno())
    return vote


def read_votes(folder: Path) -> list[Vote]:
    """Returns the votes in force, in the order in which they were given."""
    try:
        lines = (folder / VOTES).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found: dict[tuple[str, int, str, str], Vote] = {}
    for line in lines:
        try:
            vote = Vote(**json.loads(line))
            key = (vote.by, vote.row, *sorted((vote.a, vote.b)))
        except (ValueError, TypeError):
            continue  # a torn line was never answered as saved
        found.pop(key, None)
        if vote.choice != "back":
            found[key] = vote
    return list(found.values())


def tally(table: Mapping[str, Any], votes: Sequence[Vote]) -> list[Tally]:
    """Counts the votes of each pair of columns that has any, in the order of the columns."""
    found = []
    for left, right in combinations([one["key"] for one in table["columns"]], 2):
        ours = [one for one in votes if {one.a, one.b} == {left, right}]
        if not ours:
            continue
        winners = [
            one.a if one.choice == "a" else one.b for one in ours if one.choice in ("a", "b")
        ]
        won, n = winners.count(left), len(winners)
        low, high = wilson(won, n) if n else (None, None)
        found.append(
            Tally(
                left=left,
                right=right,
                won=won,
                lost=n - won,
                ties=sum(one.choice == "tie" for one in ours),
                skips=sum(one.choice == "skip" for one in ours),
                people=len({one.by for one in ours}),
                rate=won / n if n else None,
                low=low,
                high=high,
            )
        )
    return found


_here = threading.Lock()  # a file lock is the process's, not the thread's


@contextmanager
def _alone(path: Path) -> Iterator[Any]:
    """Opens a file to be read and appended to, with no other writer at it."""
    with _here, path.open("a+b") as file:
        try:
            import fcntl
        except ImportError:  # Windows: one page process at a time
            yield file
            return
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed
        yield file


def _ordered(table: Mapping[str, Any], left: str, right: str) -> tuple[str, str]:
    keys = [one["key"] for one in table["columns"]]
    if left == right or left not in keys or right not in keys:
        raise ForgetmeError(
            f"a vote is between two columns of {', '.join(keys)}; got {left!r} and {right!r}"
        )
    return (left, right) if keys.index(left) < keys.index(right) else (right, left)


def _differ(table: Mapping[str, Any], row: int, left: str, right: str) -> bool:
    """Tells whether both columns have a picture of the row, and not the same one."""
    one, other = (table["cells"][key][row].get("picture") for key in (left, right))
    return one is not None and other is not None and one != other


def _draw(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode()).digest()
