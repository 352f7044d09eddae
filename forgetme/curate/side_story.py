"""The side story: a sample's foreground on any other background, kept as a sample of its own.

A sample made so has a known mask and a known background, so it arrives filled and scored; it keeps
which two pictures it came from and how the object was placed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from math import isfinite
from typing import Any, Literal, get_args

import cv2
import numpy as np
from PIL import Image

from forgetme.curate import fills
from forgetme.dataset.splits import photo_of
from forgetme.errors import ForgetmeError, StaleVersionError
from forgetme.record import masks
from forgetme.record.images import png_bytes
from forgetme.record.merge import Blended, Method, blend
from forgetme.record.sample import FillSettings, Layers
from forgetme.record.seam import MARGIN_PX, Seam, seam
from forgetme.record.settings import Settings
from forgetme.store import SampleRow, Store

UPLOADED = "uploaded"  # stands for the id of a background that is no sample's
MADE_BY = "side story"
MIN_SCALE, MAX_SCALE = 0.05, 8.0
MAX_FEATHER_PX = 64
PREVIEW_SIDE = 768  # px, the longest side of a preview
RETRIES = 5
RED, GREEN = (225, 60, 50, 230), (40, 190, 120, 110)  # RGBA of the seam's picture
DEFAULTS = Settings()

From = Literal["own", "sample", "uploaded"]


@dataclass(frozen=True)
class Place:
    """Where a foreground goes.

    Attributes:
        x: moves it right, in pixels of the background.
        y: moves it down.
        scale: resizes it around the middle of its box.
        feather_px: width of its soft edge.
        method: "feather" keeps its colours, "poisson" shifts them to match the background.
    """

    x: int = 0
    y: int = 0
    scale: float = 1.0
    feather_px: int = 2
    method: Method = "feather"


@dataclass(frozen=True)
class Backdrop:
    """What a foreground is put on.

    Attributes:
        sha: its image in the store.
        source: id of the sample whose background it is, or "uploaded".
        name: what to call it.
    """

    sha: str
    source: str
    name: str


@dataclass(frozen=True, eq=False)
class Composed:
    """A merged picture, where its object is, and how its edge looks."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) bool
    seam: Seam


def backdrop(store: Store, row: SampleRow, source: From, name: str | None = None) -> Backdrop:
    """Finds a background.

    Args:
        store: the store.
        row: whose foreground is placed.
        source: "own" for the sample's own, "sample" for another one's, "uploaded" for a picture.
        name: that sample's id, or that picture's sha.

    Raises:
        ForgetmeError: there is none.
    """
    if source not in get_args(From):
        raise ValueError(f"source must be one of {', '.join(get_args(From))}, got {source!r}")
    if source == "uploaded":
        image = store.get_image(name or "")
        if image.ndim != 3 or image.shape[2] != 3:
            raise ForgetmeError("a background must be a colour picture; upload one")
        return Backdrop(name or "", UPLOADED, UPLOADED)
    other = row if source == "own" else store.sample(name or "")
    if other.picked_try is None:
        raise ForgetmeError(f"{other.name} has no background yet; fill it, or choose another one")
    return Backdrop(other.tries[other.picked_try]["image_sha"], other.id, other.name)


def backdrops(
    store: Store, *, offset: int = 0, limit: int = 60
) -> tuple[list[SampleRow], int | None]:
    """Lists samples with a background, in the order of import.

    Returns:
        At most `limit` light rows, and the offset to go on from; None when that was all.
    """
    found: list[SampleRow] = []
    while page := store.samples(offset=offset, limit=200, light=True):
        for row in page:
            offset += 1
            if row.picked_try is not None:
                found.append(row)
                if len(found) == limit:
                    return found, offset
    return found, None


def compose(
    store: Store, row: SampleRow, behind: Backdrop, place: Place, *, side: int | None = None
) -> Composed:
    """Puts a sample's foreground on a background.

    Args:
        store: the store.
        row: whose foreground it is.
        behind: the background.
        place: where it goes.
        side: longest side of a smaller copy to work on, for a preview; None = full resolution.

    Raises:
        ForgetmeError: the sample has no mask, the place makes no sense, or nothing of the object
            lies inside the picture.
    """
    return _compose(store, row, store.get_image(behind.sha), place, side)[0]


def save(
    store: Store,
    row: SampleRow,
    behind: Backdrop,
    place: Place,
    *,
    by: str,
    settings: Settings = DEFAULTS,
    check_free: Callable[[str], None] = lambda sample_id: None,
) -> SampleRow:
    """Makes the merged picture at full resolution and keeps it as a new sample with its lineage.

    Its mask is where the object was put and its background what it was put on, so that it can be
    accepted as it is. The same foreground at the same place on the same background is one sample.

    Args:
        store: the store.
        row: whose foreground it is.
        behind: the background.
        place: where it goes.
        by: name recorded with the events.
        settings: of the scores.
        check_free: raises where somebody else works on the sample of this id; called before one
            that was there already is changed. The foreground's sample is only read.

    Raises:
        ForgetmeError: as `compose`.
    """
    background = store.get_image(behind.sha)
    composed, used = _compose(store, row, background, place, None)
    lineage = {
        "foreground": row.id,
        "background": behind.source,
        "place": asdict(used),
        "mask_sha": row.mask_sha,
        "background_sha": behind.sha,
        "photo_sha": photo_of(row),
        "seam": round(composed.seam.score, 4),
    }
    made = store.import_image(
        composed.image,
        name=f"{row.name}_on_{behind.name}",
        concept=row.concept,
        by=by,
        source=f"{MADE_BY}: {row.name} on {behind.name}",
        lineage=lineage,
    )
    if made.id == row.id:
        raise ForgetmeError(
            f"That is {row.name} itself. Move the {row.concept}, or change its size."
        )
    if made.tries or made.decided_event is not None:
        return made  # it was made before; what was done to it since stays
    check_free(made.id)
    made = _mask(store, made, composed.mask, by)
    kept = FillSettings(dilate_px=0)
    tried = fills.score(composed.image, background, composed.mask, MADE_BY, kept, settings)
    return fills.record_try(store, made, "filled", tried, settings, by=by)


def preview_bytes(composed: Composed) -> bytes:
    """Returns a composed picture as JPEG, for the eye."""
    out = BytesIO()
    Image.fromarray(composed.image).save(out, "JPEG", quality=92, subsampling=0)
    return out.getvalue()


def seam_bytes(composed: Composed) -> bytes:
    """Returns the edge as a transparent PNG: red where the old surroundings show, else green."""
    shown = np.zeros((*composed.mask.shape, 4), np.uint8)
    shown[composed.seam.rim] = GREEN
    shown[masks.dilate(composed.seam.shows, 1)] = RED
    return png_bytes(shown)


def box_of(store: Store, row: SampleRow) -> tuple[int, int, int, int]:
    """Returns the box (x, y, width, height) around a sample's foreground, in its own pixels.

    Raises:
        ForgetmeError: it has no mask.
    """
    return masks.box_xywh(_need_mask(store, row))


def _compose(
    store: Store, row: SampleRow, background: np.ndarray, place: Place, side: int | None
) -> tuple[Composed, Place]:
    """Composes, and returns the place as it was used too."""
    place = _checked(place)
    mask, image = _need_mask(store, row), store.get_image(row.image_sha)
    if side is not None:
        image, mask, background, place = _smaller(image, mask, background, place, side)
    foreground = Layers.cut(image, image, mask).foreground
    blended = blend(
        foreground, background, mask,
        offset_xy=(place.x, place.y), scale=place.scale, feather_px=place.feather_px,
        method=place.method, margin_px=MARGIN_PX,
    )  # fmt: skip
    _check_inside(blended, row)
    return Composed(blended.image, blended.mask, seam(blended, background)), place


def _smaller(
    image: np.ndarray, mask: np.ndarray, background: np.ndarray, place: Place, side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Place]:
    """Shrinks both frames by the same factor, so that the one keeps its place in the other."""
    ratio = side / max(*background.shape[:2], *image.shape[:2])
    if ratio >= 1:
        return image, mask, background, place
    feather = max(1, round(place.feather_px * ratio)) if place.feather_px else 0
    return (
        _shrunk(image, ratio),
        _shrunk(mask.astype(np.uint8) * 255, ratio) >= 128,
        _shrunk(background, ratio),
        Place(round(place.x * ratio), round(place.y * ratio), place.scale, feather, place.method),
    )


def _shrunk(image: np.ndarray, ratio: float) -> np.ndarray:
    size: Sequence[int] = [max(1, round(one * ratio)) for one in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _checked(place: Place) -> Place:
    if not isfinite(place.scale) or not MIN_SCALE <= place.scale <= MAX_SCALE:
        raise ForgetmeError(
            f"the size must be {MIN_SCALE:g} to {MAX_SCALE:g} times the object's own, "
            f"got {place.scale:g}; choose one between"
        )
    if not 0 <= place.feather_px <= MAX_FEATHER_PX:
        raise ForgetmeError(
            f"the soft edge must be 0 to {MAX_FEATHER_PX} px, got {place.feather_px}; "
            "choose one between"
        )
    return place


def _check_inside(blended: Blended, row: SampleRow) -> None:
    if not blended.mask.any():
        raise ForgetmeError(f"The {row.concept} lies outside the picture. Move it back into it.")
    if blended.mask.all():
        raise ForgetmeError(f"The {row.concept} covers the whole picture. Make it smaller.")


def _need_mask(store: Store, row: SampleRow) -> np.ndarray:
    if row.mask_sha is None:
        raise ForgetmeError(f"{row.name} has no mask yet; click the {row.concept} first")
    return store.get_mask(row.mask_sha)


def _mask(store: Store, made: SampleRow, mask: np.ndarray, by: str) -> SampleRow:
    """Gives the new sample its mask, also where somebody began to prepare it meanwhile."""
    payload: dict[str, Any] = {"mask_sha": store.put_image(mask), "how": "placed", "points": []}
    for _ in range(RETRIES):
        try:
            return store.append(
                made.id, "mask_edited", payload, by=by, expected_version=made.version
            )
        except StaleVersionError as error:
            made = error.theirs
    raise ForgetmeError(f"{made.name} is being worked on at this moment; save it again")
