"""The job of an evaluation that the page asks for, and the evaluations inside a store."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from forgetme.compare.as_job import Job
from forgetme.compare.cache import Cache
from forgetme.compare.report import PICTURES
from forgetme.compare.saved import NAME, plain_file
from forgetme.errors import ForgetmeError
from forgetme.evaluate.evaluation import JUDGES, STEPS, Wanted, evaluate
from forgetme.evaluate.report import FILES, REPORT, VERSION
from forgetme.evaluate.samples import drawn_samples, layers_of
from forgetme.record.summed import opened, picture_problem
from forgetme.stages.models import load_models
from forgetme.store import Store
from forgetme.store.names import plain_folders
from forgetme.train.data import items_of_store

CACHE = "cache"  # lies beside the evaluations and is none


def evaluations_folder(store: Store) -> Path:
    """Returns the folder of the evaluations; it may not exist yet."""
    return store.folder / "evaluations"


def evaluations(store: Store) -> list[str]:
    """Names the evaluations inside a store, in alphabetical order."""
    folders = plain_folders(evaluations_folder(store), NAME)
    found = (one for one in folders if one.name != CACHE and plain_file(one, REPORT))
    return sorted(one.name for one in found)


def read_evaluation(store: Store, name: str) -> dict[str, Any]:
    """Returns the report.json of an evaluation; it is shared, so leave it as it is.

    Raises:
        ForgetmeError: there is none of that name, or it is damaged.
    """
    path = _needed(store, name, REPORT)
    try:
        now = path.stat()
        return _read(path, now.st_mtime_ns, now.st_size)
    except (OSError, ValueError) as error:
        raise ForgetmeError(
            f"the evaluation {name} cannot be read ({error}); make it again"
        ) from error


def problems(store: Store) -> list[str]:
    """Returns one sentence for each damaged file of an evaluation, with what to do about it."""
    folder, found = evaluations_folder(store), []
    for name in evaluations(store):
        try:
            read_evaluation(store, name)
        except ForgetmeError as error:
            found.append(f"{folder / name / REPORT}: {error}")
    found += [
        f"{path} is damaged ({words}); make the evaluation again"
        for path in sorted(folder.glob(f"*/{PICTURES}/*.png"))
        if (words := picture_problem(path))
    ]
    return [*found, *Cache(folder / CACHE).problems()]


def page_path(store: Store, name: str) -> Path:
    """Returns the file of an evaluation's page.

    Raises:
        ForgetmeError: there is none of that name.
    """
    return _needed(store, name, FILES["html"])


def _needed(store: Store, name: str, file: str) -> Path:
    known = name in evaluations(store)
    found = plain_file(evaluations_folder(store) / name, file) if known else None
    if found is None:
        raise ForgetmeError(f"there is no evaluation {name!r}; look at the list of evaluations")
    return found


@lru_cache(maxsize=32)
def _read(path: Path, changed: int, size: int) -> dict[str, Any]:
    """Reads a report once as long as it is the same: the page asks often."""
    report = opened(json.loads(path.read_text(encoding="utf-8")))
    if report.get("version") != VERSION:
        raise ValueError(f"it is not of version {VERSION}, the only one known")
    return report


def evaluate_job(
    store: Store,
    job: Job,
    *,
    name: str,
    concept: str,
    runs: Sequence[str],
    size: str = "quick",
    robustness: bool = False,
    seed: int = 0,
    preset: Literal["tiny", "full"] = "tiny",
) -> dict[str, Any]:
    """Does the job "evaluate": writes the evaluation `name` inside the store.

    Stopped, it keeps what it has drawn and probed; asked again it goes on there.

    Args:
        store: has the runs, and the accepted samples that the probes take.
        job: hears how far it is, and says when to stop.
        name: of the evaluation; none of that name may be there.
        concept: what was to be forgotten.
        runs: names of training runs inside the store.
        size: how much is drawn.
        robustness: whether the probes run, too.
        seed: of the first pictures.
        preset: of the models.

    Raises:
        ForgetmeError: a name is none or taken, or the evaluation cannot be made.
        KeyboardInterrupt: it was to stop.
    """
    for one in (name, *runs):
        if not re.fullmatch(NAME, one):
            raise ForgetmeError(
                f"a name has 1 to 80 small letters, digits or dashes, got {one!r}; "
                "for example cats-2026"
            )
    if name == CACHE or name in evaluations(store):
        raise ForgetmeError(f"there is an evaluation {name!r} already; take another name")
    if not runs:
        raise ForgetmeError("name the runs to evaluate")
    judge, second = JUDGES[preset]
    wanted = Wanted(
        concept, size=size, steps=STEPS[preset], seed=seed, judge=judge, second=second,
        probes="fast" if robustness else "",
    )  # fmt: skip
    samples = []
    if robustness and concept in store.concepts() and store.counts(concept)["accepted"]:
        samples = layers_of(items_of_store(store, concept))
    elif robustness and preset == "tiny":
        samples = drawn_samples(concept)
    job.step(0, None, "loading the models")
    report = evaluate(
        load_models(preset),
        [store.folder / "runs" / run for run in runs],
        wanted,
        evaluations_folder(store) / name,
        samples=samples,
        cache=evaluations_folder(store) / CACHE,
        on_step=job.step,
        should_stop=lambda: job.should_stop,
    )
    return {"name": name, "models": [one["name"] for one in report["models"]]}
