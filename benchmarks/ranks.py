"""How well judges rank fills: rank correlations with the truth, as numbers, a table and a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 2000
LEVEL = 0.95
COLOURS = {
    "nothing": "#8f8f8f", "mean": "#c4944f", "blur": "#b3a125", "shifted": "#9d6b53",
    "telea": "#1fa3b3", "lama": "#2f7fe0", "own": "#1f9d57", "sd-inpaint": "#f08a24",
    "clipaway": "#e0484d", "lora-inpaint": "#d653b0", "lora-img2img": "#8460e8",
}  # fmt: skip
WIDTH, HEIGHT = 1000, 500  # px
LEFT, TOP, SIDE, TALL, APART = 62, 62, 410, 330, 76  # px: of the first panel; between the two
LEGEND_ROW = 21  # px
STYLE = (
    "svg{--ground:#fff;--ink:#24292f;--muted:#57606a;--line:#d8dee4}"
    "@media(prefers-color-scheme:dark){"
    "svg{--ground:#0d1117;--ink:#e6edf3;--muted:#9198a1;--line:#30363d}}"
    "text{fill:var(--muted);font:12px system-ui,sans-serif}"
    ".title{fill:var(--ink);font-size:14px;font-weight:600}.end{text-anchor:end}"
    ".middle{text-anchor:middle}.grid{stroke:var(--line)}.axis{stroke:var(--muted)}"
)


@dataclass(frozen=True)
class Row:
    """One fill: what each judge says of it, and how far it is from the truth.

    Attributes:
        scene: whose hole was filled.
        method: that filled it.
        scores: by judge, larger = a better removal, as the judge has it.
        errors: by truth, larger = farther from what is really there.
    """

    scene: str
    method: str
    scores: Mapping[str, float]
    errors: Mapping[str, float]


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlates the ranks of rows with those of other rows.

    Args:
        a: (J, N) numbers.
        b: (K, N) numbers.

    Returns:
        (J, K), each -1..1; equal numbers share their mean rank, and a row of nothing but equal
        numbers, which ranks nothing, has 0.

    **Source**: C. Spearman, The proof and measurement of association between two things (1904).

    Example:
        >>> spearman(np.array([[1.0, 2.0, 2.0]]), np.array([[10.0, 30.0, 20.0]])).round(3)
        array([[0.866]])
    """
    centred = [ranks - ranks.mean(1, keepdims=True) for ranks in (rankdata(x, axis=1) for x in (a, b))]
    spreads = [np.sqrt((one**2).sum(1)) for one in centred]
    scale = np.outer(*spreads)
    return np.divide(centred[0] @ centred[1].T, scale, out=np.zeros_like(scale), where=scale > 0)


def correlations(rows: Sequence[Row], cheap: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Correlates every judge with minus every true error.

    Args:
        rows: the fills.
        cheap: methods that are no real ways to fill.
        seed: of the resampling.

    Returns:
        By judge, by truth: "pooled" over all fills, "within" a scene (the mean over scenes), and
        "real": pooled without the cheap methods; each as value, low and high, the 95 % interval
        of the bootstrap over scenes.
    """
    real = [row for row in rows if row.method not in cheap]
    ways = {
        "pooled": _resampled(_by_scene(rows), _pooled, seed),
        "within": _resampled([spearman(*scene)[None] for scene in _by_scene(rows)], _mean, seed),
        "real": _resampled(_by_scene(real), _pooled, seed),
    }
    return {
        judge: {
            truth: {
                way: dict(zip(("value", "low", "high"), found[:, j, k].tolist(), strict=True))
                for way, found in ways.items()
            }
            for k, truth in enumerate(rows[0].errors)
        }
        for j, judge in enumerate(rows[0].scores)
    }


def methods(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means of the errors and scores of each method, the one nearest to the truth first."""
    found = []
    for method in dict.fromkeys(row.method for row in rows):
        its = [row for row in rows if row.method == method]
        found.append({
            "method": method, "n": len(its),
            "errors": {key: float(np.mean([row.errors[key] for row in its])) for key in its[0].errors},
            "scores": {key: float(np.mean([row.scores[key] for row in its])) for key in its[0].scores},
        })  # fmt: skip
    first = next(iter(rows[0].errors))
    return sorted(found, key=lambda one: one["errors"][first])
