"""Command that draws pictures for curation: generate."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from forgetme.cli.engine import (
    AddressOption,
    EngineOption,
    ShardsOption,
    WorkersOption,
    cluster_of,
)
from forgetme.cli.frame import (
    STOPPED,
    BlobsOption,
    DeviceOption,
    JsonOption,
    Preset,
    PresetOption,
    StoreOption,
    app,
    duration,
    note,
    open_store,
    print_json,
    progress,
    say,
)
from forgetme.errors import ForgetmeError


@app.command()
def generate(
    concept: Annotated[str, typer.Option(help="What the pictures show, for example cat.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures, those of earlier calls included.")],
    store: StoreOption,
    blobs: BlobsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the prompts and the pictures.")] = 0,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One a line. [default: a grammar's]")
    ] = None,
    writer: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Writes the prompts, such as gpt-4o; needs a key."),
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="Requests to the writer at most.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens spent on the writer at most.")
    ] = None,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="The model that draws. [default: the preset's]"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 25,
    guidance: Annotated[float, typer.Option(min=0, help="Classifier-free guidance.")] = 7.5,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 8,
    engine: EngineOption = "none",
    address: AddressOption = None,
    workers: WorkersOption = None,
    shards: ShardsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures of a concept from prompts into a store; a second call adds what is missing."""
    from forgetme.curate.generate import DrawSettings
    from forgetme.curate.generate import generate as draw_all
    from forgetme.stages.models import load_models

    if prompts is not None and writer is not None:
        raise ForgetmeError("--prompts and --writer both give prompts; name one of them")
    settings = DrawSettings(seed, steps, guidance, batch)
    cluster = cluster_of(engine, address, workers, shards, preset=preset, device=device)
    load = partial(load_models, preset, device=device, **({"diffusion": base} if base else {}))
    try:
        models = load()
    except ValueError as error:  # an unknown name; the message lists the known ones
        raise typer.BadParameter(str(error)) from error
    lines: Iterable[str]
    with open_store(store, blobs) as opened:
        if writer is not None:
            place = opened.folder / "prompts"
            limits = (max_calls, max_tokens)
            lines = _written(place, concept, count, writer, limits, seed)
        else:
            lines = _lines(concept, count, prompts, preset if base is None else "full", seed)
        with progress(count) as on_progress:
            draw_with = None
            if cluster is not None:
                from forgetme.curate.on_ray import draw_on_ray

                draw_with = draw_on_ray(opened, concept, load, cluster, settings, on_progress)
            try:
                report = draw_all(
                    opened,
                    concept,
                    lines,
                    count,
                    models.diffusion,
                    settings=settings,
                    written_by=writer or (prompts.name if prompts else "grammar"),
                    on_progress=on_progress,
                    draw_with=draw_with,
                )
            except KeyboardInterrupt:
                note("stopped; what was drawn is saved; run again to go on")
                raise typer.Exit(STOPPED) from None
    if as_json:
        print_json(asdict(report))
        return
    alike = f", {report.alike} like a picture that was there" if report.alike else ""
    say(f"{report.drawn} pictures drawn, {report.there_already} were there already{alike}")
    page = f"python -m forgetme serve --store {store}"
    note(f"{duration(report.seconds)}; curate them on the page: {page}")


def _lines(concept: str, count: int, file: Path | None, preset: Preset, seed: int) -> Iterable[str]:
    """Gives the prompts of a file, again and again where it has too few, or of a grammar."""
    from forgetme.curate.prompts import drawn_grammar, grammar, prompts_of_file

    if file is not None:
        found = prompts_of_file(file)
        return (found[i % len(found)] for i in range(count))
    chosen = (drawn_grammar if preset == "tiny" else grammar)(concept)
    if chosen.size < count:
        note(f"the grammar has {chosen.size:,} prompts of {concept}; some come again")
    return islice(chosen.prompts(seed), count)


def _written(
    folder: Path,
    concept: str,
    count: int,
    model: str,
    limits: tuple[int | None, int | None],
    seed: int,
) -> Iterable[str]:
    """Has a language model write the prompts; those that are paid for are kept in a file."""
    from forgetme.curate.prompts import WrittenPrompts
    from forgetme.stages.chat import AskSettings, ChatClient

    client = ChatClient(
        model.removeprefix("openai/"),
        api_key=os.environ.get("OPENAI_API_KEY"),
        base_url=os.environ.get("OPENAI_BASE_URL"),
        settings=AskSettings(timeout_s=120.0, max_calls=limits[0], max_tokens=limits[1]),
    )
    asked = f"{concept} {seed} {model}"
    words = re.sub(r"[^a-z0-9]+", "-", asked.lower()).strip("-")[:80]
    sha = hashlib.sha256(asked.encode()).hexdigest()[:8]  # words of two concepts may be alike
    writer = WrittenPrompts(folder / f"{words}-{sha}.txt", concept, client)
    return writer.want(count, lambda done: note(f"{done}/{count} prompts written"))
