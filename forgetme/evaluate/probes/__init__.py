"""How hard a forgotten concept is to bring back: a short file for each probe, and its line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, get_args

from forgetme.errors import ForgetmeError
from forgetme.evaluate.detectors import Recogniser, known_by
from forgetme.evaluate.probes import (
    completion,
    ddim,
    diffatk,
    inpainting,
    inversion,
    prompts,
    relearning,
    revival,
    ringabell,
)  # fmt: skip
from forgetme.evaluate.probes.probe import (
    CancelledError,
    CannotError,
    Case,
    Found,
    Preset,
    Probe,
    ProbeResult,
    untouched,
)  # fmt: skip
from forgetme.record.sample import Layers
from forgetme.train.model import base_of

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

__all__ = ["PROBES", "Probe", "ProbeResult", "run_probes"]

_ONE_EACH = (completion, inpainting, ddim, inversion, diffatk, ringabell, revival)
_ALL = (*prompts.PROBES, *(one.PROBE for one in _ONE_EACH), *relearning.PROBES)
PROBES: dict[str, Probe] = {one.name: one for one in _ALL}


def run_probes(
    pipe: StableDiffusionPipeline,
    concept: str,
    *,
    samples: Sequence[Layers],
    recogniser: Recogniser,
    names: Sequence[str] | None = None,
    preset: Preset = "fast",
    seed: int = 0,
    cancelled: Callable[[], bool] | None = None,
    original: StableDiffusionPipeline | None = None,
) -> list[ProbeResult]:
    """Tries to bring a concept back, in every way that is asked for.

    Args:
        pipe: the model with its patch on, without a gate; it is left bit for bit as it was.
        concept: what it was to forget.
        samples: curated quadruples of the concept.
        recogniser: judges.
        names: of probes; None = all of `PROBES`.
        preset: "fast" ends within three minutes for the bundled model on two free cores; "full"
            has the papers' numbers.
        seed: of everything that is drawn.
        cancelled: asked at every call of a network; true ends it, with the results so far.
        original: the model without the patch, which completion and revival need.

    Returns:
        One result for each probe, in their order. One that says nothing of this model has tried
        0 pictures and says why.

    Raises:
        ForgetmeError: a probe or preset is unknown, the judge does not know the concept, or the
            patch is worn behind a gate.
    """
    names = list(PROBES if names is None else names)
    for kind, asked, known in (("probe", names, PROBES), ("preset", [preset], get_args(Preset))):
        unknown = [one for one in asked if one not in known]
        if unknown:
            raise ForgetmeError(f"unknown {kind} {unknown[0]!r}; known: {', '.join(known)}")
    if "encode_prompt" in vars(pipe):
        raise ForgetmeError(
            "a gate switches the patch off for prompts without the concept, and probes look at the "
            "weights behind it: wear the patch without its gate"
        )
    known_by(recogniser, concept)
    results: list[ProbeResult] = []
    for name in names:
        probe, begun, stop = PROBES[name], time.monotonic(), cancelled or (lambda: False)
        plan = getattr(probe, preset)
        case = Case(pipe, original, concept, samples, recogniser, plan, seed, stop)
        try:
            _check_family(case)
            with contextlib.ExitStack() as stack:
                for one in filter(None, (pipe, original)):
                    stack.enter_context(untouched(one, stop))
                found = probe.run(case)
        except CannotError as error:
            found = Found([], [], note=str(error))
        except CancelledError:
            break
        tried, back, seconds = len(found.seen), sum(found.seen), time.monotonic() - begun
        results.append(
            ProbeResult(name, tried, back, round(seconds, 1), recogniser.name, found.note,
                        found.pictures, found.values)
        )  # fmt: skip
    return results


def _check_family(case: Case) -> None:
    family = base_of(case.pipe).family
    if family != "sd" or case.base.core.config.in_channels != 4:
        raise CannotError(f"it is for Stable Diffusion 1.x and 2.x that draw, got one of {family}")
