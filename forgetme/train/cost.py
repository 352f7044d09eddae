"""How long a run takes and how much memory: measured on this machine, or an honest estimate.

The unit is one forward pass of the U-Net over one picture; a pass with its gradient counts three.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from forgetme.record.images import atomic_write
from forgetme.train.latents import DRAW_STEPS
from forgetme.train.methods import method_of
from forgetme.train.probe import STEPS as PROBE_STEPS
from forgetme.train.settings import RunSettings

MEASURED = "measured.json"
GRADIENT = 3.0  # units of a forward and a backward pass
PAIR = 2.0  # units of a guided step
CORES = 2  # of the machine that the estimates below are for

How = Literal["measured", "scaled", "estimated"]


@dataclass(frozen=True)
class Measure:
    """What one call of a run took.

    Attributes:
        machine, device: where it ran.
        preset, method, trains, batch: what ran.
        units: forward passes, see above.
        seconds: of wall clock.
        memory_mb: the most that was held, in MiB.
    """

    machine: str
    device: str
    preset: str
    method: str
    trains: str
    batch: int
    units: float
    seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Cost:
    """What a run will take.

    Attributes:
        seconds: of wall clock.
        memory_mb: MiB.
        how: "measured": by a run of the same kind on this machine; "scaled": from another kind of
            run on this machine; "estimated": from the model's size.
    """

    seconds: float
    memory_mb: float
    how: How


@dataclass(frozen=True)
class _Base:
    """One preset's model, float32, in MiB; seconds a unit on a GPU and on a CPU with `CORES`."""

    unet_mb: float
    rest_mb: float
    picture_mb: float  # activations of one picture with gradient
    gpu_seconds: float
    cpu_seconds: float


# SD 1.5: 860 M + 207 M parameters, 0.8 TFLOP a pass at 512 px; a GPU at 20 TFLOP/s, a CPU core at
# 25 GFLOP/s. The bundled model: 8.8 M parameters at 16x16, timed on two cores in bf16.
_BASES = {
    "full": _Base(3280, 790, 4600, 0.04, 16.0),
    "tiny": _Base(34, 30, 12, 0.0005, 0.0066),
}
_PROCESS_MB = {"cuda": 600, "cpu": 1000}  # the libraries themselves
_MOVED = {"lora": 0.01, "kv": 0.022, "cross-attention": 0.057, "no-cross-attention": 0.93}


def units(
    settings: RunSettings, pictures: int, *, first: int = 0, last: int | None = None
) -> float:
    """Counts the units of a run from step `first` to `last`, with its probes and drawings."""
    last = settings.steps if last is None else last
    method = method_of(settings.method)
    options = method.values(settings.options)
    step = GRADIENT + (2.0 if "teacher" in method.needs else 0.0)
    step += options.get("draw_steps", 0) / 2 * PAIR  # stopped halfway on average
    step += options.get("attack_steps", 0) * GRADIENT
    if options.get("alpha"):
        step += GRADIENT
    if options.get("retain"):
        step += GRADIENT + 1.0
    total = (last - first) * step * settings.batch * settings.accumulate
    if first == 0 and settings.keep:
        total += settings.retain_pictures * DRAW_STEPS * PAIR
    every = settings.probe_every
    between = max(0, (last - 1) // every - first // every) if every else 0
    ends = (first == 0) + (last == settings.steps)
    kept, apart = len(settings.keep), len(settings.watch)
    drawn = ends * (2 + kept + apart) + between * (1 + min(2, kept) + min(2, apart))
    return total + drawn * pictures * PROBE_STEPS * PAIR


def seconds_left(
    settings: RunSettings, pictures: int, recent: Sequence[tuple[int, float]], done: int
) -> float | None:
    """Tells how long a run takes yet: at the pace of its latest steps, the last probes included.

    Args:
        settings: of the run.
        pictures: of each concept in a probe.
        recent: steps done (from 1), and when in seconds by any clock, the oldest first; no probe
            lies between them.
        done: steps done.

    Returns:
        Seconds; None before two steps tell a pace.
    """
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    (first, began), (last, ended) = recent[0], recent[-1]
    pace = (ended - began) / units(settings, 0, first=first, last=last)
    return pace * units(settings, pictures, first=max(1, done))


def cost(
    settings: RunSettings, pictures: int, preset: str, device: str, measures: Sequence[Measure]
) -> Cost:
    """Tells what a run will take on this machine.

    Args:
        settings: of the run.
        pictures: of each concept in a probe.
        preset: of the models.
        device: "cpu" or "cuda".
        measures: of earlier runs, the latest first.
    """
    here = [
        one
        for one in measures
        if (one.machine, one.device, one.preset) == (platform.node(), device, preset) and one.units
    ]
    alike = [one for one in here if (one.method, one.trains) == (settings.method, settings.trains)]
    total = units(settings, pictures)
    same = next((one for one in alike if one.batch == settings.batch), None)
    memory = same.memory_mb if same else _memory(settings, preset, device)
    known = same or next(iter([*alike, *here]), None)
    if known is None:
        base = _BASES[preset]
        cores = os.cpu_count() or CORES
        unit = base.gpu_seconds if device == "cuda" else base.cpu_seconds * CORES / cores
        return Cost(total * unit, memory, "estimated")
    return Cost(total * known.seconds / known.units, memory, "measured" if same else "scaled")


def _memory(settings: RunSettings, preset: str, device: str) -> float:
    base = _BASES[preset]
    half = settings.precision != "no"
    moved = base.unet_mb * _MOVED.get(settings.trains, 1.0)
    own = moved * (4 if settings.trains != "lora" else 3)  # gradient, two moments, what it was
    needs = method_of(settings.method).needs_with(settings.options)
    teacher = "teacher" in needs and settings.trains != "lora"
    held = base.unet_mb * (2 if teacher else 1) + base.rest_mb + own
    picture = (
        base.picture_mb * (0.6 if half else 1) * (0.3 if settings.gradient_checkpointing else 1)
    )
    return _PROCESS_MB[device] + held + picture * settings.batch


def write_measure(out: Path, measure: Measure) -> None:
    """Notes in a run's folder what it took."""
    atomic_write(out / MEASURED, (json.dumps(asdict(measure), indent=1) + "\n").encode())


def read_measure(out: Path) -> Measure | None:
    """Returns what a run took; None where nothing was noted."""
    path = out / MEASURED
    try:
        return Measure(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def machine() -> dict[str, str]:
    """Says where runs happen: the device, and it in words."""
    import torch

    if torch.cuda.is_available():
        return {"device": "cuda", "words": torch.cuda.get_device_name()}
    return {"device": "cpu", "words": f"{os.cpu_count()} CPU cores, no GPU"}
