"""Command on fills: refine."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from forgetme.cli.frame import (
    STOPPED,
    BlobsOption,
    DeviceOption,
    JsonOption,
    PresetOption,
    StoreOption,
    app,
    note,
    open_store,
    print_json,
    say,
)
from forgetme.errors import ForgetmeError
from forgetme.record.settings import Settings

if TYPE_CHECKING:
    from forgetme.store import SampleRow

DEFAULTS = Settings().fill


@app.command()
def refine(
    store: StoreOption,
    low: Annotated[
        bool, typer.Option("--low", help="All low fills that nobody has decided yet.")
    ] = False,
    prompt: Annotated[
        str, typer.Option(help="May name {setting}, {suggestion}, {concept}, {caption}.")
    ] = "an empty {setting}",
    concept: Annotated[str | None, typer.Option(help="Only this concept. [default: all]")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many.")] = None,
    negative: Annotated[str, typer.Option(help="What must not appear.")] = "",
    strength: Annotated[
        float, typer.Option(min=0.05, max=1, help="1 forgets what was under the hole.")
    ] = DEFAULTS.strength,
    steps: Annotated[int, typer.Option(min=1, max=100, help="Of diffusion.")] = DEFAULTS.steps,
    guidance: Annotated[float, typer.Option(min=0, max=30)] = DEFAULTS.guidance,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same try.")] = DEFAULTS.seed,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the low ones.")] = False,
    by: Annotated[str, typer.Option(help="Name recorded with the tries.")] = "policy",
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    blobs: BlobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give low fills one more try by diffusion; it is picked only where it is better.

    Better: the object is no longer seen; else no smear and no seam; else scores that are not low;
    else a higher mean of Entangled-D and -S. A try that somebody picked by hand stays picked. Run
    it with another --seed for one more round.
    """
    from forgetme.curate import refine
    from forgetme.stages.models import load_models

    if not low:
        raise typer.BadParameter("say which: --low takes all low fills that nobody has decided")
    form = replace(
        DEFAULTS, negative_prompt=negative, strength=strength, steps=steps,
        guidance=guidance, seed=seed,
    )  # fmt: skip
    template = refine.check_template(prompt)
    models = load_models(preset, device=device)
    with open_store(store, blobs, existing=True) as opened:
        rows = refine.low_samples(opened, concept)[:limit]
        if dry_run:
            _list_low(rows, as_json)
            return

        def tell(number: int, row: SampleRow, outcome: refine.Outcome, words: str) -> None:
            why = f" ({words})" if words else ""
            note(f"{number}/{len(rows)} {row.name}: {refine.WORDS[outcome]}{why}")

        try:
            report = refine.refine_all(
                rows, template, opened, models, form=form, by=by, on_step=tell
            )
        except KeyboardInterrupt:
            note("stopped; every finished try is saved; run again to go on")
            raise typer.Exit(STOPPED) from None
    if as_json:
        print_json(asdict(report))
    else:
        say(
            f"{report.low} low: {report.better} better and picked ({report.still_low} of them low "
            f"still), {report.kept} no better, {report.passed} passed over, "
            f"{len(report.failed)} failed"
        )
    if report.failed and len(report.failed) == report.low:
        raise ForgetmeError(f"none could be refined; the first: {report.failed[0]}")


def _list_low(rows: list[SampleRow], as_json: bool) -> None:
    if as_json:
        lines = [
            {"id": row.id, "name": row.name, "concept": row.concept,
             "d": row.score_d, "s": row.score_s}
            for row in rows
        ]  # fmt: skip
        print_json({"low": lines})
        return
    for row in rows:
        scores = " ".join(
            f"{name} {'-' if value is None else f'{value:.2f}'}"
            for name, value in (("D", row.score_d), ("S", row.score_s))
        )
        say(f"{row.id} {row.name} ({row.concept}): {scores}")
    note(f"{len(rows)} low")
