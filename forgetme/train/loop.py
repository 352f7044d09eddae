"""The one loop: seed, latents, weights, optimizer, step, log, probe, checkpoint, stop, resume."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from forgetme import __version__
from forgetme.errors import ForgetmeError
from forgetme.train import checkpoint
from forgetme.train.context import Context
from forgetme.train.data import Item, fingerprint
from forgetme.train.latents import layer_latents, retain_set
from forgetme.train.method import Batch, Method
from forgetme.train.methods import method_of
from forgetme.train.params import choose
from forgetme.train.patch import Patch, write_delta, write_lora
from forgetme.train.probe import Probe
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

log = logging.getLogger(__name__)

Probing = Callable[["StableDiffusionPipeline", int], Probe]
OnStep = Callable[[int, int, dict[str, float]], None]  # steps done, steps in all, values


@dataclass(frozen=True)
class RunResult:
    """What a call of `train` came to.

    Attributes:
        step: steps done in all.
        finished: whether that is all of them.
        patch: the result; of a stopped run, what was reached.
        probes: all probes of this call.
    """

    step: int
    finished: bool
    patch: Patch
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class _Data:
    """Latents on the CPU; an empty tensor where the method needs none."""

    original: torch.Tensor
    background: torch.Tensor
    retain: torch.Tensor
    prompts: list[str]


def check(settings: RunSettings, items: list[Item]) -> Method:
    """Refuses what cannot work, with the reason; returns the method."""
    method = method_of(settings.method)
    if settings.trains not in method.trains:
        raise ForgetmeError(
            f"{method.name} cannot train {settings.trains}; it can: {', '.join(method.trains)}"
        )
    unknown = set(settings.options) - set(method.options)
    if unknown:
        raise ForgetmeError(
            f"{method.name} has no option {', '.join(sorted(unknown))}; "
            f"it has: {', '.join(method.options) or 'none'}"
        )
    if method.needs & {"original", "background"} and not items:
        raise ForgetmeError(
            f"{method.name} learns from pictures of {settings.concept}; name a store or a folder"
        )
    weight = settings.options.get("retain", method.options.get("retain", (0.0, ""))[0])
    if ("retain" in method.needs or weight) and not (settings.keep and settings.retain_pictures):
        raise ForgetmeError(
            f"{method.name} needs something that must stay, else it forgets everything: "
            "name concepts with --keep and a number with --retain-pictures"
        )
    return method


def train(
    pipe: StableDiffusionPipeline,
    items: list[Item],
    settings: RunSettings,
    out: Path,
    *,
    base: str = "",
    probing: Probing | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_step: OnStep = lambda *_: None,
) -> RunResult:
    """Makes a pipeline forget a concept, and writes the patch to `out / "patch"`.

    A run that was stopped goes on from `out` to the same weights as an uninterrupted one: the
    randomness of step *i* depends on the seed and *i* alone.

    Args:
        pipe: the pipeline; its U-Net is changed in place.
        items: the concept's quadruples; may be empty for methods that need none.
        settings: what to do.
        out: folder of the run: log.jsonl, checkpoint, latents, probe pictures, patch.
        base: name of the base model, recorded.
        probing: scores the pipeline at a step; None = no probes.
        stop: asked after every step; true ends the run there, saved.
        on_step: told of every step.

    Raises:
        ForgetmeError: the settings do not fit together, or `out` is of another run.
        FloatingPointError: the loss is not finite; the last checkpoint is intact.
    """
    method = check(settings, items)
    out.mkdir(parents=True, exist_ok=True)
    data_key = fingerprint(items) if items else "none"
    record = {**settings.record(), "base": base, "data": data_key}
    _claim(out, record)
    pipe.set_progress_bar_config(disable=True)
    data = _data(pipe, method, items, settings, out, data_key)
    first_probe = [] if probing is None or (out / checkpoint.NAME).is_file() else [probing(pipe, 0)]
    context = Context(pipe, method, settings)  # copies the teacher: before anything changes
    chosen = choose(pipe.unet, settings)
    before = {} if settings.trains == "lora" else {n: p.detach().clone() for n, p in chosen.items()}
    if settings.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    optimizer = torch.optim.Adam(chosen.values(), lr=settings.lr)
    first = checkpoint.load(out, chosen, optimizer)
    probes, step, started = list(first_probe), first, time.monotonic()
    for one in first_probe:
        _write(out, {"step": 0, "probe": one.record()})
    for step in range(first, settings.steps):
        values = _step(context, method, settings, data, optimizer, chosen, step)
        done = step + 1
        _write(out, {"step": done, "seconds": round(time.monotonic() - started, 2), **values})
        on_step(done, settings.steps, values)
        last = done == settings.steps or stop()
        if last or (settings.save_every and done % settings.save_every == 0):
            checkpoint.save(out, done, chosen, optimizer)
        if probing and (last or (settings.probe_every and done % settings.probe_every == 0)):
            probes.append(_probe(pipe, probing, done))
            _write(out, {"step": done, "probe": probes[-1].record()})
        if last:
            break
    done = min(step + 1, settings.steps) if first < settings.steps else first
    made = {
        **record,
        "steps_done": done,
        "versions": {
            "forgetme": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "probe": probes[-1].record() if probes else None,
    }
    if settings.trains == "lora":
        patch = write_lora(out / "patch", pipe.unet, made)
    else:
        patch = write_delta(out / "patch", before, chosen, made)
    return RunResult(done, done == settings.steps, patch, tuple(probes))


def _step(
    context: Context,
    method: Method,
    settings: RunSettings,
    data: _Data,
    optimizer: torch.optim.Adam,
    chosen: dict[str, torch.nn.Parameter],
    step: int,
) -> dict[str, float]:
    """One optimizer step; returns the loss and its terms, means over the accumulated batches."""
    device = next(iter(chosen.values())).device
    values: dict[str, float] = {}
    optimizer.zero_grad()
    for part in range(settings.accumulate):
        seed = (settings.seed * 1_000_003 + step) * 64 + part
        torch.manual_seed(seed)
        batch = _batch(data, settings, seed, device, context)
        with torch.autocast(device.type, torch.bfloat16, settings.precision == "bf16"):
            terms = method.loss(context, batch)
            loss = sum(terms.values())
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}; lower the rate")
        (loss / settings.accumulate).backward()
        for name, value in {"loss": loss, **terms}.items():
            values[name] = values.get(name, 0.0) + value.item() / settings.accumulate
    if settings.clip:
        torch.nn.utils.clip_grad_norm_(chosen.values(), settings.clip)
    optimizer.step()
    return {name: round(value, 6) for name, value in values.items()}


def _batch(
    data: _Data, settings: RunSettings, seed: int, device: torch.device, context: Context
) -> Batch:
    """Draws one batch; everything in it depends on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    size, times = settings.batch, context.scheduler.config.num_train_timesteps

    def pick(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        return z[rows].to(device) if len(z) else None

    count = max(len(data.original), len(data.background), 1)
    rows = torch.randint(count, (size,), generator=generator)
    retain_rows = torch.randint(max(1, len(data.retain)), (size,), generator=generator)
    t, retain_t = torch.randint(times, (2, size), generator=generator).to(device)
    eps, retain_eps = torch.randn((2, size, *context.latent_shape), generator=generator).to(device)
    return Batch(
        original=pick(data.original, rows),
        background=pick(data.background, rows),
        t=t,
        eps=eps,
        retain=pick(data.retain, retain_rows),
        retain_prompts=[data.prompts[int(i)] for i in retain_rows] if data.prompts else [],
        retain_t=retain_t,
        retain_eps=retain_eps,
        generator=generator,
    )


def _data(
    pipe: StableDiffusionPipeline,
    method: Method,
    items: list[Item],
    settings: RunSettings,
    out: Path,
    key: str,
) -> _Data:
    none = torch.zeros(0)
    cache = out / "latents"
    original = background = none
    if "original" in method.needs:
        original = layer_latents(pipe, items, "original", cache, key)
    if "background" in method.needs:
        background = layer_latents(pipe, items, "background", cache, key)
    return _Data(original, background, *retain_set(pipe, settings, cache))


def _probe(pipe: StableDiffusionPipeline, probing: Probing, step: int) -> Probe:
    pipe.unet.eval()
    with torch.random.fork_rng(devices=[]):
        return probing(pipe, step)


def _claim(out: Path, record: dict[str, Any]) -> None:
    """Marks a folder as this run's; a folder of another run is refused."""
    path = out / "run.json"
    record = json.loads(json.dumps(record))
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key in record if known.get(key) != record[key] and key != "steps"]
        if other:
            raise ForgetmeError(
                f"{out} holds a run with other {', '.join(other)}; name another --out folder"
            )
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write(out: Path, row: dict[str, Any]) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
