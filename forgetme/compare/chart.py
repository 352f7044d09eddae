"""The curves of a scale sweep as inline SVGs, one for each variant of Entangled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape as e
from typing import Any

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 190, 12, 36  # px around the plot; names stand on the right
# What is drawn on one axis: never two variants, and what is seen beside either.
SEEN = {"clip_at_1": "var(--amber)", "still_seen": "var(--red)"}
PAPER = {"entangled_d": "var(--accent)", "entangled_s": "var(--green)", **SEEN}
RELEASED = {
    "entangled_d_released": "var(--accent)", "entangled_s_released": "var(--green)", **SEEN,
}  # fmt: skip

Table = Mapping[str, Any]
Point = tuple[float, float]


def charts(table: Table) -> str:
    """Draws Entangled with CLIP@1 and what is still seen over the scale, a chart for each variant.

    The paper's own curve, dashed, stands beside the variant that it is most likely of.

    Args:
        table: as `table.json` has it, with a sweep.
    """
    released = _chart(table, RELEASED, _published(table)) if _has(table, RELEASED) else ""
    heads = [
        "Entangled by the paper's printed equations",
        "Entangled by the authors' code, beside their Table 3",
    ]
    drawn = [_chart(table, PAPER, []), released]
    return "".join(
        f"<h3>{e(head)}</h3>{one}" for head, one in zip(heads, drawn, strict=True) if one
    )


def _has(table: Table, colours: Mapping[str, str]) -> bool:
    return any(key in table["sweep"]["curves"] for key in colours if key not in SEEN)


def _published(table: Table) -> list[Point]:
    return [
        (one["scale"], one["value"])
        for one in table["published"]
        if one.get("concept") == table["concept"].lower()
    ]


def _chart(table: Table, colours: Mapping[str, str], theirs: Sequence[Point]) -> str:
    sweep = table["sweep"]
    titles = {one["key"]: one["title"] for one in table["scores"]}
    drawn, names = [], []
    for key, colour in colours.items():
        points = [
            (scale, one)
            for scale, one in zip(sweep["scales"], sweep["curves"].get(key, ()), strict=False)
            if one["mean"] is not None
        ]
        if points:
            drawn.append(_band(points, colour) + _line([(s, o["mean"]) for s, o in points], colour))
            names.append((points[-1][1]["mean"], titles[key], colour))
    if theirs:
        drawn.append(_line(theirs, "var(--muted)", dashed=True))
        names.append((theirs[-1][1], "published, Table 3", "var(--muted)"))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="12" '
        f'aria-label="{e(", ".join(name for _, name, _ in names))} over the scale">'
        f"{_axes(sweep['scales'])}{''.join(drawn)}{_labels(names)}</svg>"
    )


def _x(scale: float) -> float:
    return LEFT + scale * (WIDTH - LEFT - RIGHT)


def _y(value: float) -> float:
    return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)


def _axes(scales: Sequence[float]) -> str:
    lines = [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(v):.1f}" y2="{_y(v):.1f}" '
        f'stroke="var(--line)"/><text x="{LEFT - 8}" y="{_y(v) + 4:.1f}" text-anchor="end" '
        f'fill="var(--muted)">{v}</text>'
        for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    lines += [
        f'<text x="{_x(s):.1f}" y="{HEIGHT - 16}" text-anchor="middle" fill="var(--muted)">{s}'
        "</text>"
        for s in scales
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(
        f'<text x="{middle}" y="{HEIGHT - 1}" text-anchor="middle" fill="var(--muted)">'
        "scale α of the patch</text>"
    )
    return "".join(lines)


def _line(points: Sequence[Point], colour: str, *, dashed: bool = False) -> str:
    way = " ".join(f"{_x(s):.1f},{_y(v):.1f}" for s, v in points)
    dots = "".join(
        f'<circle cx="{_x(s):.1f}" cy="{_y(v):.1f}" r="3" fill="{colour}">'
        f"<title>α {s}: {v:.3f}</title></circle>"
        for s, v in points
    )
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>{dots}'


def _band(points: Sequence[tuple[float, Mapping[str, Any]]], colour: str) -> str:
    upper = [f"{_x(s):.1f},{_y(min(1, one['high'])):.1f}" for s, one in points]
    lower = [f"{_x(s):.1f},{_y(max(0, one['low'])):.1f}" for s, one in reversed(points)]
    return f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" opacity="0.15"/>'


def _labels(names: Sequence[tuple[float, str, str]]) -> str:
    """Names at the curves' ends, pushed apart so that none covers another."""
    placed, last = [], -100.0
    for value, name, colour in sorted(names, reverse=True):
        y = max(_y(value) + 4, last + 16)
        last = y
        placed.append(
            f'<text x="{WIDTH - RIGHT + 12}" y="{y:.1f}" fill="{colour}">{e(name)} {value:.2f}'
            "</text>"
        )
    return "".join(placed)
