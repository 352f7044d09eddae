"""Commands on pictures: score and merge."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forgetme.cli.frame import (
    BlobsOption,
    JsonOption,
    StoreOption,
    app,
    four_digits,
    note,
    open_store,
    print_json,
    print_table,
    say,
)
from forgetme.errors import BrokenImageError, ForgetmeError
from forgetme.record.entangled import Variant
from forgetme.record.settings import Settings

if TYPE_CHECKING:
    from forgetme.store import SampleRow, Store


DEFAULTS = Settings()
_JPEG = ("JPEG", {"quality": 95, "subsampling": 0})
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": ("WEBP", {"lossless": True}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
}


@app.command()
def score(
    original: Annotated[Path, typer.Argument(help="Image, or folder of images.")],
    edited: Annotated[Path, typer.Argument(help="The same with the object removed.")],
    mask: Annotated[Path, typer.Argument(help="What was filled: white = the hole.")],
    variant: Annotated[
        Variant, typer.Option(help="paper: Eq. 1-8 as printed. released: the authors' code.")
    ] = DEFAULTS.variant,
    as_json: JsonOption = False,
) -> None:
    """Score removals with Entangled: files, or folders whose files share their stems."""
    triples, unmatched = _triples(original, edited, mask)
    for folder, stems in unmatched.items():
        note(f"{len(stems)} without a partner in {folder}: {', '.join(stems[:10])}")
    results = [_score_one(stem, *paths, variant) for stem, paths in triples.items()]
    scored = [result for result in results if result["error"] is None]
    if len(results) == 1 and not scored:
        raise ForgetmeError(results[0]["error"])
    if not results:
        raise ForgetmeError("no stem is in all three folders; name the files alike")
    summary = {
        "variant": variant,
        "n": len(results),
        "n_invalid": len(results) - len(scored),
        "mean_d": _mean([result["d"]["score"] for result in scored]),
        "mean_s": _mean([result["s"]["score"] for result in scored]),
    }
    if as_json:
        print_json({**summary, "unmatched": unmatched, "images": results})
    else:
        _print_scores(results, summary)
    if not scored:
        raise typer.Exit(1)


@app.command()
def merge(
    store: StoreOption,
    sample: Annotated[str, typer.Argument(help="Id or name of a sample.", metavar="SAMPLE")],
    out: Annotated[
        Path,
        typer.Argument(
            help=f"File to write; its ending says how: {', '.join(_WRITERS)}.", metavar="OUT.png"
        ),
    ],
    background: Annotated[
        Path | None, typer.Option(help="Another image. [default: the sample's own background]")
    ] = None,
    method: Annotated[Literal["feather", "poisson"], typer.Option(help="Of the edges.")] = (
        "feather"
    ),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = (
        False
    ),
    blobs: BlobsOption = None,
) -> None:
    """Place a sample's foreground over a background: the side story, forgetting undone."""
    from forgetme.record.images import atomic_write, read_image
    from forgetme.record.merge import merge as merge_layers
    from forgetme.record.sample import Layers

    if out.suffix.lower() not in _WRITERS:
        raise ForgetmeError(
            f"{out}: the ending must be one of {', '.join(_WRITERS)}, got {out.suffix or 'none'!r}"
        )
    if out.is_dir() or not out.parent.is_dir():
        raise ForgetmeError(f"{out} is no file in a folder that is there; name another")
    if os.path.lexists(out) and not force:
        raise ForgetmeError(f"{out} is there already; name another file, or add --force")
    with open_store(store, blobs, existing=True) as opened:
        row = _find(opened, sample)
        if row.mask_sha is None:
            raise ForgetmeError(f"{row.name} has no mask yet; curate it first")
        if background is not None:
            behind = read_image(background)
        elif row.picked_try is not None:
            behind = opened.get_image(row.tries[row.picked_try]["image_sha"])
        else:
            raise ForgetmeError(f"{row.name} has no background yet; curate it or give --background")
        image, on = opened.get_image(row.image_sha), opened.get_mask(row.mask_sha)
    merged = merge_layers(Layers.cut(image, image, on).foreground, behind, on, method=method)
    atomic_write(out, _encoded(merged, out.suffix.lower()))
    say(str(out))


def _encoded(picture: Any, suffix: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    form, options = _WRITERS[suffix]
    Image.fromarray(picture).save(buffer, form, **options)
    return buffer.getvalue()


def _find(store: Store, name: str) -> SampleRow:
    rows = [row for row in store.samples(limit=None, light=True) if name in (row.id, row.name)]
    if not rows:
        raise ForgetmeError(f"no sample has the id or name {name!r}; the page and export list them")
    if len(rows) > 1:
        ids = ", ".join(f"{row.id} ({row.concept})" for row in rows)
        raise ForgetmeError(f"{len(rows)} samples are called {name!r}; give an id: {ids}")
    return store.sample(rows[0].id)


def _triples(
    original: Path, edited: Path, mask: Path
) -> tuple[dict[str, tuple[Path, Path, Path]], dict[str, list[str]]]:
    """Pairs files by stem: stem → three paths, and the stems without a partner by folder."""
    from forgetme.dataset.file_finder import images_by_stem

    given = (original, edited, mask)
    if not any(path.is_dir() for path in given):
        return {original.stem: given}, {}
    if not all(path.is_dir() for path in given):
        raise ForgetmeError("give three files or three folders, not a mixture")
    found = []
    for folder in given:
        files, shared = images_by_stem(folder)
        for why in shared.values():
            note(f"passed over, since they share a name: {why}")
        found.append(files)
    stems = found[0].keys() & found[1].keys() & found[2].keys()
    unmatched = {
        str(folder): sorted(files.keys() - stems)
        for folder, files in zip(given, found, strict=True)
    }
    triples = {stem: tuple(files[stem] for files in found) for stem in sorted(stems)}
    return triples, {folder: stems for folder, stems in unmatched.items() if stems}


def _score_one(
    stem: str, original: Path, edited: Path, mask: Path, variant: Variant
) -> dict[str, Any]:
    from forgetme.record.entangled import entangled_d, entangled_s
    from forgetme.record.images import read_image, read_mask
    from forgetme.record.sample import Scores

    try:
        before, after, hole = read_image(original), read_image(edited), read_mask(mask)
        scores = Scores(
            entangled_d(before, after, hole, variant=variant),
            entangled_s(after, hole, variant=variant),
        )
    except (BrokenImageError, ValueError) as error:
        return {"stem": stem, "error": str(error), "d": None, "s": None, "words": []}
    return {
        "stem": stem,
        "error": None,
        "d": asdict(scores.d),
        "s": asdict(scores.s),
        "words": scores.words(),
    }


def _print_scores(results: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    def part(result: dict[str, Any], key: str) -> str:
        return four_digits(result["d"][key]) if result["d"] else "-"

    print_table(
        {
            "Image": [result["stem"] for result in results],
            "In words": ["; ".join(result["words"]) or result["error"] for result in results],
            "D": [part(result, "score") for result in results],
            "S": [four_digits(result["s"]["score"]) if result["s"] else "-" for result in results],
            "changed inside": [part(result, "s_inner") for result in results],
            "changed outside": [part(result, "s_outer") for result in results],
            "brightness": [part(result, "mean_consistency") for result in results],
            "texture": [part(result, "var_consistency") for result in results],
        },
        words=2,
    )
    say(
        f"mean D {four_digits(summary['mean_d'])}, mean S {four_digits(summary['mean_s'])} over "
        f"{summary['n'] - summary['n_invalid']} of {summary['n']} images, "
        f"variant {summary['variant']}"
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
