"""What the reports share: numbers as text, and which mean is best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rounded(value: float | None, digits: int) -> str:
    """Writes a number for a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def best_keys(table: Mapping[str, Any], score: Mapping[str, Any]) -> set[str]:
    """Returns the columns with the best mean of a score; none where all are alike or one is alone.

    Means are compared as they are printed, so that what looks equal is equally best.
    """
    means = {
        key: round(summary[score["key"]]["mean"], score["digits"])
        for key, summary in table["summary"].items()
        if summary.get(score["key"], {}).get("mean") is not None
    }
    if len(set(means.values())) < 2:
        return set()
    best = (max if score["higher_is_better"] else min)(means.values())
    return {key for key, mean in means.items() if mean == best}
