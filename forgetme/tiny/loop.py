"""The one training loop of the bundled models: seeded, resumable, CPU or GPU."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

logger = logging.getLogger(__name__)

LossFn = Callable[[int, np.random.Generator, float], tuple[torch.Tensor, dict[str, float]]]


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast one model trains.

    Attributes:
        steps: optimizer steps of the whole schedule.
        batch: images a step.
        lr: peak learning rate, after `warmup` steps, decayed by a cosine to a tenth.
        weight_decay: AdamW's, on tensors of two dimensions and more.
        ema: decay of the weight average that is shipped.
        seed: of the initial weights, the order of data and every augmentation.
        save_every: seconds between checkpoints.
        device: "cpu" or "cuda".
    """

    steps: int = 1000
    batch: int = 8
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 100
    ema: float = 0.998
    seed: int = 0
    save_every: float = 120.0
    device: str = "cpu"


def autocast(device: str) -> torch.autocast:
    """bfloat16 mixed precision on the device: master weights stay float32."""
    return torch.autocast(device, dtype=torch.bfloat16)


def fit(
    model: torch.nn.Module,
    loss_fn: LossFn,
    settings: TrainSettings,
    folder: Path,
    *,
    minutes: float | None = None,
    slower: Mapping[str, float] = MappingProxyType({}),
) -> torch.nn.Module:
    """Trains `model` in place and returns its weight average, resuming from `folder`.

    The randomness of step *i* depends on `(seed, i)` alone, so a stopped and resumed run sees the
    same data as an uninterrupted one.

    Args:
        model: the network; moved to `settings.device`.
        loss_fn: `loss_fn(step, rng, done)` with `done` the share of the schedule in [0, 1); gives
            the loss and values to log.
        settings: the schedule.
        folder: holds `checkpoint.pt` and `log.jsonl`; an existing checkpoint is continued.
        minutes: stop after this much time, checkpoint saved; None = to the end.
        slower: parameters whose name begins with a key learn at this share of the rate.

    Returns:
        A copy of the model with averaged weights, in eval mode.

    Raises:
        FloatingPointError: the loss is not finite; the last checkpoint is intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    model.to(settings.device).train()
    groups = _groups(model, settings, slower)
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.0)
    average = torch.optim.swa_utils.AveragedModel(
        model,
        multi_avg_fn=_ema(settings.ema),
        use_buffers=True,
    )
    first, spent = 0, 0.0
    if path.exists():
        state = torch.load(path, map_location=settings.device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first, spent = state["step"], state["seconds"]

    def save(step: int) -> None:
        state = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": spent + time.monotonic() - started,
        }
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    started = saved = time.monotonic()
    step = first - 1
    for step in range(first, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * rate(step, settings)
        torch.manual_seed(settings.seed * 1_000_003 + step)
        rng = np.random.default_rng((settings.seed, step))
        loss, values = loss_fn(step, rng, step / settings.steps)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is {loss.item()} at step {step}; lower the rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        if step % 20 == 0:
            seconds = round(spent + time.monotonic() - started, 1)
            row = {"step": step, "seconds": seconds, "loss": round(loss.item(), 5), **values}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            logger.info("%s", row)
        if time.monotonic() - saved > settings.save_every:
            save(step + 1)
            saved = time.monotonic()
        if minutes is not None and time.monotonic() - started > minutes * 60:
            break
    if first < settings.steps:
        save(step + 1)
    seconds = spent + time.monotonic() - started
    record = {"settings": asdict(settings), "step": step + 1, "seconds": seconds}
    (folder / "run.json").write_text(json.dumps(record, indent=1))
    return average.module.eval()


def _groups(
    model: torch.nn.Module, settings: TrainSettings, slower: Mapping[str, float]
) -> list[dict]:
    """The optimizer's groups: weight decay for matrices only, `share` of the learning rate."""
    groups: dict[tuple[bool, float], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = next((s for start, s in slower.items() if name.startswith(start)), 1.0)
            groups.setdefault((parameter.ndim >= 2, share), []).append(parameter)
    return [
        {"params": some, "weight_decay": settings.weight_decay * matrix, "share": share}
        for (matrix, share), some in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def _ema(decay: float) -> Callable:
    """Exponential average whose memory grows with the run, so that first weights fade at once."""

    def update(average: Sequence, current: Sequence, count: torch.Tensor) -> None:
        share = 1 - min(decay, (1 + float(count)) / (10 + float(count)))
        for old, new in zip(average, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, share)
            else:
                old.copy_(new)

    return update


def rate(step: int, settings: TrainSettings) -> float:
    """Learning rate at a step: linear warm-up, then a cosine down to a tenth."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done))))
