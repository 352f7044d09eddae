"""The audit trail: who did what when, as a table and as a file; for leads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

import gradio as gr
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from forgetme.curate.review import Review
from forgetme.store import Event
from forgetme.store.names import without_places
from forgetme.store.queries import TrailFilter
from forgetme.store.record import Kind
from forgetme.ui.acts import Acts, validated
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.news import clicked
from forgetme.ui.who import Lead, Person

Json = dict[str, Any]
TITLE = "Audit trail"  # what the tab calls it
HEADERS = ["#", "When (UTC)", "Who", "What", "Sample", "Details"]
WORDS = {
    "proposed": "proposed masks", "chosen": "chose", "mask_edited": "changed the mask",
    "relabelled": "changed the concept", "undone": "undid",
}  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_WORDS = 240  # characters of an event's words
PAGE = 100  # events
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell
Actor = Annotated[str, Field(max_length=200)]
SampleId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
COLUMNS = ("id", "at", "by", "sample", "kind", "version", "payload")
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


def _which(
    by: Annotated[str, Query(max_length=200)] = "",
    kind: Annotated[str, Query(pattern=f"^({'|'.join(KINDS)})?$")] = "",
    sample: Annotated[str, Query(pattern=r"^([0-9a-f]{16})?$")] = "",
) -> TrailFilter:
    return TrailFilter(by or None, kind or None, sample or None)


Which = Annotated[TrailFilter, Depends(_which)]


def audit_trail(
    review: Review,
    by: Actor = "",
    kind: Literal[""] | Kind = "",
    sample: Literal[""] | SampleId = "",
    before: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = None,
    limit: Annotated[int, Field(ge=1, le=PAGE)] = PAGE,
) -> Json:
    """Tells who did what when, the newest first; `before` is the id after which they are older."""
    queries, which = review.store.queries, TrailFilter(by or None, kind or None, sample or None)
    found = queries.trail(which, before=before, limit=limit + 1)
    names = queries.names([one.sample_id for one in found[:limit]])
    return {
        "events": [_line(one, names.get(one.sample_id, one.sample_id)) for one in found[:limit]],
        "more": len(found) > limit,
        "people": queries.actors(),
    }


# ------------------------------ on the page


class Parts:
    """The trail as a table with two filters, where the call stands in the layout."""

    def __init__(self) -> None:
        """Lays it out."""
        self.lines, self.shown = gr.State([]), gr.State("")
        with gr.Row(elem_classes="fm-line"):
            self.by = gr.Dropdown([("everybody", "")], value="", label="Who", min_width=140,
                                  allow_custom_value=True, elem_id="fm-trail-by")  # fmt: skip
            kinds = [("everything", ""), *((WORDS.get(one, one), one) for one in KINDS)]
            self.kind = gr.Dropdown(kinds, value="", label="What", min_width=140,
                                    elem_id="fm-trail-kind")  # fmt: skip
            self.csv = gr.Button("CSV", scale=0, link=" ", elem_id="fm-trail-csv")
            self.jsonl = gr.Button("JSONL", scale=0, link=" ", elem_id="fm-trail-jsonl")
        self.table = gr.Dataframe(headers=HEADERS, interactive=False, show_label=False, buttons=[],
                                  wrap=True, max_height=640, elem_id="fm-trail")  # fmt: skip
        self.more = gr.Button("show older", size="sm", scale=0, elem_id="fm-trail-more")

    def bind(self, acts: Acts, mode: gr.Radio, picked: gr.State, large: Json) -> tuple[Json, Json]:
        """Binds what happens in it.

        Args:
            acts: binds functions to who asks.
            mode: of the tab; the trail is read while it is what is shown.
            picked: takes the id of a sample that is pressed.
            large: the event that shows the picked sample.

        Returns:
            The event that opens it, and the one that looks whether something is new.
        """
        read = validated(audit_trail)

        def look(review: Review, person: Person, held: dict[Any, Any]) -> dict[Any, Any]:
            """Shows the newest events; those that were asked for beyond them stay."""
            lines, before = held.get(self.lines) or [], held.get(self.shown, "")
            if person.role != "lead" or held[mode] != TITLE or len(lines) > PAGE:
                return {self.shown: before}
            asked = {"by": held[self.by] or "", "kind": held[self.kind] or ""}
            found = read(review, **asked)
            newest = found["events"][0]["id"] if found["events"] else 0
            seen = json.dumps([asked, newest, found["people"]])
            if before == seen:
                return {self.shown: seen}
            query = urlencode({name: one for name, one in asked.items() if one})
            links = {one: f"forgetme/api/data/trail/file?format={one}&{query}".rstrip("&")
                     for one in TYPES}  # fmt: skip
            return {
                self.shown: seen, self.lines: found["events"],
                self.by: gr.Dropdown([("everybody", ""), *found["people"]]),
                self.table: gr.Dataframe(_rows(found["events"])),
                self.more: gr.Button(visible=found["more"]),
                self.csv: gr.Button(link=links["csv"]), self.jsonl: gr.Button(link=links["jsonl"]),
            }  # fmt: skip

        def older(review: Review, held: dict[Any, Any]) -> dict[Any, Any]:
            lines = held[self.lines]
            asked = {"by": held[self.by] or "", "kind": held[self.kind] or ""}
            found = read(review, **asked, before=lines[-1]["id"] if lines else None)
            lines = [*lines, *found["events"]]
            return {self.lines: lines, self.table: gr.Dataframe(_rows(lines)),
                    self.more: gr.Button(visible=found["more"])}  # fmt: skip

        def pick_event(review: Review, line: gr.SelectData) -> str:
            number = clicked(line)  # of the event
            if not number.isdecimal() or int(number) > MAX_NUMBER:
                return ""
            found = review.store.queries.trail(TrailFilter(), before=int(number) + 1, limit=1)
            return found[0].sample_id if found and str(found[0].id) == number else ""

        def lead(act: Any) -> Any:
            return acts.by("lead", act, reads=True)

        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        opening = {
            "fn": acts.by("viewer", look, reads=True),
            "inputs": {mode, self.by, self.kind},
            "outputs": [self.shown, self.lines, self.by, self.table, self.more, self.csv,
                        self.jsonl],
            **quiet,
        }  # fmt: skip
        looking = opening | {"inputs": {mode, self.by, self.kind, self.shown, self.lines}}
        gr.on([self.by.input, self.kind.input], **opening)
        self.more.click(lead(older), {self.by, self.kind, self.lines},
                        [self.lines, self.table, self.more], **quiet)  # fmt: skip
        self.table.select(lead(pick_event), None, picked, **quiet).then(**large)
        gr.api(lead(audit_trail), api_name="audit_trail")
        return opening, looking


def _rows(events: Sequence[Json]) -> list[list[str]]:
    return [[str(one["id"]), one["at"][:19].replace("T", " "), one["by"],
             WORDS.get(one["kind"], one["kind"]), one["name"], one["words"]]
            for one in events]  # fmt: skip


# ------------------------------ as a file


def router() -> APIRouter:
    """Builds the route of the audit trail as a file."""
    routes = APIRouter(prefix="/api/data/trail")

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
