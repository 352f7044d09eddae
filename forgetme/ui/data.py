"""The Dataset tab's reads: Table 1, every sample's scores, and the cards of the gallery.

Filtering and counting happen in the browser (`static/dataset-scores.js`), on one list of scores
that is fetched once and then kept up to date by what changed since.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from forgetme.dataset.splits import SHARES, SPLITS, split_of
from forgetme.record.sample import STATES
from forgetme.store import SampleRow
from forgetme.store.queries import ScoreLine
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.views import summary
from forgetme.ui.who import Viewer

Json = dict[str, Any]
MAX_CARDS = 64  # a request
DIGITS = 4  # of a score
IDS = rf"^[0-9a-f]{{16}}(,[0-9a-f]{{16}}){{0,{MAX_CARDS - 1}}}$"


def router() -> APIRouter:
    """Builds the routes that a viewer may read."""
    routes = APIRouter(prefix="/api/data")

    @routes.get("/table")
    def table(review: Viewer) -> list[Json]:
        return [asdict(line) for line in review.store.table1()]

    @routes.get("/scores")
    def scores(review: Viewer, after: Annotated[int, Query(ge=0, le=MAX_NUMBER)] = 0) -> Response:
        found = review.store.queries.scores(after)
        if found.upto == after and not found.whole:
            return JSONResponse({"upto": after, "whole": False, "rows": []})
        concepts = review.store.concepts()
        place = {name: index for index, name in enumerate(concepts)}
        body = {
            "upto": found.upto,
            "whole": found.whole,
            "concepts": concepts,
            "states": STATES,
            "splits": SPLITS,
            "shares": asdict(SHARES),
            "rows": [_score(line, place) for line in found.lines if line.concept in place],
        }
        # Many rows: written at once, past FastAPI's look at every value.
        return Response(json.dumps(body, separators=(",", ":")), media_type="application/json")

    @routes.get("/cards")
    def cards(review: Viewer, ids: Annotated[str, Query(pattern=IDS)]) -> list[Json]:
        return [_card(row) for row in review.store.queries.rows(ids.split(","))]

    return routes


def _score(line: ScoreLine, place: dict[str, int]) -> list[Any]:
    """Returns id, concept, state, split, low (1 or 0), D, S and CLIP; names by their place."""
    return [
        line.id,
        place[line.concept],
        STATES.index(line.state),
        SPLITS.index(split_of(line)),
        int(bool(line.low)),
        *(None if one is None else round(one, DIGITS) for one in (line.d, line.s, line.clip)),
    ]


def _card(row: SampleRow) -> Json:
    """Returns what the gallery shows of a sample; its pictures by content."""
    picked = None if row.picked_try is None else row.tries[row.picked_try]
    return {
        **summary(row),
        "mask_sha": row.mask_sha,
        "background_sha": picked and picked["image_sha"],
        "clip": row.clip_score,
        "split": split_of(row),
        "reviewed": row.reviewed,
    }
