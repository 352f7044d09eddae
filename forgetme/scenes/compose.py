"""Places objects in a setting; composites the scene, its masks and what is behind each object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from . import animals, things
from .backgrounds import BACKGROUNDS, Backdrop, paint_background
from .captions import write_caption
from .pen import OVERSAMPLE, Pen

MIN_SIZE, MAX_SIZE = 64, 512
_LAYOUT_SIZE = 64  # visibility is decided at one size, so that every size shows the same objects
_GRAIN = 1.3  # standard deviation of the paper's grain, 0-255 units


@dataclass(frozen=True)
class _Kind:
    """How a concept is drawn: its painter, its room about the origin, its size, where it lives."""

    draw: Callable[..., str]
    half_width: float  # of the tile, in object units
    top: float
    bottom: float
    size: tuple[float, float]  # image fraction of one object unit
    middle: float  # height of the visual middle, object units
    habitat: str  # "ground", "air" or "water"
    foot: float  # half width of the contact shadow, object units
    tilt: float  # largest rotation, radians


_KINDS: dict[str, _Kind] = {
    "cat": _Kind(animals.draw_cat, 0.72, 1.15, 0.12, (0.34, 0.6), 0.45, "ground", 0.36, 0.05),
    "dog": _Kind(animals.draw_dog, 0.76, 1.12, 0.12, (0.36, 0.6), 0.45, "ground", 0.36, 0.05),
    "bird": _Kind(animals.draw_bird, 0.8, 1.2, 0.15, (0.28, 0.5), 0.5, "air", 0.2, 0.14),
    "fish": _Kind(animals.draw_fish, 0.78, 0.95, 0.25, (0.32, 0.54), 0.36, "air", 0.3, 0.4),
    "car": _Kind(things.draw_car, 0.66, 0.66, 0.12, (0.44, 0.7), 0.26, "ground", 0.52, 0.03),
    "boat": _Kind(things.draw_boat, 0.7, 1.12, 0.14, (0.34, 0.58), 0.4, "water", 0.42, 0.05),
    "tree": _Kind(things.draw_tree, 0.66, 1.14, 0.08, (0.42, 0.66), 0.55, "ground", 0.22, 0.03),
    "house": _Kind(things.draw_house, 0.66, 1.14, 0.08, (0.4, 0.62), 0.45, "ground", 0.48, 0.015),
    "balloon": _Kind(things.draw_balloon, 0.46, 1.1, 0.1, (0.36, 0.62), 0.6, "air", 0.2, 0.12),
    "mushroom": _Kind(
        things.draw_mushroom, 0.66, 1.1, 0.1, (0.28, 0.52), 0.5, "ground", 0.24, 0.06
    ),
    "airplane": _Kind(things.draw_airplane, 0.8, 0.8, 0.14, (0.36, 0.62), 0.3, "air", 0.3, 0.2),
    "flower": _Kind(things.draw_flower, 0.5, 1.14, 0.08, (0.4, 0.62), 0.55, "ground", 0.1, 0.06),
}
CONCEPTS: tuple[str, ...] = tuple(_KINDS)


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene and what is behind it.

    Attributes:
        concept: one of `CONCEPTS`; unique in its scene.
        mask: (H, W) bool, the visible part.
        box_xywh: the tight box of the visible part, pixels.
        description: for example "an orange striped cat".
        background: (H, W, 3) uint8, the scene without this object and without its shadow.
        footprint: (H, W) bool, every pixel that the object, its soft edge or its shadow may touch.
    """

    concept: str
    mask: np.ndarray
    box_xywh: tuple[int, int, int, int]
    description: str
    background: np.ndarray
    footprint: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A drawn scene whose truth is known.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        background: (H, W, 3) uint8, the scene without the main object and its shadow.
        mask: (H, W) bool, the visible part of the main object; all False in an empty scene.
        caption: a short sentence that names the main concept.
        concept: the main object's concept, "" in an empty scene.
        objects: the main object first, then the others.
        setting: one of `BACKGROUNDS`.
        seed: what the scene was rendered from.
    """

    image: np.ndarray
    background: np.ndarray
    mask: np.ndarray
    caption: str
    concept: str
    objects: tuple[SceneObject, ...]
    setting: str
    seed: int


@dataclass(frozen=True)
class _Placed:
    """Where one object goes, in image fractions, and the seed of its looks."""

    concept: str
    x: float
    base: float  # y of the object's origin
    size: float
    angle: float
    flip: bool
    grounded: bool
    looks: tuple[int, int]


@dataclass(frozen=True)
class _Layer:
    """One drawn object cropped to the image, and its shadow; corners are (top, left)."""

    description: str
    rgba: np.ndarray  # (4, h, w) float32, premultiplied
    corner: tuple[int, int]
    shade: np.ndarray
    shade_corner: tuple[int, int]


def render_scene(
    seed: int,
    *,
    concept: str | None = None,
    setting: str | None = None,
    size: int = 256,
    count: int | None = None,
    looks: int | None = None,
) -> Scene:
    """Renders a picture-book scene; the same arguments give the same bytes in every process.

    Args:
        seed: a non-negative integer.
        concept: the main object's concept; None draws one.
        setting: the background's name; None draws one.
        size: side of the square image, 64-512 pixels; the composition is the same at every size.
        count: number of objects, 0-4; None draws 1-4. An extra object that finds no place after 40
            tries is left out.
        looks: seed of the main object's looks alone: one individual in many scenes; None draws them
            with the scene.

    Returns:
        The scene with exact masks and the exact picture behind each object.

    Raises:
        ValueError: an argument is unknown or out of range.
    """
    _check(seed, concept, setting, size, count)
    if looks is not None and looks < 0:
        raise ValueError(f"looks must be 0 or more, got {looks}")
    rng = np.random.default_rng([seed, 1])
    drawn_setting = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    drawn_count = int(rng.choice(4, p=(0.45, 0.3, 0.15, 0.1))) + 1
    order = [CONCEPTS[i] for i in rng.permutation(len(CONCEPTS))]
    setting = setting or drawn_setting
    count = drawn_count if count is None else count
    main = concept or order[0]
    wanted = [main, *(name for name in order if name != main)][:count]
    backdrop = paint_background(setting, size, np.random.default_rng([seed, 2]))
    placed = _place(wanted, backdrop, seed, rng, looks)
    layers = [_draw(item, backdrop, size) for item in placed]
    grain = np.random.default_rng([seed, 3]).standard_normal((size, size), np.float32) * np.float32(
        _GRAIN
    )
    # what stands nearer (lower in the picture) is painted later
    depth = sorted(
        range(len(placed)), key=lambda i: (placed[i].base if placed[i].grounded else 0.0, -i)
    )

    def composite(without: int | None) -> np.ndarray:
        return _composite(backdrop.image, [layers[i] for i in depth if i != without], grain)

    image = composite(None)
    visible = _visible([layers[i] for i in depth], size)
    objects = []
    for i, item in enumerate(placed):
        mask = visible[depth.index(i)]
        objects.append(
            SceneObject(
                item.concept,
                mask,
                _box(mask),
                layers[i].description,
                composite(i),
                _footprint(layers[i], size),
            )
        )
    empty = np.zeros((size, size), bool)
    words = write_caption(rng, [(o.concept, o.description) for o in objects], setting)
    return Scene(
        image=image,
        background=objects[0].background if objects else image.copy(),
        mask=objects[0].mask if objects else empty,
        caption=words,
        concept=main if objects else "",
        objects=tuple(objects),
        setting=setting,
        seed=seed,
    )


def _check(
    seed: int, concept: str | None, setting: str | None, size: int, count: int | None
) -> None:
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if concept is not None and concept not in CONCEPTS:
        raise ValueError(f"unknown concept {concept!r}; known: {', '.join(CONCEPTS)}")
    if setting is not None and setting not in BACKGROUNDS:
        raise ValueError(f"unknown setting {setting!r}; known: {', '.join(BACKGROUNDS)}")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, got {size}")
    if count is not None and not 0 <= count <= 4:
        raise ValueError(f"count must be 0 to 4, got {count}")


def _place(
    wanted: list[str],
    backdrop: Backdrop,
    seed: int,
    rng: np.random.Generator,
    looks: int | None = None,
) -> list[_Placed]:
    """Returns a place for the main object and each other that leaves the rest visible enough."""
    placed: list[_Placed] = []
    silhouettes: list[np.ndarray] = []
    shrink = (1.0, 1.0, 0.86, 0.76, 0.7)[len(wanted)]
    for i, concept in enumerate(wanted):
        roomy = rng.random() < 0.6  # most objects look for a free place first, the rest may overlap
        for attempt in range(40):
            smaller = shrink * 0.97 ** max(0, attempt - 12)
            own = (seed if i or looks is None else looks, 10 + i)
            item = _propose(concept, backdrop, rng, smaller, own)
            silhouette = _visible([_draw(item, backdrop, _LAYOUT_SIZE)], _LAYOUT_SIZE)[0]
            share = 0.9 if roomy and attempt < 4 else 0.64
            if i == 0 or _fits([*placed, item], [*silhouettes, silhouette], share):
                placed.append(item)
                silhouettes.append(silhouette)
                break
    return placed


def _propose(
    concept: str,
    backdrop: Backdrop,
    rng: np.random.Generator,
    shrink: float,
    looks: tuple[int, int],
) -> _Placed:
    kind = _KINDS[concept]
    u, v, w = rng.random(3)
    flip, angle = bool(rng.random() < 0.5), float(rng.uniform(-1, 1) * kind.tilt)
    size = (kind.size[0] + (kind.size[1] - kind.size[0]) * u) * shrink
    half = min(0.48, kind.half_width * 0.8 * size)
    x = half + (1 - 2 * half) * v
    low, high = backdrop.ground
    base, grounded = low + (high - low) * w, True
    perched = concept == "bird" and bool(rng.random() < 0.5)
    if kind.habitat == "water" and backdrop.water is not None:
        base = backdrop.water[0] + (backdrop.water[1] - backdrop.water[0]) * w
    elif kind.habitat == "air" and not perched:
        middle = backdrop.sky[0] + (backdrop.sky[1] - backdrop.sky[0]) * w
        base = float(np.clip(middle + kind.middle * size, size * 0.98, 0.9))
        grounded = False
    if grounded:
        base = max(base, size * 1.02)
    return _Placed(concept, x, min(base, 0.97), size, angle, flip, grounded, looks)


def _fits(placed: list[_Placed], silhouettes: list[np.ndarray], share: float) -> bool:
    """Says whether every object shows this share of itself and 0.7 % of the image."""
    for i, item in enumerate(placed):
        seen = silhouettes[i].copy()
        for j, other in enumerate(placed):
            if _in_front(other, j, item, i):
                seen &= ~silhouettes[j]
        if seen.sum() < share * silhouettes[i].sum() or seen.mean() < 0.007:
            return False
    return True


def _in_front(a: _Placed, i: int, b: _Placed, j: int) -> bool:
    return (a.base if a.grounded else 0.0, -i) > (b.base if b.grounded else 0.0, -j)


def _draw(item: _Placed, backdrop: Backdrop, size: int) -> _Layer:
    kind = _KINDS[item.concept]
    unit = item.size * size  # output pixels per object unit
    cx, cy = item.x * size, item.base * size
    reach = abs(np.sin(item.angle))
    left = int(np.floor(cx - unit * (kind.half_width + reach * kind.top)))
    right = int(np.ceil(cx + unit * (kind.half_width + reach * kind.top)))
    top = int(np.floor(cy - unit * (kind.top + reach * kind.half_width)))
    bottom = int(np.ceil(cy + unit * (kind.bottom + reach * kind.half_width)))
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, size), min(bottom, size)
    pen = Pen(
        (right - left) * OVERSAMPLE,
        (bottom - top) * OVERSAMPLE,
        origin=((cx - left) * OVERSAMPLE, (cy - top) * OVERSAMPLE),
        scale=unit * OVERSAMPLE,
        angle=item.angle,
        flip=item.flip,
    )
    looks = np.random.default_rng(item.looks)
    if item.concept == "bird":
        noun = animals.draw_bird(pen, looks, flying=not item.grounded)
    else:
        noun = kind.draw(pen, looks)
    rgba = pen.finish()
    rgba[:3] *= np.float32(backdrop.tint)[:, None, None]
    np.minimum(rgba[:3], 255 * rgba[3], out=rgba[:3])
    shade, corner = _shadow(item, kind, backdrop, size)
    article = "an" if noun[0] in "aeiou" else "a"
    return _Layer(f"{article} {noun}", rgba, (top, left), shade, corner)


def _shadow(
    item: _Placed, kind: _Kind, backdrop: Backdrop, size: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the light that a contact shadow takes, (h, w) in 0..1, and its corner."""
    if not item.grounded:
        return np.zeros((0, 0), np.float32), (0, 0)
    foot = kind.foot * item.size
    total = None
    # a wide soft shadow that leans away from the light, and a tight dark one under the object
    flat = min(1.0, 0.3 * item.size / foot)
    parts = ((0.35, 1.6, 0.34 * flat, 0.62), (0.04, 1.12, 0.17 * flat, 1.0))
    left = max(0, int((item.x - 1.7 * foot) * size) - 1)
    right = min(size, int((item.x + 2.0 * foot) * size) + 2)
    top = max(0, int((item.base - 0.4 * foot) * size) - 1)
    bottom = min(size, int((item.base + 0.5 * foot) * size) + 2)
    x = ((np.arange(left, right, dtype=np.float32) + 0.5) / size)[None]
    y = ((np.arange(top, bottom, dtype=np.float32) + 0.5) / size)[:, None]
    for shift, wide, tall, strength in parts:
        d2 = ((x - item.x - shift * foot) / (wide * foot)) ** 2
        d2 = d2 + ((y - item.base - 0.01 * foot) / (tall * foot)) ** 2
        part = np.clip(1 - d2, 0, 1) ** 1.5 * np.float32(strength * backdrop.shadow)
        total = part if total is None else 1 - (1 - total) * (1 - part)
    return total.astype(np.float32), (top, left)


def _composite(background: np.ndarray, layers: list[_Layer], grain: np.ndarray) -> np.ndarray:
    canvas = background.copy()  # planar (3, H, W), as the layers are
    for layer in layers:
        h, w = layer.shade.shape
        top, left = layer.shade_corner
        for plane, strength in zip(canvas, (1, 0.96, 0.86), strict=True):
            plane[top : top + h, left : left + w] *= 1 - layer.shade * np.float32(strength)
    for layer in layers:
        h, w = layer.rgba.shape[1:]
        top, left = layer.corner
        area = canvas[:, top : top + h, left : left + w]
        area *= 1 - layer.rgba[3]
        area += layer.rgba[:3]
    canvas += grain + np.float32(0.5)
    np.clip(canvas, 0, 255, out=canvas)
    return cv2.merge(list(canvas.astype(np.uint8)))


def _visible(layers: list[_Layer], size: int) -> list[np.ndarray]:
    """Returns where each layer, back to front, gives over half of the pixel: never two at once."""
    free = np.ones((size, size), np.float32)
    masks = []
    for layer in reversed(layers):
        h, w = layer.rgba.shape[1:]
        top, left = layer.corner
        alpha = layer.rgba[3]
        area = free[top : top + h, left : left + w]
        mask = np.zeros((size, size), bool)
        mask[top : top + h, left : left + w] = area * alpha > 0.5
        area *= 1 - alpha
        masks.append(mask)
    return masks[::-1]


def _footprint(layer: _Layer, size: int) -> np.ndarray:
    result = np.zeros((size, size), bool)
    for part, (top, left) in ((layer.rgba[3], layer.corner), (layer.shade, layer.shade_corner)):
        h, w = part.shape
        result[top : top + h, left : left + w] |= part > 0
    return result


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(cols[0]), int(rows[0])
    return x, y, int(cols[-1]) - x + 1, int(rows[-1]) - y + 1
