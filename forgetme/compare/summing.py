"""Rounding, the best mean and the caveat, for the HTML and the LaTeX report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_JUDGE = "entangled"  # how the keys of those scores begin
CAVEAT = (
    "Bold: best, with a 95 % interval apart from all others. Entangled is never bold: it compares "
    "means, variances and pixel differences, and a smear can score best. CLIP distance, still "
    "seen, smear and seam say more of what a picture shows."
)
CHOSEN = (
    " LaMa, refined where low, keeps the try with the better scores, of those that judge it here; "
    "plain LaMa is what it starts from."
)


def rounded(value: float | None, digits: int) -> str:
    """Writes a number for a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def best_keys(table: Mapping[str, Any], score: Mapping[str, Any]) -> set[str]:
    """Returns the column whose mean of a score is surely best; none where that is not sure.

    Its 95 % interval must lie apart from all others'. Entangled crowns nobody: a smear can have
    more of it than a good fill (`python -m benchmarks.judge`).
    """
    found = {
        key: summary[score["key"]]
        for key, summary in table["summary"].items()
        if summary.get(score["key"], {}).get("mean") is not None
    }
    if score["key"].startswith(NO_JUDGE) or len(found) < 2:
        return set()
    if any(one.get("low") is None for one in found.values()):
        return set()
    up = score["higher_is_better"]
    best = (max if up else min)(found, key=lambda key: found[key]["mean"])
    others = [one for key, one in found.items() if key != best]
    apart = (
        found[best]["low"] > max(one["high"] for one in others)
        if up
        else found[best]["high"] < min(one["low"] for one in others)
    )
    return {best} if apart else set()


def caveat(columns: Mapping[str, Any] | set[str]) -> str:
    """Says beside a table how far its scores can be trusted.

    Args:
        columns: keys of the table's columns.
    """
    return CAVEAT + (CHOSEN if "own" in columns else "")
