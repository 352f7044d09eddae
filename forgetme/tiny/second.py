"""Trains the second recogniser: a plain network on whole drawn pictures, by code of its own."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from forgetme.scenes import BACKGROUNDS, CONCEPTS
from forgetme.stages.second import SIZE, Network, as_input
from forgetme.tiny.bank import TRAIN_SEED, SceneBank, scene_bank
from forgetme.tiny.loop import TrainSettings, autocast, fit

SETTINGS = TrainSettings(steps=1600, batch=64, lr=2e-3, warmup=100, weight_decay=0.05, seed=7)
FIRST_SEED = TRAIN_SEED + 5_000_000  # scenes that no other model is trained on
WORDS = (*CONCEPTS, *BACKGROUNDS, "background")
SMALLEST = 0.62  # of the picture's side, by which a crop still shows what the picture shows


def train(
    out: Path,
    work: Path,
    *,
    photos: Path | None = None,
    settings: TrainSettings = SETTINGS,
    minutes: float | None = None,
    scenes: int = 3000,
) -> dict[str, int]:
    """Trains it and writes `second.safetensors` and `second.json` to `out`.

    Args:
        out: the folder of bundled weights.
        work: scene bank, checkpoint and log.
        photos: not used; it knows the drawn world only.
        settings: the schedule.
        minutes: stop early after this long; call again to go on.
        scenes: size of the scene bank, one object in each.

    Returns:
        Number of parameters by part.
    """
    del photos
    bank = scene_bank(work / "second-scenes", scenes, size=128, objects=(1,), first_seed=FIRST_SEED)
    torch.manual_seed(settings.seed)
    network = Network(len(WORDS))

    def loss_fn(step: int, rng: np.random.Generator, done: float) -> tuple:
        del step, done
        drawn = [_draw(bank, rng) for _ in range(settings.batch)]
        pixels = as_input([one for one, _ in drawn]).to(settings.device)
        labels = torch.tensor([label for _, label in drawn], device=settings.device)
        with autocast(settings.device):
            logits = network(pixels).float()
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.05)
        right = (logits.argmax(1) == labels).float().mean().item()
        return loss, {"accuracy": round(right, 3)}

    trained = fit(network, loss_fn, settings, work / "second", minutes=minutes)
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in trained.state_dict().items()}
    save_file(weights, out / "second.safetensors")
    (out / "second.json").write_text(json.dumps({"words": WORDS}, indent=1) + "\n")
    return {"second": sum(p.numel() for p in trained.parameters())}


def _draw(bank: SceneBank, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """One picture with its word: the object's, or the setting's where there is none."""
    row = int(rng.integers(len(bank.images)))
    ids = bank.ids[row]
    if rng.random() < 0.35 or not ids.any():
        image, label = bank.backgrounds[row], WORDS.index(bank.settings[row])
        if rng.random() < 0.4:  # a small piece is of no setting any more
            image, label = _window(image, rng, 0.2, 0.5), WORDS.index("background")
        else:
            image = _window(image, rng, SMALLEST, 1.0)
        return _worn(image, rng), label
    image = _around(bank.images[row], ids > 0, rng)
    return _worn(image, rng), int(bank.concepts[row, 0])


def _window(image: np.ndarray, rng: np.random.Generator, least: float, most: float) -> np.ndarray:
    side = image.shape[0]
    edge = int(side * rng.uniform(least, most))
    y, x = rng.integers(0, side - edge + 1, 2)
    return image[y : y + edge, x : x + edge]


def _around(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A window that holds the object: anything from its box to the whole picture."""
    side = mask.shape[0]
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    least = max(np.ptp(ys), np.ptp(xs)) + 1
    edge = int(rng.uniform(least, side)) if rng.random() < 0.5 else side
    edge = min(side, max(edge, int(least)))
    y = rng.integers(max(0, ys[-1] + 1 - edge), min(ys[0], side - edge) + 1)
    x = rng.integers(max(0, xs[-1] + 1 - edge), min(xs[0], side - edge) + 1)
    return image[y : y + edge, x : x + edge]


def _worn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flips, blurs and tints a picture, as those that a small model draws are."""
    image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), rng.uniform(0.3, 1.6))
    made = image.astype(np.float32) * rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    made += rng.uniform(-20, 20) + rng.normal(0, rng.uniform(0, 8), image.shape)
    return made.clip(0, 255).astype(np.uint8)
