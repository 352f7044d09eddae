"""Training pictures in memory-mapped arrays: drawn scenes, COCO photos, CIFAR-10 crops."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from forgetme.scenes import CONCEPTS, render_scene

TRAIN_SEED = 10_000_000  # scenes from here on are for training; `check` stays far below
CIFAR_WORDS = {"automobile": "car", "ship": "boat"}  # CIFAR's names in the drawn world's words


@dataclass(frozen=True)
class SceneBank:
    """Rendered scenes; row i of every array is one scene.

    Attributes:
        images: (N, S, S, 3) uint8.
        backgrounds: (N, S, S, 3) uint8, the scene without its main object.
        ids: (N, S, S) uint8, 0 = background, k = visible part of object k (1 = main).
        concepts: (N, 4) int8 index into `CONCEPTS` of object k + 1, -1 = none.
        captions: of the image; `settings`: names of the backgrounds.
    """

    images: np.ndarray
    backgrounds: np.ndarray
    ids: np.ndarray
    concepts: np.ndarray
    captions: list[str]
    settings: list[str]


def scene_bank(
    folder: Path,
    count: int,
    *,
    size: int = 256,
    objects: tuple[int | None, ...] = (None,),
    concepts: tuple[str | None, ...] = (None,),
    first_seed: int = TRAIN_SEED,
) -> SceneBank:
    """Renders `count` scenes once and maps them from disk afterwards.

    Args:
        folder: where the arrays live; a finished bank there is opened, a part is redone.
        count: number of scenes.
        size: side in pixels.
        objects: number of objects of scene i is `objects[i % len]`; None = drawn by the renderer.
        concepts: the main object of scene i is `concepts[i % len]`; None = the same.
        first_seed: seed of the first scene; scene i has `first_seed + i`.

    Returns:
        The bank, its arrays read-only maps.
    """
    shapes = {
        "images": (count, size, size, 3),
        "backgrounds": (count, size, size, 3),
        "ids": (count, size, size),
    }
    meta = folder / "meta.json"
    if not meta.exists():
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)
            for name, shape in shapes.items()
        }
        found, captions, settings = np.full((count, 4), -1, np.int8), [], []
        for i in range(count):
            scene = render_scene(
                first_seed + i,
                size=size,
                count=objects[i % len(objects)],
                concept=concepts[i % len(concepts)],
            )
            arrays["images"][i] = scene.image
            arrays["backgrounds"][i] = scene.background
            others = [o for o in scene.objects if o.concept != scene.concept]
            main = [o for o in scene.objects if o.concept == scene.concept]
            for k, item in enumerate([*main, *others][:4]):
                arrays["ids"][i][item.mask] = k + 1
                found[i, k] = CONCEPTS.index(item.concept)
            captions.append(scene.caption)
            settings.append(scene.setting)
        for array in arrays.values():
            array.flush()
        record = {"concepts": found.tolist(), "captions": captions, "settings": settings}
        meta.with_suffix(".tmp").write_text(json.dumps(record))
        os.replace(meta.with_suffix(".tmp"), meta)
    record = json.loads(meta.read_text())
    return SceneBank(
        **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes},
        concepts=np.array(record["concepts"], np.int8),
        captions=record["captions"],
        settings=record["settings"],
    )


@dataclass(frozen=True)
class Photo:
    """A photo with one true object: image (H, W, 3) uint8, mask (H, W) bool, its category."""

    image: np.ndarray
    mask: np.ndarray
    category: str
    name: str


def read_photos(folder: Path, *, kind: str | None = None) -> list[Photo]:
    """Photos listed in `folder/index.csv` (path, mask_path, category, optionally kind).

    Args:
        folder: as written by the COCO subset or the test photos.
        kind: keep rows whose `kind` column is this; None = all rows.
    """
    photos = []
    with (folder / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if kind is not None and row["kind"] != kind:
                continue
            image = np.asarray(Image.open(folder / row["path"]).convert("RGB"))
            mask = np.asarray(Image.open(folder / row["mask_path"]).convert("L")) >= 128
            photos.append(Photo(image, mask, row["category"], row["path"]))
    return photos


@dataclass(frozen=True)
class PhotoBank:
    """Photos with their labelled objects; row i of every array is one photo.

    Attributes:
        images: (N, S, S, 3) uint8, the photo at the top left, longest side S.
        ids: (N, S, S) uint8, 0 = not labelled, k = object k; small objects lie on large ones.
        sizes: (N, 2) height and width of the photo.
    """

    images: np.ndarray
    ids: np.ndarray
    sizes: np.ndarray

    def photo(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) and ids (H, W) of one photo."""
        height, width = self.sizes[row]
        return self.images[row, :height, :width], self.ids[row, :height, :width]


def photo_bank(folder: Path, sources: Sequence[Path], *, size: int = 320) -> PhotoBank:
    """Reads photos and all masks of each once, and maps them from disk afterwards.

    Args:
        folder: where the arrays live; a finished bank there is opened.
        sources: folders with an `index.csv` (path, mask_path).
        size: longest side in pixels.
    """
    done = folder / "sizes.npy"
    if not done.exists():
        masks = defaultdict(list)
        for source in sources:
            with (source / "index.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    masks[source / row["path"]].append(source / row["mask_path"])
        folder.mkdir(parents=True, exist_ok=True)
        images, ids = (
            np.lib.format.open_memmap(
                folder / f"{name}.npy", "w+", np.uint8, (len(masks), size, size, *rest)
            )
            for name, rest in (("images", (3,)), ("ids", ()))
        )
        sizes = np.zeros((len(masks), 2), np.int32)
        for i, (path, each) in enumerate(masks.items()):
            image = Image.open(path).convert("RGB")
            scale = size / max(image.size)
            width, height = sizes[i, ::-1] = [max(1, round(n * scale)) for n in image.size]
            how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
            images[i, :height, :width] = image.resize((width, height), how)
            objects = [
                np.asarray(Image.open(m).convert("L").resize((width, height), how)) >= 128
                for m in each
            ]
            for k, mask in enumerate(sorted(objects, key=np.sum, reverse=True), 1):
                ids[i, :height, :width][mask] = k
        images.flush()
        ids.flush()
        np.save(done, sizes)
    images, ids = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "ids"))
    return PhotoBank(images, ids, np.load(done))


def read_cifar(archive: Path, split: str = "train") -> tuple[np.ndarray, list[str]]:
    """CIFAR-10 pictures (N, 32, 32, 3) uint8 and their words, from the zip of JPEG files."""
    images, words = [], []
    with zipfile.ZipFile(archive) as file:
        names = sorted(n for n in file.namelist() if n.startswith(split) and n.endswith(".jpg"))
        for name in names:
            images.append(np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB")))
            word = name.split("/")[1]
            words.append(CIFAR_WORDS.get(word, word))
    return np.stack(images), words
