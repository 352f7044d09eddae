"""The audit trail: who did what when, as a table and as a file; for leads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from forgetme.store import Event
from forgetme.store.names import without_places
from forgetme.store.queries import TrailFilter
from forgetme.store.record import Kind
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.who import Lead

Json = dict[str, Any]
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_WORDS = 240  # characters of an event's words
PAGE = 100  # events
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell
COLUMNS = ("id", "at", "by", "sample", "kind", "version", "payload")
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def _which(
    by: Annotated[str, Query(max_length=200)] = "",
    kind: Annotated[str, Query(pattern=f"^({'|'.join(KINDS)})?$")] = "",
    sample: Annotated[str, Query(pattern=r"^([0-9a-f]{16})?$")] = "",
) -> TrailFilter:
    return TrailFilter(by or None, kind or None, sample or None)


Which = Annotated[TrailFilter, Depends(_which)]


def router() -> APIRouter:
    """Builds the routes of the audit trail."""
    routes = APIRouter(prefix="/api/data/trail")

    @routes.get("")
    def page(
        review: Lead,
        which: Which,
        before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    ) -> Json:
        queries = review.store.queries
        found = queries.trail(which, before=before, limit=limit + 1)
        shown = found[:limit]
        names = queries.names([one.sample_id for one in shown])
        return {
            "events": [_line(one, names.get(one.sample_id, one.sample_id)) for one in shown],
            "more": len(found) > limit,
            "kinds": KINDS,
            "people": queries.actors(),
        }

    @routes.get("/file")
    def file(review: Lead, which: Which, format: Literal["csv", "jsonl"]) -> StreamingResponse:  # noqa: A002
        events = review.store.queries.whole_trail(which)
        now = datetime.now(timezone.utc)
        name = f"forgetme-trail-{now:%Y%m%d-%H%M%S}.{format}"
        write = {"csv": _csv, "jsonl": _jsonl}[format]
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
        }
        return StreamingResponse(write(events), media_type=TYPES[format], headers=headers)

    return routes


def _line(event: Event, name: str) -> Json:
    return {
        "id": event.id,
        "at": event.at,
        "by": event.by,
        "kind": event.kind,
        "sample": event.sample_id,
        "name": name,
        "words": words(event),
    }


def words(event: Event) -> str:
    """Says in a few words what an event did; "" where its kind says it all."""
    payload = event.payload
    match event.kind:
        case "imported":
            found = payload.get("error") or payload.get("source", "")
        case "proposed":
            found = _proposed(payload)
        case "chosen":
            found = f"try {payload['try'] + 1}" if "try" in payload else f"mask {_nth(payload)}"
        case "mask_edited":
            found = payload.get("how", "")
        case "filled" | "refined":
            found = _filled(payload)
        case "undone":
            found = f"takes back event {payload.get('event')}"
        case "accepted":
            found = "by the batch policy" if payload.get("how") == "policy" else ""
        case "reviewed":
            text = payload.get("text", "")
            found = f"{payload.get('verdict')}: {text}" if text else str(payload.get("verdict"))
        case _:
            found = payload.get("text") or payload.get("reason") or payload.get("comment") or ""
    found = without_places(str(found))
    return found if len(found) <= MAX_WORDS else found[: MAX_WORDS - 1] + "…"


def _nth(payload: Json) -> int:
    return payload["index"] + 1


def _proposed(payload: Json) -> str:
    count, chosen = len(payload["proposals"]), payload["chosen"]
    masks = f"{count} mask" if count == 1 else f"{count} masks"
    return f"{masks}, none confirmed" if chosen is None else f"{masks}, took number {chosen + 1}"


def _filled(payload: Json) -> str:
    scores, settings = payload.get("scores") or {}, payload.get("settings") or {}
    values = [
        f"{name.upper()} {scores[name]['score']:.2f}"
        for name in ("d", "s")
        if isinstance((scores.get(name) or {}).get("score"), (int, float))
    ]
    prompt = settings.get("prompt")
    parts = [payload.get("made_by", ""), *values, f"“{prompt}”" if prompt else ""]
    return " · ".join(part for part in parts if part)


def _record(event: Event) -> Json:
    """Returns an event for a file; the masks' runs stay in the store, they are no act."""
    return {
        "id": event.id,
        "at": event.at,
        "by": event.by,
        "sample": event.sample_id,
        "kind": event.kind,
        "version": event.version,
        "payload": _without_masks(event.payload),
    }


def _without_masks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_masks(one) for key, one in value.items() if key != "rle"}
    return [_without_masks(one) for one in value] if isinstance(value, list) else value


def _jsonl(events: Iterator[Event]) -> Iterator[str]:
    for event in events:
        yield json.dumps(_record(event), ensure_ascii=False) + "\n"


def _csv(events: Iterator[Event]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for event in events:
        record = _record(event)
        record["payload"] = json.dumps(record["payload"], ensure_ascii=False)
        writer.writerow([_harmless(record[column]) for column in COLUMNS])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _harmless(cell: Any) -> Any:
    """Keeps a spreadsheet from taking somebody's name for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
