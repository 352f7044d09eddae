"""A run from start to end, for the command line and for the page's jobs alike."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from forgetme.errors import ForgetmeError
from forgetme.stages.models import Models, load_models
from forgetme.store import Store
from forgetme.train import checkpoint
from forgetme.train.card import write_card
from forgetme.train.cost import Measure, seconds_left, units, write_measure
from forgetme.train.data import Item, Retained
from forgetme.train.loop import OnStep, RunResult, check, train
from forgetme.train.patch import Patch
from forgetme.train.probe import Probe, Recognise, probe
from forgetme.train.runs import RECENT, Run, run_of
from forgetme.train.settings import RunSettings

LINE_SECONDS = 5.0  # between lines on how far it is

Say = Callable[[str], None]


class Job(Protocol):
    """What an errand needs of the job that runs it."""

    @property
    def should_stop(self) -> bool:
        """Whether to finish this step, save and return."""

    def step(self, done: int, total: int | None = None, words: str = "") -> None:
        """Says how far it is."""


def run(
    models: Models,
    items: list[Item],
    settings: RunSettings,
    out: Path,
    *,
    pictures: int,
    stop: Callable[[], bool],
    say: Say,
    retain: Sequence[Retained] = (),
    wearing: Sequence[tuple[Patch, float]] = (),
    on_step: OnStep = lambda *_: None,
    on_probe: Callable[[int], None] = lambda _: None,
) -> RunResult:
    """Trains, with probes of `pictures` each by the models' ranker; writes patch and card.

    Args:
        models: whose diffusion model forgets.
        items: what it learns from.
        settings: of the run.
        out: folder of the run.
        pictures: of each concept in a probe; 0 = no probes.
        stop: asked after every step; true ends the run there, saved.
        say: takes a line for people.
        retain: pictures of what must stay, in place of those that the model would draw.
        wearing: patches that the model begins with, see `train`.
        on_step: told of every step.
        on_probe: told of the step of a probe that begins.

    Raises:
        ForgetmeError: as `train` says.
    """
    check(settings, items, retain)  # before anything is loaded
    began, before = time.monotonic(), checkpoint.steps(out)
    pipe = models.diffusion.pipe
    recent: deque[tuple[int, float]] = deque(maxlen=RECENT)  # steps since the last probe

    def told(step: int) -> None:
        recent.clear()
        on_probe(step)

    result = train(
        pipe,
        items,
        settings,
        out,
        base=models.diffusion.made_by,
        retain=retain,
        wearing=wearing,
        probing=_probing(models, settings, out, pictures, say, told) if pictures else None,
        stop=stop,
        on_step=_telling(say, on_step, settings, pictures, recent),
    )
    if result.main:
        write_card(out)
        done = units(settings, pictures, first=before, last=result.step)
        seconds = time.monotonic() - began
        write_measure(out, _measure(models, settings, done, seconds, pipe.device.type))
    return result


def train_kept(store: Store, job: Job, *, name: str, at: str) -> dict[str, Any]:
    """Does, or goes on with, the run `name` inside the store; stopped, it is saved.

    Args:
        store: has the run and its pictures.
        job: hears how far it is, and says when to stop.
        name: of the run.
        at: when the run was asked for, which tells it from another that took its name.

    Raises:
        ForgetmeError: the run or its pictures are gone, its base model is another, or it fails.
    """
    kept = run_of(store, name)
    if kept.asked is None or kept.asked.at != at:
        raise ForgetmeError(f"the run {name} of then was deleted; start another one on the page")
    settings, steps = kept.asked.settings, kept.asked.settings.steps
    items = kept.asked.items(store)
    job.step(kept.done, steps, "loading the model")
    models = load_models(kept.asked.preset)
    _check_base(kept, models)
    job.step(kept.done, steps, "preparing latents")
    result = run(
        models,
        items,
        settings,
        kept.folder,
        pictures=kept.asked.probe_pictures,
        stop=lambda: job.should_stop,
        say=print,
        on_step=lambda done, total, values: job.step(done, total, f"loss {values['loss']:.4f}"),
        on_probe=lambda done: job.step(done, steps, "drawing probe pictures"),
    )
    job.step(result.step, steps)
    last = result.probes[-1].record() if result.probes else None
    return {"name": name, "step": result.step, "finished": result.finished, "probe": last}


def _check_base(kept: Run, models: Models) -> None:
    before = kept.record.get("base", "")
    if before and before != models.diffusion.made_by:
        raise ForgetmeError(
            f"{kept.name} began on {before}, and the model of the preset {kept.asked.preset} is "
            f"{models.diffusion.made_by} by now; bring that one back, or start another run"
        )


def _telling(
    say: Say,
    on_step: OnStep,
    settings: RunSettings,
    pictures: int,
    recent: deque[tuple[int, float]],
) -> OnStep:
    said = time.monotonic()

    def tell(done: int, total: int, values: dict[str, float]) -> None:
        nonlocal said
        on_step(done, total, values)
        now = time.monotonic()
        recent.append((done, now))
        if now - said >= LINE_SECONDS or done == total:
            said = now
            left = seconds_left(settings, pictures, recent, done)
            words = "" if left is None else f", {_duration(left)} left"
            say(f"{done}/{total} loss {values['loss']:.4f}{words}")

    return tell


def _probing(
    models: Models,
    settings: RunSettings,
    out: Path,
    pictures: int,
    say: Say,
    on_probe: Callable[[int], None],
) -> Callable[[Any, int], Probe]:
    recognise, vocabulary = models.ranker.probabilities, models.ranker.vocabulary
    second = _second(models, say)

    def probing(pipe: Any, step: int) -> Probe:
        on_probe(step)
        found = probe(
            pipe,
            recognise,
            settings.concept,
            drawn(settings.keep, settings, step),
            step=step,
            n=pictures,
            watch=drawn(settings.watch, settings, step),
            vocabulary=vocabulary,
            second=second,
            paraphrase=at_end(settings, step),
            pictures=out / "probes",
        )
        say(f"step {step}: {told(found, settings.concept)}")
        return found

    return probing


def told(found: Probe, concept: str) -> str:
    """Says what a probe found, for people."""
    parts = [f"{concept} is seen in {100 * found.forget:.0f} %"]
    if found.second is not None and concept in found.second:
        parts.append(f"by the second recogniser in {100 * found.second[concept]:.0f} %")
    if found.otherwise is not None:
        parts.append(f"asked for otherwise in {100 * found.otherwise:.0f} %")
    if found.retain is not None:
        parts.append(f"{100 * found.retain:.0f} % of what is held")
    if found.apart is not None:
        parts.append(f"{100 * found.apart:.0f} % of what nothing holds")
    return ", ".join(parts)


def at_end(settings: RunSettings, step: int) -> bool:
    """Whether a probe is the first or the last one of a run."""
    return step == 0 or step >= settings.steps


def drawn(names: Sequence[str], settings: RunSettings, step: int) -> tuple[str, ...]:
    """Names what a probe draws of some concepts: all at the ends, two on the way.

    The first to keep is the neighbour, the last one is unrelated.
    """
    if at_end(settings, step):
        return tuple(names)
    return tuple(dict.fromkeys((*names[:1], *names[-1:])))


def _second(models: Models, say: Say) -> Recognise | None:
    """The second recogniser; what stands in its way is said."""
    problem = models.second_problem()
    if problem:
        say(f"one recogniser only: {problem}")
        return None
    return models.second.probabilities


def _measure(
    models: Models, settings: RunSettings, done: float, seconds: float, device: str
) -> Measure:
    return Measure(
        machine=platform.node(),
        device=device,
        preset=models.preset,
        method=settings.method,
        trains=settings.trains,
        batch=settings.batch,
        units=done,
        seconds=round(seconds, 1),
        memory_mb=round(_peak_mb(device)),
    )


def _peak_mb(device: str) -> float:
    """Returns the most memory that this process has held, on the device it trained on."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
