"""What a run's log tells over its steps, thinned to what a chart can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
Points = list[tuple[int, float]]
NOT_TERMS = ("step", "seconds", "probe")


def terms(rows: Sequence[Json]) -> list[str]:
    """Returns the parts of the loss that the latest step logged, the whole first."""
    last = next((row for row in reversed(rows) if "loss" in row), {})
    return [name for name in last if name not in NOT_TERMS]


def loss(rows: Sequence[Json], term: str) -> Points:
    """Returns a part of the loss at each step where it is a number."""
    return [
        (row["step"], row[term])
        for row in rows
        if isinstance(row.get(term), int | float) and math.isfinite(row[term])
    ]


def smoothed(points: Points, weight: float) -> Points:
    """Returns a running mean in which the past weighs `weight` (0 to 1), free of the start's bias.

    Example:
        >>> smoothed([(1, 1.0), (2, 4.0)], 0.5)
        [(1, 1.0), (2, 3.0)]
    """
    total = norm = 0.0
    found = []
    for step, value in points:
        total = weight * total + (1 - weight) * value
        norm = weight * norm + (1 - weight)
        found.append((step, total / norm))
    return found


def thinned(points: Points, columns: int) -> Points:
    """Returns at most two points a column, the lowest and the highest: no peak is lost.

    Example:
        >>> thinned([(0, 1.0), (1, 9.0), (2, 3.0), (3, 2.0)], 1)
        [(0, 1.0), (1, 9.0)]
    """
    if len(points) <= 2 * columns:
        return points
    first, span = points[0][0], (points[-1][0] - points[0][0]) or 1
    found: dict[int, list[tuple[int, float]]] = {}
    for point in points:
        column = min(columns - 1, (point[0] - first) * columns // span)
        pair = found.setdefault(column, [point, point])
        if point[1] < pair[0][1]:
            pair[0] = point
        if point[1] > pair[1][1]:
            pair[1] = point
    return [point for pair in found.values() for point in sorted(set(pair))]


def shares(probes: Sequence[Json], names: Sequence[str]) -> Points:
    """Returns the mean share of some concepts at each probe, over those that every probe drew."""
    common = [name for name in names if all(name in one["by_concept"] for one in probes)]
    if not common:
        return []
    return [
        (one["step"], sum(one["by_concept"][name] for name in common) / len(common))
        for one in probes
    ]
