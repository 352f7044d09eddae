"""What the proposals of a sample say about how sure the machine is: the queue sorts by it."""

from collections.abc import Sequence
from typing import Any

SAME_OBJECT = 0.5  # of the smaller box shared: a part, its whole, or the same mask again

Proposal = dict[str, Any]


def signals(proposals: Sequence[Proposal], chosen: int | None) -> dict[str, Any]:
    """Sums up the proposals of one sample.

    Args:
        proposals: as in the `proposed` event.
        chosen: index of the mask in force, None for none or one that was edited by hand.

    Returns:
        `clip_score` and `verdict` ("yes", "no" or None) of the chosen proposal, else of the best;
        `clip_margin`, the best score minus the best one of another object; `disagreement`, the
        spread in [0, 1] of what ranker, verifier and segmenter give that proposal. Each is None
        where there is nothing to tell it from.
    """
    ranked = [one for one in proposals if one.get("score") is not None]
    best = max(ranked, key=lambda one: one["score"], default=None)
    one = best if chosen is None else proposals[chosen]
    if one is None:
        return dict.fromkeys(("clip_score", "clip_margin", "verdict", "disagreement"))
    verdict = one.get("verdict")
    return {
        "clip_score": one.get("score"),
        "clip_margin": None if best is None else _margin(best, ranked),
        "verdict": None if verdict is None else "yes" if verdict["yes"] else "no",
        "disagreement": _spread(one),
    }


def _margin(best: Proposal, proposals: Sequence[Proposal]) -> float | None:
    others = [one["score"] for one in proposals if not _same_object(one, best)]
    return best["score"] - max(others) if others else None


def _same_object(one: Proposal, other: Proposal) -> bool:
    """Tells by the boxes: masks would have to be decoded, for thousands of samples."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = one["box_xywh"], other["box_xywh"]
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    shared = max(width, 0) * max(height, 0)
    return shared >= SAME_OBJECT * max(1, min(aw * ah, bw * bh))


def _spread(one: Proposal) -> float | None:
    opinions = [one.get("score"), one.get("predicted_iou")]
    if one.get("verdict") is not None:
        sure = one["verdict"]["confidence"]
        opinions.append(sure if one["verdict"]["yes"] else 1 - sure)
    known = [min(max(float(opinion), 0.0), 1.0) for opinion in opinions if opinion is not None]
    return max(known) - min(known) if len(known) > 1 else None
