"""What the page shows of a sample: store rows as plain JSON values, masks as outlines."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

from forgetme import masks
from forgetme.review import Review
from forgetme.store import SampleRow

Json = dict[str, Any]
POINT_DIGITS = 1  # outlines are sent to a tenth of a pixel


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
        "error": row.error,
        "d": row.score_d,
        "s": row.score_s,
        "low": row.low,
        "decided_by": row.decided_by,
        "decided_how": row.decided_how,
    }


def detail(review: Review, row: SampleRow) -> Json:
    """Returns all that the curate screen shows of a sample."""
    proposals = [_proposal(index, one) for index, one in enumerate(row.proposals or [])]
    can_undo, can_redo = review.can_undo_mask(row)
    key = layers_key(row)
    return {
        **summary(row),
        "source": row.source,
        "caption": row.caption,
        "notes": row.notes,
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
    return {"edited": True, "outline": _edited_outline(review, row)}


def _proposal(index: int, one: Json) -> Json:
    rle = json.dumps(one["rle"], sort_keys=True)
    return {
        "index": index,
        "key": hashlib.sha256(rle.encode()).hexdigest()[:12],
        "outline": _outline_of_rle(rle),
        **{name: one[name] for name in ("box_xywh", "score", "predicted_iou", "verdict")},
    }


def _try(index: int, one: Json) -> Json:
    scores = one["scores"]
    outer = scores["d"].get("s_outer")
    return {
        "index": index,
        "outside_unchanged": None if outer is None else outer == 0,
        **{name: one[name] for name in ("image_sha", "settings", "made_by", "scores")},
    }


@lru_cache(maxsize=4096)
def _outline_of_rle(rle: str) -> list[list[float]]:
    return _flat(masks.outline(masks.rle_decode(json.loads(rle))))


_EDITED: dict[str, list[list[float]]] = {}


def _edited_outline(review: Review, row: SampleRow) -> list[list[float]]:
    """Outlines are a pure function of the mask, so they are kept by its name."""
    sha = row.mask_sha or ""
    if sha not in _EDITED:
        if len(_EDITED) > 2048:
            _EDITED.clear()
        _EDITED[sha] = _flat(review.outline(row))
    return _EDITED[sha]


def _flat(polygons: list[Any]) -> list[list[float]]:
    """Turns [(x, y), …] into [x, y, …], which is a third of the size in JSON."""
    return [
        [round(float(value), POINT_DIGITS) for point in polygon for value in point]
        for polygon in polygons
    ]
