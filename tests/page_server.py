"""The real page on drawn scenes, with models that know the truth instead of bundled weights.

Only the models are stand-ins: store, review, worker, routes and scripts are the shipped ones.
Run as a program, so that a test can kill it: `python tests/page_server.py STORE PORT [COUNT]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record import masks
from forgetme.record.images import array_sha
from forgetme.record.sample import Proposal, Verdict
from forgetme.scenes import render_scene
from forgetme.store import Store

CONCEPTS = ("cat", "dog", "bird", "boat")
MADE_BY = "truth"


@dataclass
class Truth:
    """What is where in each scene, by the content of its image."""

    objects: dict[str, list[tuple[str, np.ndarray]]] = field(default_factory=dict)

    def add(self, scene) -> None:
        found = [(one.concept, one.mask) for one in scene.objects if one.mask.any()]
        self.objects[array_sha(scene.image)] = found

    def of(self, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
        return self.objects.get(array_sha(image), [])


@dataclass
class TruthSegmenter:
    """Proposes the true masks, their halves, and a corner that is no object."""

    truth: Truth
    made_by: str = MADE_BY

    def __call__(self, image: np.ndarray) -> list[Proposal]:
        found = []
        for _, mask in self.truth.of(image):
            half = mask.copy()
            half[:, : int(np.flatnonzero(mask.any(axis=0)).mean())] = False
            found += [mask, half]
        corner = np.zeros(image.shape[:2], bool)
        corner[: image.shape[0] // 5, : image.shape[1] // 4] = True
        return [_proposal(mask) for mask in [*found, corner] if mask.any()]

    def click(
        self,
        image: np.ndarray,
        points_xy: np.ndarray,
        labels: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        box_xywh: tuple[int, int, int, int] | None = None,
    ) -> list[Proposal]:
        """Answers with the object under each point; elsewhere with a disc around it."""
        result = np.zeros(image.shape[:2], bool) if mask is None else mask.copy()
        if box_xywh is not None:
            x, y, w, h = box_xywh
            inside = [one[y : y + h, x : x + w].sum() for _, one in self.truth.of(image)]
            result |= self.truth.of(image)[int(np.argmax(inside))][1]
        for (x, y), label in zip(np.asarray(points_xy, int), labels, strict=True):
            hit = next((one for _, one in self.truth.of(image) if one[y, x]), None)
            if hit is None or not label:
                hit = cv2.circle(np.zeros(image.shape[:2], np.uint8), (int(x), int(y)), 12, 1, -1)
            result = result | hit.astype(bool) if label else result & ~hit.astype(bool)
        return [_proposal(result)]


@dataclass
class TruthRanker:
    """Scores a mask by its overlap with the true one of the concept."""

    truth: Truth
    made_by: str = MADE_BY

    def __call__(
        self, image: np.ndarray, proposals: Sequence[Proposal], concept: str
    ) -> np.ndarray:
        true = [mask for name, mask in self.truth.of(image) if name == concept]
        scores = [
            max((masks.iou(one.mask, mask) for mask in true), default=0.0) * 0.94 + 0.03
            for one in proposals
        ]
        return np.array(scores)

    def probabilities(
        self, images: Sequence[np.ndarray], labels: Sequence[str], *_: object
    ) -> np.ndarray:
        return np.full((len(images), len(labels)), 1 / len(labels))


@dataclass
class TruthVerifier:
    """Says yes to at least two thirds of a true object."""

    ranker: TruthRanker
    made_by: str = MADE_BY

    def __call__(self, image: np.ndarray, proposal: Proposal, concept: str) -> Verdict:
        score = float(self.ranker(image, [proposal], concept)[0])
        yes = score > 0.66
        reason = f"the whole {concept}" if yes else f"not a whole {concept}"
        return Verdict(yes, score if yes else 1 - score, reason, self.made_by)


@dataclass
class TeleaFiller:
    """Fills the hole from its rim."""

    made_by: str = "telea"

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, pad: float = 0.5) -> np.ndarray:
        painted = cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        return np.where(mask[..., None], painted, image)


@dataclass
class NoiseDiffusion:
    """Fills the hole with its surroundings' mean colour and some grain, slowly enough to watch."""

    made_by: str = "grain"
    seconds: float = 0.4

    def inpaint(
        self, image: np.ndarray, mask: np.ndarray, prompt: str, *, seed: int, **_: object
    ) -> np.ndarray:
        time.sleep(self.seconds)
        ring = masks.dilate(mask, 12) & ~mask
        colour = image[ring].mean(axis=0) if ring.any() else image.mean(axis=(0, 1))
        grain = np.random.default_rng(seed).normal(0, 12, image.shape)
        return np.where(mask[..., None], np.clip(colour + grain, 0, 255), image).astype(np.uint8)


@dataclass
class TruthModels:
    """The stages as `load_models` hands them out."""

    truth: Truth
    preset: str = "tiny"
    named_verifier: str | None = None

    def __post_init__(self) -> None:
        self.segmenter = TruthSegmenter(self.truth)
        self.ranker = TruthRanker(self.truth)
        self.verifier = TruthVerifier(self.ranker)
        self.inpainter = TeleaFiller()
        self.diffusion = NoiseDiffusion()


def _proposal(mask: np.ndarray) -> Proposal:
    return Proposal(mask, masks.box_xywh(mask), 0.9, 0.95, MADE_BY)


def fill_store(store: Store, count: int, *, wrong_every: int = 7) -> Truth:
    """Imports drawn scenes; every `wrong_every`-th is asked for a concept that is not in it."""
    truth = Truth()
    for seed in range(count):
        concept = CONCEPTS[seed % len(CONCEPTS)]
        scene = render_scene(4000 + seed, concept=concept)
        truth.add(scene)
        there = {one.concept for one in scene.objects}
        absent = next(name for name in ("mushroom", "balloon", "car", "fish") if name not in there)
        asked = absent if seed % wrong_every == wrong_every - 1 else concept
        name = f"{scene.setting}_{seed:03d}"
        store.import_image(scene.image, name=name, concept=asked, by="test", caption=scene.caption)
    return truth


def main(location: str, port: int, count: int = 12) -> None:
    """Serves until it is killed."""
    import uvicorn

    from forgetme.ui.page import build

    with Store(location) as store:
        models = TruthModels(fill_store(store, count))
        review = Review(store, models, by="ann")
        worker = Worker(review, ahead=count).start()
        try:
            uvicorn.run(build(review, worker), host="127.0.0.1", port=port, log_level="warning")
        finally:
            worker.stop(timeout=5)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *(int(one) for one in sys.argv[3:4]))
