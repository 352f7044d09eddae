"""Times the proposals of a full-size Segment Anything against the stock mask generator.

Run: `python -m benchmarks.proposals [--kind vit_b] [--checkpoint FILE] [--device cpu] [--side 16]
[--rounds 1] [--json]`.

Both sides encode the same drawn scene with the same model, decode the same grid of clicks and use
the same thresholds; they take turns, and the medians are compared. Without a checkpoint the weights
are random: that is enough to time them, but their masks are noise. How well the masks agree is
therefore measured with the bundled model as well: each mask that ours keeps, against the best of
the stock generator's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

from forgetme.record import masks
from forgetme.record.files import bundled
from forgetme.scenes import render_scene
from forgetme.stages.sam import Sam, read_own, read_published
from forgetme.stages.segment import ProposalSettings, Segmenter
from forgetme.tiny.card import machine

GOALS = {"cpu": 2.0, "cuda": 8.0}  # times faster
AGREE = 0.99  # IoU with a mask of the stock generator
SIZE = 512


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("vit_b", "vit_l", "vit_h"), default="vit_b")
    parser.add_argument("--checkpoint", help="published weights; without: random ones")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--side", type=int, default=16, help="clicks a side of the grid")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.checkpoint:
        sam = read_published(options.kind, options.checkpoint)
        limits = {"pred_iou_thresh": 0.86, "stability_score_thresh": 0.92}
    else:  # they are sure of nothing: every mask passes
        sam = sam_model_registry[options.kind]().eval()
        limits = {"pred_iou_thresh": -1e9, "stability_score_thresh": 0.0}
    sides = {"side": options.side, **limits}
    timed = compare(sam.to(options.device), sides, options.rounds)
    small, config = read_own(bundled("tiny"))
    kept = ("pred_iou_thresh", "stability_score_thresh")
    trained = compare(small, {"side": 16} | {key: config[key] for key in kept if key in config}, 1)
    goal = GOALS["cuda" if options.device.startswith("cuda") else "cpu"]
    times = timed["stock_seconds"] / timed["seconds"]
    result = {
        "machine": machine(),
        "model": f"{options.kind}, {'published' if options.checkpoint else 'random'} weights",
        "device": options.device,
        **timed,
        "times_faster": times,
        "goal_times_faster": goal,
        "bundled": trained,
        "ok": times >= goal and trained["agreeing"] == trained["masks"] > 0,
    }
    print(json.dumps(result, indent=2) if options.json else words(result))
    return 0 if result["ok"] else 1


def compare(sam: Sam, limits: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Times both sides on one scene and compares their masks."""
    limits = dict(limits)
    side, image = limits.pop("side"), render_scene(9_000_001, size=SIZE).image
    stock = SamAutomaticMaskGenerator(sam, points_per_side=side, box_nms_thresh=0.7, **limits)
    # what stock does not do is left out: filters of size and borders, duplicates by mask, mending
    settings = ProposalSettings(
        points_per_side=side, mask_nms_thresh=1.0, merge_thresh=1.0, snap_radius=0,
        min_mask_region_area=0, min_area=0.0, max_area=1.0, min_side=0, max_proposals=10_000,
        **limits,
    )  # fmt: skip
    seconds: dict[str, list[float]] = {"ours": [], "stock": []}
    for _ in range(rounds):
        found, took = timed(lambda: Segmenter(sam, "timed", settings)(image))
        seconds["ours"].append(took)
        theirs, took = timed(lambda: stock.generate(image))
        seconds["stock"].append(took)
    known = [one["segmentation"] for one in theirs]
    best = [max((masks.iou(one.mask, other) for other in known), default=0.0) for one in found]
    return {
        "seconds": statistics.median(seconds["ours"]),
        "stock_seconds": statistics.median(seconds["stock"]),
        "masks": len(found),
        "stock_masks": len(known),
        "agreeing": int(np.sum(np.array(best) >= AGREE)),
        "least_iou": min(best, default=None),
    }


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    made = act()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return made, time.perf_counter() - began


def words(result: dict[str, Any]) -> str:
    small = result["bundled"]
    return (
        f"{result['model']}, {result['device']} ({result['machine']}): {result['seconds']:.1f} s, "
        f"stock {result['stock_seconds']:.1f} s: {result['times_faster']:.1f} times faster "
        f"(goal {result['goal_times_faster']:g}); masks {result['masks']} and "
        f"{result['stock_masks']}, {result['agreeing']} agree to IoU {AGREE}. Bundled model: "
        f"{small['agreeing']} of {small['masks']} agree, the least {small['least_iou']:.4f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
