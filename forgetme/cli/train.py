"""Commands that make a model forget: train."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgetme.cli.frame import (
    BlobsOption,
    DeviceOption,
    JsonOption,
    Preset,
    PresetOption,
    app,
    note,
    open_store,
    print_json,
    say,
)
from forgetme.cli.patch import concepts_of, worn_of
from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forgetme.stages.models import Models
    from forgetme.train import Item, Patch, RunResult, RunSettings
    from forgetme.train.data import Retained


@app.command()
def train(
    method: Annotated[str, typer.Argument(help="See README's table.", metavar="METHOD")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run and its patch.")],
    concept: Annotated[
        list[str] | None, typer.Option(help="What is to be forgotten; repeat for several.")
    ] = None,
    concepts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More of them, one a line.")
    ] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="LECO's or kohya's, in place of --concept (esd)."),
    ] = None,
    wear: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN[=SCALE]", help="Begin with what a run has forgotten; repeat."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="DIR|URL", help="Learn from a store's accepted samples."),
    ] = None,
    blobs: BlobsOption = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Learn from original/ background/ mask/ of a folder."),
    ] = None,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="The model to change. [default: the preset's]"),
    ] = None,
    ranker: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Who says what pictures show.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures a step.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches added up for a step.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the LoRA matrices.")] = None,
    trains: Annotated[
        str | None,
        typer.Option(help="lora, kv, cross-attention, no-cross-attention, full, text-encoder."),
    ] = None,
    prompt: Annotated[
        str, typer.Option(help='What is made to forget. [default: "a photo of a CONCEPT"]')
    ] = "",
    any_prompt: Annotated[
        bool,
        typer.Option("--any-prompt", help='Let the prompt leave the concept out, as "<sks>" does.'),
    ] = False,
    anchor: Annotated[str, typer.Option(help="The prompt that takes its place.")] = "",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Concept that must stay and is trained on; repeat, nearest first."),
    ] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(help="Concept that must stay though nothing holds it; repeat."),
    ] = None,
    retain: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Captioned pictures to keep, in place of drawn ones."),
    ] = None,
    retain_pictures: Annotated[
        int | None, typer.Option(min=0, help="Pictures of those that the model draws to train on.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="no, bf16 or fp16.")] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="The method's own; repeat.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    probe_every: Annotated[
        int | None, typer.Option(min=0, help="Steps between probes; 0 = only at the ends.")
    ] = None,
    probe_pictures: Annotated[
        int, typer.Option(min=0, help="Pictures of each concept in a probe; 0 = no probes.")
    ] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a model forget a concept; Ctrl-C stops and saves, --resume goes on."""
    from forgetme.train.form import settings_for

    given = {
        "steps": steps, "lr": lr, "batch": batch, "accumulate": accumulate, "rank": rank,
        "trains": trains, "prompt": prompt, "any_prompt": any_prompt, "anchor": anchor,
        "seed": seed, "precision": precision, "probe_every": probe_every,
        "retain_pictures": retain_pictures,
        "gradient_checkpointing": gradient_checkpointing or None,
    }  # fmt: skip
    if resume != (out / "run.json").is_file():
        raise ForgetmeError(
            f"{out} holds no run to go on with; leave --resume out"
            if resume
            else f"{out} holds a run; add --resume to go on with it, or name another folder"
        )
    if store is not None and data is not None:
        raise ForgetmeError("--store and --data both name pictures; give one of them")
    named, own = [*(concept or []), *(concepts_of(concepts) if concepts else [])], {}
    if prompt_file is not None:
        if method != "esd" or named or prompt or anchor:
            raise ForgetmeError("--prompt-file is for esd, in place of --concept and its prompts")
        from forgetme.train.prompt_file import read_prompts

        asked = read_prompts(prompt_file)
        given |= {"prompt": asked.targets[0], "anchor": asked.neutral}
        named, own = list(asked.targets), {"eta": asked.eta}
    if not named:
        raise ForgetmeError("nothing to forget: name it with --concept")
    given["also"] = tuple(named[1:])
    own |= _options(option or [])
    settings = settings_for(method, named[0], preset, given, own, keep, watch)
    with ExitStack() as stack:
        opened = (
            None if store is None else stack.enter_context(open_store(store, blobs, existing=True))
        )
        items = items_from(opened, data, settings.concepts)
        models = _models(preset, device, base, ranker)
        worn = worn_of(wear or [])
        result = _run(models, items, settings, out, probe_pictures, _retained(retain), worn)
    if result.main:  # of several processes, one speaks
        _report(result, out, as_json)


def items_from(store: Any, data: Path | None, concepts: Sequence[str]) -> list[Item]:
    """Returns what a run learns from; nothing where nothing is named, as for ESD."""
    from forgetme.train import items_of_folder, items_of_store

    if store is not None:
        return [item for one in concepts for item in items_of_store(store, one)]
    return [] if data is None else items_of_folder(data)


def _models(preset: Preset, device: str | None, base: str | None, ranker: str | None) -> Models:
    from forgetme.stages.models import load_models

    chosen = {"diffusion": base, "ranker": ranker}
    given = {stage: name for stage, name in chosen.items() if name is not None}
    return load_models(preset, device=device, **given)


def _retained(folder: Path | None) -> list[Retained]:
    from forgetme.train.data import retained_of_folder

    return [] if folder is None else retained_of_folder(folder)


def _run(
    models: Models,
    items: list[Item],
    settings: RunSettings,
    out: Path,
    pictures: int,
    retain: list[Retained],
    wearing: list[tuple[Patch, float]],
) -> RunResult:
    """Trains; SIGINT and SIGTERM finish the step and save."""
    from forgetme.train.errand import run

    asked: list[int] = []
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, _: asked.append(number))
    return run(
        models,
        items,
        settings,
        out,
        pictures=pictures,
        retain=retain,
        wearing=wearing,
        stop=lambda: bool(asked),
        say=note,
    )


def _options(given: list[str]) -> dict[str, float | str]:
    options: dict[str, float | str] = {}
    for one in given:
        name, _, value = one.partition("=")
        if not value:
            raise ForgetmeError(f"--option takes NAME=VALUE, such as eta=1, got {one!r}")
        try:
            options[name] = float(value)
        except ValueError:
            options[name] = value  # a word, which the method knows or refuses
    return options


def _report(result: RunResult, out: Path, as_json: bool) -> None:
    if as_json:
        probes = [one.record() for one in result.probes]
        print_json(
            {"patch": str(result.patch.folder), "step": result.step, "finished": result.finished,
             "probes": probes}
        )  # fmt: skip
        return
    say(f"{result.patch.folder}")
    if not result.finished:
        note(f"stopped after {result.step} steps, saved; go on with --resume --out {out}")


@app.command("push-patch")
def push_patch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    repo: Annotated[
        str, typer.Argument(help="Model on the Hugging Face Hub.", metavar="USER/NAME")
    ],
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show files and card, send nothing.")
    ] = False,
    license: Annotated[  # noqa: A002
        str | None,
        typer.Option(help="For the card, such as mit. [default: the base model's]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Publish what a run made as a model on the Hugging Face Hub, private unless told otherwise.

    The token comes from HF_TOKEN, or from `hf auth login`.
    """
    from huggingface_hub import get_token

    from forgetme.train.publish import push_patch

    report = push_patch(
        run,
        repo,
        token=None if dry_run else get_token(),
        private=not public,
        dry_run=dry_run,
        license=license,
        on_progress=lambda done, total, words: note(f"{done}/{total} {words}"),
    )
    if as_json:
        print_json(asdict(report))
        return
    for name, size in report.files.items():
        say(f"{size:>12,}  {name}")
    if dry_run:
        say(f"\n{report.card}")
        note(f"nothing was sent; a push would go to {report.url}")
    elif not report.changed:
        note(f"nothing to change: {report.url} has it all")
    else:
        note(f"pushed, {'private' if report.private else 'public'}: {report.url}")
