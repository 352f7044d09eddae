"""Draws what the bundled models do, as it comes: `docs/photos.png` and `docs/drawn.png`.

`python -m benchmarks.pictures` from the repository's root.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from forgetme.curate import fills, pipeline
from forgetme.record.images import read_image
from forgetme.scenes import CONCEPTS
from forgetme.stages.models import Models, load_models

ROOT = Path(__file__).resolve().parents[1]
SIDE = 256  # px: the longest side of a photo
HIGH = 192  # px: of a row of photos
LINE = 22  # px: of the words under a picture
APART = 8  # px
YES, NO = (31, 157, 87), (224, 72, 61)  # colours of an outline: confirmed; only ranked first
DRAWN_SIDE, EACH = 96, 4  # px of a drawn picture; pictures of a concept


def photos_sheet(models: Models, samples: Path, columns: int = 3) -> Image.Image:
    """Every photo of the bundled samples: outlined, filled, and what the verifier said.

    Args:
        models: the bundled ones.
        samples: folder with a folder of pictures for each concept, and `SOURCES.md`, which says
            which of them are drawn; those are left out.
        columns: photos in a row.
    """
    listed = (samples / "SOURCES.md").read_text(encoding="utf-8")
    paths = [samples / name for name in re.findall(r"^\| `([^`]+)` \| (?!drawn:)", listed, re.M)]
    cells = [_photo(models, path) for path in paths]
    wide, high = (max(cell.size[axis] for cell in cells) for axis in (0, 1))
    return _grid(cells, columns, wide, high)


def _photo(models: Models, path: Path) -> Image.Image:
    image, concept = read_image(path), path.parent.name
    scale = min(SIDE / image.shape[1], HIGH / image.shape[0])
    found = pipeline.propose(image, concept, models)
    place = 0 if found.chosen is None else found.chosen
    yes, shown, filled = found.chosen is not None, image.copy(), None
    if found.ranked:
        best = found.ranked[place]
        lines, _ = cv2.findContours(
            best.proposal.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(shown, lines, -1, YES if yes else NO, max(2, round(2 / scale)))
        words = f"{concept}: {'yes' if yes else 'no'}, score {best.score:.2f}"
        if yes:
            filled = fills.fill(image, best.proposal.mask, models).image
    else:
        words = f"{concept}: nothing found"
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    cell = Image.new("RGB", (2 * SIDE + APART, HIGH + LINE), "white")
    cell.paste(Image.fromarray(shown).resize(size, Image.Resampling.LANCZOS), (0, 0))
    draw = ImageDraw.Draw(cell)
    if filled is None:
        draw.rectangle((SIDE + APART, 0, SIDE + APART + size[0] - 1, size[1] - 1), "#f1f3f5")
        draw.text(
            (SIDE + APART + 12, 12), "waits for a click", "#59636e", ImageFont.load_default(13)
        )
    else:
        cell.paste(
            Image.fromarray(filled).resize(size, Image.Resampling.LANCZOS), (SIDE + APART, 0)
        )
    draw.text((0, HIGH + 2), words, "#1f2328", ImageFont.load_default(13))
    return cell


def drawn_sheet(models: Models, columns: int = 3) -> Image.Image:
    """Four pictures of each concept, seeds 0 to 3, none left out."""
    cells = []
    for concept in CONCEPTS:
        cell = Image.new("RGB", (EACH * (DRAWN_SIDE + 2), DRAWN_SIDE + LINE), "white")
        for seed in range(EACH):
            picture = models.diffusion.generate(f"a photo of a {concept}", seed=seed)
            small = Image.fromarray(picture).resize((DRAWN_SIDE,) * 2, Image.Resampling.LANCZOS)
            cell.paste(small, (seed * (DRAWN_SIDE + 2), 0))
        draw = ImageDraw.Draw(cell)
        draw.text((0, DRAWN_SIDE + 2), concept, "#1f2328", ImageFont.load_default(13))
        cells.append(cell)
    return _grid(cells, columns, *cells[0].size)


def _grid(cells: list[Image.Image], columns: int, wide: int, high: int) -> Image.Image:
    rows = -(-len(cells) // columns)
    step = (wide + 2 * APART, high + APART)
    sheet = Image.new("RGB", (columns * step[0], rows * step[1]), "white")
    for k, cell in enumerate(cells):
        sheet.paste(cell, (APART + k % columns * step[0], APART // 2 + k // columns * step[1]))
    return sheet


def main() -> None:
    """Writes both sheets."""
    models = load_models("tiny")
    sheets = {
        "photos": photos_sheet(models, ROOT / "assets" / "samples"),
        "drawn": drawn_sheet(models),
    }
    for name, sheet in sheets.items():
        path = ROOT / "docs" / f"{name}.png"
        sheet.quantize(256).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
