"""The drawn world's eight settings: smooth layered landscapes and a room."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .pen import Color, darker, lighter, mix


@dataclass(frozen=True)
class Backdrop:
    """A setting and where objects belong in it; heights are fractions of the side, 0 the top."""

    image: np.ndarray  # (3, H, W) float32, 0-255
    ground: tuple[float, float]  # where feet may stand
    water: tuple[float, float] | None  # where a boat may float
    sky: tuple[float, float]  # where the middle of something that flies may be
    tint: Color  # light on objects, factors about 1
    shadow: float  # opacity of contact shadows


class _Canvas:
    """A square picture painted in fractions of its side; x to the right, y down."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self.rng = rng
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.x = axis[None, :]
        self.y = axis[:, None]
        self.image = np.zeros((3, size, size), np.float32)  # planar: numpy is much faster so

    def gradient(self, top: float, bottom: float, colors: list[Color]) -> None:
        """Fills rows top..bottom with an even gradient through the colours."""
        rows = slice(max(0, round(top * self.size)), min(self.size, round(bottom * self.size)))
        t = (self.y[rows, 0] - top) / (bottom - top) * (len(colors) - 1)
        for i, plane in enumerate(self.image):
            plane[rows] = np.interp(t, range(len(colors)), [c[i] for c in colors])[:, None]

    def cover(self, rows: slice, cols: slice, amount: np.ndarray, color: Color) -> None:
        """Lays a colour over a region; amount is its opacity there, 0-1."""
        amount = amount.astype(np.float32, copy=False)
        for plane, value in zip(self.image[:, rows, cols], color, strict=True):
            plane += amount * (np.float32(value) - plane)

    def below(
        self, line: np.ndarray, top: Color, bottom: Color, *, depth: float = 0.4, alpha: float = 1
    ) -> None:
        """Fills everything below a curve (size,) with a gradient that follows the curve."""
        first = max(0, int(line.min() * self.size) - 1)
        if first >= self.size:
            return
        fall = self.y[first:] - line[None]
        cover = np.clip(fall * np.float32(self.size) + np.float32(0.5), 0, 1) * np.float32(alpha)
        t = np.clip(fall * np.float32(1 / depth), 0, 1)
        for plane, start, end in zip(self.image[:, first:], top, bottom, strict=True):
            color = t * np.float32(end - start)
            color += np.float32(start)
            color -= plane
            color *= cover
            plane += color

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Adds a soft round light that fades to nothing at the radius."""
        rows, cols = self._span(y - radius, y + radius), self._span(x - radius, x + radius)
        d2 = ((self.y[rows] - y) ** 2 + (self.x[:, cols] - x) ** 2) / radius**2
        self.cover(rows, cols, np.clip(1 - d2, 0, 1) ** 2 * np.float32(strength), color)

    def disc(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        color: Color,
        *,
        alpha: float = 1,
        soft: float = 0.0,
    ) -> None:
        """Fills an ellipse; soft is the width of its edge as a fraction of its radius."""
        out = 1 + soft / 2
        rows = self._span(y - ry * out, y + ry * out)
        cols = self._span(x - rx * out, x + rx * out)
        d = np.sqrt(((self.y[rows] - y) / ry) ** 2 + ((self.x[:, cols] - x) / rx) ** 2)
        edge = max(soft, 1 / (min(rx, ry) * self.size))
        self.cover(rows, cols, np.clip((1 - d) / edge + 0.5, 0, 1) * np.float32(alpha), color)

    def rect(
        self, x0: float, y0: float, x1: float, y1: float, color: Color, *, alpha: float = 1
    ) -> None:
        """Fills an axis-aligned rectangle with exact area coverage at its edges."""
        rows, cols = self._span(y0, y1), self._span(x0, x1)
        n = self.size
        tall = np.clip(np.minimum(self.y[rows] - y0, y1 - self.y[rows]) * n + 0.5, 0, 1)
        wide = np.clip(np.minimum(self.x[:, cols] - x0, x1 - self.x[:, cols]) * n + 0.5, 0, 1)
        self.cover(rows, cols, tall * wide * np.float32(alpha), color)

    def polygon(self, points: np.ndarray, color: Color) -> None:
        """Fills a polygon (N, 2)."""
        mask = np.zeros((self.size, self.size), np.uint8)
        cv2.fillPoly(
            mask, [np.round(points * self.size * 16).astype(np.int32)], 255, cv2.LINE_AA, 4
        )
        self.cover(slice(None), slice(None), mask * np.float32(1 / 255), color)

    def line(
        self, points: list[tuple[float, float]], width: float, color: Color, *, alpha: float = 1
    ) -> None:
        """Draws a polyline of the given width."""
        mask = np.zeros((self.size, self.size), np.uint8)
        wanted = width * self.size
        thick = max(1, round(wanted))
        fixed = np.round(np.array(points) * self.size * 16).astype(np.int32)
        cv2.polylines(mask, [fixed], False, 255, thick, cv2.LINE_AA, 4)
        low, high = fixed.min(0) // 16 - thick - 2, fixed.max(0) // 16 + thick + 3
        rows = slice(max(0, low[1]), max(0, high[1]))
        cols = slice(max(0, low[0]), max(0, high[0]))
        amount = mask[rows, cols] * np.float32(alpha * min(1, wanted / thick) / 255)
        self.cover(rows, cols, amount, color)

    def hills(
        self, level: float, swell: float, *, waves: float = 1.5, points: float = 0
    ) -> np.ndarray:
        """Returns a rolling horizon (size,) about the level; points > 0 makes it jagged."""
        x = self.x[0]
        phase = self.rng.uniform(0, 2 * np.pi, 3)
        stretch = self.rng.uniform(0.8, 1.25)
        curve = np.sin(2 * np.pi * waves * stretch * x + phase[0])
        curve += 0.45 * np.sin(2 * np.pi * waves * 2.1 * stretch * x + phase[1])
        if points:
            saw = np.abs(((waves * 1.7 * x + phase[2]) % 1) - 0.5) * 4 - 1
            small = np.abs(((waves * 4.3 * x + phase[1]) % 1) - 0.5) * 4 - 1
            curve = (1 - points) * curve + points * (1.2 * saw + 0.4 * small)
        return (level + swell * 0.7 * curve).astype(np.float32)

    def clouds(self, count: int, low: float, high: float, color: Color, alpha: float) -> None:
        """Draws flat-bottomed puffy clouds between two heights."""
        for x, y, s in zip(
            (np.arange(count) + self.rng.random(count)) / max(count, 1),
            self.rng.uniform(low, high, count),
            self.rng.uniform(0.05, 0.1, count),
            strict=True,
        ):
            for dx, dy, r in (
                (-1.0, 0.0, 0.55),
                (0.9, 0.02, 0.6),
                (-0.35, -0.28, 0.7),
                (0.35, -0.2, 0.75),
            ):
                self.disc(
                    x + dx * s, y + dy * s, r * s * 1.3, r * s * 0.62, color, alpha=alpha, soft=0.35
                )

    def mottle(self, amount: float, cells: int, *, below: float = 0.0, squash: float = 1.0) -> None:
        """Varies the light below a height in large smooth patches; amount in 0-255 units."""
        grid = self.rng.normal(0, 1, (max(2, round(cells * squash)) + 3, cells + 3)).astype(
            np.float32
        )
        first = round(below * self.size)
        field = cv2.resize(grid, (self.size, self.size), interpolation=cv2.INTER_CUBIC)[first:]
        fade = np.clip((self.y[first:] - below) / 0.08, 0, 1)
        self.image[:, first:] += field * fade * np.float32(amount)

    def tufts(self, count: int, low: float, high: float, color: Color) -> None:
        """Draws small tufts of three blades, larger when nearer."""
        for x, u in self.rng.random((count, 2)):
            y = low + (high - low) * u
            s = 0.012 + 0.022 * u
            for dx in (-0.6, 0.0, 0.6):
                self.line([(x + dx * s * 0.3, y), (x + dx * s, y - s)], 0.005, color, alpha=0.75)

    def stones(self, count: int, low: float, high: float, color: Color) -> None:
        """Draws small smooth stones with a lit top."""
        for x, u, w in self.rng.random((count, 3)):
            y = low + (high - low) * u
            r = (0.008 + 0.012 * w) * (0.6 + 0.8 * u)
            self.disc(x, y + r * 0.5, r * 1.5, r * 0.5, darker(color, 0.5), alpha=0.35, soft=0.5)
            self.disc(x, y, r * 1.3, r * 0.75, darker(color, 0.12))
            self.disc(x - r * 0.2, y - r * 0.2, r * 0.9, r * 0.45, lighter(color, 0.3), soft=0.4)

    def _span(self, low: float, high: float) -> slice:
        return slice(
            max(0, int(low * self.size) - 1), max(0, min(self.size, int(high * self.size) + 2))
        )


def _choose(rng: np.random.Generator, options: list) -> object:
    return options[int(rng.integers(len(options)))]


# zenith, middle, horizon
_DAY: list[list[Color]] = [
    [(112, 176, 222), (164, 208, 234), (222, 236, 236)],
    [(128, 196, 214), (186, 222, 222), (244, 238, 214)],
    [(150, 170, 216), (206, 200, 224), (250, 222, 206)],
    [(240, 172, 134), (248, 206, 158), (252, 232, 190)],
]


def _sky(c: _Canvas, horizon: float, skies: list[list[Color]]) -> list[Color]:
    sky = _choose(c.rng, skies)
    c.gradient(0, horizon + 0.15, sky)
    x, y = c.rng.uniform(0.1, 0.9), c.rng.uniform(0.08, 0.22)
    if c.rng.random() < 0.5:
        c.glow(x, y, 0.3, (255, 246, 214), 0.6)
        c.disc(x, y, 0.045, 0.045, (255, 244, 204))
    c.clouds(int(c.rng.integers(1, 4)), 0.08, horizon * 0.62, lighter(sky[2], 0.7), 0.75)
    return sky


def _meadow(c: _Canvas) -> Backdrop:
    rng = c.rng
    horizon = rng.uniform(0.42, 0.56)
    sky = _sky(c, horizon, _DAY)
    green = _choose(rng, [(134, 178, 92), (160, 190, 96), (112, 166, 104), (184, 186, 98)])
    c.below(c.hills(horizon - 0.06, 0.035), mix(green, sky[2], 0.72), mix(green, sky[2], 0.5))
    c.below(c.hills(horizon, 0.025, waves=1.1), mix(green, sky[2], 0.42), mix(green, sky[2], 0.2))
    c.below(
        c.hills(horizon + 0.09, 0.02, waves=0.8),
        lighter(green, 0.16),
        darker(green, 0.08),
        depth=0.25,
    )
    for k in range(3):
        level = horizon + 0.17 + 0.13 * k + rng.uniform(-0.02, 0.02)
        shade = (lighter(green, 0.12), darker(green, 0.06), darker(green, 0.13))[k]
        c.below(c.hills(level, 0.016, waves=0.7), shade, darker(shade, 0.1), depth=0.2, alpha=0.6)
    if rng.random() < 0.45:
        _path(c, horizon + 0.1, (226, 204, 156))
    c.mottle(3.5, 5, below=horizon + 0.05)
    c.tufts(16, horizon + 0.16, 0.99, darker(green, 0.34))
    return Backdrop(c.image, (horizon + 0.2, 0.95), None, (0.12, horizon), (1, 1, 1), 0.36)


def _path(c: _Canvas, top: float, color: Color) -> None:
    x0, bend, aim = c.rng.uniform(0.3, 0.7), c.rng.uniform(-0.12, 0.12), c.rng.uniform(0.2, 0.8)
    first = round(top * c.size)
    t = (c.y[first:] - top) / (1 - top)
    middle = x0 + (aim - x0) * t + bend * np.sin(np.pi * 1.5 * t)
    half = 0.008 + 0.13 * t**1.6
    amount = np.clip((half - np.abs(c.x - middle)) * c.size + 0.5, 0, 1) * np.clip(t * 12, 0, 0.9)
    c.cover(slice(first, None), slice(None), amount, color)


def _water(c: _Canvas, top: float, bottom: float, far: Color, near: Color, glint: Color) -> None:
    c.below(np.full(c.size, top, np.float32), far, near, depth=bottom - top)
    for k in range(7):
        u = (k + c.rng.uniform(0.2, 0.8)) / 7
        y = top + (bottom - top) * u**1.4
        wave = y + (0.002 + 0.006 * u) * np.sin(2 * np.pi * ((7 - 4 * u) * c.x[0] + c.rng.random()))
        rows = slice(max(0, int((y - 0.02) * c.size)), min(c.size, int((y + 0.03) * c.size)))
        d = np.abs(c.y[rows] - wave[None])
        width = 0.002 + 0.004 * u
        cover = np.clip((width - d) * c.size + 0.5, 0, 1)
        cover *= np.clip(np.sin(2 * np.pi * (1.5 * c.x + c.rng.random())) * 0.6 + 0.5, 0, 1)
        c.cover(rows, slice(None), cover * np.float32(0.55), glint)


def _beach(c: _Canvas) -> Backdrop:
    rng = c.rng
    horizon = rng.uniform(0.3, 0.42)
    sky = _sky(c, horizon, _DAY)
    shore = horizon + rng.uniform(0.16, 0.22)
    sea = _choose(rng, [(64, 148, 176), (88, 172, 180), (82, 132, 186)])
    _water(c, horizon, shore + 0.05, mix(sea, sky[2], 0.3), lighter(sea, 0.25), (244, 250, 246))
    sand = _choose(rng, [(238, 214, 164), (244, 222, 182), (232, 202, 158)])
    edge = c.hills(shore, 0.014, waves=1.2)
    c.below(edge - 0.018, (250, 250, 244), (250, 250, 244), alpha=0.55)
    c.below(edge - 0.008, (252, 252, 248), (252, 252, 248), alpha=0.9)
    c.below(edge + 0.008, darker(sand, 0.2), darker(sand, 0.1), depth=0.1)
    c.below(edge + 0.04, sand, mix(darker(sand, 0.1), (236, 190, 130), 0.4), depth=0.5)
    for k in range(3):
        c.below(
            c.hills(shore + 0.13 + 0.11 * k, 0.012, waves=0.9),
            lighter(sand, 0.25),
            sand,
            depth=0.06,
            alpha=0.5,
        )
    c.mottle(2.5, 5, below=shore + 0.05)
    c.stones(int(rng.integers(3, 8)), shore + 0.1, 0.98, (196, 178, 158))
    return Backdrop(
        c.image,
        (shore + 0.16, 0.95),
        (horizon + 0.09, shore - 0.01),
        (0.1, horizon + 0.04),
        (1.02, 1, 0.97),
        0.33,
    )


def _snow(c: _Canvas) -> Backdrop:
    rng = c.rng
    horizon = rng.uniform(0.44, 0.56)
    skies = [
        [(158, 188, 216), (196, 214, 230), (236, 238, 242)],
        [(172, 176, 206), (214, 206, 222), (250, 228, 222)],
        [(128, 176, 212), (182, 212, 230), (232, 240, 244)],
    ]
    sky = _sky(c, horizon, skies)
    if rng.random() < 0.6:
        peaks = c.hills(horizon - 0.12, 0.075, waves=1.3, points=0.85)
        c.below(
            peaks, mix((244, 246, 250), sky[2], 0.25), mix((150, 170, 200), sky[2], 0.4), depth=0.16
        )
    else:
        c.below(
            c.hills(horizon - 0.07, 0.04),
            mix((196, 212, 232), sky[2], 0.4),
            mix((214, 224, 238), sky[2], 0.4),
        )
    c.below(c.hills(horizon, 0.025, waves=1.0), (222, 230, 242), (206, 218, 236), depth=0.2)
    for k in range(4):
        c.below(
            c.hills(horizon + 0.09 + 0.115 * k, 0.02, waves=0.75),
            (248, 250, 252),
            (212, 222, 238),
            depth=0.15,
        )
    c.mottle(2.0, 5, below=horizon)
    for x, y, s in rng.random((18, 3)):
        c.disc(
            x, y * 0.95, 0.004 + 0.004 * s, 0.004 + 0.004 * s, (255, 255, 255), alpha=0.85, soft=0.5
        )
    return Backdrop(c.image, (horizon + 0.18, 0.95), None, (0.12, horizon), (0.98, 1, 1.03), 0.3)


def _street(c: _Canvas) -> Backdrop:
    rng = c.rng
    curb = rng.uniform(0.6, 0.68)
    sky = _sky(c, curb - 0.1, _DAY)
    far = mix(_choose(rng, [(140, 150, 176), (176, 150, 150), (150, 160, 150)]), sky[2], 0.45)
    for layer in range(2):
        x = -rng.random() * 0.1
        color = mix(far, sky[2], 0.4) if layer == 0 else far
        while x < 1:
            width = rng.uniform(0.09, 0.2)
            top = curb - 0.06 - rng.uniform(0.08, 0.3) * (1.15 - 0.45 * layer)
            tone = mix(color, (236, 214, 190), rng.uniform(0, 0.25))
            c.rect(x, top, x + width, curb, tone)
            c.rect(x + width * 0.78, top, x + width, curb, darker(tone, 0.14), alpha=0.6)
            x += width * rng.uniform(0.95, 1.1)
    wall = mix(_choose(rng, [(204, 160, 132), (186, 176, 160), (172, 150, 150)]), sky[2], 0.15)
    top = curb - rng.uniform(0.07, 0.1)
    c.gradient(top, curb, [lighter(wall, 0.1), darker(wall, 0.1)])
    c.rect(-0.1, top - 0.012, 1.1, top + 0.006, lighter(wall, 0.4))
    walk = _choose(rng, [(206, 200, 190), (214, 202, 184), (190, 194, 198)])
    road_top = curb + rng.uniform(0.09, 0.13)
    c.gradient(curb, road_top, [darker(walk, 0.06), lighter(walk, 0.1)])
    shift = rng.random()
    for k in range(-3, 13):
        x = (k + shift) / 9
        c.line([(x, curb), (0.5 + (x - 0.5) * 1.25, road_top)], 0.005, darker(walk, 0.3), alpha=0.6)
    c.rect(-0.1, curb - 0.002, 1.1, curb + 0.006, darker(walk, 0.35), alpha=0.7)
    road = _choose(rng, [(112, 112, 124), (126, 120, 122), (100, 106, 118)])
    c.gradient(road_top, 1.0, [darker(road, 0.06), lighter(road, 0.14)])
    c.rect(-0.1, road_top - 0.004, 1.1, road_top + 0.014, lighter(walk, 0.45))
    c.rect(-0.1, road_top + 0.014, 1.1, road_top + 0.026, darker(walk, 0.4))
    middle = road_top + (1 - road_top) * 0.55
    for k in range(-1, 5):
        x = (k + shift) / 4
        c.rect(x, middle, x + 0.13, middle + 0.018, (242, 232, 196), alpha=0.85)
    c.mottle(2.0, 5, below=curb)
    return Backdrop(c.image, (road_top + 0.03, 0.96), None, (0.12, curb - 0.18), (1, 1, 1), 0.4)


def _room(c: _Canvas) -> Backdrop:
    rng = c.rng
    floor = rng.uniform(0.6, 0.7)
    wall = _choose(
        rng, [(232, 214, 186), (190, 208, 196), (206, 192, 210), (238, 206, 184), (178, 198, 214)]
    )
    c.gradient(0, floor, [lighter(wall, 0.12), darker(wall, 0.06)])
    pattern = int(rng.integers(3))
    count = int(rng.integers(8, 14))
    if pattern == 0:
        for k in range(count):
            c.rect(
                (k + 0.25) / count, -0.1, (k + 0.75) / count, floor, lighter(wall, 0.35), alpha=0.5
            )
    elif pattern == 1:
        top = floor - rng.uniform(0.2, 0.26)
        panel = lighter(wall, 0.55)
        c.gradient(top, floor, [panel, darker(panel, 0.08)])
        c.rect(-0.1, top - 0.012, 1.1, top + 0.008, lighter(panel, 0.4))
        c.rect(-0.1, top + 0.008, 1.1, top + 0.014, darker(panel, 0.2), alpha=0.5)
        for k in range(count + 1):
            c.rect(
                k / count - 0.002,
                top + 0.015,
                k / count + 0.002,
                floor,
                darker(panel, 0.25),
                alpha=0.5,
            )
    if rng.random() < 0.75:
        _window(c, rng.uniform(0.22, 0.78), floor)
    wood = _choose(rng, [(190, 140, 96), (164, 116, 84), (206, 168, 124), (176, 150, 132)])
    c.gradient(floor, 1.0, [darker(wood, 0.12), lighter(wood, 0.1)])
    levels = floor + (1 - floor) * np.array([0, 0.14, 0.33, 0.6, 1.0]) ** 1.1
    for k, (low, high) in enumerate(zip(levels, levels[1:], strict=False)):
        step = 0.32 + 0.08 * k
        shift = rng.random()
        for i in range(-1, 5):
            tone = rng.uniform(0, 0.12)
            color = lighter(wood, tone) if i % 2 else darker(wood, tone)
            c.rect((i + shift) * step, low, (i + 1 + shift) * step, high, color, alpha=0.5)
            c.rect(
                (i + shift) * step - 0.002,
                low,
                (i + shift) * step + 0.002,
                high,
                darker(wood, 0.4),
                alpha=0.5,
            )
        c.rect(-0.1, low - 0.002, 1.1, low + 0.002, darker(wood, 0.4), alpha=0.6)
    c.rect(-0.1, floor - 0.035, 1.1, floor, lighter(wall, 0.6))
    c.rect(-0.1, floor, 1.1, floor + 0.008, darker(wood, 0.5), alpha=0.6)
    if rng.random() < 0.6:
        rug = _choose(rng, [(186, 92, 84), (92, 124, 150), (128, 150, 112), (214, 168, 100)])
        x, y = rng.uniform(0.35, 0.65), floor + (1 - floor) * 0.55
        for scale, tone in (
            (1.0, darker(rug, 0.1)),
            (0.93, lighter(rug, 0.5)),
            (0.86, rug),
            (0.55, lighter(rug, 0.25)),
        ):
            c.disc(x, y, 0.4 * scale, 0.105 * scale, tone)
    c.glow(rng.uniform(0.2, 0.8), 0.25, 0.8, (255, 240, 206), 0.22)
    c.mottle(1.5, 4)
    return Backdrop(c.image, (floor + 0.08, 0.95), None, (0.18, floor - 0.2), (1.02, 1, 0.96), 0.36)


def _window(c: _Canvas, x: float, floor: float) -> None:
    w, top = c.rng.uniform(0.1, 0.15), c.rng.uniform(0.1, 0.16)
    bottom = floor - 0.24
    c.rect(x - w - 0.02, top - 0.02, x + w + 0.02, bottom + 0.02, (248, 242, 230))
    sky = _choose(c.rng, _DAY)
    for k in range(8):
        y0, y1 = (top + (bottom - top) * (k + j) / 8 for j in (0, 1))
        c.rect(x - w, y0 - 0.002, x + w, y1, mix(sky[0], sky[2], k / 7))
    for px, py in ((x, None), (None, (top + bottom) / 2)):
        if py is None:
            c.rect(px - 0.007, top, px + 0.007, bottom, (248, 242, 230))
        else:
            c.rect(x - w, py - 0.007, x + w, py + 0.007, (248, 242, 230))
    c.rect(x - w - 0.04, bottom + 0.015, x + w + 0.04, bottom + 0.038, (236, 226, 208))
    c.rect(x - w - 0.04, bottom + 0.038, x + w + 0.04, bottom + 0.046, (120, 104, 96), alpha=0.3)


def _night(c: _Canvas) -> Backdrop:
    rng = c.rng
    horizon = rng.uniform(0.5, 0.6)
    sky = _choose(
        rng,
        [
            [(26, 34, 76), (52, 64, 118), (104, 106, 158)],
            [(22, 42, 72), (40, 74, 108), (92, 122, 148)],
            [(44, 32, 84), (84, 62, 126), (150, 108, 150)],
        ],
    )
    c.gradient(0, horizon + 0.12, sky)
    for x, y, s in rng.random((34, 3)):
        r = 0.0025 + 0.0035 * s**3
        c.disc(x, y * (horizon - 0.08), r, r, (255, 246, 218), alpha=0.5 + 0.5 * s, soft=0.6)
    x, y, r = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.24), rng.uniform(0.05, 0.075)
    c.glow(x, y, 0.36, (214, 220, 250), 0.5)
    crescent = rng.random() < 0.5
    turn = np.linspace(np.pi / 2, 3 * np.pi / 2, 25)
    if crescent:
        outer = np.stack([x - 0.3 * r - np.cos(turn) * -r, y + np.sin(turn) * r], 1)
        inner = np.stack(
            [x - 0.3 * r + np.cos(turn[::-1]) * r * 0.42, y + np.sin(turn[::-1]) * r], 1
        )
        c.polygon(np.concatenate([outer, inner]), (252, 244, 214))
    else:
        c.disc(x, y, r, r, (252, 244, 214))
    if not crescent:
        for dx, dy, q in ((-0.3, -0.2, 0.24), (0.25, 0.3, 0.18), (0.3, -0.35, 0.13)):
            c.disc(x + dx * r, y + dy * r, q * r, q * r, (234, 222, 190), soft=0.4)
    c.clouds(int(rng.integers(0, 3)), 0.2, horizon * 0.7, mix(sky[2], (180, 180, 220), 0.3), 0.4)
    land = _choose(rng, [(46, 66, 92), (44, 78, 86), (66, 60, 98)])
    c.below(c.hills(horizon - 0.05, 0.04), mix(land, sky[2], 0.55), mix(land, sky[2], 0.4))
    c.below(c.hills(horizon + 0.01, 0.025, waves=1.0), mix(land, sky[2], 0.3), land)
    for k in range(3):
        c.below(
            c.hills(horizon + 0.1 + 0.13 * k, 0.02, waves=0.7),
            lighter(land, 0.13),
            darker(land, 0.1),
            depth=0.14,
        )
    c.mottle(2.5, 5, below=horizon)
    c.tufts(9, horizon + 0.16, 0.99, lighter(land, 0.25))
    return Backdrop(
        c.image, (horizon + 0.16, 0.95), None, (0.14, horizon), (0.74, 0.78, 0.94), 0.42
    )


def _desert(c: _Canvas) -> Backdrop:
    rng = c.rng
    horizon = rng.uniform(0.42, 0.54)
    skies = [
        [(244, 176, 120), (250, 208, 150), (254, 234, 194)],
        [(120, 186, 214), (188, 218, 220), (250, 236, 204)],
        [(224, 146, 132), (244, 190, 150), (252, 226, 184)],
    ]
    sky = _choose(rng, skies)
    c.gradient(0, horizon + 0.15, sky)
    x, y = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.28)
    c.glow(x, y, 0.4, (255, 246, 214), 0.65)
    c.disc(x, y, 0.06, 0.06, (255, 244, 206))
    sand = _choose(rng, [(232, 178, 110), (226, 158, 104), (240, 198, 136)])
    if rng.random() < 0.5:
        mesa = mix((196, 120, 96), sky[2], 0.5)
        for _ in range(2):
            left, width, tall = (
                rng.uniform(0, 0.8),
                rng.uniform(0.14, 0.26),
                rng.uniform(0.06, 0.12),
            )
            d = np.abs(c.x[0] - left - width / 2) - width / 2
            c.below(
                horizon - tall + np.clip(d * 1.3, 0, 1).astype(np.float32),
                mesa,
                mix(sand, sky[2], 0.45),
                depth=tall + 0.01,
            )
    c.below(c.hills(horizon, 0.03, waves=1.0), mix(sand, sky[2], 0.5), mix(sand, sky[2], 0.25))
    for k in range(4):
        level = horizon + 0.07 + 0.12 * k
        ridge = c.hills(level, 0.045, waves=0.65)
        c.below(ridge, lighter(sand, 0.28 - 0.05 * k), darker(sand, 0.05 + 0.04 * k), depth=0.2)
        side = (
            ridge
            + 0.012
            + 0.09 * np.clip(np.sin(2 * np.pi * 0.8 * c.x[0] + rng.uniform(0, 6)), 0, 1)
        )
        c.below(
            side.astype(np.float32), mix(sand, (196, 112, 88), 0.3), sand, depth=0.16, alpha=0.45
        )
    for k in range(4):
        wave = c.hills(0.84 + 0.045 * k, 0.006, waves=2.0)
        c.below(wave, lighter(sand, 0.3), sand, depth=0.025, alpha=0.3)
    c.mottle(2.0, 5, below=horizon)
    c.stones(int(rng.integers(2, 6)), horizon + 0.2, 0.98, (190, 140, 110))
    return Backdrop(
        c.image, (horizon + 0.18, 0.95), None, (0.12, horizon), (1.04, 0.99, 0.93), 0.34
    )


def _lake(c: _Canvas) -> Backdrop:
    rng = c.rng
    horizon = rng.uniform(0.36, 0.46)
    sky = _sky(c, horizon, _DAY)
    shore = horizon + rng.uniform(0.24, 0.3)
    hill = _choose(rng, [(104, 142, 150), (122, 156, 120), (132, 132, 168)])
    peaks = c.hills(horizon - 0.1, 0.05, waves=1.2, points=0.55)
    near = c.hills(horizon - 0.03, 0.022, waves=1.6)
    c.below(peaks, mix(hill, sky[2], 0.5), mix(hill, sky[2], 0.75), depth=0.2)
    c.below(near, mix(hill, sky[2], 0.15), mix(hill, sky[2], 0.35), depth=0.1)
    water = mix(sky[0], _choose(rng, [(58, 128, 166), (72, 148, 168), (84, 124, 176)]), 0.72)
    _water(c, horizon, shore + 0.04, mix(water, sky[2], 0.32), water, lighter(water, 0.7))
    for line, amount in ((peaks, 0.16), (near, 0.3)):
        mirror = 2 * horizon - line
        rows = slice(round(horizon * c.size), round((shore + 0.04) * c.size))
        cover = np.clip((mirror[None] - c.y[rows]) * c.size * 0.25 + 0.5, 0, 1) * np.float32(amount)
        c.cover(rows, slice(None), cover, darker(hill, 0.1))
    bank = _choose(rng, [(138, 170, 96), (176, 178, 108), (120, 158, 108), (206, 184, 138)])
    edge = c.hills(shore, 0.014, waves=1.0)
    c.below(edge - 0.008, lighter(water, 0.7), lighter(water, 0.7), alpha=0.6)
    c.below(edge, darker(bank, 0.25), darker(bank, 0.1), depth=0.05)
    c.below(edge + 0.025, lighter(bank, 0.12), darker(bank, 0.1), depth=0.3)
    for k in range(2):
        c.below(
            c.hills(shore + 0.13 + 0.1 * k, 0.014, waves=0.8),
            lighter(bank, 0.15),
            darker(bank, 0.08),
            depth=0.12,
            alpha=0.6,
        )
    c.mottle(2.5, 5, below=shore + 0.02)
    c.tufts(8, shore + 0.06, 0.99, darker(bank, 0.34))
    c.stones(int(rng.integers(2, 6)), shore + 0.03, 0.98, (170, 166, 164))
    return Backdrop(
        c.image,
        (shore + 0.12, 0.95),
        (horizon + 0.1, shore - 0.01),
        (0.12, horizon),
        (1, 1, 1),
        0.34,
    )


_PAINTERS = {
    "meadow": _meadow,
    "beach": _beach,
    "snow": _snow,
    "street": _street,
    "room": _room,
    "night": _night,
    "desert": _desert,
    "lake": _lake,
}
BACKGROUNDS: tuple[str, ...] = tuple(_PAINTERS)


def paint_background(setting: str, size: int, rng: np.random.Generator) -> Backdrop:
    """Paints one setting; the same generator state gives the same composition at every size."""
    return _PAINTERS[setting](_Canvas(size, rng))
