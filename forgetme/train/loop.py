"""The one loop: seed, latents, weights, optimizer, step, log, probe, checkpoint, stop, resume."""

from __future__ import annotations

import contextlib
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from forgetme import __version__
from forgetme.errors import ForgetmeError
from forgetme.record.concept import same
from forgetme.train import checkpoint
from forgetme.train.batches import Latents, draw_batch, make_latents
from forgetme.train.carry import add
from forgetme.train.context import Context
from forgetme.train.data import Item, Retained, fingerprint, fingerprint_of_retained
from forgetme.train.disk import plain_words
from forgetme.train.folder import RunFolder
from forgetme.train.latents import FOLDER
from forgetme.train.method import Method
from forgetme.train.methods import method_of
from forgetme.train.model import Base, base_of
from forgetme.train.notes import notes_of
from forgetme.train.params import choose
from forgetme.train.patch import Patch, read_patch, write_delta, write_lora
from forgetme.train.probe import Probe
from forgetme.train.processes import any_asked, autocast, halve_frozen, join, rows_of
from forgetme.train.quick import quick
from forgetme.train.settings import RunSettings
from forgetme.train.watch import Probing, Watch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from diffusers import DiffusionPipeline

OnStep = Callable[[int, int, dict[str, float]], None]  # steps done, steps in all, values


@dataclass(frozen=True)
class RunResult:
    """What a call of `train` came to.

    Attributes:
        step: steps done in all.
        finished: whether that is all of them.
        patch: the result; of a stopped run, what was reached.
        probes: all probes of this call.
        main: whether this process wrote the files; of several processes only one does.
    """

    step: int
    finished: bool
    patch: Patch
    probes: tuple[Probe, ...]
    main: bool


def check(settings: RunSettings, items: list[Item], retain: Sequence[Retained] = ()) -> Method:
    """Refuses what cannot work, with the reason; returns the method."""
    method = method_of(settings.method)
    if settings.trains not in method.trains:
        raise ForgetmeError(
            f"{method.name} cannot train {settings.trains}; it can: {', '.join(method.trains)}"
        )
    try:
        needs = method.needs_with(settings.options)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error
    if needs & {"original", "background", "mask"}:
        _check_pictures(method, settings, items)
    pairs = ((one, kept) for one in settings.concepts for kept in settings.keep)
    for one, kept in pairs:
        if same(one, kept):
            raise ForgetmeError(
                f"{one!r} cannot be forgotten and {kept!r} kept: they are one concept in "
                "two spellings; take it out of --keep"
            )
    for watched in settings.watch:
        if any(same(watched, one) for one in (*settings.concepts, *settings.keep)):
            raise ForgetmeError(
                f"{watched!r} is forgotten or kept under another spelling, so it cannot be watched "
                "apart; take it out of --watch"
            )
    anchor = _spelled(settings.anchor_prompt)
    if "anchor" in needs and anchor in map(_spelled, settings.target_prompts):
        raise ForgetmeError(_own_anchor(settings))
    if settings.steps < 1 and method.solve is None:
        raise ForgetmeError(f"{method.name} learns step by step: steps must be at least 1")
    if settings.steps and method.loss is None:
        raise ForgetmeError(f"{method.name} is solved at once: steps must be 0")
    if method.check is not None:
        method.check(settings)
    drawn = bool(settings.keep and settings.retain_pictures)
    if "retain" in needs and not (drawn or retain):
        raise ForgetmeError(
            f"{method.name} needs something that must stay, else it forgets everything: "
            "name concepts with --keep and a number with --retain-pictures, or a folder of "
            "captioned pictures with --retain"
        )
    if not (settings.any_prompt or settings.prompt_names_concept):
        raise ForgetmeError(
            f"the prompt {settings.target_prompt!r} does not name {settings.concept!r}, so "
            "something else would be forgotten; put the word in, or say --any-prompt where the "
            "prompt is a token that means it"
        )
    return method


def _check_pictures(method: Method, settings: RunSettings, items: list[Item]) -> None:
    """Refuses concepts without pictures, and pictures of none of several concepts."""
    several = bool(settings.also)
    for one in settings.concepts:
        if not any(not several or same(one, item.concept or one) for item in items):
            raise ForgetmeError(
                f"{method.name} learns from pictures of {one}; name a store or a folder"
            )
    for item in items if several else ():
        if not any(item.concept and same(one, item.concept) for one in settings.concepts):
            raise ForgetmeError(
                f"{item.name} is a picture of {item.concept or 'no concept'}, not of "
                f"{', '.join(settings.concepts)}; say so in the dataset's metadata, or leave it out"
            )


def _spelled(prompt: str) -> str:
    return " ".join(prompt.casefold().split())


def _own_anchor(settings: RunSettings) -> str:
    return (
        f"the anchor prompt {settings.anchor_prompt!r} is the prompt {settings.target_prompt!r} "
        "itself, so there would be nothing to learn; name another concept with --anchor or --keep"
    )


def _refuse_own_anchor(base: Base, settings: RunSettings) -> None:
    """Refuses an anchor that this model reads as the prompt that is to be forgotten."""
    anchor, target = base.tokens([settings.anchor_prompt, settings.target_prompt])
    if anchor.equal(target):
        raise ForgetmeError(_own_anchor(settings))


def train(
    pipe: DiffusionPipeline,
    items: list[Item],
    settings: RunSettings,
    out: Path,
    *,
    base: str = "",
    retain: Sequence[Retained] = (),
    probing: Probing | None = None,
    wearing: Sequence[tuple[Patch, float]] = (),
    stop: Callable[[], bool] = lambda: False,
    on_step: OnStep = lambda *_: None,
) -> RunResult:
    """Makes a pipeline forget a concept, and writes the patch to `out / "patch"`.

    A run that was stopped or killed goes on from `out` to the same weights as an uninterrupted
    one: the randomness of step *i* depends on the seed and *i* alone. Started by
    `accelerate launch` or `torchrun`, all processes share each batch and one of them writes.

    Args:
        pipe: the pipeline; its U-Net is changed in place.
        items: the concept's quadruples; may be empty for methods that need none.
        settings: what to do.
        out: folder of the run: log.jsonl, checkpoint, latents, probe pictures, patch.
        base: name of the base model, recorded.
        retain: pictures of what must stay with their captions; none = the model draws them.
        probing: scores the pipeline at a step; None = no probes.
        wearing: patches and their scales that the model begins with: what they forgot stays
            forgotten, and the result is worn beside them.
        stop: asked after every step; true ends the run there, saved.
        on_step: told of every step, in the process that writes.

    Raises:
        ForgetmeError: the settings do not fit together; `out` is of another run or damaged; the
            loss is no number; no memory is left. The last checkpoint is intact.
        DiskFullError: no room is left; likewise.
    """
    method = check(settings, items, retain)
    model = base_of(pipe)
    if model.family not in method.bases:
        raise ForgetmeError(
            f"{method.name} is not defined for {type(pipe).__name__}: it is for "
            f"{', '.join(method.bases)}; take another method or another --base"
        )
    needs = method.needs_with(settings.options)
    if "anchor" in needs:
        _refuse_own_anchor(model, settings)
    key = fingerprint(items) if items else "none"
    data_record = {"base": base, "data": key, "pictures": len(items)}
    if retain:
        data_record["retain_data"] = fingerprint_of_retained(retain)
    if wearing:
        data_record["wears"] = [[patch.name, patch.digest, scale] for patch, scale in wearing]
    run = RunFolder(out, {**settings.record(), **data_record})
    with plain_words(out, settings):
        accelerator = join(pipe, settings)
        notes = notes_of(model.core)
        for patch, scale in wearing:
            add(pipe, patch, scale)
        accelerator.wait_for_everyone()  # all have looked at the folder before one writes to it
        watch = Watch(run, pipe, settings, probing, accelerator.is_main_process)
        with run.beginning():
            watch.begin(checkpoint.steps(out), len(items))
            # the others read what the main process made
            with accelerator.main_process_first(), quick(model.core):
                data = make_latents(model, needs, items, settings, out / FOLDER, key, retain)
            with quick(model.core):
                watch.probe(0)
                state = _state(model, method, settings, data, accelerator)
                before = {
                    n: p.detach().clone() for n, p in state.chosen.items() if "lora_" not in n
                }
                _set_up(state)
        with quick(model.core):
            done = checkpoint.load(out, state.chosen, state.optimizer, state.scaler)
            last = done >= settings.steps
            while not last:
                values = _step(state, done, watch)
                done += 1
                watch.step(done, values)
                if watch.main:
                    on_step(done, settings.steps, values)
                last = done == settings.steps or any_asked(accelerator, stop())
                if watch.main and (last or _due(settings.save_every, done)):
                    checkpoint.save(out, done, state.chosen, state.optimizer, state.scaler)
                if _due(settings.probe_every, done):
                    watch.probe(done)
            watch.probe(max(done, 1))  # unless that was the last step's; without steps, the edit's
        if watch.main:
            made = {**run.record, **_versions(), "steps_done": done, "base_notes": notes}
            made["probe"], made["scales"] = watch.last_probe(), list(method.scales)
            if settings.trains == "lora":
                write_lora(out / "patch", pipe, made)
            else:
                delta = {n: state.chosen[n].detach() - value for n, value in before.items()}
                write_delta(out / "patch", delta, made)
        accelerator.wait_for_everyone()
    return RunResult(done, done >= settings.steps, read_patch(out), tuple(watch.probes), watch.main)


def _due(every: int, done: int) -> bool:
    return every > 0 and done % every == 0


@dataclass(frozen=True)
class _State:
    """What every step works with."""

    accelerator: Accelerator
    context: Context
    method: Method
    settings: RunSettings
    data: Latents
    chosen: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Adam
    scaler: torch.amp.GradScaler  # of the loss; it does something with "fp16" only


def _state(
    base: Base,
    method: Method,
    settings: RunSettings,
    data: Latents,
    accelerator: Accelerator,
) -> _State:
    """Freezes the model but for the weights that move, and puts it behind all processes."""
    if settings.trains == "text-encoder" and accelerator.num_processes > 1:
        raise ForgetmeError(
            "the text encoder is trained by one process; start it without a launcher"
        )
    context = method.context(base, settings)  # copies the teacher: before anything changes
    context.chosen = chosen = choose(base, settings)
    halve_frozen(base.core, settings)
    if settings.gradient_checkpointing:
        base.core.enable_gradient_checkpointing()
    optimizer = torch.optim.Adam(chosen.values(), lr=settings.lr)
    scaler = torch.amp.GradScaler(base.device.type, enabled=settings.precision == "fp16")
    context.core = accelerator.prepare(base.core)
    return _State(accelerator, context, method, settings, data, chosen, optimizer, scaler)


def _set_up(state: _State) -> None:
    """Lets the method look at model and data, or solve for the weights, before the first step."""
    method, base, settings = state.method, state.context.base, state.settings
    shared, state.context.core = state.context.core, base.core  # every process sees the same here
    with torch.random.fork_rng(devices=[]), autocast(base.device, settings):
        torch.manual_seed(settings.seed)
        if method.setup is not None:
            method.setup(state.context, state.data)
        if method.solve is not None:
            for name, value in _solved(state).items():
                state.chosen[name].data.copy_(value)
    state.context.core = shared


def _solved(state: _State) -> Mapping[str, torch.Tensor]:
    """What a closed form finds; refuses what are no numbers."""
    method = state.method
    try:
        found = method.solve(state.context, state.data)
        if not all(value.isfinite().all() for value in found.values()):
            raise torch.linalg.LinAlgError("the weights would be no numbers")
    except torch.linalg.LinAlgError as error:
        raise ForgetmeError(
            f"{method.name} finds no weights: with these options its system is singular "
            f"({error}); leave --option out, or change it"
        ) from error
    return found


def _step(state: _State, step: int, watch: Watch) -> dict[str, float]:
    """One optimizer step; returns the loss and its terms, means over batches and processes."""
    accelerator, settings, chosen = state.accelerator, state.settings, state.chosen
    context, method = state.context, state.method
    share = rows_of(accelerator, settings.batch)
    values: dict[str, float] = {}
    state.optimizer.zero_grad()
    for part in range(settings.accumulate):
        seed = (settings.seed * 1_000_003 + step) * 64 + part
        torch.manual_seed(seed)
        batch = draw_batch(state.data, settings, seed, context.base, share)
        with _only_last(state, part):
            with autocast(context.base.device, settings):
                terms = method.loss(context, batch)
                loss = sum(terms.values())
            named = {"loss": loss, **terms}
            told = torch.stack([value.detach().float() for value in named.values()])
            told = accelerator.reduce(told, "mean").tolist()
            if not math.isfinite(told[0]):
                raise watch.diverged(step, "loss", told[0])
            state.scaler.scale(loss / settings.accumulate).backward()
        for name, value in zip(named, told, strict=True):
            values[name] = values.get(name, 0.0) + value / settings.accumulate
    state.scaler.unscale_(state.optimizer)
    for name, factor in context.mask.items():
        if chosen[name].grad is not None:
            chosen[name].grad.mul_(factor)
    norm = torch.nn.utils.clip_grad_norm_(chosen.values(), settings.clip or math.inf).item()
    if not math.isfinite(norm) and not state.scaler.is_enabled():  # else: this step is left out
        raise watch.diverged(step, "gradient", norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return {name: round(value, 6) for name, value in values.items()}


def _only_last(state: _State, part: int) -> contextlib.AbstractContextManager[None]:
    """Gradients are averaged over the processes once a step, with the last of its batches."""
    if part + 1 == state.settings.accumulate:
        return contextlib.nullcontext()
    return state.accelerator.no_sync(state.context.core)


def _versions() -> dict[str, Any]:
    return {
        "versions": {
            "forgetme": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
    }
