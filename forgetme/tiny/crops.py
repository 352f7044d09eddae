"""Draws what the bundled ranker learns from: views of masks, as the ranker cuts them, by label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from forgetme.scenes import CONCEPTS
from forgetme.stages.rank import crop_views
from forgetme.stages.segment import Segmenter
from forgetme.tiny.bank import Photo, SceneBank, read_cifar, read_photos, scene_bank
from forgetme.tiny.diffusion import to_unit
from forgetme.tiny.loop import autocast

PART = "part"  # "a part of something": a mask that holds less than half of its object
BACKGROUND = "background"
WHOLE = 0.75  # IoU from which a proposed mask is the whole object,
PIECE = 0.6  # and below which it is a part of it, where
INSIDE = 0.85  # so much of it lies on the object
GREY = (124, 116, 104)  # CLIP's mean colour
ROUNDS = 3  # of views a photo
THUMBNAILS = 4000  # CIFAR-10 pictures, which are small: few suffice
NOISE = 0.25  # of a latent's deviation, at most, in redrawn pictures
DRAWINGS = 24  # pictures of a concept that the diffusion model draws
DRAWINGS_SEED = 5_000  # of the first; `check` begins at 0
PROPOSED = 260  # scenes whose objects are looked at as the segmenter proposes them
PROPOSED_SEED, ALIKE_SEED = 910_000, 930_000  # of their first scenes
ALIKE = ("cat", "dog", "bird", None)  # of these scenes and of the further ones, by turns
DRAWN = 128  # px a side of what the bundled diffusion model draws


@dataclass(frozen=True)
class Crop:
    """One labelled square: (R, R, 3) uint8, its word, where it is from, and of which picture."""

    pixels: np.ndarray
    word: str
    source: str
    picture: str


class Crops:
    """Draws labelled crops from photos with masks, drawn scenes and CIFAR-10."""

    def __init__(self, size: int) -> None:
        """Args: side of the crops in pixels."""
        self.size = size

    def photo(self, photo: Photo, rng: np.random.Generator, rounds: int) -> Iterator[Crop]:
        """Views of one photo's object, of a part of it, of the whole photo and of its ground."""
        for k in range(rounds):
            image, mask = photo.image, photo.mask
            if k % 2:
                image, mask = image[:, ::-1], mask[:, ::-1]
            image = _recolour(image, rng)
            rough = _rough(mask, rng) if k else mask
            views = crop_views(image, [rough], self.size)[:, 0]
            for view in views:
                yield Crop(self._soften(view, rng), photo.category, "photo", photo.name)
            yield Crop(self._around(image, mask, rng), photo.category, "box", photo.name)
            if k % 3 == 0:
                part = _part(mask, rng)
                if part is not None:
                    for view in crop_views(image, [part], self.size)[:, 0]:
                        yield Crop(view, PART, "part", photo.name)
            if k % 3 == 1:
                ground = _ground(mask, rng)
                if ground is not None:
                    for view in crop_views(image, [ground], self.size)[:, 0]:
                        yield Crop(view, BACKGROUND, "ground", photo.name)
            if k % 3 == 2 and mask.mean() > 0.15:
                yield Crop(self._square(image), photo.category, "whole", photo.name)

    def scene(self, bank: SceneBank, row: int, rng: np.random.Generator) -> Iterator[Crop]:
        """Views of a drawn scene's objects, parts, ground, and of the whole picture."""
        name = f"scene{row}"
        image, ids = _recolour(bank.images[row], rng), np.asarray(bank.ids[row])
        for k in range(4):
            mask = ids == k + 1
            if bank.concepts[row, k] < 0 or mask.sum() < 60:
                continue
            word = CONCEPTS[bank.concepts[row, k]]
            for view in crop_views(image, [_rough(mask, rng)], self.size)[:, 0]:
                yield Crop(self._soften(view, rng), word, "drawn", name)
            if k == 0:
                part = _part(mask, rng)
                if part is not None:
                    for view in crop_views(image, [part], self.size)[:, 0]:
                        yield Crop(view, PART, "drawn part", name)
        ground = _ground(ids > 0, rng)
        if ground is not None:
            for view in crop_views(image, [ground], self.size)[:, 0]:
                yield Crop(view, BACKGROUND, "drawn ground", name)
        if bank.concepts[row, 1] < 0 and (ids == 1).any():
            word = CONCEPTS[bank.concepts[row, 0]]
            yield Crop(self._soften(self._square(image), rng), word, "drawn whole", name)
            yield self.worn(image, word, rng, name)
        if row % 2:
            empty = _recolour(bank.backgrounds[row], rng)
            yield Crop(self._square(empty), bank.settings[row], "setting", name)
        else:  # where an object was, as a fill leaves it
            hole = ids == 1
            if hole.sum() > 60 and bank.concepts[row, 1] < 0:
                for view in crop_views(np.asarray(bank.backgrounds[row]), [hole], self.size)[:, 0]:
                    yield Crop(view, BACKGROUND, "drawn empty", name)

    def proposed(
        self, image: np.ndarray, masks: Sequence[np.ndarray], ids: np.ndarray, words: Sequence[str]
    ) -> Iterator[Crop]:
        """Views of what the segmenter proposes: whole objects under their word, parts as parts.

        Args:
            image: (H, W, 3) uint8.
            masks: (H, W) bool each, as proposed.
            ids: (H, W) uint8, 0 = no labelled object, k = the one that `words[k - 1]` names.
            words: of the objects.
        """
        areas = [(ids == k + 1).sum() for k in range(len(words))]
        for mask in masks:
            inside = np.bincount(ids[mask], minlength=len(words) + 1)[1:]
            if not len(inside) or not inside.any():
                continue
            best = int(inside.argmax())
            overlap = inside[best] / (mask.sum() + areas[best] - inside[best])
            if overlap >= WHOLE:
                word, source = words[best], "proposed"
            elif overlap <= PIECE and inside[best] >= INSIDE * mask.sum():
                word, source = PART, "proposed part"
            else:
                continue
            for view in crop_views(image, [mask], self.size)[:, 0]:
                yield Crop(view, word, source, "")

    def worn(self, image: np.ndarray, word: str, rng: np.random.Generator, name: str) -> Crop:
        """A whole picture as a small model draws it: at 128 px, blurred, tinted, or as a JPEG."""
        image = cv2.resize(image, (DRAWN, DRAWN), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            image = image[:, ::-1]
        if rng.random() < 0.6:
            image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), rng.uniform(0.4, 1.6))
        if rng.random() < 0.4:
            quality = int(rng.integers(15, 80))
            _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        return Crop(self._square(_recolour(image, rng)), word, "drawn worn", name)

    def thumbnail(self, image: np.ndarray, word: str, rng: np.random.Generator) -> Crop:
        """A CIFAR-10 picture, enlarged; half of them behind an ellipse in place of a mask."""
        big = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        view = rng.random()
        if view < 0.5:
            inside = np.zeros((self.size, self.size), np.uint8)
            axes = tuple(int(v) for v in rng.integers(self.size // 3, self.size // 2, 2))
            middle = (self.size // 2, self.size // 2)
            cv2.ellipse(inside, middle, axes, rng.uniform(0, 180), 0, 360, 1, -1)
            blurred = cv2.GaussianBlur(big, (0, 0), 0.1 * self.size)
            around = blurred if view < 0.25 else np.array(GREY, np.uint8)
            big = np.where(inside[..., None] > 0, big, around)
        if rng.random() < 0.5:
            big = big[:, ::-1]
        return Crop(np.ascontiguousarray(big), word, "cifar", "cifar")

    def _square(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        side = max(height, width)
        y, x = (side - height) // 2, (side - width) // 2
        edges = (y, side - height - y, x, side - width - x)
        square = cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT, value=GREY)
        how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        return cv2.resize(square, (self.size, self.size), interpolation=how)

    def _around(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The object's box with some of what is around it, nothing hidden."""
        ys, xs = np.nonzero(mask)
        side = (max(np.ptp(xs), np.ptp(ys)) + 1) * rng.uniform(1.0, 1.6)
        x, y = (xs.min() + xs.max() - side) / 2, (ys.min() + ys.max() - side) / 2
        x0, y0 = max(0, int(x)), max(0, int(y))
        return self._square(image[y0 : int(y + side) + 1, x0 : int(x + side) + 1])

    def _soften(self, crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Sometimes as if it came from a thumbnail."""
        if rng.random() < 0.8:
            return crop
        small = int(rng.integers(self.size // 4, self.size))
        crop = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
        return cv2.resize(crop, (self.size, self.size), interpolation=cv2.INTER_LINEAR)


def redrawn(vae: AutoencoderKL, bank: SceneBank, crops: Crops, seed: int) -> Iterator[Crop]:
    """Scenes of one object as the diffusion model's decoder gives them back, latents disturbed."""
    rng = np.random.default_rng((seed, 1))
    rows = [row for row in range(len(bank.images)) if (bank.concepts[row] >= 0).sum() == 1]
    for start in range(0, len(rows), 64):
        some = rows[start : start + 64]
        small = [
            cv2.resize(bank.images[k], (DRAWN, DRAWN), interpolation=cv2.INTER_AREA) for k in some
        ]
        with torch.no_grad(), autocast("cpu"):
            latents = vae.encode(to_unit(np.stack(small))).latent_dist.mean
            noise = torch.from_numpy(rng.standard_normal(latents.shape)).to(latents)
            spread = torch.from_numpy(rng.uniform(0, NOISE, (len(some), 1, 1, 1))).to(latents)
            pictures = vae.decode(latents + spread / vae.config.scaling_factor * noise).sample
        pictures = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte()
        for row, image in zip(some, pictures.permute(0, 2, 3, 1).numpy(), strict=True):
            word, name = CONCEPTS[bank.concepts[row, 0]], f"scene{row}"
            yield replace(crops.worn(image, word, rng, name), source="redrawn")


def generated(pipe: StableDiffusionPipeline, crops: Crops, seed: int) -> Iterator[Crop]:
    """Pictures that the diffusion model draws of each concept, each seen three times."""
    rng = np.random.default_rng((seed, 2))
    for concept in CONCEPTS:
        for k in range(DRAWINGS):
            noise = torch.Generator().manual_seed(DRAWINGS_SEED + k)
            picture = pipe(
                f"a photo of a {concept}",
                num_inference_steps=20,
                guidance_scale=7.5,
                generator=noise,
                output_type="np",
            ).images[0]
            picture, name = (picture * 255).round().astype(np.uint8), f"{concept}{k}"
            for _ in range(3):
                yield replace(crops.worn(picture, concept, rng, name), source="generated")


def _proposed(segmenter: Segmenter, work: Path, crops: Crops) -> Iterator[Crop]:
    """Drawn scenes as the segmenter proposes them: a head is learned as a part, not as a cat."""
    bank = scene_bank(work / "proposed", PROPOSED, concepts=ALIKE, first_seed=PROPOSED_SEED)
    for row, image in enumerate(bank.images):
        words = [CONCEPTS[k] for k in bank.concepts[row] if k >= 0]
        masks = [proposal.mask for proposal in segmenter(image)]
        for crop in crops.proposed(image, masks, np.asarray(bank.ids[row]), words):
            yield replace(crop, picture=f"proposed{row}")


def all_crops(
    size: int,
    work: Path,
    photos: Path | None,
    scenes: int,
    seed: int,
    pipe: StableDiffusionPipeline | None,
    segmenter: Segmenter | None,
) -> Iterator[Crop]:
    """Every crop that is learned from, in the order of drawing.

    None is redrawn without a `pipe`, none proposed without a `segmenter`.
    """
    rng, crops = np.random.default_rng(seed), Crops(size)
    if photos:
        folders = [photos / name for name in ("coco_train", "photos_train")]
        real = [p for f in folders if f.is_dir() for p in read_photos(f) if p.mask.sum() > 200]
        for index in rng.permutation(len(real)):
            yield from crops.photo(real[index], rng, ROUNDS)
    bank = scene_bank(work / "scenes", scenes)
    for row in range(len(bank.images)):
        yield from crops.scene(bank, row, rng)
    bank_alike = scene_bank(work / "alike", scenes // 2, concepts=ALIKE, first_seed=ALIKE_SEED)
    for row in range(len(bank_alike.images)):
        for crop in crops.scene(bank_alike, row, rng):
            yield replace(crop, picture=f"alike{row}")
    if segmenter is not None:
        yield from _proposed(segmenter, work, crops)
    if pipe is not None:
        yield from redrawn(pipe.vae, bank, crops, seed)
        yield from generated(pipe, crops, seed)
    if photos:
        images, words = read_cifar(photos / "cifar10" / "cifar10_jpg.zip")
        for index in rng.permutation(len(images))[:THUMBNAILS]:
            yield crops.thumbnail(images[index], words[index], rng)


def _recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.4:
        return np.ascontiguousarray(image)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.94, 1.06, 3)
    changed = image.astype(np.float32) * gain + rng.uniform(-16, 16)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _rough(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask as a segmenter might draw it: too wide, too narrow, wavy, or with a bite."""
    kind, area = rng.random(), mask.sum()
    if kind < 0.25:
        return np.ascontiguousarray(mask)
    thick = max(1, int(np.sqrt(area) * rng.uniform(0.01, 0.06)))
    if kind < 0.6:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * thick + 1, 2 * thick + 1))
        grow = cv2.dilate if rng.random() < 0.6 else cv2.erode
        found = grow(mask.astype(np.uint8), kernel) > 0
    elif kind < 0.85:
        waves = cv2.GaussianBlur(rng.normal(0, 1, mask.shape).astype(np.float32), (0, 0), 3 * thick)
        waves *= 0.35 / (waves.std() + 1e-6)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), thick)
        found = soft + waves * 0.5 * (soft > 0.02) > 0.5
    else:
        ys, xs = np.nonzero(mask)
        angle = rng.uniform(0, 2 * np.pi)
        along = xs * np.cos(angle) + ys * np.sin(angle)
        keep = along > np.quantile(along, rng.uniform(0.05, 0.25))
        found = np.zeros(mask.shape, bool)
        found[ys[keep], xs[keep]] = True
    return found if 0.5 * area < found.sum() < 2 * area else np.ascontiguousarray(mask)


def _part(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """An eighth to two fifths of the mask, cut off by a line."""
    ys, xs = np.nonzero(mask)
    if len(ys) < 100:
        return None
    angle = rng.uniform(0, 2 * np.pi)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    keep = along < np.quantile(along, rng.uniform(0.12, 0.4))
    part = np.zeros(mask.shape, bool)
    part[ys[keep], xs[keep]] = True
    return part


def _ground(taken: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A wavy piece of the picture with at most a tenth of it taken, or None without room."""
    height, width = taken.shape
    for _ in range(8):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        longest = max(height, width)
        axes = tuple(int(v) for v in rng.integers(longest // 14, longest // 3, 2))
        blob = np.zeros(taken.shape, np.float32)
        cv2.ellipse(blob, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        noise = cv2.resize(rng.normal(0, 0.5, (6, 6)).astype(np.float32), (width, height))
        found = (cv2.GaussianBlur(blob, (0, 0), 3) + noise * 0.5 > 0.5) & (blob > 0)
        if found.sum() > 80 and (taken & found).sum() < 0.1 * found.sum():
            return found
    return None
