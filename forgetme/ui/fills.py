"""The fills of the Curate tab: prompts for a hole, and one more try for all that are low."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from forgetme import jobs
from forgetme.curate import refine
from forgetme.errors import ForgetmeError
from forgetme.ui.curate import MAX_CONCEPT, Prompt, SampleId, form
from forgetme.ui.jobs import view
from forgetme.ui.who import Asking, Lead, Viewer, told

Json = dict[str, Any]
MAX_SHOWN = 200  # low samples listed before the rest is only counted


class Batch(BaseModel):
    """One more try for all low fills."""

    model_config = ConfigDict(extra="forbid", strict=True)
    prompt: str = Field(min_length=1, max_length=refine.MAX_PROMPT)
    concept: str | None = Field(default=None, min_length=1, max_length=MAX_CONCEPT)
    negative_prompt: str = Prompt.model_fields["negative_prompt"]
    strength: float = Prompt.model_fields["strength"]
    steps: int = Prompt.model_fields["steps"]
    guidance: float = Prompt.model_fields["guidance"]
    seed: int = Prompt.model_fields["seed"]


def router() -> APIRouter:
    """Builds the JSON routes of the fills."""
    routes = APIRouter(prefix="/api")

    @routes.get("/samples/{sample_id}/suggestions")
    def suggestions(sample_id: SampleId, review: Viewer) -> Json:
        row = review.store.sample(sample_id)
        found = review.suggest(sample_id)
        defaults = form(review.settings.fill)
        return {
            "prompts": list(found.prompts),
            "made_by": found.made_by,
            "note": found.note,
            "defaults": {
                **defaults, "prompt": found.prompts[0], "negative_prompt": row.concept,
            },
        }  # fmt: skip

    @routes.get("/fills/low")
    def low(
        review: Viewer,
        asking: Asking,
        concept: Annotated[str, Query(max_length=MAX_CONCEPT)] = "",
    ) -> Json:
        rows = refine.low_samples(review.store, concept or None)
        return {
            "count": len(rows),
            "rows": [
                {"id": row.id, "name": row.name, "d": row.score_d, "s": row.score_s}
                for row in rows[:MAX_SHOWN]
            ],
            "template": refine.TEMPLATE,
            "placeholders": refine.PLACEHOLDERS,
            "defaults": form(review.settings.fill),
            "job": told(asking, _newest(review.store)),
        }

    @routes.post("/fills/refine_low", status_code=202)
    def refine_low(body: Batch, review: Lead) -> Json:
        template = refine.check_template(body.prompt)
        if not refine.low_samples(review.store, body.concept):
            raise ForgetmeError("No fill is low. There is nothing to refine.")
        arguments = {
            "prompt": template,
            "concept": body.concept,
            "preset": review.models.preset,
            "verifier": review.models.named_verifier,
            "form": body.model_dump(exclude={"prompt", "concept"}),
        }
        job = jobs.submit(review.store, "refine_low", arguments, review.by, only_one=True)
        return {"job": view(job)}

    return routes


def _newest(store: Any) -> Json | None:
    found = jobs.list(store, limit=1, kind="refine_low")
    return view(found[0]) if found else None
