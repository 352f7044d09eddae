"""The drawn world's vehicles, plants and buildings, each in several shapes and colours."""

from __future__ import annotations

import numpy as np

from .pen import Color, Pen, darker, lighter, mix

# Coordinates read best as rows of points: the formatter would give every number its own line.
# fmt: off

PAINTS: dict[str, Color] = {
    "red": (208, 70, 62),
    "blue": (66, 122, 192),
    "yellow": (242, 196, 72),
    "green": (86, 150, 98),
    "white": (240, 236, 226),
    "orange": (234, 138, 62),
    "purple": (142, 104, 176),
    "pink": (232, 138, 158),
}
LEAVES: dict[str, Color] = {
    "green": (92, 150, 84),
    "dark green": (56, 112, 84),
    "golden": (226, 166, 66),
    "red": (196, 90, 62),
}
_GLASS: Color = (190, 220, 234)
_WOOD: Color = (134, 94, 66)
_TYRE: Color = (52, 48, 56)
_LIT: Color = (255, 222, 136)


def _paint(rng: np.random.Generator, names: tuple[str, ...],
           colors: dict[str, Color]) -> tuple[str, Color]:
    name = names[int(rng.integers(len(names)))]
    return name, tuple(float(np.clip(c + rng.uniform(-12, 12), 0, 255)) for c in colors[name])


def _wheel(pen: Pen, x: float, y: float, r: float) -> None:
    pen.oval(x, y, r, r, _TYRE)
    pen.oval(x, y, r * 0.6, r * 0.6, (206, 206, 210), line=0.3)
    pen.oval(x, y, r * 0.2, r * 0.2, (120, 118, 126))


def draw_car(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a car from the side (saloon, beetle or van) and returns its description."""
    name, paint = _paint(rng, ("red", "blue", "yellow", "green", "white", "orange", "pink"), PAINTS)
    kind = ("saloon", "beetle", "saloon", "beetle", "van")[rng.integers(5)]
    trim = lighter(paint, 0.6) if name != "white" else (214, 120, 96)
    two_tone = bool(rng.random() < 0.5)
    glass = mix(_GLASS, (150, 190, 220), rng.random())
    pen.rect(-0.48, 0.09, 0.48, 0.16, (70, 64, 72), shade=0.1)
    if kind == "saloon":
        pen.blob([(-0.3, 0.24), (-0.2, 0.44), (-0.12, 0.47), (0.14, 0.47), (0.24, 0.42),
                  (0.36, 0.24),
                  (0.0, 0.2)], trim if two_tone else paint, line=0.5)
        windows = [[(-0.22, 0.29), (-0.155, 0.415), (-0.01, 0.425), (-0.01, 0.29)],
                   [(0.03, 0.29), (0.03, 0.425), (0.15, 0.42), (0.27, 0.29)]]
        body = [(-0.52, 0.12), (-0.53, 0.2), (-0.48, 0.26), (-0.3, 0.29), (0.3, 0.29), (0.48, 0.27),
                (0.53, 0.2), (0.52, 0.12), (0.3, 0.1), (-0.3, 0.1)]
    elif kind == "beetle":
        pen.blob([(-0.36, 0.2), (-0.26, 0.4), (-0.06, 0.5), (0.14, 0.48), (0.3, 0.36), (0.4, 0.2),
                  (0.0, 0.16)], paint, line=0.5)
        windows = [[(-0.23, 0.3), (-0.17, 0.39), (-0.02, 0.44), (-0.02, 0.3)],
                   [(0.03, 0.3), (0.03, 0.44), (0.16, 0.41), (0.25, 0.3)]]
        body = [(-0.5, 0.11), (-0.51, 0.2), (-0.42, 0.28), (-0.25, 0.29), (0.26, 0.29),
                (0.42, 0.28),
                (0.5, 0.2), (0.5, 0.11), (0.3, 0.09), (-0.3, 0.09)]
    else:
        windows = [[(-0.44, 0.33), (-0.39, 0.46), (-0.24, 0.46), (-0.24, 0.33)],
                   [(-0.2, 0.33), (-0.2, 0.46), (0.08, 0.46), (0.08, 0.33)],
                   [(0.12, 0.33), (0.12, 0.46), (0.38, 0.46), (0.4, 0.33)]]
        body = [(-0.5, 0.11), (-0.52, 0.28), (-0.46, 0.42), (-0.4, 0.51), (0.0, 0.53), (0.38, 0.52),
                (0.46, 0.46), (0.48, 0.28), (0.48, 0.11), (0.0, 0.09)]
    shell = pen.blob(body, paint, line=0.55)
    if two_tone:
        if kind == "van":
            pen.rect(-0.6, 0.29, 0.6, 0.6, trim, within=shell, shade=0.1)
        pen.rect(-0.6, 0.19, 0.6, 0.215, trim, within=shell, shade=0)
    for window in windows:
        pane = pen.poly(window, glass, line=0.6)
        x, y = window[0]
        pen.poly([(x + 0.03, y), (x + 0.08, y), (x + 0.14, y + 0.14), (x + 0.09, y + 0.14)],
                 (255,) * 3,
                 alpha=0.5, shade=0, within=pane)
    for x in (0.01, -0.26):
        pen.stroke([(x, 0.28), (x, 0.12)], 0.008, darker(paint, 0.45), alpha=0.6)
    pen.stroke([(0.04, 0.25), (0.09, 0.25)], 0.014, darker(paint, 0.6), alpha=0.8)
    pen.oval(-0.485, 0.21, 0.03, 0.04, (255, 240, 176), line=0.5)
    pen.oval(0.495 if kind != "van" else 0.47, 0.22, 0.018, 0.034, (206, 52, 50), line=0.4)
    pen.limb([(-0.53, 0.12), (-0.4, 0.115)], 0.035, 0.035, (216, 216, 218), line=0.3)
    pen.limb([(0.4, 0.115), (0.53, 0.12)], 0.035, 0.035, (216, 216, 218), line=0.3)
    for x in (-0.3, 0.3):
        pen.oval(x, 0.11, 0.125, 0.125, darker(paint, 0.55), within=shell, shade=0)
        _wheel(pen, x, 0.1, 0.1)
    return f"{name} car"


def draw_boat(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a boat (one sail, two sails, or a little steamer) and returns its description."""
    name, paint = _paint(rng, ("red", "blue", "yellow", "green", "white", "orange"), PAINTS)
    kind = ("sloop", "ketch", "steamer", "sloop")[rng.integers(4)]
    sail_name, sail = _paint(rng, ("white", "red", "yellow", "orange", "blue"), PAINTS)
    if sail_name == name:
        sail = (244, 238, 222)
    band = (244, 238, 222) if name != "white" else (86, 118, 170)
    if kind == "steamer":
        pen.rect(0.06, 0.34, 0.2, 0.72, (206, 84, 66), line=0.5)
        pen.rect(0.06, 0.6, 0.2, 0.66, (244, 238, 222), shade=0.15)
        pen.rect(0.05, 0.7, 0.21, 0.74, (64, 58, 66))
        for x, y, r in ((0.15, 0.76, 0.05), (0.21, 0.82, 0.06), (0.3, 0.88, 0.075)):
            pen.oval(x, y, r, r * 0.8, (240, 238, 238), alpha=0.92, shade=0.15)
        pen.rect(-0.26, 0.24, 0.32, 0.44, (246, 240, 226), line=0.5)
        pen.rect(-0.29, 0.43, 0.35, 0.47, mix(paint, (255, 255, 255), 0.2), line=0.4)
        for x in (-0.16, -0.02, 0.12, 0.24):
            pen.oval(x, 0.345, 0.042, 0.042, _GLASS, line=0.8)
        pen.stroke([(-0.36, 0.26), (-0.36, 0.7)], 0.02, _WOOD)
        pen.poly([(-0.35, 0.7), (-0.18, 0.64), (-0.35, 0.58)], (214, 70, 62), line=0.4)
    else:
        pen.limb([(0.0, 0.2), (0.0, 0.98)], 0.035, 0.025, _WOOD)
        puff = rng.uniform(0.0, 0.08)
        main = pen.blob([(0.04, 0.94), (0.05, 0.62), (0.04, 0.32), (0.26, 0.3), (0.46, 0.33),
                         (0.34 + puff, 0.54), (0.18 + puff, 0.78)], sail, line=0.5)
        if rng.random() < 0.5:
            for y in (0.44, 0.62, 0.8):
                pen.limb([(0.0, y), (0.5, y - 0.03)], 0.06, 0.06, mix(sail, paint, 0.55), shade=0,
                         within=main)
        else:
            for y in (0.48, 0.66):
                pen.stroke([(0.04, y), (0.24, y + 0.01), (0.44, y - 0.02)], 0.01, darker(sail, 0.3),
                           alpha=0.6, within=main)
        if kind == "ketch":
            pen.blob([(-0.04, 0.86), (-0.05, 0.56), (-0.06, 0.33), (-0.24, 0.31), (-0.42, 0.33),
                      (-0.28, 0.5), (-0.14, 0.7)], lighter(sail, 0.5), line=0.5)
        pen.poly([(0.0, 0.99), (-0.16, 0.95), (0.0, 0.9)],
                 (214, 70, 62) if name != "red" else PAINTS["blue"],
                 line=0.4)
    hull = pen.blob([(-0.54, 0.27), (-0.3, 0.235), (0.0, 0.225), (0.3, 0.235), (0.52, 0.26),
                     (0.44, 0.1),
                     (0.34, 0.01), (0.0, -0.01), (-0.34, 0.01), (-0.45, 0.12)], paint, line=0.6)
    pen.limb([(-0.6, 0.25), (-0.3, 0.2), (0.0, 0.19), (0.3, 0.2), (0.6, 0.24)], 0.035, 0.035, band,
             within=hull)
    pen.rect(-0.6, -0.1, 0.6, 0.06, darker(paint, 0.4), within=hull, shade=0)
    pen.stroke([(-0.48, 0.13), (0.0, 0.115), (0.48, 0.13)], 0.01, darker(paint, 0.45), alpha=0.5,
               within=hull)
    pen.limb([(-0.53, 0.275), (-0.3, 0.245), (0.0, 0.235), (0.3, 0.245), (0.51, 0.265)], 0.03,
             0.03, _WOOD)
    return f"{name} boat"


def draw_tree(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a tree (round crown, fir, poplar or palm) and returns its description."""
    kind = ("round", "fir", "round", "palm", "poplar")[rng.integers(5)]
    names = ("green", "dark green") if kind in ("fir", "palm", "poplar") else tuple(LEAVES)
    name, leaf = _paint(rng, names, LEAVES)
    bark = mix(_WOOD, (104, 82, 74), rng.random())
    if kind == "fir":
        pen.rect(-0.045, 0.0, 0.045, 0.2, bark, line=0.4)
        for i, (y, w) in enumerate(((0.12, 0.34), (0.34, 0.28), (0.55, 0.21), (0.73, 0.14))):
            tier = [(0.0, y + 0.38 - 0.035 * i), (w * 0.55, y + 0.12), (w, y - 0.01),
                    (w * 0.55, y + 0.02),
                    (w * 0.2, y - 0.035), (-w * 0.25, y + 0.015), (-w * 0.6, y - 0.02), (-w, y),
                    (-w * 0.55, y + 0.12)]
            pen.poly(tier, lighter(leaf, 0.06 * i), line=0.4, shade=0.3)
    elif kind == "palm":
        lean = rng.uniform(-0.12, 0.12)
        top = (lean, 0.72)
        trunk = pen.limb([(0.0, 0.0), (lean * 0.2, 0.36), top], 0.11, 0.06,
                         mix(bark, (206, 166, 116), 0.5),
                         line=0.5)
        for i in range(8):
            y = 0.06 + 0.085 * i
            pen.stroke([(-0.15 + lean * 0.5, y), (0.15 + lean * 0.5, y + 0.01)], 0.01,
                       darker(bark, 0.3),
                       alpha=0.6, within=trunk)
        for i, (dx, dy) in enumerate(((-0.46, -0.1), (0.46, -0.1), (-0.42, 0.12), (0.42, 0.12),
                                      (-0.22, 0.24),
                                      (0.22, 0.24), (-0.28, -0.22), (0.28, -0.22))):
            x, y = top
            pen.blob([(x, y), (x + dx * 0.5, y + dy * 0.5 + 0.13), (x + dx, y + dy - 0.02),
                      (x + dx * 0.5, y + dy * 0.5 + 0.03)], lighter(leaf, 0.05 * (i % 3)),
                      line=0.45)
        for dx in (-0.035, 0.04):
            pen.oval(top[0] + dx, top[1] - 0.03, 0.035, 0.038, (118, 82, 58), line=0.3)
    elif kind == "poplar":
        pen.rect(-0.035, 0.0, 0.035, 0.24, bark, line=0.4)
        crown = pen.blob([(0.0, 1.0), (0.12, 0.8), (0.19, 0.48), (0.14, 0.2), (0.0, 0.14),
                          (-0.14, 0.2),
                          (-0.19, 0.48), (-0.12, 0.8)], leaf, line=0.45, shade=0.35)
        for i in range(6):
            x, y = 0.07 * (-1) ** i, 0.25 + 0.11 * i
            pen.stroke([(x - 0.04, y), (x, y + 0.06), (x + 0.04, y + 0.02)], 0.014,
                       lighter(leaf, 0.3),
                       alpha=0.6, within=crown)
    else:
        pen.blob([(-0.1, 0.0), (-0.05, 0.12), (-0.05, 0.42), (0.05, 0.42), (0.05, 0.12),
                  (0.1, 0.0)], bark,
                 line=0.5)
        for end in ((-0.18, 0.52), (0.18, 0.5)):
            pen.limb([(0.0, 0.3), end], 0.05, 0.025, bark)
        puffs = [(-0.2, 0.52, 0.18), (0.2, 0.52, 0.18), (0.0, 0.5, 0.19), (-0.24, 0.68, 0.17),
                 (0.24, 0.68, 0.17), (-0.11, 0.82, 0.165), (0.12, 0.81, 0.165), (0.0, 0.68, 0.22)]
        jitter = rng.uniform(-0.02, 0.02, (len(puffs), 2))
        for (x, y, r), (dx, dy) in zip(puffs, jitter, strict=True):
            pen.oval(x + dx, y + dy, r, r * 0.93, mix(darker(leaf, 0.2), lighter(leaf, 0.12),
                                                      (y - 0.4) * 2),
                     shade=0.2, line=0.15)
        for x, y in ((-0.2, 0.72), (-0.02, 0.86), (0.16, 0.74), (-0.08, 0.62), (0.1, 0.58),
                     (-0.26, 0.56)):
            pen.stroke([(x - 0.035, y), (x, y + 0.03), (x + 0.035, y)], 0.014, lighter(leaf, 0.35),
                       alpha=0.6)
        if rng.random() < 0.4:
            for x, y in ((-0.16, 0.6), (0.12, 0.68), (-0.04, 0.77), (0.24, 0.56), (0.02, 0.54)):
                pen.oval(x, y, 0.028, 0.028, (214, 66, 58) if name != "red" else (250, 206, 96),
                         line=0.3)
    word = {"fir": "fir tree", "palm": "palm tree"}.get(kind, "tree")
    return word if kind == "palm" else f"{name} {word}"


def draw_house(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a house (cottage, wide or tall) with a pitched roof and returns its description."""
    walls: dict[str, Color] = {
        "white": (244, 236, 220), "yellow": (242, 210, 128), "pink": (236, 178, 168),
        "blue": (156, 190, 214), "red": (196, 96, 80), "green": (166, 196, 156),
    }
    name, wall = _paint(rng, tuple(walls), walls)
    roofs: tuple[Color, ...] = ((182, 84, 66), (98, 92, 110), (142, 96, 76), (78, 110, 130))
    roof = roofs[rng.integers(4)] if name != "red" else roofs[1]
    kind = ("cottage", "wide", "tall")[rng.integers(3)]
    door: Color = PAINTS[("red", "green", "blue", "yellow")[rng.integers(4)]]
    pane: Color = _LIT if rng.random() < 0.6 else _GLASS
    half, eave = {"cottage": (0.36, 0.46), "wide": (0.46, 0.38), "tall": (0.28, 0.58)}[kind]
    peak = {"cottage": 0.92, "wide": 0.74, "tall": 0.96}[kind]
    x = half * 0.55
    pen.rect(x - 0.06, eave, x + 0.05, peak + 0.04, mix(roof, (150, 90, 76), 0.5), line=0.5)
    pen.rect(x - 0.075, peak + 0.02, x + 0.065, peak + 0.06, darker(roof, 0.3), line=0.4)
    front = [(-half, 0.0), (half, 0.0), (half, eave), (-half, eave)]
    if kind != "wide":
        front = [(-half, 0.0), (half, 0.0), (half, eave), (0.0, peak - 0.04), (-half, eave)]
    facade = pen.poly(front, wall, line=0.55, shade=0.14)
    if rng.random() < 0.5:
        for k in range(1, 8):
            pen.stroke([(-half, k * 0.1), (half, k * 0.1)], 0.008, darker(wall, 0.3), alpha=0.4,
                       within=facade)
    pen.rect(-half, 0.0, half, 0.05, mix(darker(wall, 0.25), (150, 146, 142), 0.6), within=facade)
    if kind == "wide":
        tiles = pen.poly([(-half - 0.08, eave - 0.02), (half + 0.08, eave - 0.02),
                          (half - 0.08, peak),
                          (-half + 0.08, peak)], roof, line=0.55)
        for k in range(1, 4):
            y = eave + (peak - eave) * k / 4
            pen.stroke([(-half - 0.1, y), (half + 0.1, y)], 0.012, darker(roof, 0.35), alpha=0.55,
                       within=tiles)
    else:
        w = 0.075
        pen.poly([(-half - 0.09, eave - 0.1), (0.0, peak), (half + 0.09, eave - 0.1),
                  (half + 0.09, eave - 0.1 + w * 1.3), (0.0, peak + w * 1.3),
                  (-half - 0.09, eave - 0.1 + w * 1.3)], roof, line=0.55)
        pen.oval(0.0, eave + (peak - eave) * 0.38, 0.065, 0.065, pane, line=0.9)
    _windows(pen, kind, half, eave, pane, lighter(wall, 0.7))
    dx = {"cottage": 0.0, "wide": 0.0, "tall": -0.1}[kind]
    tall = 0.27 if kind != "wide" else 0.25
    pen.rect(dx - 0.085, 0.0, dx + 0.085, tall + 0.02, lighter(wall, 0.7), line=0.4)
    pen.rect(dx - 0.065, 0.0, dx + 0.065, tall, door, line=0.6)
    pen.rect(dx - 0.04, tall * 0.55, dx + 0.04, tall * 0.88, lighter(door, 0.3), shade=0)
    pen.oval(dx + 0.042, tall * 0.45, 0.014, 0.014, (250, 214, 110), line=0.4)
    pen.rect(dx - 0.11, 0.0, dx + 0.11, 0.025, (178, 170, 164), line=0.3)
    return f"{name} house"


def _windows(pen: Pen, kind: str, half: float, eave: float, pane: Color, frame: Color) -> None:
    spots = {
        "cottage": [(-0.22, 0.26), (0.22, 0.26)],
        "wide": [(-0.3, 0.22), (0.3, 0.22), (-0.165, 0.22), (0.165, 0.22)],
        "tall": [(0.12, 0.2), (-0.12, 0.46), (0.12, 0.46)],
    }[kind]
    r = 0.075 if kind != "wide" else 0.05
    for x, y in spots:
        pen.rect(x - r - 0.016, y - r - 0.016, x + r + 0.016, y + r + 0.016, frame, line=0.4)
        pen.rect(x - r, y - r, x + r, y + r, pane, line=0.4)
        pen.stroke([(x, y - r), (x, y + r)], 0.014, frame)
        pen.stroke([(x - r, y), (x + r, y)], 0.014, frame)
        pen.rect(x - r - 0.03, y - r - 0.035, x + r + 0.03, y - r - 0.012, darker(frame, 0.2))


def draw_balloon(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a balloon (on a string, or a hot-air balloon) and returns its description."""
    name, paint = _paint(rng, ("red", "blue", "yellow", "green", "orange", "purple", "pink"),
                         PAINTS)
    if rng.random() < 0.5:
        sway = rng.uniform(-0.1, 0.1)
        pen.stroke([(0.0, 0.4), (0.05 + sway, 0.28), (-0.05 + sway, 0.14), (0.03, 0.0)], 0.016,
                   (96, 84, 88))
        pen.poly([(-0.045, 0.37), (0.045, 0.37), (0.0, 0.43)], darker(paint, 0.2), line=0.5)
        skin = pen.blob([(0.0, 0.41), (0.14, 0.49), (0.245, 0.66), (0.235, 0.83), (0.14, 0.96),
                         (0.0, 1.0),
                         (-0.14, 0.96), (-0.235, 0.83), (-0.245, 0.66), (-0.14, 0.49)], paint,
                         line=0.45,
                        shade=0.32)
        if rng.random() < 0.35:
            pen.spots(skin, lighter(paint, 0.6), rng, count=12, radius=0.035)
        pen.oval(-0.11, 0.82, 0.045, 0.085, (255, 255, 255), turn=-0.45, alpha=0.7, shade=0)
        pen.oval(-0.05, 0.925, 0.022, 0.016, (255, 255, 255), alpha=0.6, shade=0)
        return f"{name} balloon"
    stripe = lighter(paint, 0.72) if rng.random() < 0.6 else mix(paint, (255, 206, 96), 0.7)
    for x in (-0.09, -0.03, 0.03, 0.09):
        pen.stroke([(x * 1.8, 0.34), (x, 0.14)], 0.01, (92, 74, 66))
    outline = [(0.0, 0.28), (0.13, 0.34), (0.3, 0.52), (0.35, 0.7), (0.27, 0.89), (0.1, 0.99),
               (-0.1, 0.99),
               (-0.27, 0.89), (-0.35, 0.7), (-0.3, 0.52), (-0.13, 0.34)]
    skin = pen.blob(outline, paint, line=0.5, shade=0.3)
    for k in (-0.78, 0.0, 0.78):
        half = 0.17 if k == 0 else 0.16
        edge = [(0.36 * (k - half * np.sign(k + 0.01)) * w, y) for y, w in _GORE]
        other = [(0.36 * (k + half * np.sign(k + 0.01)) * w, y) for y, w in reversed(_GORE)]
        pen.poly(edge + other, stripe, alpha=0.95, shade=0.25, within=skin)
    for k in (-0.95, -0.5, 0.5, 0.95):
        pen.stroke([(0.36 * k * w, y) for y, w in _GORE], 0.008, darker(paint, 0.4), alpha=0.35,
                   within=skin)
    pen.limb([(-0.3, 0.46), (0.0, 0.42), (0.3, 0.46)], 0.035, 0.035, darker(paint, 0.3),
             within=skin, shade=0)
    basket = pen.blob([(-0.1, 0.15), (0.1, 0.15), (0.085, 0.01), (0.0, 0.0), (-0.085, 0.01)],
                      (176, 122, 74),
                      line=0.6)
    for y in (0.04, 0.08):
        pen.stroke([(-0.1, y), (0.1, y)], 0.01, (112, 74, 50), alpha=0.7, within=basket)
    pen.limb([(-0.1, 0.145), (0.1, 0.145)], 0.03, 0.03, (122, 80, 52))
    return f"{name} hot-air balloon"


# height and relative width of a hot-air balloon's seams
_GORE = ((0.26, 0.12), (0.36, 0.46), (0.52, 0.84), (0.7, 1.0), (0.86, 0.82), (0.95, 0.45),
         (1.0, 0.05))


def draw_mushroom(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a mushroom (wide, domed or bell cap, some with a small one) and describes it."""
    caps: dict[str, Color] = {
        "red": (208, 62, 54), "brown": (158, 106, 70), "orange": (232, 138, 62),
        "purple": (148, 104, 164),
        "yellow": (236, 190, 84),
    }
    name, cap = _paint(rng, ("red", "brown", "orange", "purple", "yellow", "red"), caps)
    spotted = bool(rng.random() < 0.7) or name == "red"
    kind = int(rng.integers(3))
    stalk: Color = (244, 232, 208)
    if rng.random() < 0.45:
        _mushroom(pen, 0.32, 0.46, cap, stalk, 1, spotted)
    _mushroom(pen, 0.0, 1.0, cap, stalk, kind, spotted)
    for x in (-0.16, -0.1, 0.12, 0.17):
        pen.limb([(x, 0.0), (x * 1.25, 0.09)], 0.03, 0.008, (106, 146, 82), shade=0)
    look = "spotted " if spotted else ""
    return f"{name} {look}mushroom"


def _mushroom(pen: Pen, x: float, s: float, cap: Color, stalk: Color, kind: int,
              spotted: bool) -> None:
    half, low, top = ((0.48, 0.5, 0.9), (0.4, 0.46, 0.96), (0.3, 0.4, 1.0))[kind]

    def at(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x + px * s, py * s) for px, py in points]

    pen.blob(at([(-0.13, 0.01), (0.0, -0.01), (0.13, 0.01), (0.16, 0.1), (0.09, 0.3),
                 (0.09, low + 0.06),
                 (-0.09, low + 0.06), (-0.09, 0.3), (-0.16, 0.1)]), stalk, line=0.5)
    pen.oval(x, low * s, half * 0.94 * s, 0.085 * s, darker(stalk, 0.22), shade=0.1, line=0.3)
    for k in range(-5, 6):
        pen.stroke(at([(k * half * 0.03, low + 0.07), (k * half * 0.17,
                                                       low - 0.06 + abs(k) * 0.008)]),
                   0.008 * s, darker(stalk, 0.45), alpha=0.6)
    pen.blob(at([(0.07, low - 0.06), (0.13, low - 0.16), (0.0, low - 0.19), (-0.13, low - 0.16),
                 (-0.07, low - 0.06)]), lighter(stalk, 0.5), line=0.4)
    dome = pen.blob(at([(-half, low + 0.01), (-half * 0.9, low + (top - low) * 0.45),
                        (-half * 0.5, top - 0.07),
                        (0.0, top), (half * 0.5, top - 0.07),
                        (half * 0.9, low + (top - low) * 0.45),
                        (half, low + 0.01), (half * 0.6, low + 0.035), (0.0, low + 0.055),
                        (-half * 0.6, low + 0.035)]), cap, line=0.55, shade=0.32)
    if spotted:
        rise = top - low
        for u, v, r in ((-0.55, 0.35, 0.06), (-0.1, 0.5, 0.075), (0.42, 0.42, 0.065),
                        (-0.3, 0.78, 0.05),
                        (0.2, 0.82, 0.05), (0.78, 0.2, 0.045), (-0.82, 0.14, 0.04),
                        (0.12, 0.22, 0.045)):
            pen.oval(x + u * half * s, (low + v * rise) * s, r * s, r * 0.8 * s, (255, 248, 234),
                     within=dome,
                     shade=0.15)


def draw_airplane(pen: Pen, rng: np.random.Generator) -> str:
    """Draws an airplane from the side (jet, propeller or biplane) and returns its description."""
    name, paint = _paint(rng, ("red", "blue", "yellow", "white", "green", "orange"), PAINTS)
    kind = ("jet", "propeller", "biplane", "jet")[rng.integers(4)]
    trim = (244, 238, 226) if name != "white" else PAINTS[("red", "blue")[rng.integers(2)]]
    y = 0.3
    far = darker(paint, 0.3)
    if kind == "jet":
        pen.poly([(-0.06, y + 0.06), (0.16, y + 0.3), (0.26, y + 0.3), (0.14, y + 0.05)], far,
                 line=0.5)
        pen.poly([(0.36, y + 0.06), (0.5, y + 0.34), (0.62, y + 0.34), (0.56, y + 0.04)], trim,
                 line=0.5)
        shell = pen.blob([(-0.6, y - 0.02), (-0.52, y + 0.08), (-0.36, y + 0.115), (0.2, y + 0.11),
                          (0.6, y + 0.06), (0.6, y + 0.02), (0.3, y - 0.085), (-0.2, y - 0.11),
                          (-0.5, y - 0.09)], paint, line=0.55)
        pen.rect(-0.7, y - 0.045, 0.7, y - 0.005, trim, within=shell, shade=0)
        pen.blob([(-0.54, y + 0.06), (-0.46, y + 0.095), (-0.42, y + 0.05), (-0.5, y + 0.035)],
                 (90, 130, 164),
                 line=0.5)
        for k in range(8):
            pen.oval(-0.32 + 0.085 * k, y + 0.045, 0.02, 0.026, (96, 138, 172), shade=0.3, line=0.3)
        pen.poly([(0.4, y + 0.02), (0.6, y - 0.07), (0.68, y - 0.07), (0.56, y + 0.03)],
                 darker(trim, 0.12),
                 line=0.5)
        pen.limb([(0.0, y - 0.17), (0.16, y - 0.17)], 0.11, 0.085, darker(trim, 0.12), line=0.5)
        pen.oval(-0.03, y - 0.17, 0.026, 0.05, (66, 62, 72))
        pen.poly([(-0.14, y - 0.02), (0.24, y - 0.28), (0.36, y - 0.28), (0.16, y - 0.01)],
                 mix(paint, trim, 0.25), line=0.6)
    else:
        pen.stroke([(-0.28, y - 0.06), (-0.34, y - 0.2)], 0.022, (92, 84, 88))
        pen.stroke([(-0.16, y - 0.06), (-0.2, y - 0.2)], 0.022, (92, 84, 88))
        _wheel(pen, -0.27, y - 0.22, 0.065)
        pen.blob([(0.34, y + 0.05), (0.42, y + 0.22), (0.52, y + 0.28), (0.6, y + 0.22),
                  (0.58, y + 0.04)],
                 trim, line=0.55)
        if kind == "biplane":
            pen.limb([(-0.36, y + 0.26), (0.08, y + 0.27)], 0.055, 0.055, far, line=0.5)
        else:
            pen.oval(-0.02, y + 0.13, 0.13, 0.1, _GLASS, line=0.7)
        pen.blob([(-0.52, y + 0.02), (-0.46, y + 0.11), (-0.2, y + 0.13), (0.2, y + 0.1),
                  (0.58, y + 0.08),
                  (0.6, y + 0.02), (0.2, y - 0.08), (-0.2, y - 0.12), (-0.46, y - 0.09)], paint,
                 line=0.55)
        pen.blob([(-0.53, y + 0.02), (-0.47, y + 0.11), (-0.4, y + 0.1), (-0.4, y - 0.09),
                  (-0.47, y - 0.08)],
                 trim, line=0.5)
        if kind == "biplane":
            pen.oval(0.0, y + 0.13, 0.06, 0.055, (234, 190, 150), line=0.5)
            pen.oval(0.0, y + 0.16, 0.062, 0.035, (112, 76, 54), line=0.4)
            pen.poly([(-0.1, y + 0.1), (-0.06, y + 0.2), (-0.04, y + 0.1)], _GLASS, line=0.5,
                     alpha=0.85)
            for x in (-0.28, 0.0):
                pen.stroke([(x - 0.02, y + 0.3), (x + 0.02, y - 0.04)], 0.02, _WOOD)
            pen.limb([(-0.38, y + 0.31), (0.1, y + 0.32)], 0.075, 0.075, trim, line=0.6)
            pen.limb([(-0.34, y - 0.06), (0.14, y - 0.05)], 0.08, 0.08, trim, line=0.6)
        else:
            pen.stroke([(-0.36, y), (0.5, y + 0.04)], 0.03, trim)
            pen.poly([(-0.2, y + 0.02), (0.1, y - 0.18), (0.26, y - 0.18), (0.1, y + 0.02)],
                     mix(paint, trim, 0.3), line=0.6)
        pen.limb([(0.44, y + 0.05), (0.66, y + 0.03)], 0.06, 0.04, mix(paint, trim, 0.4), line=0.5)
        pen.oval(-0.56, y + 0.01, 0.02, 0.25, (120, 110, 110), alpha=0.75, shade=0.2, line=0.3)
        pen.oval(-0.56, y + 0.01, 0.045, 0.04, (246, 206, 96), line=0.5)
    return f"{name} airplane"


def draw_flower(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a flower (daisy, tulip, sunflower or rounded petals) and returns its description."""
    kind = ("daisy", "tulip", "round", "sunflower")[rng.integers(4)]
    names = {
        "daisy": ("white", "pink", "purple", "blue"), "sunflower": ("yellow", "orange"),
        "tulip": ("red", "yellow", "pink", "purple", "orange"),
        "round": ("red", "pink", "purple", "blue", "orange"),
    }[kind]
    name, petal = _paint(rng, names, PAINTS)
    green: Color = mix((92, 152, 84), (64, 122, 88), rng.random())
    sway = rng.uniform(-0.07, 0.07)
    top = (sway, 0.7)
    pen.limb([(0.0, 0.0), (-sway * 0.6, 0.35), top], 0.05, 0.038, green, line=0.4)
    for side in (-1, 1):
        if kind == "tulip":
            pen.blob([(0.0, 0.02), (side * 0.13, 0.2), (side * 0.2, 0.52), (side * 0.07, 0.3)],
                     green, line=0.5)
        else:
            y = 0.2 if side < 0 else 0.3
            pen.blob([(0.0, y), (side * 0.12, y + 0.13), (side * 0.3, y + 0.14),
                      (side * 0.18, y + 0.01)], green,
                     line=0.5)
            pen.stroke([(0.0, y), (side * 0.14, y + 0.08), (side * 0.27, y + 0.13)], 0.01,
                       lighter(green, 0.4),
                       alpha=0.7)
    x, y = top
    if kind == "tulip":
        for side in (-1, 1):
            pen.blob([(x, y - 0.1), (x + side * 0.17, y - 0.03), (x + side * 0.2, y + 0.14),
                      (x + side * 0.16, y + 0.29), (x + side * 0.03, y + 0.14)], petal, line=0.5)
        pen.blob([(x, y - 0.11), (x + 0.12, y - 0.02), (x + 0.11, y + 0.12), (x, y + 0.28),
                  (x - 0.11, y + 0.12),
                  (x - 0.12, y - 0.02)], lighter(petal, 0.15), line=0.5)
        pen.stroke([(x, y - 0.06), (x, y + 0.16)], 0.01, darker(petal, 0.3), alpha=0.5)
        return f"{name} flower"
    count, length, width, heart, core = {
        "daisy": (11, 0.19, 0.062, 0.09, (246, 200, 74)),
        "sunflower": (15, 0.18, 0.055, 0.135, (112, 72, 48)),
        "round": (5, 0.15, 0.125, 0.075, (250, 220, 120)),
    }[kind]
    start = rng.uniform(0, 1)
    rows = ((0.5, 0.12), (0.0, 0.0)) if kind == "sunflower" else ((0.0, 0.0),)
    for shift, deep in rows:
        for k in range(count):
            a = 2 * np.pi * (k + shift + start) / count
            r = heart * 0.7 + length * 0.62
            pen.oval(x + np.cos(a) * r, y + np.sin(a) * r * 0.98, length * 0.72, width,
                     darker(petal, deep),
                     turn=a, line=0.4, shade=0.15)
    if kind == "round":
        pen.oval(x, y, 0.13, 0.13, darker(petal, 0.2), alpha=0.5, shade=0)
    pen.oval(x, y, heart, heart, core, line=0.5, shade=0.3)
    for k in range(7):
        a, r = 2.4 * k, heart * 0.26 * np.sqrt(k)
        pen.oval(x + np.cos(a) * r, y + np.sin(a) * r, heart * 0.1, heart * 0.1,
                 darker(core, 0.35), shade=0)
    return f"{name} flower"
