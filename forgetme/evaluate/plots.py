"""The plots of a report, by matplotlib, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#3b6fe0", "#c0362c", "#17794a", "#8a5a00", "#7a3fb0", "#0d7f8c", "#b03f7a", "#5b6270")
SPOKES = {
    "forgetting": "forgetting", "keeping": "keeping", "pinpoint": "pinpoint-ness",
    "shift": "likeness", "clip": "alignment", "languages": "languages", "back": "robustness",
}  # fmt: skip
INVERTED = ("shift", "languages", "back")  # 1 - value

Report = Mapping[str, Any]


def plots(report: Report) -> dict[str, str]:
    """Draws the plots that the report has numbers for: an SVG by the plot's title."""
    found = {
        "Forgetting against keeping": _frontier(report),
        "Aspects": _radar(report),
        "Brought back, by probe": _probes(report),
        "While it is attacked": _curves(report),
    }
    return {title: svg for title, svg in found.items() if svg}


def _figure(width: float, height: float, **more: Any) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**more)


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "forgetme", "font.family": "sans"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _others(report: Report) -> list[tuple[str, str]]:
    names = [one["name"] for one in report["models"] if one["kind"] != "base"]
    return [(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(names)]


def _of(report: Report, model: str, key: str) -> dict[str, Any] | None:
    found = report["values"][model].get(key)
    return found if found and found["mean"] is not None else None


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one beats in both numbers, from left to right.

    Example:
        >>> frontier([(0.1, 0.9), (0.5, 0.5), (0.4, 0.4), (0.9, 0.2)])
        [(0.1, 0.9), (0.5, 0.5), (0.9, 0.2)]
    """
    best: list[tuple[float, float]] = []
    for x, y in sorted(set(points), reverse=True):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best[::-1]


def _frontier(report: Report) -> str:
    pairs = {
        name: (x, y, colour)
        for name, colour in _others(report)
        if (x := _of(report, name, "forgetting")) and (y := _of(report, name, "keeping"))
    }
    if not pairs:
        return ""
    figure, axes = _figure(6.4, 4.4)
    line = frontier([(x["mean"], y["mean"]) for x, y, _ in pairs.values()])
    axes.step(*zip(*line, strict=True), where="post", color="#a0a7b2", linewidth=1, zorder=1)
    for name, (x, y, colour) in pairs.items():
        reach = (
            [[one["mean"] - one["low"]] for one in (x, y)],
            [[one["high"] - one["mean"]] for one in (x, y)],
        )
        axes.errorbar(
            x["mean"], y["mean"], xerr=[reach[0][0], reach[1][0]], yerr=[reach[0][1], reach[1][1]],
            fmt="o", color=colour, label=name, capsize=3, linewidth=1,
        )  # fmt: skip
    axes.set(
        xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="forgetting, corrected →",
        ylabel="keeping, corrected →",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _svg(figure)


def _radar(report: Report) -> str:
    import numpy as np

    base = report["models"][0]["name"]
    rows = {}
    for name, colour in _others(report):
        row = {}
        for key in SPOKES:
            found = _of(report, name, key)
            if found is None or found["grey"]:
                continue
            value = found["mean"]
            if key == "clip":
                reference = _of(report, base, key)
                value = value / reference["mean"] if reference and reference["mean"] else 0
            row[key] = float(np.clip(1 - value if key in INVERTED else value, 0, 1))
        rows[name] = (row, colour)
    keys = [key for key in SPOKES if rows and all(key in row for row, _ in rows.values())]
    if len(keys) < 3:
        return ""
    figure, axes = _figure(5.4, 4.6, subplot_kw={"projection": "polar"})
    angles = np.linspace(0, 2 * np.pi, len(keys), endpoint=False)
    for name, (row, colour) in rows.items():
        values = [row[key] for key in keys]
        axes.plot([*angles, angles[0]], [*values, values[0]], color=colour, label=name)
        axes.fill([*angles, angles[0]], [*values, values[0]], color=colour, alpha=0.08)
    axes.set_xticks(angles, [SPOKES[key] for key in keys], fontsize=9)
    axes.set_ylim(0, 1)
    axes.set_yticks([0.25, 0.5, 0.75], ["", "0.5", ""], fontsize=8)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    return _svg(figure)


def _probes(report: Report) -> str:
    rows = [(name, colour) for name, colour in _others(report) if report["probes"].get(name)]
    names = list(
        dict.fromkeys(
            one["name"] for name, _ in rows for one in report["probes"][name] if one["tried"]
        )
    )
    if not names:
        return ""
    figure, axes = _figure(7.2, 0.9 + 0.5 * len(names))
    high = 0.8 / len(rows)
    for i, (model, colour) in enumerate(rows):
        found = {one["name"]: one for one in report["probes"][model] if one["tried"]}
        at = [names.index(name) + (i + 0.5) * high - 0.4 for name in found]
        shares = [one["back"] / one["tried"] for one in found.values()]
        low = [max(0.0, share - one["low"]) for share, one in zip(shares, found.values(), strict=True)]  # fmt: skip  # noqa: E501
        top = [max(0.0, one["high"] - share) for share, one in zip(shares, found.values(), strict=True)]  # fmt: skip  # noqa: E501
        axes.barh(at, shares, high, color=colour, label=model, xerr=[low, top],
                  error_kw={"linewidth": 0.8, "capsize": 2})  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the pictures that show the concept again")
    axes.legend(fontsize=8)
    return _svg(figure)


def _curves(report: Report) -> str:
    """Shares before and after an attack, as far as a probe says what was seen before it."""
    lines = [
        (
            f"{model}: {one['name']}",
            colour,
            one["values"]["share before"],
            one["back"] / one["tried"],
        )
        for model, colour in _others(report)
        for one in report["probes"].get(model, ())
        if one["tried"] and "share before" in one["values"]
    ]
    if not lines:
        return ""
    figure, axes = _figure(6.4, 3.6)
    for i, (label, colour, before, after) in enumerate(lines):
        style = ("-", "--", ":", "-.")[i % 4]
        axes.plot([0, 1], [before, after], style, color=colour, marker="o", label=label)
    axes.set_xticks([0, 1], ["before", "after"])
    axes.set(xlim=(-0.2, 1.2), ylim=(-0.03, 1.03), ylabel="share that shows the concept")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    return _svg(figure)
