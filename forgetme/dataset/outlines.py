"""COCO's outlines become masks: every number is held against the real image first.

pycocotools draws what it is given, so that a corner at 1e9 or an image of 200,000 pixels a side
ends the process; nothing gets there before it was checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from forgetme.dataset.foreign import Number, RunLengths, read_as, why
from forgetme.dataset.rle import rle_mask
from forgetme.record.files import open_regular
from forgetme.record.images import FORMATS, MAX_PIXELS

MAX_EDGES_PX = 2_000_000  # of all edges of an annotation, laid end to end

Size = tuple[int, int]  # height, width

_POLYGONS = TypeAdapter(list[list[Number]])
_FLIPS = {  # from how a photo is stored to how it is seen, by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Frame:
    """A photo's size as it is stored, and how it is turned to be seen.

    Attributes:
        stored: (height, width) in pixels.
        orientation: of EXIF, 1 to 8.
    """

    stored: Size
    orientation: int = 1

    @property
    def upright(self) -> Size:
        """(height, width) of the photo as it is seen."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


@dataclass(frozen=True, eq=False)
class Outline:
    """What one annotation encloses, in plain numbers."""

    polygons: tuple[np.ndarray, ...] = ()  # each (corners, 2): x, y
    runs: RunLengths | None = None


def frame_of(path: Path) -> Frame:
    """Reads a photo's size from its head.

    Raises:
        ValueError: it is no image.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            # A PNG whose head has no EXIF would be decoded as a whole to look for some at its end.
            asked = picture.format != "PNG" or "exif" in picture.info
            orientation = picture.getexif().get(0x0112, 1) if asked else 1
    except Exception as error:  # decoders of broken heads raise anything
        raise ValueError(f"its image cannot be read ({error})") from error
    if width * height > MAX_PIXELS:
        raise ValueError(f"its image has {width}x{height} px; at most {MAX_PIXELS:,} are read")
    return Frame((height, width), orientation if orientation in _FLIPS else 1)


def read_outline(segmentation: Any) -> Outline:
    """Reads an annotation's `segmentation`: polygons, one flat polygon, or run lengths.

    Parts of fewer than three corners enclose nothing and are passed over.

    Raises:
        ValueError: it is none of them, or encloses nothing.
    """
    if isinstance(segmentation, dict):
        return Outline(runs=read_as(RunLengths, segmentation))
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("it has no outline (an empty or missing segmentation)")
    flat = not isinstance(segmentation[0], list)
    try:
        polygons = _POLYGONS.validate_python([segmentation] if flat else segmentation)
    except ValidationError as error:
        raise ValueError(f"its outline is damaged ({why(error)})") from None
    if odd := next((len(one) for one in polygons if len(one) % 2), None):
        raise ValueError(f"its outline is damaged ({odd} numbers are no pairs of x and y)")
    corners = tuple(np.array(one).reshape(-1, 2) for one in polygons if len(one) >= 6)
    if not corners:
        raise ValueError("its outline has no polygon of three corners or more")
    return Outline(corners)


def drawn_for(outlines: Sequence[Outline], declared: Size | None, frame: Frame) -> Size:
    """Returns the size that an image's outlines were drawn on: as it is seen, or as it is stored.

    A tool that does not know EXIF means the stored photo; another writes the stored size and
    draws on the upright one, which is seen where an outline leaves the one and fits the other.

    Raises:
        ValueError: the size that was declared is neither.
    """
    if declared not in (None, frame.stored, frame.upright):
        (height, width), (h, w) = declared, frame.upright
        raise ValueError(
            f"its annotations are for {width}x{height} px and the image has {w}x{h}; "
            "export them with the images that they were made for"
        )
    first = frame.upright if declared is None else declared
    if not _fits(outlines, first) and _fits(outlines, first[::-1]):
        return first[::-1] if first[::-1] in (frame.stored, frame.upright) else first
    return first


def _fits(outlines: Sequence[Outline], size: Size) -> bool:
    height, width = size
    furthest = (width + 1, height + 1)  # a pixel too far is rounding
    return all((one <= furthest).all() for outline in outlines for one in outline.polygons)


def union(
    outlines: Sequence[tuple[str, Outline]], size: Size, frame: Frame
) -> tuple[np.ndarray | None, list[str]]:
    """Draws what several annotations enclose together, as pycocotools does.

    Args:
        outlines: each with what names it.
        size: what their corners refer to, see `drawn_for`.
        frame: the photo.

    Returns:
        (H, W) bool, upright, or None where none can be drawn; and "name: why" of those that
        cannot.
    """
    from pycocotools import mask as vendor

    masks, polygons, told = [], [], []
    for name, outline in outlines:
        try:
            _check(outline, size, frame)
            polygons += [one.ravel().tolist() for one in outline.polygons]
            if outline.runs is not None:
                runs = rle_mask(outline.runs.model_dump(), outline.runs.size)
                runs = _turned(runs, outline.runs.size, frame)
                masks = [masks[0] | runs] if masks else [runs]
        except ValueError as error:
            told.append(f"{name}: {error}")
    if polygons:
        drawn = vendor.merge(vendor.frPyObjects(polygons, *size))
        runs = rle_mask({**drawn, "counts": drawn["counts"].decode("ascii")}, size)
        masks.append(_turned(runs, size, frame))
    return (np.logical_or.reduce(masks) if masks else None), told


def _check(outline: Outline, size: Size, frame: Frame) -> None:
    """Refuses numbers that cannot belong to the image.

    Raises:
        ValueError: a corner far outside, edges without end, run lengths of another size.
    """
    height, width = size
    if outline.runs is not None and outline.runs.size not in (frame.stored, frame.upright):
        (h, w), (tall, wide) = outline.runs.size, frame.upright
        raise ValueError(f"its run lengths are for {w}x{h} px and the image has {wide}x{tall}")
    edges = 0.0
    for one in outline.polygons:
        if (one < (-width, -height)).any() or (one > (2 * width, 2 * height)).any():
            raise ValueError(f"its outline lies far outside of the image of {width}x{height} px")
        edges += np.abs(np.diff(one, axis=0, append=one[:1])).max(axis=1).sum()
    if edges > MAX_EDGES_PX:
        raise ValueError(f"its outline is {edges:,.0f} px long; at most {MAX_EDGES_PX:,} are drawn")


def _turned(mask: np.ndarray, size: Size, frame: Frame) -> np.ndarray:
    if size == frame.upright or frame.orientation not in _FLIPS:
        return mask
    return np.asarray(Image.fromarray(mask).transpose(_FLIPS[frame.orientation]))
