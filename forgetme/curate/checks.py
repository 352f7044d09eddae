"""What was looked for in a fill: is the concept still seen, is the fill a smear, is there a seam.

Entangled compares means, variances and pixel differences; a smear, a halo and half a cat can score
well. Each check here says what was measured, by whom, and against which threshold. One that could
not be made says so: nothing is called good that nobody looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from forgetme.errors import MissingModelError, VerifierError
from forgetme.metrics import clip_distance
from forgetme.record import masks
from forgetme.record.concept import plain, with_article
from forgetme.record.sample import Fill, Proposal, Thresholds
from forgetme.stages.models import Models, Stage
from forgetme.store import SampleRow

Name = Literal["seen", "smear", "seam"]
Outline = tuple[np.ndarray, float]  # a proposal: (H, W) bool, the segmenter's guess of its IoU

PIXELS = "pixels"  # made_by of what needs no model
AROUND = 0.75  # the box around the mask, grown on each side by this part of its longer side
HOLDS = 0.8  # a proposal with this part of the mask inside it may be the whole of it,
LEFT = 0.25  # if this part of it is not filled,
WHOLE_MARGIN = 0.03  # and if it looks like the concept as much as the mask does, up to this
MAX_PROPOSALS = 12  # the best ranked
MAX_WHOLES = 4
SAME = 0.9  # IoU with the mask from which on a proposal is the mask itself

WINDOW = 0.5  # surroundings of the hole, as a part of its box's longer side
MARGIN_PX = 24
MAX_SIDE = 768  # a larger window is shrunk to this: what is finer is seen on no screen
RIM_PX = 4  # nearer to the border than this is neither fill nor surroundings
FAR_PX = 8
DETAIL_SIGMA = 2.0  # px: texture is what a blur of this takes away
GRAIN = 2.0  # of 255: texture below it is not seen
STEP = 1.5  # of 255 a pixel: a step below it is not seen
FEWEST = 30  # pixels that a measure needs


@dataclass(frozen=True)
class Check:
    """One thing that was looked for in a fill.

    Attributes:
        name: "seen", "smear" or "seam".
        ok: whether it is well; None: not checked.
        words: the finding, for people.
        value: what was measured; None where nothing was.
        threshold: the value at which it is no longer well.
        made_by: who looked.
        reason: why it was not checked, or the verifier's own words.
    """

    name: Name
    ok: bool | None
    words: str
    value: float | None
    threshold: float
    made_by: str
    reason: str = ""


def checks_of(
    image: np.ndarray,
    made: Fill,
    mask: np.ndarray,
    concept: str,
    models: Models,
    limits: Thresholds = Thresholds(),  # noqa: B008 (frozen)
    proposals: Iterable[Outline] = (),
) -> tuple[Check, ...]:
    """Looks for the concept, a smear and a seam in a fill.

    Args:
        image: (H, W, 3) uint8 RGB, the original.
        made: the fill.
        mask: (H, W) bool, the object that was there; not empty.
        concept: what it was.
        models: its ranker and verifier look.
        limits: from when on it is not well.
        proposals: of the image; see `wholes`.
    """
    found = list(proposals)
    whole = wholes(mask, made.mask, found)
    own = [guess for one, guess in found if masks.iou(one, mask) >= SAME]  # none: a hand drew it
    surer = bool(own) and any(guess >= max(own) for _, guess in whole)
    return (
        seen(image, made, mask, concept, models, limits, [one for one, _ in whole], surer),
        smear(made.image, made.mask, limits),
        seam(made.image, made.mask, limits),
    )


def of_row(
    row: SampleRow,
    image: np.ndarray,
    mask: np.ndarray,
    made: Fill,
    models: Models,
    limits: Thresholds,
) -> tuple[Check, ...]:
    """Makes the checks of a fill of a stored sample, with the masks that were proposed for it."""
    proposals = outlines(row.proposals or [])
    return checks_of(image, made, mask, row.concept, models, limits, proposals)


def outlines(proposals: Sequence[Mapping[str, Any]]) -> Iterator[Outline]:
    """Decodes the best of the proposals of an event."""
    best = proposals[:MAX_PROPOSALS]
    return ((masks.rle_decode(one["rle"]), float(one["predicted_iou"])) for one in best)


def failed(one: Mapping[str, Any], name: Name | None = None) -> bool:
    """Tells whether a try, as the store has it, failed a check: that one, or any.

    A try of a store from before these checks has only what was seen in the box of its mask.
    """
    if "checks" not in one:
        back = bool((one.get("came_back") or {}).get("back"))
        return back and name in (None, "seen")
    return any(it["ok"] is False and name in (None, it["name"]) for it in one["checks"])


def is_gone(one: Mapping[str, Any]) -> bool:
    """Tells whether somebody looked for the concept in a try and did not see it."""
    return any(it["name"] == "seen" and it["ok"] is True for it in one.get("checks") or ())


def places(mask: np.ndarray) -> dict[str, np.ndarray]:
    """Gives where the concept is looked for in a filled picture, by name: (H, W) bool each.

    The box of the mask and not its outline: that of a cat filled with grass still looks like a cat.
    """
    x, y, width, height = masks.box_xywh(mask)
    found = {}
    for name, px in (("in the hole", 0), ("around the hole", round(AROUND * max(width, height)))):
        found[name] = box = np.zeros_like(mask)
        box[max(0, y - px) : y + height + px, max(0, x - px) : x + width + px] = True
    return found | {"in the picture": np.ones_like(mask)}


def wholes(mask: np.ndarray, hole: np.ndarray, proposals: Iterable[Outline]) -> list[Outline]:
    """Gives those proposals of which the mask may be only a part: much of them is not filled.

    Args:
        mask: (H, W) bool, the object that was there; not empty.
        hole: (H, W) bool, what was filled.
        proposals: of the image.

    Returns:
        The smallest of them, small ones first.
    """
    area = np.count_nonzero(mask)
    found = []
    for one, guess in proposals:
        covers = np.count_nonzero(one & mask) >= HOLDS * area
        if covers and np.count_nonzero(one & ~hole) >= LEFT * np.count_nonzero(one):
            found.append((one, guess))
    return sorted(found, key=lambda one: np.count_nonzero(one[0]))[:MAX_WHOLES]


def seen(
    image: np.ndarray,
    made: Fill,
    mask: np.ndarray,
    concept: str,
    models: Models,
    limits: Thresholds,
    whole: Sequence[np.ndarray] = (),
    surer: bool = False,
) -> Check:
    """Asks ranker and verifier whether the concept is still seen, in the hole and around it.

    It is gone only where somebody says so who could have seen it: a ranker that knows the word and
    saw the concept in the mask before, or a verifier that is not that ranker.

    Args:
        image: (H, W, 3) uint8 RGB, the original.
        made: the fill.
        mask: (H, W) bool, the object that was there; not empty.
        concept: what must not be seen.
        models: its ranker and verifier look; one that does not answer is no reason to drop a fill.
        limits: `seen` is the ranker's probability from which on it is; `alike` the least CLIP
            distance of what was there and what is.
        whole: (H, W) bool each, of `wholes`.
        surer: the segmenter is as sure of one of these as of the mask: nobody named it, yet the
            mask may be a part of it. So of 5 of the 13 parts that are chosen on 158 photos, of none
            of the 49 right masks, and of one of 24 right ones on drawn scenes.
    """
    words, ranker = plain(concept), models.ranker
    by = _name(models, "ranker")
    looked = {name: _region(one) for name, one in places(mask).items()}
    said, reason = _answer(models, made.image, looked["around the hole"], concept)
    if said is not None:
        by += f" + {_name(models, 'verifier')}"
    value: float | None = None

    def told(ok: bool | None, text: str, why: str = reason) -> Check:
        return Check("seen", ok, text, value, limits.seen, by, why)

    still, gone = f"{with_article(words)} is still seen", f"no {words} is seen where one was"
    unknown = f"not checked whether {with_article(words)} is seen"
    if hasattr(ranker, "knows") and not ranker.knows(concept):
        if said is None:
            why = f"{by} does not know the word"
            return told(None, unknown, "; ".join(one for one in (why, reason) if one))
        return told(not said, still if said else gone)
    where = [*looked, *["in what the mask is a part of"] * len(whole)]
    regions = [*looked.values(), *(_region(one) for one in whole)]
    after = np.asarray(ranker(made.image, regions, concept), float)
    before = np.asarray(ranker(image, [_region(one) for one in (mask, *whole)], concept), float)
    value = float(after.max())
    if value >= limits.seen:
        return told(False, f"{still} {where[int(after.argmax())]}")
    if said:
        return told(False, f"{still} by the verifier")
    if len(whole) and before[1:].max() >= max(limits.seen, before[0] - WHOLE_MARGIN):
        value = float(before[1:].max())
        return told(False, f"the mask may cover only a part of the {words}")
    if before[0] < limits.seen and said is None:
        why = f"{by} does not see one in the mask before either"
        return told(None, unknown, "; ".join(one for one in (why, reason) if one))
    embed = getattr(ranker, "embed_images", None) if before[0] >= limits.seen else None
    if embed is not None and clip_distance(embed, image, made.image, mask) < limits.alike:
        return told(False, "what is in the hole looks as before")
    if surer and said is None:
        why = "the segmenter is as sure of a larger outline that holds the mask"
        return told(None, unknown, "; ".join(one for one in (why, reason) if one))
    return told(True, gone)


def smear(filled: np.ndarray, hole: np.ndarray, limits: Thresholds) -> Check:
    """Compares the fine texture in a hole with that of its surroundings.

    Args:
        filled: (H, W, 3) uint8 RGB.
        hole: (H, W) bool, what was filled.
        limits: `smear` is the share of the texture around it below which it is a smear.
    """
    grey, away = _window(filled, hole)
    detail = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), DETAIL_SIGMA)).mean(2)
    inner, outer = away < -RIM_PX, away > RIM_PX
    if inner.sum() < FEWEST:
        inner = away < 0
    if min(inner.sum(), outer.sum()) < FEWEST:
        why = "too few pixels in the hole or around it"
        return Check("smear", None, "texture not checked", None, limits.smear, PIXELS, why)
    value = float((detail[inner].mean() + GRAIN) / (detail[outer].mean() + GRAIN))
    if value < limits.smear:
        return Check("smear", False, "the fill is smooth, its surroundings are not", value,
                     limits.smear, PIXELS)  # fmt: skip
    return Check("smear", True, "the fill has texture as its surroundings have", value,
                 limits.smear, PIXELS)  # fmt: skip


def seam(filled: np.ndarray, hole: np.ndarray, limits: Thresholds) -> Check:
    """Compares the steps across a hole's border with those across the same outline off it.

    A bright or dark ring steps the same way all along: its signed median is large. A patch of
    another colour than what is around it steps this way and that: the median length is.

    Args:
        filled: (H, W, 3) uint8 RGB.
        hole: (H, W) bool, what was filled.
        limits: `seam` is how many times stronger than elsewhere the border may be.
    """
    colour, away = _window(filled, hole)
    steps, line = _steps_across(colour, away), np.floor(away).astype(int)  # 0 = first outside
    lines = {at: steps[line == at] for at in range(-2 * FAR_PX, 3 * FAR_PX)}
    lines = {at: found for at, found in lines.items() if len(found) >= FEWEST}
    near = [at for at in lines if -RIM_PX - 1 <= at <= RIM_PX]
    outside, inside = [at for at in lines if at > FAR_PX], [at for at in lines if at < -FAR_PX]
    if not near or not outside:
        why = "too few pixels around the hole"
        return Check("seam", None, "seam not checked", None, limits.seam, PIXELS, why)
    value = 0.0
    for measure in (_signed, _absolute):
        strength = {at: measure(found) for at, found in lines.items()}
        usual = max(np.mean([strength[at] for at in side]) for side in (outside, inside) if side)
        value = max(value, float(max(strength[at] for at in near) / (usual + STEP)))
    words = "a seam or a halo shows along the mask" if value > limits.seam else "no seam was found"
    return Check("seam", value <= limits.seam, words, value, limits.seam, PIXELS)


def _region(mask: np.ndarray) -> Proposal:
    return Proposal(mask, masks.box_xywh(mask), 1.0, 1.0, "check")


def _name(models: Models, stage: Stage) -> str:
    """Names what serves a stage; a plain function of the user's has no name but the preset's."""
    return getattr(getattr(models, stage), "made_by", None) or models.names[stage]


def _answer(
    models: Models, filled: np.ndarray, region: Proposal, concept: str
) -> tuple[bool | None, str]:
    """The verifier's answer and its words; None where it does not answer, or is the ranker."""
    try:
        verifier = models.verifier
        if hasattr(verifier, "ranker"):  # zero-shot: it would say the same once more
            return None, ""
        verdict = verifier(filled, region, concept)
    except (VerifierError, MissingModelError) as error:
        return None, str(error)
    return (bool(verdict.yes) if verdict.checked else None), verdict.reason


def _window(image: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hole with its surroundings: (h, w, 3) float32, and pixels to its border, < 0 inside."""
    x, y, width, height = masks.box_xywh(hole)
    pad = round(WINDOW * max(width, height)) + MARGIN_PX
    part = np.s_[max(0, y - pad) : y + height + pad, max(0, x - pad) : x + width + pad]
    pixels, inside = np.ascontiguousarray(image[part]), hole[part]
    scale = MAX_SIDE / max(inside.shape)
    if scale < 1:
        size = (round(inside.shape[1] * scale), round(inside.shape[0] * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        inside = masks.resize_mask(inside, size[::-1])
    away = np.where(inside, 0.5 - masks.distance_to(~inside), masks.distance_to(inside) - 0.5)
    return pixels.astype(np.float32), away.astype(np.float32)


def _signed(steps: np.ndarray) -> float:
    """The usual step of (n, 3), those inwards against those outwards, as one length."""
    return float(np.linalg.norm(np.median(steps, axis=0)))


def _absolute(steps: np.ndarray) -> float:
    """The usual length of steps (n, 3); a median, as an edge of the scene may touch the outline."""
    return float(np.median(np.linalg.norm(steps, axis=1)))


def _steps_across(colour: np.ndarray, away: np.ndarray) -> np.ndarray:
    """The change of each channel a pixel outwards, across the outline: (h, w, 3)."""
    smooth = cv2.GaussianBlur(away, (0, 0), 1)
    x, y = (cv2.Sobel(smooth, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    length = np.hypot(x, y) + 1e-6
    right, down = (cv2.Sobel(colour, cv2.CV_32F, *way) / 8 for way in ((1, 0), (0, 1)))
    return right * (x / length)[..., None] + down * (y / length)[..., None]
