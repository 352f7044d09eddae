"""A curator's acts as named endpoints: what the Curate tab does, for `gradio_client` and programs.

Each is bound by `Acts`, so who asks is checked in the call, and nobody gets past a sample that
somebody else holds. Heavy work is handed to the worker; `sample` tells when it is done (`busy`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import Field

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record.sample import FillSettings
from forgetme.ui import curate, views, who
from forgetme.ui.acts import Acts
from forgetme.ui.guard import MAX_NUMBER

Json = dict[str, Any]
SampleId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Seen = Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None  # the version that was looked at
Words = Annotated[str, Field(max_length=2000)]
Prompt = Annotated[str, Field(max_length=500)]
Concept = Annotated[str, Field(max_length=curate.MAX_CONCEPT)]
Place = Annotated[int, Field(ge=0, lt=1000)]  # 0-based
State = Literal["", "new", "prepared", "accepted", "rejected", "skipped", "flagged", "broken"]


def samples(
    review: Review,
    state: State = "",
    concept: Concept = "",
    limit: Annotated[int, Field(ge=1, le=1000)] = 100,
) -> list[Json]:
    """Lists samples in the order of the queue; "" is any state, any concept."""
    rows = review.store.samples(
        state=state or None, concept=concept or None, limit=limit, light=True
    )
    return [views.summary(row) for row in rows]


def sample(review: Review, worker: Worker, sample_id: SampleId) -> Json:
    """Tells all of a sample: proposals with scores and verdicts, mask, tries, what is busy."""
    return curate.shown(review, worker, sample_id)


def propose(review: Review, worker: Worker, sample_id: SampleId) -> Json:
    """Has masks proposed, ranked and verified, and the best one filled; `sample` shows them."""
    return _submit(review, worker, "prepare", sample_id)


def choose(
    review: Review, worker: Worker, sample_id: SampleId, index: Place, seen: Seen = None
) -> Json:
    """Chooses one of the proposals."""
    return _act(review, worker, sample_id, "choose", seen, index)


def click(
    review: Review,
    worker: Worker,
    sample_id: SampleId,
    points: Annotated[list[curate.Point], Field(min_length=1, max_length=100)],
    seen: Seen = None,
) -> Json:
    """Makes a mask of clicks: x and y in pixels, and 1 on the object or 0 off it."""
    return _act(review, worker, sample_id, "click", seen, points, None)


def fill(review: Review, worker: Worker, sample_id: SampleId) -> Json:
    """Has the hole filled and scored; `sample` shows the try."""
    return _submit(review, worker, "fill", sample_id)


def refine(
    review: Review,
    worker: Worker,
    sample_id: SampleId,
    prompt: Prompt,
    negative_prompt: Prompt = "",
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0,
    steps: Annotated[int, Field(ge=1, le=100)] = 20,
    guidance: Annotated[float, Field(ge=0, le=30)] = 5.0,
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0,
) -> Json:
    """Has the hole painted from a prompt, as one more try."""
    settings = FillSettings(prompt=prompt, negative_prompt=negative_prompt, strength=strength,
                            steps=steps, guidance=guidance, seed=seed)  # fmt: skip
    return _submit(review, worker, "refine", sample_id, fill_settings=settings)


def pick_try(
    review: Review, worker: Worker, sample_id: SampleId, index: Place, seen: Seen = None
) -> Json:
    """Takes another of the tries as the background."""
    return _act(review, worker, sample_id, "pick_try", seen, index)


def accept(review: Review, worker: Worker, sample_id: SampleId, seen: Seen = None) -> Json:
    """Accepts a sample as it is."""
    return _act(review, worker, sample_id, "accept", seen)


def reject(
    review: Review, worker: Worker, sample_id: SampleId, reason: Words = "", seen: Seen = None
) -> Json:
    """Rejects a sample."""
    return _act(review, worker, sample_id, "reject", seen, reason)


def skip(review: Review, worker: Worker, sample_id: SampleId, seen: Seen = None) -> Json:
    """Leaves a sample for later."""
    return _act(review, worker, sample_id, "skip", seen)


def flag(
    review: Review, worker: Worker, sample_id: SampleId, reason: Words = "", seen: Seen = None
) -> Json:
    """Flags a sample for somebody else to look at."""
    return _act(review, worker, sample_id, "flag", seen, reason)


def comment(
    review: Review, worker: Worker, sample_id: SampleId, text: Words, seen: Seen = None
) -> Json:
    """Writes a comment on a sample."""
    return _act(review, worker, sample_id, "comment", seen, text)


def undo(review: Review, worker: Worker, sample_id: SampleId | None = None) -> Json:
    """Takes back the decision on a sample; without one, one's own last decision."""
    if sample_id is not None:
        who.check_free(review, sample_id)
    row = review.undo(sample_id)
    return {} if row is None else curate.shown(review, worker, row.id)


READS = (samples, sample)
ACTS = (propose, choose, click, fill, refine, pick_try, accept, reject, skip, flag, comment, undo)


def build(acts: Acts) -> None:
    """Adds the endpoints to the Blocks that are being built."""
    for act in READS:
        gr.api(acts.by("viewer", act, reads=True), api_name=act.__name__)
    for act in ACTS:
        gr.api(acts.by("curator", act), api_name=act.__name__)


def _act(
    review: Review, worker: Worker, sample_id: str, name: str, seen: int | None, *arguments: Any
) -> Json:
    who.check_free(review, sample_id)
    return curate.act(review, worker, sample_id, name, seen, *arguments)["sample"]


def _submit(review: Review, worker: Worker, kind: str, sample_id: str, **arguments: Any) -> Json:
    who.check_free(review, sample_id)
    return curate.submit(review, worker, kind, sample_id, **arguments)["sample"]
