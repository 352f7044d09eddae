"""How well several people agree on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from forgetme.record import masks
from forgetme.store import SampleRow, Store

OPINIONS = ("accepted", "rejected", "flagged")  # skipping is no opinion


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Returns how far two people agree beyond chance.

    Args:
        pairs: what the first and the second said of each image.

    Returns:
        1: always, 0: as by chance, below: less than that; higher is better. None where it is not
        defined: no pairs, or both always said the same one thing.

    Source:
        Cohen, "A coefficient of agreement for nominal scales" (1960).

    Example:
        >>> cohen_kappa([("yes", "yes"), ("no", "no"), ("yes", "no"), ("no", "no")])
        0.5
    """
    if not pairs:
        return None
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    words = {word for pair in pairs for word in pair}
    expected = sum(
        sum(a == word for a, _ in pairs) * sum(b == word for _, b in pairs) for word in words
    ) / (n * n)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def fleiss_kappa(ratings: Sequence[Sequence[str]]) -> float | None:
    """Returns how far any number of people agree beyond chance.

    Args:
        ratings: for each image, what everybody who decided it said; images with one opinion tell
            nothing and are left out.

    Returns:
        As `cohen_kappa`.

    Source:
        Fleiss, "Measuring nominal scale agreement among many raters" (1971), with the usual
        extension to a number of raters that differs from image to image: each image's agreement
        is over its own pairs, and the mean over images is weighted equally.
    """
    ratings = [one for one in ratings if len(one) > 1]
    if not ratings:
        return None
    words = sorted({word for one in ratings for word in one})
    counts = [[list(one).count(word) for word in words] for one in ratings]
    observed = fmean(
        sum(count * (count - 1) for count in row) / (sum(row) * (sum(row) - 1)) for row in counts
    )
    total = sum(sum(row) for row in counts)
    shares = [sum(row[k] for row in counts) / total for k in range(len(words))]
    expected = sum(share * share for share in shares)
    return None if expected == 1 else (observed - expected) / (1 - expected)


@dataclass(frozen=True)
class Pair:
    """How two people agree on the images that both decided."""

    first: str
    second: str
    images: int
    same: int  # the same decision
    kappa: float | None  # Cohen's; higher is better
    mask_iou: float | None  # mean over images that both accepted; [0, 1], higher is better


@dataclass(frozen=True)
class Agreement:
    """How far a team agrees on the images that several of them decided."""

    copied: int  # images that are there more than once
    compared: int  # of these, with two opinions or more
    kappa: float | None  # Fleiss'; higher is better
    mask_iou: float | None  # mean over all pairs of accepted copies; [0, 1], higher is better
    pairs: list[Pair]
    disputed: list[tuple[SampleRow, ...]]  # whose opinions differ


def agreement(store: Store) -> Agreement:
    """Compares what several people decided on the same images."""
    groups = store.queries.copies()
    opinions = [tuple(row for row in group if _is_opinion(row)) for group in groups]
    compared = [group for group in opinions if len(group) > 1]
    by_pair: dict[tuple[str, str], list[tuple[SampleRow, SampleRow]]] = {}
    for group in compared:
        for one, other in combinations(sorted(group, key=lambda row: row.decided_by), 2):
            if one.decided_by != other.decided_by:
                by_pair.setdefault((one.decided_by, other.decided_by), []).append((one, other))
    everything = [rows for pair in by_pair.values() for rows in pair]
    return Agreement(
        copied=len(groups),
        compared=len(compared),
        kappa=fleiss_kappa([[row.state for row in group] for group in compared]),
        mask_iou=_mean_iou(store, everything),
        pairs=[_pair(store, names, rows) for names, rows in sorted(by_pair.items())],
        disputed=[group for group in compared if len({row.state for row in group}) > 1],
    )


def _is_opinion(row: SampleRow) -> bool:
    return row.decided_how == "human" and row.state in OPINIONS


def _pair(store: Store, names: tuple[str, str], rows: list[tuple[SampleRow, SampleRow]]) -> Pair:
    said = [(one.state, other.state) for one, other in rows]
    return Pair(
        *names,
        images=len(rows),
        same=sum(a == b for a, b in said),
        kappa=cohen_kappa(said),
        mask_iou=_mean_iou(store, rows),
    )


def _mean_iou(store: Store, rows: Sequence[tuple[SampleRow, SampleRow]]) -> float | None:
    both = [(a, b) for a, b in rows if a.state == b.state == "accepted"]
    return fmean(_iou(store, a.mask_sha, b.mask_sha) for a, b in both) if both else None


def _iou(store: Store, one: str, other: str) -> float:
    """Names are contents, so an answer holds for good."""
    if one == other:
        return 1.0
    if (one, other) not in _KNOWN:
        if len(_KNOWN) > 65_536:
            _KNOWN.clear()
        _KNOWN[one, other] = masks.iou(store.get_mask(one), store.get_mask(other))
    return _KNOWN[one, other]


_KNOWN: dict[tuple[str, str], float] = {}
