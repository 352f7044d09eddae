"""Measures the bundled models: in the drawn world, where truth is known, and on real photos."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from forgetme.curate import fills, pipeline
from forgetme.errors import ForgetmeError
from forgetme.record.masks import box_xywh, dilate, iou
from forgetme.record.sample import Proposal
from forgetme.record.settings import Settings
from forgetme.scenes import BACKGROUNDS, CONCEPTS, Scene, render_scene
from forgetme.stages.models import Models
from forgetme.tiny.bank import TRAIN_SEED, Photo, read_photos

logger = logging.getLogger(__name__)

CLICKS = (1, 3, 5)
ALL = Settings(max_proposals=48)  # every proposal of the segmenter is ranked and kept


@dataclass(frozen=True)
class Row:
    """One measured value: its bound (None = reported only) and whether more is better."""

    name: str
    value: float
    n: int
    bound: float | None = None
    higher_is_better: bool = True

    @property
    def holds(self) -> bool:
        """True when the bound is kept or there is none."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.higher_is_better else self.value <= self.bound


@dataclass(frozen=True)
class Report:
    """All rows of one check.

    Attributes:
        drawn: the drawn world, with bounds.
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
        return all(row.holds for row in self.drawn)

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
        _filler_row(((s.image, s.mask, s.background) for s in drawn), models, bound=0.7),
        *_diffusion_rows(drawn[:60], models, diffusion_seeds),
    ]
    on_photos = _photo_rows(read_photos(photos, kind="photo_mask"), models) if photos else ()
    return Report(
        tuple(rows), tuple(on_photos), per_concept, seed, round(time.monotonic() - start, 1)
    )


def _mean(name: str, values: Iterable[float], bound: float | None = None) -> Row:
    values = list(values)
    return Row(name, float(np.mean(values)) if values else float("nan"), len(values), bound)


def _best_iou(image: np.ndarray, truth: np.ndarray, models: Models) -> float:
    return max((iou(p.mask, truth) for p in models.segmenter(image)), default=0.0)


def middle(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask that is farthest from its border."""
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return int(x), int(y)


def clicked_ious(image: np.ndarray, truth: np.ndarray, models: Models, clicks: int) -> list[float]:
    """IoU after each of `clicks` simulated clicks: the next at the middle of the largest error."""
    points, labels, found = [middle(truth)], [1], []
    current = None
    for _ in range(clicks):
        answer = models.segmenter.click(image, np.array(points), np.array(labels), mask=current)
        current = answer[0].mask if answer else np.zeros_like(truth)
        found.append(iou(current, truth))
        missing, surplus = truth & ~current, current & ~truth
        label = int(missing.sum() >= surplus.sum())
        wrong = _largest(missing if label else surplus)
        if not wrong.any():
            return found + [found[-1]] * (clicks - len(found))
        points.append(middle(wrong))
        labels.append(label)
    return found


def _largest(mask: np.ndarray) -> np.ndarray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else mask


def _as_proposal(mask: np.ndarray) -> Proposal:
    return Proposal(mask, box_xywh(mask), 1.0, 1.0, "truth")


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
        true = _as_proposal(scene.mask)
        chances = models.ranker.view_probabilities(scene.image, [true], CONCEPTS)[0]
        right.append(CONCEPTS[int(chances.argmax())] == scene.concept)
        yes_true.append(models.verifier(scene.image, true, scene.concept).yes)
        others = [o.mask for o in scene.objects if o.concept != scene.concept]
        blob = _background_blob(scene, rng)
        wrong_masks = [*others, *([] if blob is None else [blob])]
        yes_false += [
            models.verifier(scene.image, _as_proposal(m), scene.concept).yes for m in wrong_masks
        ]
    hits, wrong = sum(yes_true), sum(yes_false)
    n = len(yes_true) + len(yes_false)
    return [
        _mean("ranker, zero-shot top-1 on true crops", right, 0.97),
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
        _mean("best proposal, mean IoU", best, 0.90),
        _mean("one click at the middle, mean IoU", click, 0.85),
        Row("automatic loop, samples selected, worst concept", worst, len(drawn), 0.92),
        _mean("automatic loop, mask of the selected, mean IoU", ious, 0.85),
    ], shares


def hole_rmse(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """Root mean square difference inside the hole, of (H, W, 3) uint8 pictures, in 0..255."""
    return float(np.sqrt(((filled[hole].astype(float) - truth[hole]) ** 2).mean()))


def _filler_row(triples: Iterable, models: Models, bound: float | None, name: str = "") -> Row:
    """Mean RMSE of our fills over mean RMSE of OpenCV's Telea, radius 3, on the same holes."""
    ours, telea = [], []
    for image, mask, truth in triples:
        hole = dilate(mask, max(3, round(0.02 * max(mask.shape))))
        ours.append(hole_rmse(models.inpainter(image, hole), truth, hole))
        other = cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        telea.append(hole_rmse(other, truth, hole))
    name = f"filler, RMSE in the hole relative to Telea{name}"
    return Row(name, float(np.mean(ours) / np.mean(telea)), len(ours), bound, False)


def _diffusion_rows(drawn: list[Scene], models: Models, seeds: int) -> list[Row]:
    seen = []
    for concept in CONCEPTS:
        for seed in range(seeds):
            picture = models.diffusion.generate(f"a photo of a {concept}", seed=seed)
            chances = models.ranker.probabilities([picture], CONCEPTS)[0]
            seen.append(CONCEPTS[int(chances.argmax())] == concept)
    empty = []
    labels = [*CONCEPTS, *BACKGROUNDS, "background"]
    for scene in drawn:
        hole = dilate(scene.mask, max(3, round(0.02 * max(scene.mask.shape))))
        prompt = f"an empty {scene.setting}"
        filled = models.diffusion.inpaint(scene.image, hole, prompt, seed=scene.seed)
        chances = models.ranker.view_probabilities(filled, [_as_proposal(scene.mask)], labels)[0]
        empty.append(int(chances.argmax()) >= len(CONCEPTS))
    return [
        _mean("diffusion, the prompted concept is what the ranker sees", seen, 0.90),
        _mean("diffusion inpainting, no object left", empty, 0.95),
    ]


def _photo_rows(photos: list[Photo], models: Models) -> list[Row]:
    small = [_shrink(p) for p in photos]
    best = [_best_iou(p.image, p.mask, models) for p in small]
    clicks = np.array([clicked_ious(p.image, p.mask, models, max(CLICKS)) for p in small])
    rows = [_mean("best proposal, mean IoU", best)]
    rows += [_mean(f"{k} simulated clicks, mean IoU", clicks[:, k - 1]) for k in CLICKS]
    rows.append(_mean("baseline: best Felzenszwalb region, mean IoU", map(_felzenszwalb, small)))
    rows.append(_mean("baseline: GrabCut from the true box, mean IoU", map(_grabcut, small)))
    holes = [(p.image, small[i - 1].mask, p.image) for i, p in enumerate(small)]
    moved = [
        (image, cv2.resize(m.astype(np.uint8), image.shape[1::-1]) > 0, truth)
        for image, m, truth in holes
    ]
    usable = [t for t in moved if 0 < t[1].mean() < 0.5]
    rows.append(_filler_row(usable, models, None, ", holes of another photo's shape"))
    named = [p for p in small if p.category in ("bird", "cat", "dog")]
    right = []
    for photo in named:
        crop = [_as_proposal(photo.mask)]
        chances = models.ranker.view_probabilities(photo.image, crop, CONCEPTS)[0]
        right.append(CONCEPTS[int(chances.argmax())] == photo.category)
    rows.append(_mean("ranker, bird, cat, dog among the 12 concepts, top-1", right))
    return rows


def _shrink(photo: Photo) -> Photo:
    """The photo with its longest side at 256 px."""
    scale = 256 / max(photo.mask.shape)
    size = tuple(max(8, round(n * scale)) for n in photo.mask.shape[::-1])
    image = cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(photo.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return Photo(image, mask, photo.category, photo.name)


def _felzenszwalb(photo: Photo) -> float:
    """IoU of the best of all Felzenszwalb regions at four scales."""
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise ForgetmeError(
            "the photo baselines need scikit-image; pip install -r requirements-dev.txt"
        ) from error
    best = 0.0
    for scale in (50, 150, 400, 1000):
        regions = felzenszwalb(photo.image, scale=scale, sigma=0.8, min_size=50)
        best = max(best, *(iou(regions == k, photo.mask) for k in np.unique(regions)))
    return best


def _grabcut(photo: Photo) -> float:
    """IoU of OpenCV's GrabCut, five rounds from the true box."""
    labels = np.zeros(photo.mask.shape, np.uint8)
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    box = box_xywh(photo.mask)
    if box[2] >= photo.mask.shape[1] - 1 and box[3] >= photo.mask.shape[0] - 1:
        return iou(np.ones_like(photo.mask), photo.mask)
    cv2.grabCut(photo.image, labels, box, models[0], models[1], 5, cv2.GC_INIT_WITH_RECT)
    return iou((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), photo.mask)
