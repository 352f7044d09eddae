"""The Compare tab: comparisons made, their pictures and reports, blind votes, a new comparison.

All of it is read from what `forgetme compare` wrote into the store's folder; a new comparison is
a job of that kind. A comparison, a run and a picture are named, never a path.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.exceptions import HTTPException

from forgetme import jobs
from forgetme.compare import saved, votes
from forgetme.compare.columns import NEED_A_RUN
from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError
from forgetme.ui.curate import act, clock, shown
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.jobs import view
from forgetme.ui.pictures import FOREVER, SampleId
from forgetme.ui.who import Asking, Curator, Lead, Viewer, Work, told

Json = dict[str, Any]
Name = Annotated[str, Path(pattern=saved.NAME)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9:.-]{0,119}$")]  # of a column
Column = Literal["own", "lama", "sd-inpaint", "clipaway", "lora-inpaint", "lora-img2img"]
COLUMNS: dict[Column, dict[str, str]] = {
    key: {"title": title, "words": words}
    for key, title, words in (
        ("own", "Our own", "LaMa, refined where low; kept by the scores that judge it here."),
        ("lama", "LaMa alone", "What no score has chosen."),
        ("sd-inpaint", "Stable Diffusion inpainting", "From a prompt for the background."),
        ("clipaway", "CLIPAway", "Inpainting away from the object's CLIP embedding."),
        ("lora-inpaint", "LoRA + inpaint", "The run's patch paints the hole."),
        ("lora-img2img", "LoRA + image to image", "The run's patch redraws the picture, no mask."),
    )
}
SENT_BACK = "Sent back from the comparison"
REPORT_TYPES = {"html": "text/html", "csv": "text/csv", "tex": "application/x-tex"}
MAX_CONCEPT = 200  # characters
MAX_SAMPLES = 10_000
MAX_RUNS = 8


class New(BaseModel):
    """What is to be compared."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(pattern=saved.NAME)
    concept: str = Field(min_length=1, max_length=MAX_CONCEPT)
    runs: list[Annotated[str, Field(pattern=saved.NAME)]] = Field(max_length=MAX_RUNS)
    columns: list[Column] = Field(min_length=1, max_length=len(get_args(Column)))
    limit: int = Field(default=50, ge=1, le=MAX_SAMPLES)
    seed: int = Field(default=0, ge=0, lt=2**31)
    sweep: bool = False

    @field_validator("runs", "columns")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("name each one once")
        return names


class Back(BaseModel):
    """Which column's picture sends the sample back to the queue."""

    model_config = ConfigDict(extra="forbid", strict=True)
    column: Key


class Ballot(BaseModel):
    """A vote on the two pictures of a row."""

    model_config = ConfigDict(extra="forbid", strict=True)
    row: int = Field(ge=0, le=MAX_NUMBER)
    left: Key
    right: Key
    choice: votes.Choice


def router() -> APIRouter:
    """Builds the routes of the Compare tab."""
    routes = APIRouter()
    for add in (_add_reads, _add_files, _add_start, _add_back, _add_votes):
        add(routes)
    return routes


def _add_reads(routes: APIRouter) -> None:
    @routes.get("/api/comparisons")
    def listed(review: Viewer, asking: Asking) -> Json:
        store = review.store
        found = [job for job in jobs.list(store, limit=20, kind="compare")]
        shown = {
            "comparisons": [_line(one) for one in saved.saved_comparisons(store)],
            "jobs": [{**view(job), "name": job.arguments.get("name")} for job in found],
        }
        return told(asking, shown)

    @routes.get("/api/comparisons/{name}")
    def one(name: Name, review: Viewer, asking: Asking) -> Json:
        table = told(asking, saved.read_table(review.store, name))
        ids = [row["sample"] for row in table["rows"] if row.get("sample")]
        states = {line.id: line.state for line in review.store.queue.lines(ids)}
        return {"name": name, "table": table, "states": states, "reports": _reports(review, name)}

    @routes.get("/api/compare/form")
    def form(review: Viewer, asking: Asking) -> Json:
        store = review.store
        return {
            "concepts": {one: store.counts(one)["accepted"] for one in store.concepts()},
            "runs": told(asking, [_run(one) for one in saved.saved_runs(store)]),
            "columns": COLUMNS,
            "need_a_run": NEED_A_RUN,
            "preset": review.models.preset,
        }


def _add_files(routes: APIRouter) -> None:
    @routes.get("/comparison/{name}/{picture}.png")
    def picture(
        name: Name, picture: Annotated[str, Path(pattern=saved.PICTURE)], review: Viewer
    ) -> FileResponse:
        path = saved.picture_path(review.store, name, picture)
        return FileResponse(path, media_type="image/png", headers=FOREVER)

    @routes.get("/comparison/{name}/report.{kind}")
    def report(name: Name, kind: Literal["html", "csv", "tex"], review: Viewer) -> FileResponse:
        # To be kept, never shown here: a page of this address could act in the reader's name.
        return FileResponse(
            saved.report_path(review.store, name, kind),
            media_type=REPORT_TYPES[kind],
            filename=f"{name}.{kind}",
            headers={"cache-control": "no-store"},
        )


def _add_start(routes: APIRouter) -> None:
    @routes.post("/api/comparisons", status_code=202)
    def start(body: New, review: Lead) -> Json:
        _check(review, body)
        models = review.models
        asked = body.model_dump() | {"preset": models.preset, "verifier": models.named_verifier}
        return view(jobs.submit(review.store, "compare", asked, by=review.by))


def _add_back(routes: APIRouter) -> None:
    @routes.post("/api/comparisons/{name}/samples/{sample_id}/back")
    def back(name: Name, sample_id: SampleId, body: Back, review: Curator, worker: Work) -> Json:
        words = _reason(saved.read_table(review.store, name), name, sample_id, body.column)
        before = review.store.sample(sample_id).comment or ""
        if words not in before.splitlines():
            review.comment(sample_id, f"{before}\n{words}".strip())
        return act(review, worker, sample_id, "flag", None, words)

    @routes.post("/api/comparisons/{name}/samples/{sample_id}/undo")
    def undo(name: Name, sample_id: SampleId, body: Back, review: Curator, worker: Work) -> Json:
        words = _reason(saved.read_table(review.store, name), name, sample_id, body.column)
        row = review.store.sample(sample_id)
        if row.state != "flagged" or row.decided_by != review.by:
            raise HTTPException(
                409, f"{row.name} is {row.state}, not flagged by you; look at it on the Curate tab."
            )
        lines = (row.comment or "").splitlines()
        if words in lines:
            lines.remove(words)
            review.comment(sample_id, "\n".join(lines))
        if not any(line.startswith(SENT_BACK) for line in lines):
            _take_back(review, sample_id)
        return {"sample": shown(review, worker, sample_id), "saved": clock()}


def _take_back(review: Review, sample_id: str) -> None:
    """Undoes the flags that came from a comparison, one event for each reason."""
    while True:
        row = review.store.sample(sample_id)
        if row.state != "flagged" or row.decided_by != review.by:
            return
        (flag,) = review.store.events(row.id, after=row.decided_event - 1, limit=1)
        if not (flag.payload.get("reason") or "").startswith(SENT_BACK):
            return
        review.undo(sample_id)


def _add_votes(routes: APIRouter) -> None:
    @routes.get("/api/comparisons/{name}/votes")
    def deal(
        name: Name,
        review: Viewer,
        left: Annotated[Key | None, Query()] = None,
        right: Annotated[Key | None, Query()] = None,
    ) -> Json:
        pair = None if left is None or right is None else (left, right)
        return _voting(review, name, pair)

    @routes.post("/api/comparisons/{name}/votes")
    def vote(name: Name, body: Ballot, review: Curator) -> Json:
        table = saved.read_table(review.store, name)
        given = votes.ballot(table, body.row, body.left, body.right, review.by)
        votes.cast(saved.comparison_path(review.store, name), given, body.choice, review.by)
        return {"vote": {**asdict(given), "choice": body.choice}, "saved": clock()}


def _voting(review: Review, name: str, pair: tuple[str, str] | None) -> Json:
    table = saved.read_table(review.store, name)
    found = votes.read_votes(saved.comparison_path(review.store, name))
    given, remaining = votes.deal(table, found, review.by, pair)
    mine = [asdict(one) for one in found if one.by == review.by]
    return {
        "ballot": given and asdict(given),
        "remaining": remaining,
        "mine": mine[-10:],
        "tally": [asdict(one) for one in votes.tally(table, found)],
    }


def _check(review: Review, body: New) -> None:
    """Refuses what no job could do; the job itself checks the rest.

    Raises:
        ForgetmeError: in plain words, with what to do.
    """
    store = review.store
    if saved.is_taken(store, body.name):
        raise ForgetmeError(f"There is a comparison {body.name!r} already; take another name.")
    if body.concept not in store.concepts() or not store.counts(body.concept)["accepted"]:
        raise ForgetmeError(
            f"No accepted sample of {body.concept!r}. Accept some on the Curate tab first."
        )
    known = {one.name for one in saved.saved_runs(store)}
    unknown = [one for one in body.runs if one not in known]
    if unknown:
        raise ForgetmeError(
            f"No patch in the run {unknown[0]!r}. Let it finish, or choose another."
        )
    lora = [one for one in body.columns if one in NEED_A_RUN]
    if (lora or body.sweep) and not body.runs:
        what = " and ".join(lora) or "the scale sweep"
        raise ForgetmeError(f"Choose a run for {what}; a run comes from the Train tab.")


def _line(one: saved.SavedComparison) -> Json:
    table = one.table or {}
    return {
        "name": one.name,
        "title": table.get("title") or one.name,
        "made": table.get("made"),
        "concept": table.get("concept"),
        "preset": table.get("preset"),
        "rows": len(table.get("rows", ())),
        "columns": len(table.get("columns", ())),
        "sweep": table.get("sweep") is not None,
        "trouble": one.trouble,
    }


def _run(one: saved.Run) -> Json:
    known = ("method", "concept", "base", "trains", "steps_done", "seed")
    return {"name": one.name, **{key: one.record.get(key) for key in known}}


def _reports(review: Review, name: str) -> list[str]:
    found = []
    for kind in saved.REPORTS:
        try:
            saved.report_path(review.store, name, kind)
        except ForgetmeError:
            continue
        found.append(kind)
    return found


def _reason(table: Json, name: str, sample_id: str, column: str) -> str:
    """Says in one line why a sample came back; the same line each time.

    Raises:
        ForgetmeError: the table has no such sample or column.
    """
    titles = {one["key"]: one["title"] for one in table["columns"]}
    if column not in titles or all(row.get("sample") != sample_id for row in table["rows"]):
        raise ForgetmeError(f"{name} has no picture of sample {sample_id} in a column {column!r}.")
    return f"{SENT_BACK} {name}: the picture of “{titles[column]}” is bad."
