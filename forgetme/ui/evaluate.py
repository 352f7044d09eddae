"""Evaluations as endpoints: ask for one, list those made, read one. A run is named, never a path.

Nothing long runs here: an act hands an evaluation to a job and answers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import gradio as gr
from pydantic import Field

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.ui.acts import Acts
from forgetme.ui.jobs import view

Json = dict[str, Any]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
Word = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,80}$")]
MAX_RUNS = 16


def evaluate(
    review: Review,
    name: Name,
    concept: Word,
    runs: Annotated[list[Name], Field(min_length=1, max_length=MAX_RUNS)],
    size: Literal["quick", "standard", "full"] = "quick",
    robustness: bool = False,
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0,
) -> Json:
    """Has runs of this store evaluated side by side with the base; answers with the job."""
    asked = {
        "name": name, "concept": concept, "runs": list(dict.fromkeys(runs)), "size": size,
        "robustness": robustness, "seed": seed, "preset": review.models.preset,
    }  # fmt: skip
    return view(jobs.submit(review.store, "evaluate", asked, by=review.by))


def evaluations(review: Review) -> list[str]:
    """Names the evaluations that are made."""
    from forgetme.evaluate.as_job import evaluations

    return evaluations(review.store)


def evaluation(review: Review, name: Name) -> Json:
    """Tells all of an evaluation: models, scores with their intervals, prompts, probes."""
    from forgetme.evaluate.as_job import read_evaluation

    return read_evaluation(review.store, name)


def build(acts: Acts) -> None:
    """Adds the endpoints to the Blocks that are being built."""
    gr.api(acts.by("lead", evaluate), api_name="evaluate")
    for act in (evaluations, evaluation):
        gr.api(acts.by("viewer", act, reads=True), api_name=act.__name__)
