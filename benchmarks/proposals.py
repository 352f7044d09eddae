"""Times the proposals of a full-size Segment Anything against the stock mask generator.

Run: `python -m benchmarks.proposals [--kind vit_b] [--checkpoint FILE] [--device cpu] [--side 16]
[--rounds 1] [--json]`.

Both sides encode the same drawn scene with the same model, decode the same grid of clicks and use
the same thresholds; they take turns, and the medians are compared: CPU seconds, so that a busy
machine tells the same, or seconds of the clock on a GPU. Without a checkpoint the weights are
random; every mask then passes the thresholds, and both sides draw all of them. How well masks agree
is measured on a grid of 4 x 4: each mask, against that of the model's own forward.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.amg import build_point_grid

from forgetme.record import masks
from forgetme.scenes import render_scene
from forgetme.stages.grid_decoder import decode_clicks
from forgetme.stages.sam import read_published
from forgetme.stages.segment import ProposalSettings, Segmenter
from forgetme.tiny.card import machine

GOALS = {"cpu": 2.0, "cuda": 8.0}  # times faster
AGREE = 0.99  # IoU with the model's own
IMAGE = render_scene(9_000_001, size=512).image


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
    else:
        sam = sam_model_registry[options.kind]().eval()
        limits = {"pred_iou_thresh": -1e9, "stability_score_thresh": 0.0}
    ours, stock = sides(sam.to(options.device), points_per_side=options.side, **limits)
    turns = range(options.rounds)
    seconds = [[timed(side, options.device) for side in (ours, stock)] for _ in turns]
    mine, theirs = (statistics.median(one) for one in zip(*seconds, strict=True))
    best = agreement(sam)
    goal = GOALS["cuda" if options.device.startswith("cuda") else "cpu"]
    result = {
        "machine": machine(),
        "model": f"{options.kind}, {'published' if options.checkpoint else 'random'} weights",
        "device": options.device,
        "seconds": mine,
        "stock_seconds": theirs,
        "times_faster": theirs / mine,
        "goal_times_faster": goal,
        "masks": len(best),
        "agreeing": sum(one >= AGREE for one in best),
        "least_iou": min(best, default=None),
    }
    result["ok"] = theirs / mine >= goal and result["agreeing"] == len(best) > 0
    print(json.dumps(result, indent=2) if options.json else words(result))
    return 0 if result["ok"] else 1


def sides(sam: Sam, **limits: Any) -> tuple[Callable[[], list], Callable[[], list]]:
    """Gives ours and the stock generator; each call encodes the scene and returns its masks."""
    generator = SamAutomaticMaskGenerator(sam, **limits)
    # what stock does not do is left out: filters of size and borders, duplicates by mask, mending
    settings = ProposalSettings(
        mask_nms_thresh=2.0, min_mask_region_area=0, min_area=0.0, max_area=1.0, min_side=0,
        max_proposals=10_000, **limits,
    )  # fmt: skip
    return (
        lambda: [one.mask for one in Segmenter(sam, "timed", settings)(IMAGE)],
        lambda: [one["segmentation"] for one in generator.generate(IMAGE)],
    )


@torch.no_grad()
def agreement(sam: Sam) -> list[float]:
    """IoU of each mask of 16 clicks with that of the model's own forward, at the logits' size."""
    predictor = SamPredictor(sam)
    predictor.set_image(IMAGE)
    grid = (
        torch.as_tensor(build_point_grid(4), device=sam.device)[:, None] * predictor.input_size[0]
    )
    labels = torch.ones(len(grid), 1, dtype=torch.int, device=sam.device)
    sparse, dense = sam.prompt_encoder(points=(grid, labels), boxes=None, masks=None)
    stock, _ = sam.mask_decoder(
        image_embeddings=predictor.features,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    ours, _ = decode_clicks(sam, predictor.features, sparse, dense, float("-inf"))
    pairs = zip((ours > 0).cpu().numpy(), (stock.flatten(0, 1) > 0).cpu().numpy(), strict=True)
    return [masks.iou(one, other) for one, other in pairs]


def timed(act: Callable[[], Any], device: str) -> float:
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    began = clock()
    act()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - began


def words(result: dict[str, Any]) -> str:
    return (
        f"{result['model']}, {result['device']} ({result['machine']}): {result['seconds']:.1f} s, "
        f"stock {result['stock_seconds']:.1f} s: {result['times_faster']:.1f} times faster "
        f"(goal {result['goal_times_faster']:g}); {result['agreeing']} of {result['masks']} masks "
        f"agree to IoU {AGREE}, the least {result['least_iou']:.4f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
