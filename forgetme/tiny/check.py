"""Measures the bundled models: in the drawn world, where truth is known, and on real photos."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from forgetme.curate import fills, pipeline
from forgetme.errors import ForgetmeError
from forgetme.record.masks import iou
from forgetme.record.settings import Settings
from forgetme.scenes import BACKGROUNDS, CONCEPTS, Scene, render_scene
from forgetme.stages.models import Models
from forgetme.tiny.bank import TRAIN_SEED, read_photos
from forgetme.tiny.on_photos import photo_rows
from forgetme.tiny.rows import (
    Row,
    as_proposal,
    clicked_ious,
    filler_row,
    grown,
    hole_rmse,
    mean_row,
)

logger = logging.getLogger(__name__)

ALL = Settings(max_proposals=48)  # every proposal of the segmenter is ranked and kept


@dataclass(frozen=True)
class Report:
    """All rows of one check.

    Attributes:
        drawn: the drawn world.
        photos: real photos; empty when there were none.
        per_concept: share of scenes that the automatic loop selects, by concept.
        seed: first scene's seed.
        seconds: wall time of the check.
    """

    drawn: tuple[Row, ...]
    photos: tuple[Row, ...]
    per_concept: dict[str, float]
    seed: int
    seconds: float

    @property
    def holds(self) -> bool:
        """True when every bound is kept."""
        return all(row.holds for row in (*self.drawn, *self.photos))

    def to_json(self) -> dict:
        """Plain values for `--json` and the card."""
        rows = {
            part: [{**asdict(row), "holds": row.holds} for row in getattr(self, part)]
            for part in ("drawn", "photos")
        }
        rest = {"per_concept": self.per_concept, "seed": self.seed, "seconds": self.seconds}
        return {**rows, **rest, "holds": self.holds}


def check(
    models: Models,
    *,
    seed: int = 0,
    scenes: int = 300,
    photos: Path | None = None,
    diffusion_seeds: int = 20,
) -> Report:
    """Measures every bundled model on scenes never trained on, and on photos where given.

    Args:
        models: the models to measure.
        seed: of the first scene; scene i has `seed + i`, concept `i % 12`.
        scenes: how many.
        photos: folder with `index.csv` whose rows of kind `photo_mask` are measured.
        diffusion_seeds: pictures per concept.

    Returns:
        The report; its `holds` says whether every bound is kept.

    Raises:
        ValueError: the seeds would reach into those used for training.
    """
    if not 0 <= seed <= TRAIN_SEED - scenes:
        raise ValueError(
            f"seed must be in 0..{TRAIN_SEED - scenes}: scenes from {TRAIN_SEED} on are trained "
            f"on; got {seed}"
        )
    start = time.monotonic()
    drawn = [render_scene(seed + i, concept=CONCEPTS[i % len(CONCEPTS)]) for i in range(scenes)]
    loop, per_concept = _loop_rows(drawn, models)
    rows = [
        *loop,
        *_ranker_rows(drawn, models, seed),
        filler_row(((s.image, s.mask, s.background) for s in drawn), models, bound=0.62),
        *_diffusion_rows(drawn[:60], models, diffusion_seeds),
    ]
    on_photos = photo_rows(read_photos(photos, kind="photo_mask"), models) if photos else ()
    return Report(
        tuple(rows), tuple(on_photos), per_concept, seed, round(time.monotonic() - start, 1)
    )


def _background_blob(scene: Scene, rng: np.random.Generator) -> np.ndarray | None:
    """An ellipse of background that touches no object, or None where there is no room."""
    size = scene.mask.shape[0]
    taken = np.any([o.footprint for o in scene.objects], axis=0)
    for _ in range(50):
        blob = np.zeros((size, size), np.uint8)
        axes = tuple(int(v) for v in rng.integers(size // 12, size // 4, 2))
        center = tuple(int(v) for v in rng.integers(size // 8, 7 * size // 8, 2))
        cv2.ellipse(blob, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        if not (blob.astype(bool) & taken).any():
            return blob > 0
    return None


def _ranker_rows(drawn: list[Scene], models: Models, seed: int) -> list[Row]:
    rng = np.random.default_rng(seed)
    right, yes_true, yes_false = [], [], []
    for scene in drawn:
        true = as_proposal(scene.mask)
        chances = models.ranker.view_probabilities(scene.image, [true], CONCEPTS)[0]
        right.append(CONCEPTS[int(chances.argmax())] == scene.concept)
        yes_true.append(models.verifier(scene.image, true, scene.concept).yes)
        others = [o.mask for o in scene.objects if o.concept != scene.concept]
        blob = _background_blob(scene, rng)
        wrong_masks = [*others, *([] if blob is None else [blob])]
        yes_false += [
            models.verifier(scene.image, as_proposal(m), scene.concept).yes for m in wrong_masks
        ]
    hits, wrong = sum(yes_true), sum(yes_false)
    n = len(yes_true) + len(yes_false)
    return [
        mean_row("ranker, zero-shot top-1 on true crops", right, 0.97),
        Row("verifier clip, precision", hits / max(1, hits + wrong), n, 0.95),
        Row("verifier clip, recall", hits / max(1, len(yes_true)), len(yes_true), 0.95),
    ]


def _loop_rows(drawn: list[Scene], models: Models) -> tuple[list[Row], dict[str, float]]:
    selected, ious, best = defaultdict(list), [], []
    click = [clicked_ious(s.image, s.mask, models, 1)[0] for s in drawn]
    for scene in drawn:
        proposed = pipeline.propose(scene.image, scene.concept, models, ALL)
        best.append(max((iou(r.proposal.mask, scene.mask) for r in proposed.ranked), default=0.0))
        done = proposed.chosen is not None
        if done:
            mask = proposed.ranked[proposed.chosen].proposal.mask
            ious.append(iou(mask, scene.mask))
            try:
                fills.fill(scene.image, mask, models)
            except ForgetmeError as error:
                logger.warning("scene %d: %s", scene.seed, error)
                done = False
        selected[scene.concept].append(done)
    shares = {concept: float(np.mean(v)) for concept, v in sorted(selected.items())}
    worst = min(shares.values())
    return [
        mean_row("best proposal, mean IoU", best, 0.90),
        mean_row("one click at the middle, mean IoU", click, 0.85),
        Row("automatic loop, samples selected, worst concept", worst, len(drawn), 0.92),
        mean_row("automatic loop, mask of the selected, mean IoU", ious, 0.85),
    ], shares


def _diffusion_rows(drawn: list[Scene], models: Models, seeds: int) -> list[Row]:
    shares: dict[str, list[float]] = {"ranker": [], "second": []}
    for concept in CONCEPTS:
        prompt = f"a photo of a {concept}"
        pictures = [models.diffusion.generate(prompt, seed=seed) for seed in range(seeds)]
        for name, judge in (("ranker", models.ranker), ("second", models.second)):
            best = judge.probabilities(pictures, CONCEPTS).argmax(1)
            shares[name].append(float((best == CONCEPTS.index(concept)).mean()))
    empty, errors = [], []
    labels = [*CONCEPTS, *BACKGROUNDS, "background"]
    for scene in drawn:
        hole = grown(scene.mask)
        prompt = f"an empty {scene.setting}"
        filled = models.diffusion.inpaint(scene.image, hole, prompt, seed=scene.seed)
        chances = models.ranker.view_probabilities(filled, [as_proposal(scene.mask)], labels)[0]
        empty.append(int(chances.argmax()) >= len(CONCEPTS))
        fills = (filled, models.inpainter(scene.image, hole))
        errors.append([hole_rmse(one, scene.background, hole) for one in fills])
    ours, fillers = np.mean(errors, axis=0)
    n = seeds * len(CONCEPTS)
    drawn_name = "diffusion, the prompted concept is what the {} sees"
    return [
        Row(drawn_name.format("ranker"), float(np.mean(shares["ranker"])), n, 0.90),
        Row(drawn_name.format("ranker") + ", worst concept", min(shares["ranker"]), n, 0.95),
        Row(
            drawn_name.format("second recogniser") + ", worst concept",
            min(shares["second"]),
            n,
            0.90,
        ),
        mean_row("diffusion inpainting, no object left", empty, 0.95),
        Row(
            "diffusion inpainting, RMSE in the hole relative to the filler's",
            float(ours / fillers),
            len(drawn),
            1.2,
            False,
        ),
    ]
