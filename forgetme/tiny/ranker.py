"""Trains the bundled ranker: a small open_clip model on crops of drawn objects and photos."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

from forgetme.scenes import BACKGROUNDS, CONCEPTS
from forgetme.tiny.bank import SceneBank, read_cifar, read_photos, scene_bank
from forgetme.tiny.loop import TrainSettings, autocast, fit

SETTINGS = TrainSettings(steps=3200, batch=96, lr=2e-3, warmup=100, weight_decay=0.05)
SIZE = 64  # pixels a side of the crops that the ranker sees
CONTEXT = 16  # tokens of a prompt
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of pixels, OpenAI CLIP's
STD = (0.26862954, 0.26130258, 0.27577711)
GREY = (124, 116, 104)  # CLIP's mean colour
SURFACES = (*BACKGROUNDS, "background")
PART = "part"  # "a part of something": a mask that holds less than half of its object
TEMPLATES = (
    "a photo of a {}",
    "a {}",
    "a picture of a {}",
    "a drawing of a {}",
    "a photo of the {}",
    "{}",
)


def model_config() -> dict:
    """The open_clip model config of the bundled ranker (a ModifiedResNet and a text tower)."""
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": SIZE, "layers": [1, 2, 2, 1], "width": 24, "head_width": 32},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": 49408,
            "width": 64,
            "heads": 4,
            "layers": 2,
        },
    }


def vocabulary(photo_words: set[str]) -> list[str]:
    """Every word the ranker is taught: drawn concepts first, then photos', then surfaces."""
    extra = sorted(photo_words - set(CONCEPTS))
    return [*CONCEPTS, *extra, *SURFACES, PART]


class Crops:
    """Draws labelled crops: (S, S, 3) uint8 pictures and the index of their word."""

    def __init__(self, bank: SceneBank, coco: list, cifar: tuple, words: list[str]) -> None:
        """Args: the drawn scenes, the photos with masks, CIFAR-10 (images, words), all words."""
        self.bank, self.coco, self.words = bank, coco, words
        self.index = {word: i for i, word in enumerate(words)}
        self.cifar, self.cifar_label = cifar[0], [self.index[word] for word in cifar[1]]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """One crop; of what kind is drawn too."""
        kind = rng.random()
        if kind < 0.42 and len(self.cifar):
            return self._cifar(rng)
        if kind < 0.48 and self.coco:
            photo = self.coco[rng.integers(len(self.coco))]
            return self._masked(rng, photo.image, photo.mask, self.index[photo.category])
        row = int(rng.integers(len(self.bank.images)))
        image, ids = self.bank.images[row], self.bank.ids[row]
        present = [k for k in range(4) if self.bank.concepts[row, k] >= 0]
        if kind < 0.72 and present:
            k = present[rng.integers(len(present))]
            mask = ids == k + 1
            if mask.any():
                return self._masked(rng, image, mask, int(self.bank.concepts[row, k]))
        if kind < 0.93:
            return self._whole(rng, row)
        return self._surface(rng, row)

    def _masked(
        self, rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, label: int
    ) -> tuple[np.ndarray, int]:
        """A crop around a mask, which may be rough, partial, blurred outside or cut out."""
        area = mask.sum()
        kind = rng.random()
        if kind < 0.12:  # a part: cut the mask by a line through it
            ys, xs = np.nonzero(mask)
            angle = rng.uniform(0, 2 * np.pi)
            along = xs * np.cos(angle) + ys * np.sin(angle)
            keep = along < np.quantile(along, rng.uniform(0.12, 0.42))
            mask = np.zeros_like(mask)
            mask[ys[keep], xs[keep]] = True
            label = self.index[PART]
        elif kind < 0.6:  # rough borders, as a segmenter draws them
            px = int(rng.integers(1, 4))
            kernel = np.ones((2 * px + 1, 2 * px + 1), np.uint8)
            rough = (cv2.dilate if rng.random() < 0.6 else cv2.erode)(mask.view(np.uint8), kernel)
            if rough.sum() > 0.5 * area:
                mask = rough > 0
        ys, xs = np.nonzero(mask)
        side = max(np.ptp(xs), np.ptp(ys)) + 1
        side *= 1 + 2 * rng.uniform(0.02, 0.25)
        cx = (xs.min() + xs.max()) / 2 + rng.normal(0, 0.03) * side
        cy = (ys.min() + ys.max()) / 2 + rng.normal(0, 0.03) * side
        scale = SIZE / side
        move = np.float32([[scale, 0, SIZE / 2 - cx * scale], [0, scale, SIZE / 2 - cy * scale]])
        mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        if scale < 0.5:  # warpAffine does not average; shrink first
            half = 0.5 ** int(np.log2(1 / scale))
            image = cv2.resize(image, None, fx=half, fy=half, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask.view(np.uint8), image.shape[1::-1], interpolation=0) > 0
            move[:, :2] /= half
        crop = cv2.warpAffine(image, move, (SIZE, SIZE), flags=mode, borderValue=GREY)
        inside = cv2.warpAffine(mask.astype(np.float32), move, (SIZE, SIZE))[..., None]
        view = rng.random()
        if view < 0.4:
            blurred = cv2.GaussianBlur(crop, (0, 0), 0.1 * SIZE)
            crop = (crop * inside + blurred * (1 - inside)).astype(np.uint8)
        elif view < 0.8 or label == self.index[PART]:
            crop = (crop * inside + np.array(GREY) * (1 - inside)).astype(np.uint8)
        return self._augment(rng, crop), label

    def _whole(self, rng: np.random.Generator, row: int) -> tuple[np.ndarray, int]:
        """A whole scene: named by its only object, or by its setting when it is empty."""
        ids, alone = self.bank.ids[row], self.bank.concepts[row, 1] < 0
        if not alone:
            return self._surface(rng, row)
        image, label = self.bank.images[row], int(self.bank.concepts[row, 0])
        if rng.random() < 0.4:
            image, label = self.bank.backgrounds[row], self.index[self.bank.settings[row]]
        elif not ids.any():
            return self._surface(rng, row)
        return self._augment(
            rng, cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        ), label

    def _surface(self, rng: np.random.Generator, row: int) -> tuple[np.ndarray, int]:
        """A piece of background under a random blob, labelled by what it mostly is."""
        image, ids = self.bank.images[row], self.bank.ids[row]
        size = image.shape[0]
        side = int(rng.integers(size // 6, int(size * 0.7)))
        x, y = rng.integers(0, size - side, 2)
        crop, inner = image[y : y + side, x : x + side], ids[y : y + side, x : x + side]
        if (inner > 0).mean() > 0.04:
            crop = self.bank.backgrounds[row][y : y + side, x : x + side]
            if (inner > 1).mean() > 0.02:
                return self._masked(rng, image, ids == 1, int(self.bank.concepts[row, 0]))
        crop = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.6:
            blob = cv2.resize(rng.random((4, 4)).astype(np.float32), (SIZE, SIZE)) > 0.45
            blob = blob[..., None]
            outside = cv2.GaussianBlur(crop, (0, 0), 0.1 * SIZE)
            crop = np.where(blob, crop, outside if rng.random() < 0.5 else np.array(GREY))
        return self._augment(rng, crop.astype(np.uint8)), self.index["background"]

    def _cifar(self, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        row = int(rng.integers(len(self.cifar)))
        image = self.cifar[row]
        if rng.random() < 0.8:
            pad = cv2.copyMakeBorder(image, 4, 4, 4, 4, cv2.BORDER_REFLECT)
            side = int(rng.integers(24, 37))
            x, y = rng.integers(0, 40 - side + 1, 2)
            image = pad[y : y + side, x : x + side]
        image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        view = rng.random()
        if view < 0.5:  # an ellipse in place of the mask that CIFAR lacks
            inside = np.zeros((SIZE, SIZE), np.uint8)
            axes = tuple(int(v) for v in rng.integers(int(0.3 * SIZE), int(0.52 * SIZE), 2))
            cv2.ellipse(inside, (SIZE // 2, SIZE // 2), axes, rng.uniform(0, 180), 0, 360, 1, -1)
            blurred = cv2.GaussianBlur(image, (0, 0), 0.1 * SIZE)
            around = blurred if view < 0.25 else np.array(GREY, np.uint8)
            image = np.where(inside[..., None] > 0, image, around)
        return self._augment(rng, image), self.cifar_label[row]

    def _augment(self, rng: np.random.Generator, crop: np.ndarray) -> np.ndarray:
        """Flip, colour and a loss of detail (photos, drawings and thumbnails must look alike)."""
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.3:
            small = int(rng.integers(24, 56))
            crop = cv2.resize(np.ascontiguousarray(crop), (small, small), cv2.INTER_AREA)
            crop = cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        gain = rng.uniform(0.8, 1.2) * rng.uniform(0.94, 1.06, 3)
        crop = crop.astype(np.float32) * gain + rng.uniform(-16, 16)
        if rng.random() < 0.1:
            crop = np.repeat(crop.mean(2, keepdims=True), 3, 2)
        return np.clip(crop, 0, 255).astype(np.uint8)


def train(
    out: Path,
    work: Path,
    *,
    photos: Path | None = None,
    settings: TrainSettings = SETTINGS,
    minutes: float | None = None,
    scenes: int = 5000,
) -> dict[str, int]:
    """Trains the ranker and writes `ranker.safetensors` and `ranker.json` to `out`.

    Args:
        out: the folder of bundled weights.
        work: scene banks, checkpoint and log.
        photos: folder that holds `coco_train/` and `cifar10/`; None = drawn scenes only.
        settings: the schedule.
        minutes: stop early after this long; call again to go on.
        scenes: size of the scene bank.

    Returns:
        Number of parameters by part.
    """
    bank = scene_bank(work / "scenes", scenes)
    coco = read_photos(photos / "coco_train") if photos else []
    coco = [p for p in coco if p.mask.sum() > 200]
    empty = (np.zeros((0, 32, 32, 3), np.uint8), [])
    cifar = read_cifar(photos / "cifar10" / "cifar10_jpg.zip") if photos else empty
    words = vocabulary({p.category for p in coco} | set(cifar[1]))
    crops = Crops(bank, coco, cifar, words)
    torch.manual_seed(settings.seed)
    config = model_config()
    model = open_clip.CLIP(**config)
    tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT)
    tokens = torch.stack([tokenizer([t.format(w) for w in words]) for t in TEMPLATES])
    mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in (MEAN, STD))

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        drawn = [crops.draw(rng) for _ in range(settings.batch)]
        pixels = torch.from_numpy(np.stack([d[0] for d in drawn])).permute(0, 3, 1, 2)
        pixels = ((pixels - mean) / std).to(settings.device, memory_format=torch.channels_last)
        labels = torch.tensor([d[1] for d in drawn], device=settings.device)
        picks = torch.from_numpy(rng.integers(0, len(TEMPLATES), len(words)))
        text = tokens[picks, torch.arange(len(words))].to(settings.device)
        with autocast(settings.device):
            image = model.encode_image(pixels, normalize=True)
            prompt = model.encode_text(text, normalize=True)
        logits = model.logit_scale.clamp(max=4.0).exp() * image.float() @ prompt.float().T
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.05)
        right = (logits.argmax(1) == labels).float()
        return loss, {"accuracy": round(right.mean().item(), 3)}

    model = model.to(memory_format=torch.channels_last)
    trained = fit(model, loss_fn, settings, work / "ranker", minutes=minutes)
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in trained.state_dict().items()}
    save_file(weights, out / "ranker.safetensors")
    record = {
        "model": config,
        "mean": MEAN,
        "std": STD,
        "templates": TEMPLATES[:4],
        "vocabulary": words,
        "concepts": [w for w in words if w not in (*SURFACES, PART)],
        "surfaces": list(SURFACES),
        "part": PART,
    }
    (out / "ranker.json").write_text(json.dumps(record, indent=1) + "\n")
    return {"ranker": sum(p.numel() for p in trained.parameters())}
