"""The job of a comparison that the page asks for, in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from forgetme.compare.columns import Wanted
from forgetme.compare.comparison import compare
from forgetme.compare.items import subjects_of_store
from forgetme.compare.saved import CACHE, NAME, comparisons_folder, is_taken
from forgetme.errors import ForgetmeError
from forgetme.stages.models import load_models
from forgetme.store import Store


class Job(Protocol):
    """What the errand needs of the job that runs it."""

    @property
    def should_stop(self) -> bool:
        """Whether to end before all is done."""

    def step(self, done: int, total: int | None = None, words: str = "") -> None:
        """Says how far it is."""


def compare_fills_job(
    store: Store,
    job: Job,
    *,
    name: str,
    concept: str,
    runs: Sequence[str] = (),
    columns: Sequence[str] = (),
    limit: int | None = 50,
    seed: int = 0,
    sweep: bool = False,
    preset: Literal["tiny", "full"] = "tiny",
    verifier: str | None = None,
) -> dict[str, Any]:
    """Does the job "compare": writes the comparison `name` inside the store.

    Stopped, it keeps what it has painted and scored; asked again it goes on there.

    Args:
        store: the store; its accepted samples are the rows.
        job: hears how far it is, and says when to stop.
        name: of the comparison; none of that name may be there.
        concept: of the samples.
        runs: names of training runs inside the store.
        columns: keys of `columns.COLUMNS`; none = all that can be.
        limit: the first so many samples; None = all.
        seed: of every column.
        sweep: whether the first run is also worn at all scales.
        preset: of the models.
        verifier: instead of the preset's, see `load_models`.

    Raises:
        ForgetmeError: a name is none or taken, or the comparison cannot be made.
        KeyboardInterrupt: it was to stop.
    """
    for one in (name, *runs):
        if not re.fullmatch(NAME, one):
            raise ForgetmeError(
                f"a name has 1 to 80 small letters, digits or dashes, got {one!r}; "
                "for example cats-2026"
            )
    if is_taken(store, name):
        raise ForgetmeError(f"there is a comparison {name!r} already; take another name")
    try:
        wanted = Wanted(concept, tuple(columns), seed=seed, sweep=sweep)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error
    subjects = subjects_of_store(store, concept)[:limit]
    job.step(0, None, "loading the models")
    table = compare(
        subjects,
        load_models(preset, verifier=verifier, embeddings=store.embeddings),
        wanted,
        comparisons_folder(store) / name,
        runs={run: store.folder / "runs" / run for run in runs},
        cache=comparisons_folder(store) / CACHE,
        on_step=job.step,
        should_stop=lambda: job.should_stop,
    )
    return {
        "name": name,
        "rows": len(table["rows"]),
        "columns": [one["key"] for one in table["columns"]],
    }
