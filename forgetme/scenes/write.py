"""Writes drawn scenes as the four folders and the index that the rest of ForgetMe reads."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image

from .compose import CONCEPTS, Scene, render_scene

_FOLDERS = ("original", "foreground", "background", "mask")
_SEED_STRIDE = 1_000_003  # a prime: runs with different seeds share no scene in practice


@dataclass(frozen=True)
class SceneRow:
    """One line of index.csv."""

    stem: str
    concept: str
    setting: str
    caption: str
    seed: int
    objects: str  # concepts in the scene, the main one first, separated by spaces
    size: int


def write_scenes(
    out: Path, *, count: int, seed: int, concepts: Sequence[str] = (), size: int = 256
) -> list[SceneRow]:
    """Writes scenes to original/, foreground/ (RGBA), background/ and mask/ (0/255), and index.csv.

    Scene i is rendered from seed `seed * 1_000_003 + i`; its concept is the i-th of `concepts`,
    cycled. Each file appears whole or not at all.

    Args:
        out: the folder to write; created when missing, files of the same stems are replaced.
        count: number of scenes, 0 or more.
        seed: a non-negative integer.
        concepts: main concepts to cycle through; none means all.
        size: side of the images, 64-512 pixels.

    Returns:
        The rows of index.csv, in order.

    Raises:
        ValueError: count is negative, or `render_scene` refuses an argument.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    names = tuple(concepts) or CONCEPTS
    unknown = [name for name in names if name not in CONCEPTS]
    if unknown:
        raise ValueError(f"unknown concept {unknown[0]!r}; known: {', '.join(CONCEPTS)}")
    out = Path(out)
    for folder in _FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        scene = render_scene(seed * _SEED_STRIDE + i, concept=names[i % len(names)], size=size)
        stem = f"{scene.concept}_{i:06d}"
        _write_images(out, stem, scene)
        present = " ".join(item.concept for item in scene.objects)
        rows.append(
            SceneRow(stem, scene.concept, scene.setting, scene.caption, scene.seed, present, size)
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(SceneRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    _write(out / "index.csv", text.getvalue().encode())
    return rows


def _write_images(out: Path, stem: str, scene: Scene) -> None:
    alpha = scene.mask.astype(np.uint8) * 255
    pictures = (scene.image, np.dstack([scene.image, alpha]), scene.background, alpha)
    for folder, picture in zip(_FOLDERS, pictures, strict=True):
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "PNG")
        _write(out / folder / f"{stem}.png", data.getvalue())


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_bytes(data)
    partial.replace(path)
