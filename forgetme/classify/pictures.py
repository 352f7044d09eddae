"""Labelled pictures for classification: read, drawn, split into what is forgotten and kept."""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from forgetme.errors import ForgetmeError
from forgetme.record.files import read_bytes
from forgetme.record.masks import box_xywh
from forgetme.scenes import CONCEPTS, render_scene

SIDE = 32  # pixels
SUFFIXES = (".png", ".jpg", ".jpeg")
TEST_SHARE = 0.2  # of a folder that has no test/ of its own
DRAWN = (120, 40)  # scenes of each concept, to train on and to test on
DRAWN_SEED = 20_000_000  # the bundled models are trained and measured on other scenes
MOST_BYTES = 20 * 2**20  # of one picture


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures.

    Attributes:
        images: (N, 3, 32, 32) uint8.
        labels: (N,) int64, indices into `classes`.
        classes: the names.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, which: torch.Tensor) -> Pictures:
        """Returns those of a mask (N,) bool or of indices."""
        return Pictures(self.images[which], self.labels[which], self.classes)


@dataclass(frozen=True)
class Split:
    """What an unlearning run works with, and what it is measured on."""

    forget: Pictures
    retain: Pictures
    test: Pictures


def read(source: str | Path) -> tuple[Pictures, Pictures]:
    """Reads the pictures to train on and to test on.

    Args:
        source: "drawn" for the drawn world's twelve concepts, which need no file; or a folder or
            zip with `train/CLASS/…` and `test/CLASS/…`; or one with `CLASS/…`, of which a fifth
            of each class becomes the test set; or a folder that holds one such zip. Pictures are
            resized to 32x32.

    Raises:
        ForgetmeError: nothing is there, fewer than two classes, or a picture cannot be read.
    """
    if str(source) == "drawn":
        return _drawn(DRAWN[0], 0), _drawn(DRAWN[1], DRAWN[0])
    files = _files(Path(source))
    parts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(files):
        *folders, label, _ = PurePosixPath(name).parts
        parts[folders[-1] if folders and folders[-1] in ("train", "test") else ""][label].append(
            name
        )
    halves = parts["train"], parts["test"]
    if not all(halves):
        whole = parts["train"] or parts[""]
        cut = {label: max(1, round(TEST_SHARE * len(names))) for label, names in whole.items()}
        order = {
            label: [names[i] for i in np.random.default_rng(0).permutation(len(names))]
            for label, names in whole.items()
        }
        halves = (
            {label: names[cut[label] :] for label, names in order.items()},
            {label: names[: cut[label]] for label, names in order.items()},
        )
    classes = tuple(sorted(halves[0]))
    if len(classes) < 2 or not all(halves[0].values()) or set(halves[1]) - set(classes):
        raise ForgetmeError(
            f"{source}: expected at least two classes as train/CLASS/… and test/CLASS/… (or "
            f"CLASS/…) with two pictures each, found {', '.join(classes) or 'none'}"
        )
    train, test = (_load(files, half, classes) for half in halves)
    return train, test


def _files(source: Path) -> dict[str, Callable[[], bytes]]:
    """Finds the pictures below a folder or in a zip: path there -> what reads it."""
    packed = [source] if source.is_file() else sorted(source.glob("*.zip"))
    if packed:
        try:
            archive = zipfile.ZipFile(packed[0])
        except (OSError, zipfile.BadZipFile) as error:
            raise ForgetmeError(f"{packed[0]}: not a zip of pictures ({error})") from None
        found = {
            entry.filename: lambda entry=entry: archive.read(entry)
            for entry in archive.infolist()
            if entry.filename.lower().endswith(SUFFIXES) and entry.file_size <= MOST_BYTES
        }
    else:
        found = {
            path.relative_to(source).as_posix(): lambda path=path: read_bytes(path, MOST_BYTES)
            for path in source.rglob("*")
            if path.suffix.lower() in SUFFIXES
        }
    found = {name: reader for name, reader in found.items() if len(PurePosixPath(name).parts) > 1}
    if not found:
        raise ForgetmeError(f"{source}: no pictures in folders of classes are here")
    return found


def _load(
    files: dict[str, Callable[[], bytes]], half: dict[str, list[str]], classes: tuple[str, ...]
) -> Pictures:
    images, labels = [], []
    for label, names in half.items():
        for name in names:
            try:
                image = Image.open(io.BytesIO(files[name]())).convert("RGB")
            except (OSError, ValueError) as error:
                raise ForgetmeError(f"{name}: cannot be read ({error}); remove it") from None
            images.append(np.array(image if image.size == (SIDE, SIDE) else _small(image)))
            labels.append(classes.index(label))
    return _pictures(images, labels, classes)


def _small(image: Image.Image) -> Image.Image:
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def _drawn(count: int, first: int) -> Pictures:
    """Draws scenes of each concept, cut to the object's surroundings."""
    images, labels = [], []
    for label, concept in enumerate(CONCEPTS):
        for i in range(first, first + count):
            scene = render_scene(DRAWN_SEED + 1000 * label + i, concept=concept, size=96)
            x, y, width, height = box_xywh(scene.mask)
            reach = round(0.6 * max(width, height))
            middle_x, middle_y = x + width // 2, y + height // 2
            box = (middle_x - reach, middle_y - reach, middle_x + reach, middle_y + reach)
            images.append(np.array(_small(Image.fromarray(scene.image).crop(box))))
            labels.append(label)
    return _pictures(images, labels, tuple(CONCEPTS))


def _pictures(images: list[np.ndarray], labels: list[int], classes: tuple[str, ...]) -> Pictures:
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Pictures(stacked, torch.tensor(labels), classes)


def split(
    train: Pictures,
    test: Pictures,
    forget: str,
    *,
    share: float = 0.1,
    held_out: float = 0.1,
    seed: int = 0,
) -> Split:
    """Splits training pictures into what is forgotten and what is retained.

    Args:
        train: all training pictures.
        test: the test set; of class-wise forgetting it loses the class, too.
        forget: "random", or the name of a class.
        share: of random forgetting.
        held_out: share of each class that nobody trains on, as SalUn's code has it.
        seed: of both draws.

    Raises:
        ForgetmeError: the class is not there.

    **Source**: SalUn's Classification/dataset.py; LoReUn, section 5.1.
    """
    draw = np.random.default_rng(seed)
    used = np.ones(len(train), bool)
    for label in range(len(train.classes)):
        rows = np.flatnonzero(train.labels.numpy() == label)
        used[draw.permutation(rows)[: int(held_out * len(rows))]] = False
    train = train.only(torch.from_numpy(used))
    if forget == "random":
        chosen = np.zeros(len(train), bool)
        chosen[draw.permutation(len(train))[: max(2, round(share * len(train)))]] = True
        marked = torch.from_numpy(chosen)
    elif forget in train.classes:
        label = train.classes.index(forget)
        marked, test = train.labels == label, test.only(test.labels != label)
    else:
        raise ForgetmeError(
            f"no class is called {forget!r}; say random, or one of: {', '.join(train.classes)}"
        )
    return Split(train.only(marked), train.only(~marked), test)
