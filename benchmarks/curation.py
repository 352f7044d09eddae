"""Times what a curator waits for, with the bundled models on drawn scenes of 256 px.

Run: `python -m benchmarks.curation [--repeats 9] [--threads 2] [--assets DIR] [--json]`.

Each line is a median and a ratio against a named baseline that does the same work in the obvious
way, timed in turn with ours. Every round takes another scene, so nothing is answered from a cache
that a curator would not have.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from forgetme.curate import fills, pipeline
from forgetme.record.masks import dilate, erode
from forgetme.record.sample import FillSettings, Proposal
from forgetme.record.settings import Settings
from forgetme.scenes import CONCEPTS, Scene, render_scene
from forgetme.stages.models import Models, load_models

SEED = 9_000_000  # scenes that no bundled model was trained on
SIZE = 256


@dataclass(frozen=True)
class Line:
    """One measurement."""

    what: str
    seconds: float  # median
    goal_seconds: float | None
    baseline: str
    baseline_seconds: float  # median
    goal_times_faster: float | None = None

    @property
    def times_faster(self) -> float:
        """How many times faster than the baseline."""
        return self.baseline_seconds / self.seconds

    @property
    def ok(self) -> bool:
        """Whether the goals are reached."""
        fast = self.goal_seconds is None or self.seconds <= self.goal_seconds
        return fast and (
            self.goal_times_faster is None or self.times_faster >= self.goal_times_faster
        )


def medians(
    scenes: list[Scene], ours: Callable[[Scene], object], theirs: Callable[[Scene], object]
) -> tuple[float, float]:
    """Times both on each scene in turn; the first two scenes warm up."""
    rounds = []
    for scene in scenes:
        took = []
        for work in (ours, theirs):
            start = time.perf_counter()
            work(scene)
            took.append(time.perf_counter() - start)
        rounds.append(took)
    first, second = zip(*rounds[2:], strict=True)
    return statistics.median(first), statistics.median(second)


def time_proposing(models: Models, scenes: list[Scene]) -> Line:
    kinds = models.segmenter.settings
    generator = SamAutomaticMaskGenerator(
        models.segmenter.sam,
        points_per_side=kinds.points_per_side,
        points_per_batch=kinds.points_per_batch,
        pred_iou_thresh=kinds.pred_iou_thresh,
        stability_score_thresh=kinds.stability_score_thresh,
        box_nms_thresh=kinds.box_nms_thresh,
        min_mask_region_area=kinds.min_mask_region_area,
    )

    def by_vendor(scene: Scene) -> None:
        found = [
            Proposal(
                one["segmentation"],
                tuple(int(side) for side in one["bbox"]),
                one["predicted_iou"],
                one["stability_score"],
                "amg",
            )
            for one in generator.generate(scene.image)
        ]
        scored = [(models.ranker(scene.image, [one], scene.concept)[0], one) for one in found]
        best = sorted(scored, key=lambda pair: -pair[0])
        for _, one in best[: Settings().k_asked]:
            if models.verifier(scene.image, one, scene.concept).yes:
                break

    ours, theirs = medians(
        scenes, lambda scene: pipeline.propose(scene.image, scene.concept, models), by_vendor
    )
    baseline = "SamAutomaticMaskGenerator, masks ranked one by one"
    return Line("proposals, ranked and verified", ours, 2.0, baseline, theirs)


def time_click(models: Models, scenes: list[Scene]) -> Line:
    predictor = SamPredictor(models.segmenter.sam)

    def by_vendor(scene: Scene) -> None:
        predictor.set_image(scene.image)
        predictor.predict(middle(scene)[None], np.array([1]))

    for scene in scenes:  # the curator looks at an image that was prepared: its embedding is kept
        models.segmenter.click(scene.image, middle(scene)[None], np.array([1]))
    ours, theirs = medians(
        scenes,
        lambda scene: models.segmenter.click(scene.image, middle(scene)[None], np.array([1])),
        by_vendor,
    )
    return Line("a click to a new mask", ours, 0.150, "the image encoded at every click", theirs)


def time_fill(models: Models, scenes: list[Scene]) -> Line:
    def by_telea(scene: Scene) -> None:
        cv2.inpaint(scene.image, dilate(scene.mask, 5).astype(np.uint8), 5, cv2.INPAINT_TELEA)

    ours, theirs = medians(
        scenes, lambda scene: models.inpainter(scene.image, dilate(scene.mask, 5)), by_telea
    )
    return Line("LaMa fill", ours, 0.4, "OpenCV's Telea", theirs)


def time_refine(models: Models, scenes: list[Scene]) -> Line:
    from diffusers import StableDiffusionInpaintPipeline

    wanted = FillSettings(prompt="an empty meadow", negative_prompt="cat", steps=20)
    pipe = StableDiffusionInpaintPipeline(
        **{**models.diffusion.pipe.components, "requires_safety_checker": False}
    )
    pipe.set_progress_bar_config(disable=True)
    side = models.diffusion.native_size

    def by_vendor(scene: Scene) -> None:
        pipe(
            wanted.prompt,
            image=Image.fromarray(scene.image).resize((side, side)),
            mask_image=Image.fromarray(scene.mask).resize((side, side)),
            height=side,
            width=side,
            negative_prompt=wanted.negative_prompt,
            num_inference_steps=wanted.steps,
            guidance_scale=wanted.guidance,
            generator=torch.Generator().manual_seed(0),
        )

    ours, theirs = medians(
        scenes[:5],
        lambda scene: fills.refine(
            scene.image, scene.mask, models, Settings(), wanted, start=scene.background
        ),
        by_vendor,
    )
    return Line("refine, 20 steps, scored", ours, 8.0, "the bare diffusers pipeline", theirs)


MEASUREMENTS = {
    "propose": time_proposing,
    "click": time_click,
    "fill": time_fill,
    "refine": time_refine,
}


def middle(scene: Scene) -> np.ndarray:
    """A pixel deep in the object: x, y."""
    inside = scene.mask
    while (smaller := erode(inside, 2)).any():
        inside = smaller
    ys, xs = np.nonzero(inside)
    return np.array([xs[len(xs) // 2], ys[len(ys) // 2]], float)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--assets", type=Path, help="folder of weights (default: assets/tiny)")
    parser.add_argument("--only", choices=MEASUREMENTS, nargs="+", default=list(MEASUREMENTS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = load_models("tiny", device="cpu", assets=options.assets)
    scenes = [
        render_scene(SEED + k, concept=CONCEPTS[k % len(CONCEPTS)], size=SIZE)
        for k in range(options.repeats + 2)
    ]
    lines = [MEASUREMENTS[name](models, scenes) for name in options.only]
    machine = f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}"
    if options.json:
        rows = [{**asdict(one), "times_faster": one.times_faster, "ok": one.ok} for one in lines]
        print(json.dumps({"machine": machine, "lines": rows}, indent=2))
    else:
        print(machine)
        for one in lines:
            goal = "" if one.goal_seconds is None else f" (goal {one.goal_seconds:.2f} s)"
            if one.goal_times_faster is not None:
                goal = f" (goal {one.goal_times_faster:.0f} times faster)"
            print(
                f"{'ok  ' if one.ok else 'SLOW'} {one.what}: {one.seconds:.3f} s{goal}; "
                f"{one.times_faster:.2f} x the speed of {one.baseline} "
                f"({one.baseline_seconds:.3f} s)"
            )
    return 0 if all(one.ok for one in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
