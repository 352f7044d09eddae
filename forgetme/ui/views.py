"""What the page shows of a sample: store rows as plain JSON values, masks as outlines."""

from __future__ import annotations

import hashlib
import json
from array import array
from typing import Any

from forgetme.curate.review import Review
from forgetme.record import masks
from forgetme.record.lru import Lru
from forgetme.store import SampleRow
from forgetme.store.names import without_places

Json = dict[str, Any]
POINT_DIGITS = 1  # outlines are sent to a tenth of a pixel
LARGE_SIDE = 1024  # px; images with a longer side have outlines of far more points than a screen
LARGE_TOLERANCE = 0.75  # px


def summary(row: SampleRow) -> Json:
    """Returns what the queue shows of a sample."""
    return {
        "id": row.id,
        "name": row.name,
        "concept": row.concept,
        "state": row.state,
        "version": row.version,
        "image_sha": row.image_sha,
        "width": row.width,
        "height": row.height,
        "error": row.error and without_places(row.error),
        "d": row.score_d,
        "s": row.score_s,
        "low": row.low,
        "decided_by": row.decided_by,
        "decided_how": row.decided_how,
        "reviewed": row.reviewed,
        "reviewed_by": row.reviewed_by,
    }


def detail(review: Review, row: SampleRow) -> Json:
    """Returns all that the curate screen shows of a sample."""
    proposals = [_proposal(index, one) for index, one in enumerate(row.proposals or [])]
    can_undo, can_redo = review.can_undo_mask(row)
    key = layers_key(row)
    return {
        **summary(row),
        "source": without_places(row.source),
        "caption": row.caption,
        "notes": row.notes,
        "lineage": row.lineage,
        "comment": row.comment,
        "proposals": proposals,
        "chosen": row.chosen,
        "mask": _mask(review, row, proposals),
        "points": review.points(row),
        "can_undo_mask": can_undo,
        "can_redo_mask": can_redo,
        "tries": [_try(index, one) for index, one in enumerate(row.tries)],
        "picked_try": row.picked_try,
        "layers": key,
        "note": review.note(row),
    }


def layers_key(row: SampleRow) -> str:
    """Names the content of a sample's layers: equal keys, equal pictures."""
    mask = row.mask_sha
    if mask is None and row.chosen is not None and row.proposals:
        mask = json.dumps(row.proposals[row.chosen]["rle"])
    background = row.tries[row.picked_try]["image_sha"] if row.picked_try is not None else ""
    return hashlib.sha256(f"{row.image_sha}|{mask}|{background}".encode()).hexdigest()[:32]


def _mask(review: Review, row: SampleRow, proposals: list[Json]) -> Json | None:
    if row.chosen is not None:
        return {"edited": False, "outline": proposals[row.chosen]["outline"]}
    if row.mask_sha is None:
        return None
    tolerance = _tolerance(row.width, row.height)
    trace = lambda: _flat(review.outline(row, tolerance))  # noqa: E731
    return {"edited": True, "outline": _OUTLINES.made(row.mask_sha, trace)}


def _proposal(index: int, one: Json) -> Json:
    height, width = one["rle"]["size"]
    counts = array("q", [height, width, *one["rle"]["counts"]]).tobytes()
    key = hashlib.sha256(counts).hexdigest()
    tolerance = _tolerance(width, height)
    trace = lambda: _flat(masks.rle_outline(one["rle"], tolerance))  # noqa: E731
    return {
        "index": index,
        "key": key[:12],
        "outline": _OUTLINES.made(key, trace),
        **{name: one[name] for name in ("box_xywh", "score", "predicted_iou", "verdict")},
    }


def _try(index: int, one: Json) -> Json:
    names = ("image_sha", "settings", "made_by", "scores", "kind", "by", "at")
    return {
        "index": index,
        "outside": one.get("outside"),  # bytes compared and bytes that differ
        "checks": one.get("checks"),  # None: made before fills were checked, by which there was
        "came_back": one.get("came_back"),  # only a look into the box of the mask
        **{name: one[name] for name in names},
    }


# Of the masks last shown, by content: tracing one of a large photo takes long.
_OUTLINES: Lru[str, list[list[float]]] = Lru(4096)


def _tolerance(width: int, height: int) -> float:
    """Pixels by which an outline may be off: on a large photo a step of one is no news."""
    return LARGE_TOLERANCE if max(width, height) > LARGE_SIDE else 0.0


def _flat(polygons: list[Any]) -> list[list[float]]:
    """Turns [(x, y), …] into [x, y, …], which is a third of the size in JSON."""
    return [
        [round(float(value), POINT_DIGITS) for point in polygon for value in point]
        for polygon in polygons
    ]
