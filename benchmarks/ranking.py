"""Times ranking all masks of an image in one batch against one crop at a time.

Run: `python -m benchmarks.ranking [--masks 24] [--repeats 9] [--threads 2] [--assets DIR]
[--json]`.

Both sides give every mask its two views, use the same weights and the same embedded prompts, and
agree on the scores. The baseline is the obvious way, that of the paper authors' tool: for each view
of each mask cut the crop with Pillow, preprocess it with open_clip's own transform, and run the
model on it alone. The tool's single view, cut out on black, is timed too.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image, ImageFilter

from forgetme.record.masks import box_xywh
from forgetme.record.sample import Proposal
from forgetme.scenes import CONCEPTS, render_scene
from forgetme.stages.rank import BLUR, GREY, PAD, Ranker, load_tiny_clip

SEED = 9_000_000  # scenes that no bundled model was trained on
GOAL = 4.0
ASSETS = Path(__file__).parent.parent / "assets" / "tiny"


class OneByOne:
    """Scores masks one crop at a time, with the plain open_clip model and transform."""

    def __init__(self, assets: Path, ranker: Ranker) -> None:
        config = json.loads((assets / "ranker.json").read_text())
        self.model = open_clip.CLIP(**config["model"])
        open_clip.load_checkpoint(self.model, str(assets / "ranker.safetensors"))
        self.model.eval()
        self.transform = open_clip.image_transform(
            ranker.resolution, is_train=False, mean=config["mean"], std=config["std"]
        )
        self.ranker = ranker
        self.text: dict[str, torch.Tensor] = {}  # embedded prompts of a concept

    def two_views(self, image: np.ndarray, proposals: list[Proposal], concept: str) -> np.ndarray:
        """Scores the two views of each mask."""
        picture = Image.fromarray(image)
        return np.array([
            np.mean([self.score(view, concept) for view in self.views(picture, one.mask)])
            for one in proposals
        ])  # fmt: skip

    def on_black(self, image: np.ndarray, proposals: list[Proposal], concept: str) -> np.ndarray:
        """Scores the tool's way: everything outside the mask black, cut to the box, one view."""
        scores = []
        for one in proposals:
            x, y, width, height = box_xywh(one.mask)
            cut = np.where(one.mask[..., None], image, 0).astype(np.uint8)
            crop = Image.fromarray(cut[y : y + height, x : x + width])
            scores.append(self.score(crop, concept))
        return np.array(scores)

    def views(self, picture: Image.Image, mask: np.ndarray) -> tuple[Image.Image, Image.Image]:
        """Cuts what rank.crop_views cuts, with Pillow."""
        x, y, width, height = box_xywh(mask)
        side = math.ceil(max(width, height) * (1 + 2 * PAD))
        left, top = round(x + (width - side) / 2), round(y + (height - side) / 2)
        crop = Image.new("RGB", (side, side), GREY)
        crop.paste(picture, (-left, -top))
        inside = Image.new("L", (side, side))
        inside.paste(Image.fromarray(mask), (-left, -top))
        blurred = crop.filter(ImageFilter.GaussianBlur(BLUR * side))
        grey = Image.new("RGB", (side, side), GREY)
        return Image.composite(crop, blurred, inside), Image.composite(crop, grey, inside)

    @torch.no_grad()
    def score(self, crop: Image.Image, concept: str) -> float:
        """Runs the model on one crop."""
        embedded = self.model.encode_image(self.transform(crop)[None], normalize=True)
        if concept not in self.text:
            labels, templates = self.ranker.labels(concept), self.ranker.templates
            prompts = self.ranker.embed_texts([t.format(w) for w in labels for t in templates])
            mean = torch.from_numpy(prompts).view(len(labels), len(templates), -1).mean(1)
            self.text[concept] = torch.nn.functional.normalize(mean, dim=-1)
        scale = self.model.logit_scale.exp()
        return (scale * embedded @ self.text[concept].T).softmax(-1)[0, 0].item()


def some_masks(size: int, count: int, rng: np.random.Generator) -> list[Proposal]:
    """Ellipses of the sizes that a segmenter proposes."""
    yy, xx = np.mgrid[:size, :size]
    proposals = []
    for _ in range(count):
        x, y = rng.uniform(0.1, 0.9, 2) * size
        a, b = rng.uniform(0.05, 0.3, 2) * size
        mask = ((xx - x) / a) ** 2 + ((yy - y) / b) ** 2 < 1
        proposals.append(Proposal(mask, box_xywh(mask), 0.9, 0.9, "ellipse"))
    return proposals


def measure(assets: Path, *, masks: int, repeats: int) -> dict[str, object]:
    """Times all ways in turn on each scene; the first two scenes warm up."""
    ranker = load_tiny_clip(assets)
    plain = OneByOne(assets, ranker)
    rng = np.random.default_rng(SEED)
    ways: list[Callable[[np.ndarray, list[Proposal], str], np.ndarray]]
    ways = [ranker, plain.two_views, plain.on_black]
    rounds, apart = [], []
    for k in range(repeats + 2):
        image = render_scene(SEED + k, concept=CONCEPTS[k % len(CONCEPTS)], size=256).image
        proposals = some_masks(256, masks, rng)
        took, scores = [], []
        for way in ways:
            start = time.perf_counter()
            scores.append(way(image, proposals, CONCEPTS[0]))
            took.append(time.perf_counter() - start)
        rounds.append(took)
        apart.append(np.abs(scores[0] - scores[1]).mean())
    ours, baseline, on_black = (statistics.median(way) for way in zip(*rounds[2:], strict=True))
    return {
        "what": f"ranking {masks} masks of a 256 px image in one batch",
        "seconds": ours,
        "baseline": "open_clip on one crop at a time, both views",
        "baseline_seconds": baseline,
        "times_faster": baseline / ours,
        "goal_seconds": None,
        "goal_times_faster": GOAL,
        "ok": baseline / ours >= GOAL,
        "one_view_on_black_seconds": on_black,
        "scores_apart": float(np.mean(apart)),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = measure(options.assets, masks=options.masks, repeats=options.repeats)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{result['what']}: {result['seconds']:.3f} s, {result['times_faster']:.1f} x the "
            f"speed of {result['baseline']} ({result['baseline_seconds']:.3f} s; goal "
            f"{GOAL:.0f} x)\nthe authors' single view on black, one at a time: "
            f"{result['one_view_on_black_seconds']:.3f} s; scores differ by "
            f"{result['scores_apart']:.3f} on average (other resampling)\n{result['machine']}"
        )
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
