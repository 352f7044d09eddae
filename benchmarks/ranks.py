"""How well judges rank fills: rank correlations with the truth, as numbers, tables and a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape as e
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import rankdata

LEVEL = 0.95
DIGITS = 4  # of a recorded number
WAYS = {"pooled": "all fills", "within": "within a scene", "real": "real fills"}
WIDTH, HEIGHT = 1000, 490  # px
LEFT, TOP, SIDE, TALL, APART = 72, 74, 408, 312, 84  # px: of the first panel; between the two
COLOURS = {
    "nothing": "#8c8c8c", "mean": "#c69749", "blur": "#a8a526", "shifted": "#a0694f",
    "telea": "#17a5b8", "lama": "#2f7fe0", "own": "#1f9d57", "sd-inpaint": "#f08a24",
    "clipaway": "#e0484d", "lora-inpaint": "#d653b0", "lora-img2img": "#8460e8",
}  # fmt: skip
STYLE = (
    "svg{--ground:#fff;--ink:#1f2328;--muted:#59636e;--line:#e4e8ec}"
    "@media(prefers-color-scheme:dark){"
    "svg{--ground:#0d1117;--ink:#e6edf3;--muted:#9198a1;--line:#262c34}}"
    "text{fill:var(--muted);font:12px system-ui,'DejaVu Sans',sans-serif}"
    ".title{fill:var(--ink);font-size:15px;font-weight:600}"
    ".end{text-anchor:end}.middle{text-anchor:middle}"
    "path{fill:none;stroke:var(--line)}.axis{stroke:var(--muted)}"
)

Table = dict[str, Any]


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
    """Correlates the ranks of rows with the ranks of other rows.

    Args:
        a: (J, N) numbers.
        b: (K, N) numbers.

    Returns:
        (J, K), each -1..1. Equal numbers share their mean rank; a row of equal numbers only, which
        ranks nothing, has 0.

    **Source**: C. Spearman, The proof and measurement of association between two things (1904).

    Example:
        >>> spearman(np.array([[1, 2, 2, 3]]), np.array([[5, 6, 7, 8]])).round(4)
        array([[0.9487]])
    """
    ranks = [rankdata(one, axis=1) - (one.shape[1] + 1) / 2 for one in (a, b)]
    spreads = np.outer(*(np.sqrt((one**2).sum(1)) for one in ranks))
    return np.divide(ranks[0] @ ranks[1].T, spreads, out=np.zeros_like(spreads), where=spreads > 0)


def summary(
    rows: Sequence[Row], cheap: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> Table:
    """Counts fills and scenes, and says how well judges rank and how far methods are; rounded.

    Args:
        rows: the fills, each with the same judges and truths.
        cheap: methods that are no real way to fill.
        resamples: of the bootstrap.
        seed: of the bootstrap: equal fills, equal intervals.
    """
    counted = {"scenes": len({row.scene for row in rows}), "fills": len(rows)}
    found = correlations(rows, cheap, resamples=resamples, seed=seed)
    return counted | _rounded({"correlations": found, "methods": means(rows)})


def correlations(
    rows: Sequence[Row], cheap: Sequence[str], *, resamples: int, seed: int = 0
) -> Table:
    """Correlates every judge with minus every true error.

    Args:
        rows: as `summary`.
        cheap: likewise.
        resamples: likewise.
        seed: likewise.

    Returns:
        By judge, truth and way: value, low and high, the 95 % interval of the bootstrap over
        scenes. The ways: "pooled" over all fills, "within" a scene (the mean over the scenes), and
        "real", pooled without the cheap methods.
    """
    scenes, real = _by_scene(rows), _by_scene([r for r in rows if r.method not in cheap])
    within = [spearman(*scene) for scene in scenes]
    found = {
        "pooled": _resampled(scenes, _pooled, resamples, seed),
        "within": _resampled(within, partial(np.mean, axis=0), resamples, seed),
        "real": _resampled(real, _pooled, resamples, seed),
    }
    return {
        judge: {
            truth: {
                way: dict(zip(("value", "low", "high"), found[way][:, j, k].tolist(), strict=True))
                for way in WAYS
            }
            for k, truth in enumerate(rows[0].errors)
        }
        for j, judge in enumerate(rows[0].scores)
    }


def means(rows: Sequence[Row]) -> list[Table]:
    """Returns each method's mean errors and scores, the one nearest to the truth first."""
    found = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        errors = {key: fmean(row.errors[key] for row in own) for key in own[0].errors}
        scores = {key: fmean(row.scores[key] for row in own) for key in own[0].scores}
        found.append({"method": method, "n": len(own), "errors": errors, "scores": scores})
    return sorted(found, key=lambda one: next(iter(one["errors"].values())))


def tables(record: Table, main: Sequence[str]) -> str:
    """Writes a record as Markdown.

    Args:
        record: a `summary` with `judges` (title by key) and `truths` (words by key).
        main: judges whose mean is told of each method.
    """
    judges, truths = record["judges"], record["truths"]
    text = ""
    for truth, words in truths.items():
        text += f"Rank correlation with minus the true error ({words}), 95 % intervals:\n\n"
        text += f"| judge | {' | '.join(WAYS.values())} |\n|---|{'---|' * len(WAYS)}\n"
        for key, judge in judges.items():
            found = record["correlations"][key][truth]
            cells = ("{value:.2f} ({low:.2f} to {high:.2f})".format(**found[way]) for way in WAYS)
            text += f"| {judge['title']} | {' | '.join(cells)} |\n"
        text += "\n"
    heads = ["method", "n", *truths.values(), *(judges[key]["title"] for key in main)]
    text += "Means, the method nearest to the truth first:\n\n"
    text += f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
    for one in record["methods"]:
        numbers = [*one["errors"].values(), *(one["scores"][key] for key in main)]
        text += f"| `{one['method']}` | {one['n']} | "
        text += " | ".join(f"{number:.3f}" for number in numbers) + " |\n"
    return text


def plot(rows: Sequence[Row], record: Table, shown: Sequence[str]) -> str:
    """Draws two judges' scores over the true error, one dot a fill, as an SVG with its own ground.

    Args:
        rows: the fills.
        record: as for `tables`.
        shown: the two judges; their scores are 0..1.
    """
    truth = next(iter(record["truths"]))
    widest = max(row.errors[truth] for row in rows)
    step = next(one for one in (0.02, 0.05, 0.1, 0.2) if widest / one <= 8 or one == 0.2)
    ticks = [step * i for i in range(int(np.ceil(widest / step)) + 1)]
    panels = [
        _panel(rows, record, judge, truth, ticks, LEFT + i * (SIDE + APART))
        for i, judge in enumerate(shown)
    ]
    title = "; ".join(record["judges"][key]["title"] for key in shown)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{e(title)}">'
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" rx="8" '
        f'style="fill:var(--ground)"/>{"".join(panels)}'
        f"{_legend([one['method'] for one in record['methods']])}</svg>\n"
    )


def _rounded(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _rounded(one) for key, one in found.items()}
    if isinstance(found, list):
        return [_rounded(one) for one in found]
    return round(found, DIGITS) if isinstance(found, float) else found


def _by_scene(rows: Sequence[Row]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores (J, n) and minus the errors (K, n) of each scene's fills."""
    scenes: dict[str, list[Row]] = {}
    for row in rows:
        scenes.setdefault(row.scene, []).append(row)
    return [
        (
            np.array([list(row.scores.values()) for row in its]).T,
            -np.array([list(row.errors.values()) for row in its]).T,
        )
        for its in scenes.values()
    ]


def _pooled(scenes: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return spearman(*(np.concatenate(part, axis=1) for part in zip(*scenes, strict=True)))


def _resampled(
    parts: Sequence[Any],
    statistic: Callable[[Sequence[Any]], np.ndarray],
    resamples: int,
    seed: int,
) -> np.ndarray:
    """The statistic of all parts, and both ends of its interval: (3, ...)."""
    drawn = np.random.default_rng(seed).integers(0, len(parts), (resamples, len(parts)))
    found = [statistic([parts[i] for i in one]) for one in drawn]
    ends = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.stack([statistic(parts), *ends])


def _panel(
    rows: Sequence[Row], record: Table, judge: str, truth: str, ticks: Sequence[float], left: float
) -> str:
    def x(error: float) -> float:
        return left + SIDE * error / ticks[-1]

    def y(score: float) -> float:
        return TOP + TALL * (1 - score)

    title = record["judges"][judge]["title"]
    found = record["correlations"][judge][truth]
    said = ", ".join(f"{words} {found[way]['value']:.2f}" for way, words in WAYS.items())
    drawn = f'<text class="title" x="{left}" y="32">{e(title)}</text>'
    drawn += f'<text x="{left}" y="54">rank correlation: {e(said.replace("-", "−"))}</text>'
    for i in range(6):
        at = y(i / 5)
        drawn += f'<path d="M{left} {at:.1f}h{SIDE}"/>'
        drawn += f'<text class="end" x="{left - 8}" y="{at + 4:.1f}">{i / 5:.1f}</text>'
    for tick in ticks:
        drawn += f'<path class="axis" d="M{x(tick):.1f} {TOP + TALL}v5"/>'
        drawn += f'<text class="middle" x="{x(tick):.1f}" y="{TOP + TALL + 20}">{tick:g}</text>'
    drawn += f'<path class="axis" d="M{left} {TOP}v{TALL}h{SIDE}"/>'
    middle = TOP + TALL / 2
    drawn += f'<text class="middle" x="{left - 46}" y="{middle}" '
    drawn += f'transform="rotate(-90 {left - 46} {middle})">score</text>'
    words = f"true error: {record['truths'][truth]}"
    drawn += f'<text class="middle" x="{left + SIDE / 2}" y="{TOP + TALL + 42}">{e(words)}</text>'
    for method, colour in COLOURS.items():
        dots = "".join(
            f'<circle cx="{x(row.errors[truth]):.1f}" cy="{y(row.scores[judge]):.1f}" r="2.6"/>'
            for row in rows
            if row.method == method
        )
        drawn += f'<g fill="{colour}" fill-opacity=".55">{dots}</g>'
    return drawn


def _legend(methods: Sequence[str]) -> str:
    drawn, x = "", float(LEFT)
    for method, colour in COLOURS.items():
        if method in methods:
            drawn += f'<circle cx="{x:.0f}" cy="{HEIGHT - 26}" r="5" fill="{colour}"/>'
            drawn += f'<text x="{x + 10:.0f}" y="{HEIGHT - 22}">{e(method)}</text>'
            x += 33 + 6.5 * len(method)
    return drawn
