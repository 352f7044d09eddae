"""Commands that make samples and count them: scenes, curate, stats."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    PresetOption,
    StoreOption,
    app,
    duration,
    four_digits,
    note,
    open_store,
    print_json,
    print_table,
    progress,
    say,
)
from forgetme.errors import ForgetmeError
from forgetme.record.entangled import Variant
from forgetme.record.settings import Settings

if TYPE_CHECKING:
    from forgetme.curate.batch import CurateReport


DEFAULTS = Settings()


@app.command()
def scenes(
    out: Annotated[Path, typer.Argument(help="Folder to write.", metavar="OUT")],
    count: Annotated[int, typer.Option(min=0, help="Number of scenes.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same scenes.")] = 7,
    concept: Annotated[
        list[str] | None, typer.Option(help="Main object; repeat for several. [default: all]")
    ] = None,
    size: Annotated[int, typer.Option(min=64, max=512, help="Side in pixels.")] = 256,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures with known truth: original, foreground, background, mask and index.csv."""
    from forgetme.scenes import CONCEPTS
    from forgetme.scenes.write import write_scenes

    unknown = [name for name in concept or () if name not in CONCEPTS]
    if unknown:
        raise ForgetmeError(f"unknown concept {unknown[0]!r}; known: {', '.join(CONCEPTS)}")
    rows = write_scenes(out, count=count, seed=seed, concepts=concept or (), size=size)
    if as_json:
        print_json({"out": str(out), "scenes": [asdict(row) for row in rows]})
    else:
        say(f"{len(rows)} scenes in {out}")


@app.command()
def curate(
    images: Annotated[
        Path, typer.Argument(help="Folder (searched to any depth), file, or parquet of images.")
    ],
    concept: Annotated[str, typer.Option(help="What to look for, for example cat.")],
    store: StoreOption,
    blobs: BlobsOption = None,
    auto_accept: Annotated[
        bool, typer.Option("--auto-accept", help="Accept where verdict is yes, scores not low.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many images that needed work.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what is finished; a second run always does.")
    ] = False,
    preset: PresetOption = "tiny",
    device: DeviceOption = None,
    segmenter: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    ranker: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    verifier: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    inpainter: Annotated[str | None, typer.Option(help="Instead of the preset's.")] = None,
    ask: Annotated[
        int, typer.Option(min=0, help="Ask the verifier about so many masks at most.")
    ] = DEFAULTS.k_asked,
    dilate_px: Annotated[
        int | None, typer.Option(min=0, help="Grow masks by this. [default: 2 % of the side]")
    ] = DEFAULTS.fill.dilate_px,
    low_d: Annotated[
        float, typer.Option(min=0, max=1, help="Entangled-D below this is low.")
    ] = DEFAULTS.thresholds.low_d,
    low_s: Annotated[
        float, typer.Option(min=0, max=1, help="Entangled-S below this is low.")
    ] = DEFAULTS.thresholds.low_s,
    variant: Annotated[Variant, typer.Option(help="Of Entangled.")] = DEFAULTS.variant,
    engine: EngineOption = "none",
    address: AddressOption = None,
    workers: WorkersOption = None,
    shards: ShardsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the concept in images, cut it out, fill the hole, score it; resumes where it stopped."""
    from forgetme.curate import batch, photos
    from forgetme.stages.models import load_models

    del resume  # a second run always resumes; the flag only says so
    cluster = cluster_of(engine, address, workers, shards, preset=preset, device=device)
    settings = replace(
        DEFAULTS,
        k_asked=ask,
        thresholds=replace(DEFAULTS.thresholds, low_d=low_d, low_s=low_s),
        fill=replace(DEFAULTS.fill, dilate_px=dilate_px),
        variant=variant,
    )
    concept = batch.check_concept(concept)
    if images.suffix.lower() == ".parquet":
        paths, others = photos.of_parquet(images), 0
    else:
        paths, others = batch.find_images(images)
    if others:
        note(f"{others} other files in {images} are no images; passed over")
    if not paths:
        raise ForgetmeError(f"{images}: no images in it; give a folder with PNG or JPEG files")
    named = {
        "segmenter": segmenter,
        "ranker": ranker,
        "verifier": verifier,
        "inpainter": inpainter,
    }
    load = partial(load_models, preset, device=device, **{k: v for k, v in named.items() if v})
    try:
        models = load()
    except ValueError as error:  # an unknown name; the message lists the known ones
        raise typer.BadParameter(str(error)) from error
    with open_store(store, blobs) as opened, progress(len(paths)) as on_progress:
        how = {
            "settings": settings,
            "auto_accept": auto_accept,
            "limit": limit,
            "on_progress": on_progress,
        }
        try:
            if cluster is None:
                report = batch.curate(paths, concept, models, opened, **how)
            else:
                from forgetme.curate.on_ray import curate_on_ray

                report = curate_on_ray(paths, concept, load, opened, cluster, **how)
        except KeyboardInterrupt:
            note("stopped; everything finished is saved; run again to resume")
            raise typer.Exit(STOPPED) from None
    _print_report(report, concept, as_json)
    if (report.unanswered or report.failed) and not report.finished:
        raise typer.Exit(1)  # whatever was tried failed


@app.command()
def stats(store: StoreOption, blobs: BlobsOption = None, as_json: JsonOption = False) -> None:
    """Print the paper's Table 1 for a store: images, selected, success, scores."""
    with open_store(store, blobs, existing=True) as opened:
        lines = [asdict(line) for line in opened.table1()]
    if as_json:
        print_json({"concepts": lines})
        return
    if not lines:
        note("the store is empty; fill it with: python -m forgetme curate IMAGES --concept cat")
        return
    print_table(
        {
            "Dataset": [line["concept"] for line in lines],
            "Prompt": [f"<{line['concept']}>" for line in lines],
            "Images": [f"{line['images']:,}" for line in lines],
            "Selected": [f"{line['selected']:,}" for line in lines],
            "Accepted/images": [f"{line['success_percent']:.2f}%" for line in lines],
            "D": [four_digits(line["mean_d"]) for line in lines],
            "S": [four_digits(line["mean_s"]) for line in lines],
            "human": [str(line["human"]) for line in lines],
            "policy": [str(line["policy"]) for line in lines],
            "to review": [str(line["prepared"] + line["waiting"]) for line in lines],
            "broken": [str(line["broken"]) for line in lines],
        },
        words=2,
    )
    note(
        "Selected = accepted, by a human or by the policy. D, S = mean Entangled of the selected, "
        f"variant {', '.join(sorted({str(line['variant']) for line in lines}))}."
    )


def _print_report(report: CurateReport, concept: str, as_json: bool) -> None:
    if as_json:
        print_json({"concept": concept, **asdict(report)})
        return
    percent = 100 * report.selected / report.images if report.images else 0.0
    unanswered = f"{report.unanswered} without an answer, " if report.unanswered else ""
    say(
        f"{report.images} images: {report.selected} selected ({percent:.1f} %), {report.low} of "
        f"them with low scores, {report.waiting} wait for you, {unanswered}{report.broken} broken, "
        f"{report.accepted} accepted"
    )
    note(f"{duration(report.seconds)}; {report.resumed} were finished by an earlier run")
    for line in report.failed:
        note(f"failed, the next run tries again: {line}")
    if report.unanswered:
        note(
            f"the verifier gave no answer for {report.unanswered} of {report.images} images; the "
            f"next run asks again: {report.no_answer}"
        )
