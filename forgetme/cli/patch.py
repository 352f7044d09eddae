"""Commands for what a run made: tell, take elsewhere, put together; and forget at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgetme.cli.frame import (
    DeviceOption,
    JsonOption,
    Preset,
    PresetOption,
    app,
    note,
    print_json,
    say,
)
from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    from forgetme.train import Patch

patch_app = typer.Typer(
    help="What a run made: tell, export, fuse into a model, stack.", no_args_is_help=True
)
app.add_typer(patch_app, name="patch")

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its patch.")]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN[=SCALE]...", help="Runs, each with its scale.")
]
OutOption = Annotated[Path, typer.Option(metavar="PATH", help="Where it goes.")]


@patch_app.command()
def info(run: RunArgument, as_json: JsonOption = False) -> None:
    """Tell what a patch forgets, how it was made, and how large it is."""
    from forgetme.train import read_patch
    from forgetme.train.patch import shapes_of

    patch = read_patch(run)
    record, shapes = patch.record, shapes_of(patch)
    known = ("method", "trains", "base", "prompt", "anchor", "keep", "watch", "scales", "wears")
    told: dict[str, Any] = {
        "forgets": list(patch.concepts),
        **{name: record[name] for name in known if record.get(name)},
        "steps": record.get("steps_done"),
        "weights": len(shapes),
        "bytes": patch.file.stat().st_size,
        "file": str(patch.file),
        "probe": record.get("probe"),
    }
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        said = ", ".join(map(str, value)) if isinstance(value, list) else value
        said = json.dumps(said) if isinstance(said, dict) else said
        say(f"{name:>8}  {said if said is not None else '-'}")


@patch_app.command()
def export(
    run: RunArgument,
    out: OutOption,
    rank: Annotated[int, typer.Option(min=1, help="Of the matrices.")] = 16,
    form: Annotated[
        str, typer.Option("--as", help="lora (diffusers' keys) or kohya (ComfyUI's and A1111's).")
    ] = "lora",
    network: Annotated[str, typer.Option(help="unet, or transformer.")] = "unet",
    as_json: JsonOption = False,
) -> None:
    """Write a patch as one LoRA file for other programs, and what that costs."""
    from forgetme.train import read_patch
    from forgetme.train.carry import export_lora

    forms = {"lora": "diffusers", "kohya": "kohya"}
    if form not in forms:
        raise ForgetmeError(f"--as is one of {', '.join(forms)}, got {form!r}")
    error = export_lora(read_patch(run), out, rank=rank, form=forms[form], network=network)
    if as_json:
        print_json({"file": str(out), "rank": rank, "error": error})
        return
    say(str(out))
    note(f"{100 * error:.1f} % of the patch is lost at rank {rank}; a higher --rank loses less")


@patch_app.command()
def prompts(run: RunArgument, out: OutOption) -> None:
    """Write a run of esd as the prompt file (TOML) of LECO and kohya's trainer."""
    from forgetme.train import RunSettings, read_patch
    from forgetme.train.prompt_file import write_prompts

    record = read_patch(run).record
    if record["method"] != "esd":
        raise ForgetmeError(
            f"a prompt file says what esd does; {run} was made by {record['method']}"
        )
    if out.exists():
        raise ForgetmeError(f"{out} is there already; name another file")
    names = RunSettings.__dataclass_fields__
    write_prompts(out, RunSettings.of({k: v for k, v in record.items() if k in names}))
    say(str(out))


@patch_app.command("m-score")
def measured(
    run: RunArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The concept's pictures. [default: a set of drawn concepts]"
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Of each concept.")] = 6,
    steps: Annotated[int, typer.Option(min=1, help="Of each inversion.")] = 300,
    seeds: Annotated[int, typer.Option(min=1, help="Inversions of each concept.")] = 1,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    base: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="The model. [default: the preset's]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether a fresh inversion of a concept's pictures lands at its words yet: M-Score.

    Over a set of drawn individuals, objects and styles; lower after is better for what was
    forgotten, and as before for all else. A loss as low as before: it can be drawn yet.
    """
    from forgetme.train import read_patch
    from forgetme.train.m_score import pictured, score_set

    patch, how = read_patch(run), {"pictures": pictures, "steps": steps, "seeds": range(seeds)}
    given = {} if data is None else {"concepts": [pictured(data, patch)]}
    pipe, found = pipe_of(preset, device, base), []
    if not as_json:
        say(f"{'':<6} {'':<20} {'before':>7} {'after':>7} {'loss':>7} {'after':>7}")
    for one, its in score_set(pipe, patch, **given, **how):
        found.append({"group": one.group, "concept": one.name, **asdict(its)})
        if not as_json:
            shown = (its.before, its.after, its.loss_before, its.loss_after)
            say(f"{one.group:<6} {one.name:<20} " + " ".join(f"{value:7.3f}" for value in shown))
    if as_json:
        print_json({"forgets": list(patch.concepts), "scores": found})


@patch_app.command()
def fuse(
    runs: RunsArgument,
    out: OutOption,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    base: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="The model. [default: the preset's]")
    ] = None,
) -> None:
    """Write a whole model's folder that has forgotten, for any program that opens one."""
    from forgetme.train.carry import fuse

    worn = worn_of(runs)
    fuse(pipe_of(preset, device, base), worn, out)
    say(str(out))


@patch_app.command()
def stack(runs: RunsArgument, out: OutOption) -> None:
    """Put several patches together as one."""
    from forgetme.train.carry import stack

    say(str(stack(worn_of(runs), out).folder))


def worn_of(runs: list[str]) -> list[tuple[Patch, float]]:
    """Reads RUN or RUN=SCALE."""
    from forgetme.train import read_patch

    found = []
    for one in runs:
        place, sign, words = one.rpartition("=")
        named = bool(sign) and not Path(one).exists()  # a folder's name may hold a sign, too
        try:
            scale = float(words) if named else 1.0
        except ValueError as error:
            raise ForgetmeError(
                f"expected RUN or RUN=SCALE, such as runs/cat=0.7, got {one!r}"
            ) from error
        found.append((read_patch(place if named else one), scale))
    return found


def pipe_of(preset: Preset, device: str | None, base: str | None) -> Any:
    """Opens the model that patches are for."""
    from forgetme.stages.models import load_models

    given = {} if base is None else {"diffusion": base}
    return load_models(preset, device=device, **given).diffusion.pipe


@app.command()
def forget(
    concepts: Annotated[
        list[str] | None, typer.Argument(metavar="CONCEPT...", help="What is to be forgotten.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run and its patch.")],
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More concepts, one a line.")
    ] = None,
    method: Annotated[str, typer.Option(help="A closed form: uce, rece or speed.")] = "uce",
    anchor: Annotated[str, typer.Option(help="The prompt that takes their place.")] = "",
    keep: Annotated[
        list[str] | None, typer.Option(help="Concept that must stay; repeat, nearest first.")
    ] = None,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    base: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="The model. [default: the preset's]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Forget any number of concepts at once, in seconds and without pictures."""
    from forgetme.stages.models import load_models
    from forgetme.train import method_of, train
    from forgetme.train.form import settings_for

    named = [*(concepts or []), *(concepts_of(file) if file else [])]
    if not named:
        raise ForgetmeError("nothing to forget: name concepts, or a --file with one a line")
    if method_of(method).solve is None:
        raise ForgetmeError(f"{method} learns step by step; use: python -m forgetme train {method}")
    settings = settings_for(
        method, named[0], preset, {"anchor": anchor, "also": tuple(named[1:])}, {}, keep
    )
    given = {} if base is None else {"diffusion": base}
    models = load_models(preset, device=device, **given)
    result = train(models.diffusion.pipe, [], settings, out, base=models.diffusion.made_by)
    if as_json:
        print_json({"patch": str(result.patch.folder), "forgets": list(result.patch.concepts)})
        return
    say(str(result.patch.folder))


def concepts_of(file: Path) -> list[str]:
    """Reads concepts, one a line; what follows a # is a note."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ForgetmeError(
            f"{file} cannot be read ({error}); expected a concept a line"
        ) from error
    return [name for line in lines if (name := line.partition("#")[0].strip())]
