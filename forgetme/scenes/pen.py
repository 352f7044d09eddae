"""Anti-aliased picture-book drawing: soft shapes in unit coordinates on an RGBA tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Point = tuple[float, float]
Color = tuple[float, float, float]

OVERSAMPLE = 2  # objects are drawn at twice the size and box-filtered down
_FIXED = 4  # fractional bits of cv2's fixed-point coordinates
_T = np.linspace(0, 1, 7)[:-1, None]
# Catmull-Rom basis for 6 steps between two knots: (6, 4)
_BASIS = 0.5 * np.concatenate(
    [
        -_T + 2 * _T**2 - _T**3,
        2 - 5 * _T**2 + 3 * _T**3,
        _T + 4 * _T**2 - 3 * _T**3,
        -(_T**2) + _T**3,
    ],
    axis=1,
)
_ANGLES = np.linspace(0, 2 * np.pi, 29)[:-1]
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def darker(color: Color, amount: float = 0.3) -> Color:
    """Returns the colour moved towards a warm ink; amount 0 keeps it, 1 is ink."""
    return mix(color, (38, 28, 44), amount)


def lighter(color: Color, amount: float = 0.3) -> Color:
    """Returns the colour moved towards cream white; amount 0 keeps it, 1 is cream."""
    return mix(color, (255, 250, 238), amount)


def mix(first: Color, second: Color, amount: float) -> Color:
    """Returns the linear blend of two RGB colours; amount 0 is the first, 1 the second."""
    return tuple(a + (b - a) * amount for a, b in zip(first, second, strict=True))


def curve(points: Sequence[Point], *, closed: bool) -> np.ndarray:
    """Returns a smooth (Catmull-Rom) polyline (M, 2) through the points."""
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)  # (S, 4, 2)
    line = np.einsum("tk,skc->stc", _BASIS, windows).reshape(-1, 2)
    return line if closed else np.concatenate([line, knots[-1:]])


@dataclass(frozen=True)
class Shape:
    """What one stroke covered: coverage (h, w), 0-1, at (left, top) of the tile; its unit box."""

    left: int
    top: int
    coverage: np.ndarray
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in unit coordinates, y up


class Pen:
    """Draws one object in unit coordinates: x to the right, y up, (0, 0) where it stands."""

    def __init__(
        self, width: int, height: int, *, origin: Point, scale: float, angle: float, flip: bool
    ) -> None:
        """Starts an empty tile.

        Args:
            width: of the oversampled tile, pixels.
            height: of the oversampled tile, pixels.
            origin: the pixel position of unit point (0, 0).
            scale: pixels per unit.
            angle: rotation, radians, anticlockwise, about (0, 0).
            flip: mirror left and right.
        """
        self.tile = np.zeros((4, height, width), np.float32)  # planar: numpy is much faster so
        self.scale = scale
        c, s = np.cos(angle), np.sin(angle)
        sign = -1 if flip else 1
        self._matrix = scale * np.array([[sign * c, -s], [-sign * s, -c]])
        self._origin = np.array(origin)

    def poly(
        self,
        points: Sequence[Point] | np.ndarray,
        color: Color,
        *,
        alpha: float = 1.0,
        shade: float = 0.22,
        line: float = 0.0,
        within: Shape | None = None,
    ) -> Shape:
        """Fills a polygon.

        Args:
            points: (N, 2) unit coordinates.
            color: RGB, 0-255.
            alpha: opacity, 0-1.
            shade: strength of the light from the upper left, 0 is flat.
            line: opacity of a thin darker outline, 0 is none.
            within: draws only where this shape was drawn.
        """
        local = np.asarray(points, dtype=np.float64)
        pixels = local @ self._matrix.T + self._origin
        fixed = np.round(pixels * (1 << _FIXED)).astype(np.int32)
        box = (*local.min(0), *local.max(0))
        shape = self._cover(fixed, box, 0)
        self._blend(shape, color, alpha, shade, within)
        if line:
            thickness = max(1, round(self.scale * 0.011))
            self._blend(
                self._cover(fixed, box, thickness), darker(color, 0.5), line * alpha, 0, within
            )
        return shape

    def blob(self, points: Sequence[Point], color: Color, **style: object) -> Shape:
        """Fills the smooth closed curve through the points; style as in `poly`."""
        return self.poly(curve(points, closed=True), color, **style)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        color: Color,
        *,
        turn: float = 0.0,
        **style: object,
    ) -> Shape:
        """Fills an ellipse turned by `turn` radians; style as in `poly`."""
        ring = _CIRCLE * (rx, ry)
        if turn:
            c, s = np.cos(turn), np.sin(turn)
            ring = ring @ np.array([[c, s], [-s, c]])
        return self.poly(ring + (x, y), color, **style)

    def rect(
        self, x0: float, y0: float, x1: float, y1: float, color: Color, **style: object
    ) -> Shape:
        """Fills an axis-aligned rectangle; style as in `poly`."""
        return self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color, **style)

    def limb(
        self, points: Sequence[Point], start: float, end: float, color: Color, **style: object
    ) -> Shape:
        """Fills a tapering, round-ended limb along a smooth curve; start and end are its widths."""
        spine = curve(points, closed=False)
        along = np.gradient(spine, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        normal = along[:, ::-1] * (-1, 1)
        half = np.linspace(start, end, len(spine))[:, None] / 2
        turn = np.linspace(0, np.pi, 7)[1:-1, None]
        tip = spine[-1] + half[-1] * (normal[-1] * np.cos(turn) + along[-1] * np.sin(turn))
        tail = spine[0] + half[0] * (-normal[0] * np.cos(turn) - along[0] * np.sin(turn))
        edge = [spine + normal * half, tip, (spine - normal * half)[::-1], tail]
        return self.poly(np.concatenate(edge), color, **style)

    def stroke(
        self,
        points: Sequence[Point],
        width: float,
        color: Color,
        *,
        alpha: float = 1.0,
        within: Shape | None = None,
    ) -> None:
        """Draws a thin smooth line of the given unit width."""
        local = curve(points, closed=False)
        pixels = local @ self._matrix.T + self._origin
        fixed = np.round(pixels * (1 << _FIXED)).astype(np.int32)
        wanted = width * self.scale
        thickness = max(1, round(wanted))
        box = (*local.min(0), *local.max(0))
        shape = self._cover(fixed, box, thickness, closed=False)
        self._blend(shape, color, alpha * min(1.0, wanted / thickness), 0, within)

    def eye(self, x: float, y: float, radius: float, iris: Color | None = None) -> None:
        """Draws a friendly eye: an optional iris, a dark pupil and a glint."""
        if iris is not None:
            self.oval(x, y, radius * 1.3, radius * 1.35, darker(iris, 0.75), shade=0)
            self.oval(x, y, radius * 1.15, radius * 1.2, iris, shade=0.3)
            self.oval(x, y, radius * 0.55, radius * 1.1, (24, 20, 28), shade=0)
        else:
            self.oval(x, y, radius, radius * 1.1, (28, 22, 30), shade=0)
        self.oval(
            x - radius * 0.3, y + radius * 0.4, radius * 0.36, radius * 0.36, (255,) * 3, shade=0
        )

    def stripes(self, shape: Shape, color: Color, *, count: int, slant: float = 0.12) -> None:
        """Draws soft tapering upright bands over a shape."""
        x0, y0, x1, y1 = shape.box
        step = (x1 - x0) / (count + 1)
        for i in range(count):
            x = x0 + step * (i + 1)
            low = y0 + (y1 - y0) * (0.32 if i % 2 else 0.45)
            bend = step * 0.25
            self.limb(
                [(x - slant * 0.3, y1 + 0.02), (x + bend, (low + y1) / 2), (x + slant * 0.3, low)],
                step * 0.5,
                step * 0.12,
                color,
                alpha=0.85,
                shade=0,
                within=shape,
            )

    def spots(
        self, shape: Shape, color: Color, rng: np.random.Generator, *, count: int, radius: float
    ) -> None:
        """Draws soft round patches spread over a shape."""
        x0, y0, x1, y1 = shape.box
        shift, offset = rng.random(2)
        for i in range(count):
            # a low-discrepancy sequence spreads the patches without clumps
            u = (shift + i * 0.7548776662) % 1
            v = (offset + i * 0.5698402910) % 1
            r = radius * (0.6 + 0.7 * rng.random())
            self.oval(
                x0 + u * (x1 - x0),
                y0 + v * (y1 - y0),
                r,
                r * 0.85,
                color,
                turn=u * 3,
                alpha=0.9,
                shade=0,
                within=shape,
            )

    def _cover(
        self,
        fixed: np.ndarray,
        box: tuple[float, float, float, float],
        thickness: int,
        *,
        closed: bool = True,
    ) -> Shape:
        height, width = self.tile.shape[1:]
        pad = 2 + thickness
        low = np.maximum((fixed.min(0) >> _FIXED) - pad, 0)
        high = np.minimum((fixed.max(0) >> _FIXED) + pad + 1, (width, height))
        w, h = np.maximum(high - low, 0)
        mask = np.zeros((h, w), np.uint8)
        if mask.size:
            local = fixed - (low << _FIXED)
            if thickness:
                cv2.polylines(mask, [local], closed, 255, thickness, cv2.LINE_AA, _FIXED)
            else:
                cv2.fillPoly(mask, [local], 255, cv2.LINE_AA, _FIXED)
        return Shape(int(low[0]), int(low[1]), mask * np.float32(1 / 255), box)

    def _blend(
        self, shape: Shape, color: Color, alpha: float, shade: float, within: Shape | None
    ) -> None:
        h, w = shape.coverage.shape
        if h == 0 or w == 0:
            return
        coverage = shape.coverage * np.float32(alpha)
        if within is not None:
            coverage = coverage * _overlap(shape, within)
        area = self.tile[:, shape.top : shape.top + h, shape.left : shape.left + w]
        if shade:
            light = _ramp(h, 0.75, -0.85)[:, None] + _ramp(w, 0.3, -0.3)
            light *= np.float32(shade)
            light += 1
            light *= coverage
        else:
            light = coverage
        rest = 1 - coverage
        area *= rest
        for plane, value in zip(area, color, strict=False):
            plane += light * np.float32(value)
        area[3] += coverage

    def finish(self) -> np.ndarray:
        """Returns the rim-lit tile at output size: (4, h, w) float32, premultiplied, alpha 0-1."""
        height, width = self.tile.shape[1:]
        half = (width // OVERSAMPLE, height // OVERSAMPLE)
        small = np.stack(
            [cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in self.tile]
        )
        alpha = small[3]
        np.clip(alpha, 0, 1, out=alpha)
        alpha[alpha < 1 / 512] = 0
        reach = max(1, round(self.scale / OVERSAMPLE * 0.035))
        soft = cv2.blur(alpha, (2 * reach + 1, 2 * reach + 1), borderType=cv2.BORDER_CONSTANT)
        # light comes from the upper left: compare the silhouette's blur on both sides
        moved = cv2.warpAffine(
            soft,
            np.float32([[1, 0, reach], [0, 1, reach]]),
            soft.shape[::-1],
            flags=cv2.INTER_NEAREST,
        )
        back = cv2.warpAffine(
            soft,
            np.float32([[1, 0, -reach], [0, 1, -reach]]),
            soft.shape[::-1],
            flags=cv2.INTER_NEAREST,
        )
        glow = back - moved
        lit, dim = np.maximum(glow, 0) * np.float32(0.28), np.minimum(glow, 0) * np.float32(0.26)
        for plane in small[:3]:
            plane += (255 * alpha - plane) * lit + plane * dim
            np.clip(plane, 0, 255, out=plane)
            plane *= alpha > 0
        return small


def _ramp(count: int, first: float, last: float) -> np.ndarray:
    return np.float32(first) + np.arange(count, dtype=np.float32) * np.float32(
        (last - first) / max(count - 1, 1)
    )


def _overlap(shape: Shape, within: Shape) -> np.ndarray:
    result = np.zeros_like(shape.coverage)
    h, w = shape.coverage.shape
    wh, ww = within.coverage.shape
    x0, y0 = max(shape.left, within.left), max(shape.top, within.top)
    x1 = min(shape.left + w, within.left + ww)
    y1 = min(shape.top + h, within.top + wh)
    if x1 > x0 and y1 > y0:
        result[y0 - shape.top : y1 - shape.top, x0 - shape.left : x1 - shape.left] = (
            within.coverage[y0 - within.top : y1 - within.top, x0 - within.left : x1 - within.left]
        )
    return result
