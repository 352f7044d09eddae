"""Stages as plain callables that answer from the truth of drawn scenes; asks are recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forgetme.errors import VerifierError
from forgetme.record.images import array_sha, read_image, read_mask
from forgetme.record.masks import box_xywh, iou
from forgetme.record.sample import Proposal, Verdict
from forgetme.stages.models import Models, load_models


def proposal(mask: np.ndarray, quality: float = 0.9) -> Proposal:
    return Proposal(mask, box_xywh(mask), quality, 0.95, "truth")


@dataclass
class Truth:
    """One object for all stages: what they answer can be changed between calls."""

    masks: dict[str, np.ndarray]  # by content of the image
    asked: list[np.ndarray] = field(default_factory=list)  # masks shown to the verifier
    clicked: list[tuple] = field(default_factory=list)  # points, labels, previous mask
    painted: list[dict] = field(default_factory=list)  # arguments of the diffusion
    calls: int = 0  # of the segmenter
    no_proposals: bool = False
    says: bool | None = None  # what the verifier says whatever it is shown
    silent: bool = False  # the verifier does not answer
    spill: bool = False  # the fill also changes pixels outside the hole
    back: float = 0.0  # how much of the concept is seen in pictures other than the originals
    looked: list[np.ndarray] = field(default_factory=list)  # masks of such pictures shown
    made_by = "truth"

    def mask(self, image: np.ndarray) -> np.ndarray:
        return self.masks[array_sha(np.array(image))]

    def knows(self, image: np.ndarray) -> bool:
        """Whether it is one of the originals."""
        return array_sha(np.array(image)) in self.masks

    def __call__(self, image: np.ndarray) -> list[Proposal]:
        self.calls += 1
        if self.no_proposals:
            return []
        mask = self.mask(image)
        corner = np.zeros_like(mask)
        corner[:20, :20] = True
        return [proposal(corner), proposal(~mask & ~corner), proposal(mask)]

    def click(self, image, points_xy, labels, *, mask=None, box_xywh=None) -> list[Proposal]:
        self.clicked.append((points_xy.tolist(), labels.tolist(), mask))
        truth = self.mask(image)
        x, y = points_xy[0].astype(int)
        if not truth[y, x]:
            return []
        return [proposal(truth), proposal(~truth, 0.1)]

    def rank(self, image, proposals, concept) -> np.ndarray:
        if not self.knows(image):
            return np.full(len(proposals), self.back)
        return np.array([0.1 + 0.8 * iou(one.mask, self.mask(image)) for one in proposals])

    def probabilities(self, images, labels, templates=None) -> np.ndarray:
        scores = np.arange(len(labels), 0, -1, dtype=float)
        return np.stack([scores / scores.sum()] * len(images))

    def verify(self, image, one, concept) -> Verdict:
        (self.asked if self.knows(image) else self.looked).append(one.mask)
        if self.silent:
            raise VerifierError("no answer in 20 s")
        if not self.knows(image):
            return Verdict(self.back > 0.5, 0.9, f"{self.back:.0%} {concept}", "truth")
        right = iou(one.mask, self.mask(image)) > 0.8 if self.says is None else self.says
        return Verdict(right, 0.9, f"a whole {concept}" if right else "something else", "truth")

    def fill(self, image, mask, *, pad=0.5) -> np.ndarray:
        result = np.array(image)
        grain = np.random.default_rng(0).normal(0, 30, image.shape)
        fill = np.clip(image[~mask].mean(axis=0) + grain, 0, 255).astype(np.uint8)
        result[mask] = fill[mask]
        if self.spill:
            result[~mask] ^= 1
        return result

    def inpaint(self, image, mask, prompt, *, seed, **options) -> np.ndarray:
        self.painted.append(
            {"image": image, "mask": mask, "prompt": prompt, "seed": seed, **options}
        )
        noise = np.random.default_rng(seed).integers(0, 256, image.shape, dtype=np.uint8)
        return noise if self.spill else np.where(mask[..., None], noise, image)


class _Ranker:
    """The ranking side of a Truth: a callable with `probabilities`."""

    made_by = "truth"

    def __init__(self, truth: Truth) -> None:
        self.probabilities = truth.probabilities
        self._rank = truth.rank

    def __call__(self, *arguments):
        return self._rank(*arguments)


class _Painter:
    """The diffusion side of a Truth."""

    made_by = "truth-diffusion"

    def __init__(self, truth: Truth) -> None:
        self.inpaint = truth.inpaint

    def __call__(self) -> None:
        raise AssertionError("a diffusion is never called itself")


@dataclass
class TruthModels:
    """The models, and the truth behind them."""

    truth: Truth
    models: Models


def load_truth(drawn: Path) -> TruthModels:
    """Reads the truth of a folder that `scenes` wrote."""
    masks = {
        array_sha(read_image(path)): read_mask(drawn / "mask" / path.name)
        for path in sorted((drawn / "original").iterdir())
    }
    truth = Truth(masks)
    models = load_models(
        "tiny",
        segmenter=truth,
        ranker=_Ranker(truth),
        verifier=truth.verify,
        inpainter=truth.fill,
        diffusion=_Painter(truth),
    )
    return TruthModels(truth, models)


def models_of(drawn: Path) -> Models:
    """Loads the stages alone, in another process too."""
    return load_truth(drawn).models
