"""What each person did, and what a lead says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from forgetme.curate.review import Review
from forgetme.curate.team.agreement import Agreement
from forgetme.errors import ForgetmeError
from forgetme.store import SampleRow, Store

PAUSE_SECONDS = 300.0  # a longer gap between two decisions is no work


@dataclass(frozen=True)
class Share:
    """What one person did."""

    by: str
    accepted: int
    rejected: int
    skipped: int
    flagged: int
    low_percent: float | None  # of the accepted ones, with low scores; lower is better
    approved: int
    returned: int
    per_minute: float | None  # decisions while at work: gaps above 5 minutes are left out
    last: str | None  # UTC, of the last decision
    same_percent: float | None  # of the images that others decided too; higher is better


def shares(store: Store, found: Agreement) -> list[Share]:
    """Returns what each person did, by name.

    Args:
        store: where they did it.
        found: what `agreement` found in it.
    """
    moments: dict[str, list[float]] = {}
    last: dict[str, str] = {}
    for by, at in store.queries.moments():
        moments.setdefault(by, []).append(datetime.fromisoformat(at).timestamp())
        last[by] = at
    returned = store.queries.returned()
    tallies = {one.by: one for one in store.queries.tallies()}
    result = []
    for by in sorted({*tallies, *moments}):
        one = tallies.get(by)
        accepted = one.accepted if one else 0
        result.append(
            Share(
                by=by,
                accepted=accepted,
                rejected=one.rejected if one else 0,
                skipped=one.skipped if one else 0,
                flagged=one.flagged if one else 0,
                low_percent=100 * one.low / accepted if accepted else None,
                approved=one.approved if one else 0,
                returned=returned.get(by, 0),
                per_minute=pace(moments.get(by, [])),
                last=last.get(by),
                same_percent=_same_percent(found, by),
            )
        )
    return result


def pace(moments: Sequence[float]) -> float | None:
    """Returns decisions a minute, over the gaps that are not pauses; None without two decisions.

    Args:
        moments: seconds, in order.

    Example:
        >>> pace([0, 20, 40, 4000, 4020])
        3.0
    """
    gaps = [b - a for a, b in zip(moments, moments[1:], strict=False) if b - a <= PAUSE_SECONDS]
    worked = sum(gaps)
    return 60 * len(gaps) / worked if worked > 0 else None


def _same_percent(found: Agreement, by: str) -> float | None:
    mine = [pair for pair in found.pairs if by in (pair.first, pair.second)]
    images = sum(pair.images for pair in mine)
    return 100 * sum(pair.same for pair in mine) / images if images else None


def approve(review: Review, sample_id: str, *, seen: int) -> SampleRow:
    """A lead approves the decision in force: event `reviewed`."""
    return _review(review, sample_id, seen, {"verdict": "approved", "text": ""})


def give_back(review: Review, sample_id: str, text: str, *, seen: int) -> SampleRow:
    """A lead sends a decision back with a word why: event `reviewed`; the sample is open again.

    Raises:
        ForgetmeError: there are no words; the curator needs them.
    """
    if not text.strip():
        raise ForgetmeError("Say in a few words what should be different, then return it.")
    return _review(review, sample_id, seen, {"verdict": "returned", "text": text.strip()})


def _review(review: Review, sample_id: str, seen: int, payload: dict[str, str]) -> SampleRow:
    row = review.store.sample(sample_id)
    if row.decided_event is None:
        raise ForgetmeError(f"{row.name} is not decided, so there is nothing to review yet.")
    return review.store.append(sample_id, "reviewed", payload, by=review.by, expected_version=seen)
