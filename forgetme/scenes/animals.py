"""The drawn world's animals: cat, dog, bird and fish, each in several poses and coats."""

from __future__ import annotations

import numpy as np

from .pen import Color, Pen, Shape, darker, lighter, mix

# Coordinates read best as rows of points: the formatter would give every number its own line.
# fmt: off

CAT_COATS: dict[str, Color] = {
    "orange": (232, 145, 66),
    "grey": (136, 142, 156),
    "black": (62, 58, 70),
    "white": (240, 234, 224),
    "cream": (232, 204, 160),
    "brown": (146, 104, 76),
}
DOG_COATS: dict[str, Color] = {
    "brown": (150, 98, 60),
    "golden": (222, 168, 92),
    "white": (240, 232, 218),
    "black": (66, 60, 66),
    "grey": (150, 148, 152),
    "tan": (204, 150, 104),
}
BIRD_COATS: dict[str, Color] = {
    "blue": (74, 132, 200),
    "red": (206, 76, 66),
    "yellow": (240, 196, 72),
    "green": (96, 162, 96),
    "white": (238, 236, 230),
    "brown": (150, 112, 84),
}
FISH_COATS: dict[str, Color] = {
    "orange": (242, 134, 58),
    "blue": (70, 132, 196),
    "pink": (232, 128, 146),
    "yellow": (244, 202, 76),
    "green": (88, 170, 140),
    "red": (212, 78, 72),
}
COLLARS: tuple[Color, ...] = ((204, 62, 62), (58, 116, 188), (70, 150, 104), (226, 176, 58))
_PINK: Color = (236, 150, 150)
_INK: Color = (42, 32, 40)


def _pick(rng: np.random.Generator, colors: dict[str, Color]) -> tuple[str, Color]:
    name = list(colors)[int(rng.integers(len(colors)))]
    return name, tuple(float(np.clip(c + rng.uniform(-12, 12), 0, 255)) for c in colors[name])


def _coat(pen: Pen, shape: Shape, coat: str, mark: Color, rng: np.random.Generator) -> None:
    if coat == "striped":
        pen.stripes(shape, mark, count=5)
    elif coat == "spotted":
        pen.spots(shape, mark, rng, count=7, radius=0.05)


def draw_cat(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a cat (sitting, standing or lying) and returns its description."""
    name, fur = _pick(rng, CAT_COATS)
    coat = ("plain", "striped", "spotted", "plain", "striped")[rng.integers(5)]
    pose = ("sitting", "standing", "lying", "sitting")[rng.integers(4)]
    mark = lighter(fur, 0.4) if name == "black" else darker(fur, 0.42)
    belly = lighter(fur, 0.25 if name == "black" else 0.62)
    iris = ((132, 186, 84), (236, 190, 70), (110, 176, 206))[rng.integers(3)]
    collar = COLLARS[rng.integers(4)] if rng.random() < 0.3 else None
    far = darker(fur, 0.16)
    if pose == "sitting":
        curl = rng.uniform(-0.06, 0.1)
        pen.limb(
            [(0.12, 0.07), (0.36, 0.05), (0.5, 0.18), (0.46, 0.38 + curl), (0.33, 0.42 + curl),
             (0.32, 0.33 + curl)], 0.1, 0.055, darker(fur, 0.08), line=0.4,
        )
        body = pen.blob(
            [(-0.2, 0.01), (0.0, 0.0), (0.22, 0.01), (0.29, 0.13), (0.23, 0.36), (0.13, 0.58),
             (-0.11, 0.58), (-0.19, 0.36), (-0.25, 0.13)], fur, line=0.45,
        )
        _coat(pen, body, coat, mark, rng)
        pen.blob([(0, 0.58), (0.09, 0.45), (0.06, 0.26), (-0.06, 0.26), (-0.09, 0.45)], belly)
        for x in (-0.08, 0.08):
            pen.limb([(x, 0.32), (x * 1.05, 0.05)], 0.12, 0.1, fur, shade=0.12)
            pen.stroke([(x * 0.1, 0.26), (x * 0.12, 0.05)], 0.008, darker(fur, 0.4), alpha=0.5)
        for x in (-0.09, 0.09):
            pen.oval(x, 0.04, 0.085, 0.045, belly, line=0.35)
            for toe in (-0.025, 0.025):
                pen.stroke([(x + toe, 0.02), (x + toe, 0.05)], 0.008, darker(belly, 0.5), alpha=0.6)
        head = (0.0, 0.72, 0.215)
    elif pose == "standing":
        lift = rng.uniform(-0.05, 0.08)
        pen.limb(
            [(0.3, 0.44), (0.45, 0.5), (0.52, 0.7), (0.46, 0.88 + lift), (0.54, 0.95 + lift),
             (0.6, 0.9 + lift)], 0.085, 0.05, darker(fur, 0.06), line=0.4,
        )
        for x in (-0.16, 0.32):
            pen.limb([(x, 0.36), (x - 0.03, 0.18), (x, 0.035)], 0.12, 0.08, far)
        body = pen.blob(
            [(-0.34, 0.46), (-0.26, 0.27), (0.0, 0.24), (0.26, 0.26), (0.39, 0.38), (0.34, 0.52),
             (0.1, 0.54), (-0.2, 0.58)], fur, line=0.45,
        )
        _coat(pen, body, coat, mark, rng)
        for x in (-0.27, 0.23):
            pen.limb([(x, 0.36), (x + 0.01, 0.18), (x - 0.01, 0.04)], 0.13, 0.085, fur, shade=0.12)
            pen.oval(x - 0.025, 0.035, 0.065, 0.038, belly, line=0.3)
        head = (-0.33, 0.66, 0.185)
    else:
        body = pen.blob(
            [(-0.42, 0.02), (0.0, 0.0), (0.42, 0.02), (0.5, 0.16), (0.4, 0.36), (0.1, 0.42),
             (-0.2, 0.38), (-0.42, 0.26)], fur, line=0.45,
        )
        _coat(pen, body, coat, mark, rng)
        pen.limb(
            [(0.46, 0.12), (0.4, 0.045), (0.18, 0.04), (0.02, 0.06)], 0.09, 0.06,
            mix(fur, mark, 0.25),
            line=0.4,
        )
        for x in (-0.36, -0.18):
            pen.oval(x, 0.04, 0.085, 0.045, belly, line=0.35)
        head = (-0.27, 0.42, 0.2)
    x, y, r = head
    if collar is not None:
        pen.oval(x, y - r * 0.8, r * 0.62, r * 0.2, collar, line=0.3)
        pen.oval(x, y - r * 1.02, r * 0.13, r * 0.13, (246, 208, 96), line=0.4)
    _cat_head(pen, x, y, r, (fur, belly, mark, iris), coat)
    look = "" if coat == "plain" else f"{coat} "
    return f"{name} {look}cat"


def _cat_head(
    pen: Pen, x: float, y: float, r: float, colors: tuple[Color, Color, Color, Color], coat: str
) -> None:
    fur, belly, mark, iris = colors
    for side in (-1, 1):
        ear = [(x + side * r * 0.98, y + r * 0.15), (x + side * r * 0.88, y + r * 1.35),
               (x + side * r * 0.12, y + r * 0.72)]
        pen.poly(ear, fur, line=0.55)
        inner = [(x + side * r * 0.82, y + r * 0.42), (x + side * r * 0.8, y + r * 1.08),
                 (x + side * r * 0.36, y + r * 0.72)]
        pen.poly(inner, _PINK, shade=0.1)
    face = pen.blob(
        [(x, y + 0.86 * r), (x + 0.75 * r, y + 0.6 * r), (x + 1.08 * r, y - 0.12 * r),
         (x + 0.7 * r, y - 0.68 * r), (x, y - 0.84 * r), (x - 0.7 * r, y - 0.68 * r),
         (x - 1.08 * r, y - 0.12 * r), (x - 0.75 * r, y + 0.6 * r)], fur, line=0.4,
    )
    if coat == "striped":
        for i in (-1, 0, 1):
            pen.limb(
                [(x + i * r * 0.3, y + r * 0.9), (x + i * r * 0.22, y + r * 0.45)], r * 0.16,
                r * 0.05,
                mark, shade=0, within=face,
            )
            for side in (-1, 1):
                if i:
                    pen.limb(
                        [(x + side * r * 1.1, y + i * 0.17 * r),
                         (x + side * r * 0.72, y + i * 0.1 * r)],
                        r * 0.12, r * 0.04, mark, shade=0, within=face,
                    )
    elif coat == "spotted":
        pen.oval(x + r * 0.5, y + r * 0.3, r * 0.46, r * 0.5, mark, within=face, alpha=0.85)
    for side in (-1, 1):
        pen.oval(x + side * r * 0.24, y - r * 0.42, r * 0.33, r * 0.27, belly, shade=0.1)
        pen.eye(x + side * r * 0.46, y + r * 0.08, r * 0.19, iris)
        for k in (-1, 0, 1):
            start = (x + side * r * 0.42, y - r * (0.4 - 0.07 * k))
            end = (x + side * r * 1.42, y - r * (0.4 - 0.24 * k))
            pen.stroke([start, end], r * 0.035, lighter(belly, 0.5), alpha=0.95)
            pen.stroke([start, end], r * 0.018, _INK, alpha=0.55)
    pen.poly(
        [(x - r * 0.13, y - r * 0.2), (x + r * 0.13, y - r * 0.2), (x, y - r * 0.36)],
        (222, 112, 118)
    )
    for side in (-1, 1):
        pen.stroke(
            [(x, y - r * 0.34), (x + side * r * 0.08, y - r * 0.5),
             (x + side * r * 0.26, y - r * 0.48)],
            r * 0.05, _INK, alpha=0.75,
        )


def draw_dog(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a dog (standing, sitting, or sitting and facing us) and returns its description."""
    name, fur = _pick(rng, DOG_COATS)
    coat = ("plain", "spotted", "plain")[rng.integers(3)]
    pose = ("standing", "sitting", "facing", "standing")[rng.integers(4)]
    ear = darker(fur, 0.38) if name not in ("black", "white") else (
        (150, 104, 72) if name == "white" else (104, 92, 92)
    )
    mark = ear
    belly = lighter(fur, 0.2 if name == "black" else 0.5)
    collar = COLLARS[rng.integers(4)]
    tongue = bool(rng.random() < 0.6)
    far = darker(fur, 0.16)
    if pose == "standing":
        wag = rng.uniform(-0.06, 0.06)
        legs = rng.uniform(0.9, 1.15)
        pen.limb([(0.34, 0.52), (0.47, 0.62), (0.52 + wag, 0.78)], 0.09, 0.035, fur, line=0.4)
        for x in (-0.2, 0.26):
            pen.limb([(x, 0.4), (x + 0.02, 0.2), (x, 0.04)], 0.13, 0.095, far)
        body = pen.blob(
            [(-0.36, 0.52), (-0.3, 0.32), (-0.05, 0.3), (0.2, 0.35), (0.38, 0.36), (0.41, 0.5),
             (0.3, 0.58), (0.0, 0.57), (-0.25, 0.66)], fur, line=0.45,
        )
        _coat(pen, body, coat, mark, rng)
        pen.oval(-0.25, 0.4, 0.1, 0.1, belly, alpha=0.8, within=body)
        for x in (-0.3, 0.3):
            pen.limb([(x, 0.42), (x + 0.03 * legs, 0.2), (x, 0.045)], 0.15, 0.1, fur, shade=0.12)
            pen.oval(x - 0.03, 0.04, 0.085, 0.042, belly, line=0.35)
        pen.limb([(-0.28, 0.5), (-0.36, 0.68)], 0.24, 0.2, fur, shade=0.1)
        pen.limb([(-0.43, 0.59), (-0.33, 0.55), (-0.24, 0.61)], 0.055, 0.055, collar, line=0.3)
        pen.oval(-0.38, 0.53, 0.03, 0.03, (246, 208, 96), line=0.4)
        _dog_profile(pen, -0.36, 0.78, 0.175, (fur, ear, belly), tongue)
    elif pose == "sitting":
        pen.limb([(0.2, 0.06), (0.36, 0.06), (0.46, 0.2)], 0.09, 0.04, fur, line=0.4)
        pen.limb([(-0.08, 0.4), (-0.09, 0.04)], 0.13, 0.09, far)
        body = pen.blob(
            [(-0.22, 0.6), (-0.24, 0.38), (-0.12, 0.12), (0.0, 0.02), (0.22, 0.01), (0.3, 0.14),
             (0.2, 0.36), (0.06, 0.58), (-0.08, 0.68)], fur, line=0.45,
        )
        _coat(pen, body, coat, mark, rng)
        pen.oval(-0.17, 0.42, 0.07, 0.15, belly, alpha=0.85, within=body)
        pen.oval(0.14, 0.15, 0.16, 0.14, fur, line=0.3)
        pen.oval(0.04, 0.035, 0.12, 0.04, belly, line=0.35)
        pen.limb([(-0.17, 0.4), (-0.17, 0.2), (-0.18, 0.045)], 0.14, 0.09, fur, shade=0.12)
        pen.oval(-0.2, 0.04, 0.08, 0.042, belly, line=0.35)
        pen.limb([(-0.23, 0.57), (-0.1, 0.54), (0.04, 0.62)], 0.06, 0.06, collar, line=0.3)
        pen.oval(-0.14, 0.5, 0.032, 0.032, (246, 208, 96), line=0.4)
        _dog_profile(pen, -0.11, 0.79, 0.185, (fur, ear, belly), tongue)
    else:
        pen.limb([(0.18, 0.08), (0.36, 0.12), (0.42, 0.3)], 0.09, 0.04, fur, line=0.4)
        body = pen.blob(
            [(-0.26, 0.02), (0.0, 0.0), (0.26, 0.02), (0.29, 0.16), (0.2, 0.4), (0.16, 0.58),
             (-0.16, 0.58), (-0.2, 0.4), (-0.29, 0.16)], fur, line=0.45,
        )
        _coat(pen, body, coat, mark, rng)
        pen.blob([(0, 0.56), (0.11, 0.44), (0.07, 0.22), (-0.07, 0.22), (-0.11, 0.44)], belly)
        for x in (-0.2, 0.2):
            pen.oval(x, 0.045, 0.1, 0.05, far, line=0.3)
        for x in (-0.09, 0.09):
            pen.limb([(x, 0.34), (x, 0.06)], 0.13, 0.11, fur, shade=0.12)
            pen.oval(x, 0.045, 0.09, 0.048, belly, line=0.35)
        pen.limb([(-0.15, 0.55), (0, 0.5), (0.15, 0.55)], 0.06, 0.06, collar, line=0.3)
        pen.oval(0, 0.46, 0.034, 0.034, (246, 208, 96), line=0.4)
        _dog_face(pen, 0.0, 0.76, 0.2, (fur, ear, belly), tongue)
    look = "" if coat == "plain" else f"{coat} "
    return f"{name} {look}dog"


def _dog_profile(
    pen: Pen, x: float, y: float, r: float, colors: tuple[Color, Color, Color], tongue: bool
) -> None:
    fur, ear, belly = colors
    if tongue:
        pen.oval(x - r * 1.1, y - r * 0.72, r * 0.15, r * 0.36, (232, 112, 120), turn=0.2, line=0.3)
    pen.blob(
        [(x + 0.75 * r, y + 0.5 * r), (x + 0.2 * r, y + 0.95 * r), (x - 0.45 * r, y + 0.72 * r),
         (x - 0.8 * r, y + 0.22 * r), (x - 1.55 * r, y + 0.08 * r), (x - 1.72 * r, y - 0.25 * r),
         (x - 1.35 * r, y - 0.55 * r), (x - 0.5 * r, y - 0.72 * r), (x + 0.35 * r, y - 0.75 * r),
         (x + 0.85 * r, y - 0.2 * r)], fur, line=0.45,
    )
    pen.oval(x - r * 1.25, y - r * 0.26, r * 0.42, r * 0.25, belly, shade=0.1, alpha=0.8)
    pen.oval(x - r * 1.62, y + r * 0.04, r * 0.22, r * 0.18, (40, 32, 38), shade=0.5)
    pen.stroke(
        [(x - r * 1.58, y - r * 0.3), (x - r * 1.1, y - r * 0.5), (x - r * 0.6, y - r * 0.36)],
        r * 0.06, _INK, alpha=0.8,
    )
    pen.eye(x - r * 0.42, y + r * 0.24, r * 0.15)
    pen.stroke(
        [(x - r * 0.62, y + r * 0.5), (x - r * 0.45, y + r * 0.56), (x - r * 0.28, y + r * 0.5)],
        r * 0.06, darker(fur, 0.5), alpha=0.7,
    )
    pen.blob(
        [(x + 0.2 * r, y + 0.78 * r), (x + 0.62 * r, y + 0.7 * r), (x + 0.92 * r, y - 0.1 * r),
         (x + 0.78 * r, y - 0.95 * r), (x + 0.36 * r, y - 1.02 * r), (x + 0.14 * r, y - 0.2 * r)],
        ear, line=0.5,
    )


def _dog_face(
    pen: Pen, x: float, y: float, r: float, colors: tuple[Color, Color, Color], tongue: bool
) -> None:
    fur, ear, belly = colors
    pen.blob(
        [(x, y + 0.95 * r), (x + 0.72 * r, y + 0.72 * r), (x + 0.88 * r, y),
         (x + 0.55 * r, y - 0.75 * r),
         (x, y - 0.95 * r), (x - 0.55 * r, y - 0.75 * r), (x - 0.88 * r, y),
         (x - 0.72 * r, y + 0.72 * r)],
        fur, line=0.45,
    )
    pen.limb([(x, y + 0.9 * r), (x, y)], r * 0.16, r * 0.3, belly, shade=0.05, alpha=0.7)
    for side in (-1, 1):
        pen.blob(
            [(x + side * 0.45 * r, y + 0.88 * r), (x + side * 0.95 * r, y + 0.72 * r),
             (x + side * 1.28 * r, y - 0.1 * r), (x + side * 1.22 * r, y - 0.85 * r),
             (x + side * 0.9 * r, y - 0.92 * r), (x + side * 0.74 * r, y)], ear, line=0.5,
        )
        pen.eye(x + side * r * 0.38, y + r * 0.2, r * 0.14)
    if tongue:
        pen.oval(x, y - r * 0.9, r * 0.17, r * 0.3, (232, 112, 120), line=0.3)
    pen.oval(x, y - r * 0.42, r * 0.48, r * 0.38, belly, line=0.25)
    pen.oval(x, y - r * 0.2, r * 0.23, r * 0.16, (40, 32, 38), shade=0.5)
    for side in (-1, 1):
        pen.stroke(
            [(x, y - r * 0.34), (x + side * r * 0.08, y - r * 0.58),
             (x + side * r * 0.34, y - r * 0.52)],
            r * 0.06, _INK, alpha=0.8,
        )


def draw_bird(pen: Pen, rng: np.random.Generator, *, flying: bool) -> str:
    """Draws a bird, flying or perched on its legs, and returns its description."""
    name, plume = _pick(rng, BIRD_COATS)
    belly = lighter(plume, 0.55)
    if name in ("blue", "green") and rng.random() < 0.5:
        belly = (238, 168, 110)
    wing = darker(plume, 0.22) if name != "white" else (178, 184, 196)
    beak: Color = (238, 160, 52) if name != "yellow" else (226, 120, 54)
    crest = bool(rng.random() < 0.4)
    plump = rng.uniform(0.92, 1.1)
    if flying:
        raised = rng.uniform(0.85, 1.1)
        pen.blob(
            [(0.06, 0.5), (0.1, 0.78 * raised), (0.3, 0.98 * raised), (0.33, 0.8 * raised),
             (0.26, 0.56)],
            darker(wing, 0.15), line=0.4,
        )
        pen.poly([(0.3, 0.44), (0.66, 0.5), (0.6, 0.41), (0.68, 0.36), (0.3, 0.34)], wing, line=0.4)
    else:
        for x in (-0.03, 0.08):
            pen.stroke([(x, 0.24), (x, 0.02)], 0.024, darker(beak, 0.15))
            pen.stroke([(x - 0.07, 0.01), (x, 0.03), (x + 0.05, 0.01)], 0.02, darker(beak, 0.15))
        pen.poly([(0.2, 0.4), (0.58, 0.2), (0.62, 0.3), (0.24, 0.52)], wing, line=0.4)
    base = 0.42 if flying else 0.46
    body = pen.blob(
        [(-0.36, base + 0.18), (-0.34, base - 0.06), (-0.12, base - 0.24 * plump),
         (0.16, base - 0.2 * plump), (0.36, base - 0.02), (0.2, base + 0.12), (-0.02, base + 0.22),
         (-0.12, base + 0.38), (-0.28, base + 0.36)], plume, line=0.45,
    )
    pen.oval(-0.16, base - 0.1, 0.22, 0.17, belly, alpha=0.95, within=body, turn=-0.4, shade=0.1)
    if crest:
        for k in range(3):
            pen.limb(
                [(-0.2 + 0.03 * k, base + 0.34), (-0.12 + 0.08 * k, base + 0.5 - 0.03 * k)], 0.05,
                0.012,
                wing, shade=0,
            )
    head_y = base + 0.22
    pen.poly([(-0.34, head_y + 0.06), (-0.53, head_y - 0.01), (-0.34, head_y - 0.06)], beak,
             line=0.45)
    pen.stroke([(-0.5, head_y - 0.008), (-0.36, head_y + 0.0)], 0.01, darker(beak, 0.5))
    pen.eye(-0.25, head_y + 0.05, 0.035)
    pen.oval(-0.19, head_y - 0.03, 0.04, 0.028, _PINK, alpha=0.55, shade=0)
    if flying:
        feather = pen.blob(
            [(-0.12, 0.5), (-0.1, 0.74 * raised), (0.02, 0.98 * raised), (0.12, 1.0 * raised),
             (0.15, 0.86 * raised), (0.22, 0.78 * raised), (0.2, 0.64), (0.22, 0.48), (0.05, 0.4)],
            wing, line=0.5,
        )
        for k in range(3):
            pen.stroke(
                [(0.0 + 0.06 * k, 0.5), (0.03 + 0.06 * k, (0.92 - 0.1 * k) * raised)], 0.012,
                lighter(wing, 0.4), alpha=0.8, within=feather,
            )
    else:
        feather = pen.blob(
            [(-0.14, base + 0.08), (0.06, base + 0.14), (0.28, base + 0.02), (0.42, base - 0.14),
             (0.2, base - 0.14), (-0.04, base - 0.1)], wing, line=0.5,
        )
        for k in range(3):
            pen.stroke(
                [(0.0 + 0.08 * k, base + 0.04), (0.12 + 0.09 * k, base - 0.08)], 0.012,
                lighter(wing, 0.4), alpha=0.8, within=feather,
            )
    return f"{name} bird"


def draw_fish(pen: Pen, rng: np.random.Generator) -> str:
    """Draws a fish and returns its description."""
    name, scale = _pick(rng, FISH_COATS)
    coat = ("plain", "striped", "spotted")[rng.integers(3)]
    fat = rng.uniform(0.82, 1.15)
    fin = darker(scale, 0.2) if rng.random() < 0.5 else mix(scale, (255, 220, 120), 0.45)
    belly = lighter(scale, 0.55)
    mark = lighter(scale, 0.72) if rng.random() < 0.6 else darker(scale, 0.4)
    y = 0.36
    tail = pen.blob(
        [(0.26, y), (0.42, y + 0.1), (0.62, y + 0.27 * fat), (0.56, y + 0.06), (0.53, y),
         (0.56, y - 0.06),
         (0.62, y - 0.27 * fat), (0.42, y - 0.1)], fin, line=0.5,
    )
    top = pen.blob(
        [(-0.18, y + 0.2 * fat), (-0.06, y + 0.37 * fat), (0.14, y + 0.38 * fat),
         (0.24, y + 0.28 * fat),
         (0.18, y + 0.12)], fin, line=0.5,
    )
    pen.blob([(-0.02, y - 0.18 * fat), (0.12, y - 0.36 * fat), (0.2, y - 0.3 * fat),
              (0.14, y - 0.12)], fin,
             line=0.5)
    for i in range(4):
        pen.stroke([(0.4, y + (i - 1.5) * 0.03), (0.58, y + (i - 1.5) * 0.13 * fat)], 0.012,
                   darker(fin, 0.35), alpha=0.6, within=tail)
        pen.stroke([(-0.08 + 0.07 * i, y + 0.15), (-0.02 + 0.08 * i, y + 0.4 * fat)], 0.012,
                   darker(fin, 0.35), alpha=0.6, within=top)
    body = pen.blob(
        [(-0.5, y - 0.01), (-0.36, y + 0.19 * fat), (-0.1, y + 0.27 * fat), (0.16, y + 0.17 * fat),
         (0.34, y + 0.05), (0.34, y - 0.05), (0.16, y - 0.17 * fat), (-0.1, y - 0.26 * fat),
         (-0.36, y - 0.18 * fat)], scale, line=0.5,
    )
    pen.oval(-0.12, y - 0.19 * fat, 0.36, 0.13 * fat, belly, alpha=0.85, within=body, shade=0)
    if coat == "striped":
        for x in (-0.14, 0.06, 0.23):
            pen.limb([(x, y + 0.32), (x + 0.04, y), (x, y - 0.32)], 0.075, 0.075, mark, shade=0.1,
                     within=body, alpha=0.92)
    elif coat == "spotted":
        pen.spots(body, mark, rng, count=9, radius=0.035)
    else:
        for i in range(3):
            for j in range(3 - i % 2):
                cx, cy = -0.08 + 0.11 * i, y + (j - 1 + 0.5 * (i % 2)) * 0.11
                pen.stroke([(cx - 0.02, cy + 0.05), (cx + 0.025, cy), (cx - 0.02, cy - 0.05)],
                           0.012,
                           darker(scale, 0.35), alpha=0.6, within=body)
    pen.stroke([(-0.24, y + 0.17 * fat), (-0.19, y), (-0.24, y - 0.17 * fat)], 0.014,
               darker(scale, 0.4),
               alpha=0.7)
    pen.blob([(-0.12, y - 0.02), (0.06, y + 0.02), (0.1, y - 0.08), (0.0, y - 0.12)], fin, line=0.5)
    pen.oval(-0.34, y + 0.06, 0.062, 0.062, (252, 250, 244), line=0.4)
    pen.eye(-0.35, y + 0.06, 0.036)
    pen.stroke([(-0.49, y - 0.05), (-0.42, y - 0.07), (-0.38, y - 0.05)], 0.016, darker(scale, 0.6))
    look = "" if coat == "plain" else f"{coat} "
    return f"{name} {look}fish"
