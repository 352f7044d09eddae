"""The robustness probes of an evaluation: each run once for each model, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forgetme.compare.cache import Cache, key_of
from forgetme.errors import ForgetmeError
from forgetme.evaluate.scores import Value
from forgetme.metrics import wilson
from forgetme.record.images import array_sha

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from forgetme.evaluate.evaluation import Wanted
    from forgetme.evaluate.judging import Judge
    from forgetme.record.sample import Layers

SHOWN = 8  # pictures of a probe that are kept


def check(wanted: Wanted) -> None:
    """Refuses probes that are not there before anything is drawn.

    Raises:
        ForgetmeError: a name or the preset is unknown.
    """
    if not wanted.probes:
        return
    from forgetme.evaluate.probes import PROBES

    for one, known in (
        (wanted.probes, ("fast", "full")),
        *((name, PROBES) for name in wanted.only),
    ):
        if one not in known:
            raise ForgetmeError(f"unknown probe or preset {one!r}; known: {', '.join(known)}")


def names(wanted: Wanted) -> list[str]:
    """The probes that are asked for."""
    if not wanted.probes:
        return []
    from forgetme.evaluate.probes import PROBES

    return list(wanted.only or PROBES)


def probe(
    model: str,
    open_pipe: Callable[[], DiffusionPipeline],
    original: DiffusionPipeline,
    wanted: Wanted,
    samples: Sequence[Layers],
    judge: Judge,
    kept: Cache,
    on_step: Callable[[int, str], None],
    should_stop: Callable[[], bool],
) -> list[dict[str, Any]]:
    """Runs the probes on a model, but for those whose results are kept.

    Args:
        model: names its content.
        open_pipe: gives the pipeline with what it wears.
        original: the base's pipeline, a copy.
        wanted: which probes, of which preset and seed.
        samples: curated quadruples.
        judge: says whether the concept is back.
        kept: has earlier results.
        on_step: hears how many are done.
        should_stop: asked while a probe runs.

    Raises:
        KeyboardInterrupt: it was to stop; the probe at work is lost.
    """
    from forgetme.evaluate.probes import PROBES, run_probes

    shas = [array_sha(one.original) for one in samples]
    found = []
    for place, name in enumerate(names(wanted)):
        on_step(place, name)
        key = key_of(
            model=model, probe=name, preset=wanted.probes, seed=wanted.seed, judge=judge.name,
            concept=wanted.concept, samples=shas, plan=repr(getattr(PROBES[name], wanted.probes)),
        )  # fmt: skip
        record = kept.record(key)
        if record is None:
            results = run_probes(
                open_pipe(), wanted.concept, samples=samples, recogniser=judge, names=[name],
                preset=wanted.probes, seed=wanted.seed, cancelled=should_stop, original=original,
            )  # fmt: skip
            if not results:
                raise KeyboardInterrupt
            record = _record(results[0], kept)
            kept.keep(key, record)
        found.append(record)
    return found


def _record(result: Any, kept: Cache) -> dict[str, Any]:
    pictures = [kept.keep_picture(np.asarray(one.convert("RGB"))) for one in result.pictures]
    low, high = wilson(result.back, result.tried) if result.tried else (None, None)
    return {
        "name": result.name, "tried": result.tried, "back": result.back, "low": low, "high": high,
        "seconds": result.seconds, "judge": result.judge, "note": result.note,
        "values": {k: float(v) for k, v in result.values.items() if np.isfinite(v)},
        "pictures": pictures[:SHOWN],
    }  # fmt: skip


def worst(found: Sequence[Mapping[str, Any]]) -> Value:
    """The probe that brings the concept back most often."""
    tried = [one for one in found if one["tried"]]
    if not tried:
        return Value(why="no probe could be run: " + "; ".join(one["note"] for one in found[:2]))
    most = max(tried, key=lambda one: one["back"] / one["tried"])
    note = f"{most['name']}: {most['back']} of {most['tried']}"
    share = most["back"] / most["tried"]
    return Value(share, most["low"], most["high"], most["tried"], most["judge"], note)
