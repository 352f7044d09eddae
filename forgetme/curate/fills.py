"""One try at the background: filled, scored, looked at again, and proven outside the hole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from forgetme.errors import EmptyRegionError, MissingModelError, StaleVersionError, VerifierError
from forgetme.record import masks
from forgetme.record.entangled import entangled_d, entangled_s
from forgetme.record.sample import Fill, FillSettings, Proposal, Scores
from forgetme.record.settings import Settings
from forgetme.stages.models import Models, Stage
from forgetme.store import SampleRow, Store

DEFAULTS = Settings()
BACK_AT = 0.3  # the ranker's probability of the concept in a filled hole that means: it came back
RECORD_TRIES = 5  # a comment or a pick in between does no harm

Try = Mapping[str, Any]  # a try as the store has it


@dataclass(frozen=True)
class CameBack:
    """What ranker and verifier see where the object was.

    Attributes:
        ranker: probability of the concept in [0, 1], lower is better.
        label: what the ranker sees there most; "" where it has no words for it.
        verifier: its answer to "Is this a {concept}?"; None: it did not answer.
        back: whether one of the two sees the concept.
        reason: the verifier's own words, or why it did not answer.
    """

    ranker: float
    label: str
    verifier: Literal["yes", "no"] | None
    back: bool
    reason: str = ""


def fill(
    image: np.ndarray,
    mask: np.ndarray,
    models: Models,
    settings: Settings = DEFAULTS,
) -> Fill:
    """Paints the object away with LaMa and scores the result.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the object; it is dilated by `settings.fill.dilate_px` first.
        models: its inpainter is used.
        settings: of the fill, the thresholds and the variant of Entangled.

    Returns:
        The try; outside its mask it is byte-identical to the image.

    Raises:
        EmptyRegionError: the mask is empty, or covers the whole image once dilated.
        ValueError: the mask does not fit the image.

    **Source**: ForgetMe §3.1.2, steps 1-3. Entangled is of the dilated mask.
    """
    hole, used = _hole(image, mask, settings.fill)
    painted = models.inpainter(image, hole, pad=used.pad)
    return _try(image, painted, hole, made_by(models, "inpainter"), used, settings)


def refine(
    image: np.ndarray,
    mask: np.ndarray,
    models: Models,
    settings: Settings,
    fill_settings: FillSettings,
    *,
    start: np.ndarray | None = None,
) -> Fill:
    """Paints the hole from a prompt by diffusion and scores the result.

    Args:
        image: (H, W, 3) uint8 RGB, the original.
        mask: (H, W) bool, the object.
        models: its diffusion is used.
        settings: the thresholds and the variant of Entangled.
        fill_settings: prompt, strength, steps, guidance, seed and dilation of this try.
        start: (H, W, 3) uint8, the background to start from; None = LaMa's fill is made first, so
            that no pixel of the object is ever shown to the model.

    Returns:
        The try; outside its mask it is byte-identical to the image.

    Raises:
        EmptyRegionError: the mask is empty, or covers the whole image once dilated.
        ValueError: the mask does not fit the image.

    **Source**: ForgetMe §3.1.2, step 4.
    """
    hole, used = _hole(image, mask, fill_settings)
    if start is None:
        start = models.inpainter(image, hole, pad=used.pad)
    painted = models.diffusion.inpaint(
        np.where(hole[..., None], start, image),
        hole,
        used.prompt,
        seed=used.seed,
        negative_prompt=used.negative_prompt,
        strength=used.strength,
        steps=used.steps,
        guidance=used.guidance,
        pad=used.pad,
    )
    return _try(image, painted, hole, made_by(models, "diffusion"), used, settings)


def score(
    image: np.ndarray,
    background: np.ndarray,
    hole: np.ndarray,
    maker: str,
    used: FillSettings,
    settings: Settings = DEFAULTS,
) -> Fill:
    """Scores a background that is there already.

    Args:
        image: (H, W, 3) uint8 RGB, the original.
        background: (H, W, 3) uint8 RGB, equal to it outside the hole.
        hole: (H, W) bool, what differs.
        maker: name of what made the background.
        used: the settings it was made with.
        settings: the variant of Entangled.
    """
    scores = Scores(
        entangled_d(image, background, hole, variant=settings.variant),
        entangled_s(background, hole, variant=settings.variant),
    )
    return Fill(background, hole, maker, used, scores)


def look(made: Fill, mask: np.ndarray, concept: str, models: Models) -> CameBack:
    """Asks ranker and verifier whether the object came back in a filled hole.

    Both are shown the whole box around the object, not its outline: the outline of a cat filled
    with grass still looks like a cat to CLIP.

    Args:
        made: the fill.
        mask: (H, W) bool, the object that was there; not empty.
        concept: what it was.
        models: its ranker and verifier are used.

    Returns:
        What they see. A verifier that is not there or does not answer is no reason to drop a fill.
    """
    x, y, width, height = masks.box_xywh(mask)
    box = np.zeros_like(mask)
    box[y : y + height, x : x + width] = True
    region = Proposal(box, (x, y, width, height), 1.0, 1.0, made.made_by)
    chance, label = _seen(models, made.image, region, concept)
    try:
        verdict = models.verifier(made.image, region, concept)
    except (VerifierError, MissingModelError) as error:
        return CameBack(chance, label, None, chance >= BACK_AT, str(error))
    if not verdict.checked:
        return CameBack(chance, label, None, False, verdict.reason)
    said: Literal["yes", "no"] = "yes" if verdict.yes else "no"
    return CameBack(chance, label, said, said == "yes" or chance >= BACK_AT, verdict.reason)


def made_by(models: Models, stage: Stage) -> str:
    """Names what serves a stage; a plain function of the user's has no name but the preset's."""
    return getattr(getattr(models, stage), "made_by", None) or models.names[stage]


def is_better(new: Try, old: Try) -> bool:
    """Tells whether one try is better than another.

    A try whose object is gone is better than one where it came back; of two alike, the one that is
    not low; of two alike, the one with the higher mean of Entangled-D and -S. A tie is no better.

    Args:
        new: a try as the store has it.
        old: the one to beat.
    """
    return _merit(new) > _merit(old)


def record_try(
    store: Store,
    seen: SampleRow,
    kind: str,
    made: Fill,
    settings: Settings,
    *,
    by: str,
    came_back: CameBack | None = None,
    pick: Callable[[Try, Try], bool] = lambda new, old: True,
) -> SampleRow:
    """Writes a fill's pixels and appends its event, if the mask it was made for still stands.

    What was written is read back and compared with the original: the event says of how many bytes
    outside the hole, and how many differ.

    Args:
        store: the store.
        seen: the sample as it was when the work began.
        kind: "filled" or "refined".
        made: the fill.
        settings: whose thresholds say what is low.
        by: name recorded with the event.
        came_back: what was seen in it, see `look`.
        pick: gets the new try and the picked one; whether to pick the new one.

    Returns:
        The sample with one more try, picked; where somebody decided the sample meanwhile, their
        decision stands and the try is only kept beside the others. A "filled" that is the picked
        try to the byte is not written again. A "refined" whose mask changed meanwhile is kept for
        that mask and comes back with it.

    Raises:
        StaleVersionError: the mask changed meanwhile under a "filled", or the sample moves on
            faster than the try can be written.
    """
    sha = store.put_image(made.image)
    payload = {
        "image_sha": sha,
        "mask_sha": store.put_image(made.mask),
        "made_for": seen.mask_sha,
        "settings": asdict(made.settings),
        "made_by": made.made_by,
        "scores": made.scores.as_json(settings.thresholds),
        "outside": _outside(store.get_image(seen.image_sha), store.get_image(sha), made.mask),
    }
    if came_back is not None:
        payload["came_back"] = asdict(came_back)
    for _ in range(RECORD_TRIES):
        row = store.sample(seen.id)
        if row.mask_sha != seen.mask_sha and kind == "filled":
            break
        if kind == "filled" and _shows(row, payload):  # two prepared it at a time
            return row
        undecided = row.decided_event == seen.decided_event
        picked = _picked_of(row, seen.mask_sha)
        wanted = picked is None or pick(payload, picked)
        payload["pick"] = undecided and wanted
        try:
            return store.append(seen.id, kind, payload, by=by, expected_version=row.version)
        except StaleVersionError:
            continue
    raise StaleVersionError(
        f"{seen.name} changed while its hole was being filled, so the fill was dropped; fill again",
        mine=seen.version,
        theirs=row,
    )


def _picked_of(row: SampleRow, mask_sha: str | None) -> Try | None:
    """The picked try of a mask, also where another one is in force."""
    tries, k = row.tries, row.picked_try
    if mask_sha != row.mask_sha:
        other = (row.other_tries or {}).get(mask_sha, {"tries": [], "picked": None})
        tries, k = other["tries"], other["picked"]
    return None if k is None else tries[k]


def _shows(row: SampleRow, payload: Try) -> bool:
    """Whether the sample's picked try is this fill already."""
    if row.picked_try is None:
        return False
    picked = row.tries[row.picked_try]
    return all(picked[key] == payload[key] for key in ("image_sha", "mask_sha", "made_by"))


def _hole(
    image: np.ndarray, mask: np.ndarray, wanted: FillSettings
) -> tuple[np.ndarray, FillSettings]:
    """The mask to fill, and the settings with the dilation that was really used."""
    masks.check_mask(mask, image)
    if not mask.any():
        raise EmptyRegionError("the mask is empty: click the object before filling its hole")
    px = wanted.dilate_px
    if px is None:
        px = max(3, round(0.02 * max(image.shape[:2])))
    hole = masks.dilate(mask, px)
    if hole.all():
        raise EmptyRegionError(
            f"the mask, grown by {px} px, covers the whole image, so nothing is left to fill it "
            "from; shrink the mask or reject the image"
        )
    return hole, replace(wanted, dilate_px=px)


def _try(
    image: np.ndarray,
    painted: np.ndarray,
    hole: np.ndarray,
    maker: str,
    used: FillSettings,
    settings: Settings,
) -> Fill:
    # Pasted here whatever the backend did: outside the hole every byte is the original's.
    background = np.where(hole[..., None], painted, image)
    return score(image, background, hole, maker, used, settings)


def _seen(models: Models, image: np.ndarray, region: Proposal, concept: str) -> tuple[float, str]:
    """The ranker's probability of the concept in a region, and what it sees there most."""
    ranker = models.ranker
    if not hasattr(ranker, "view_probabilities"):  # a plain function has scores and no words
        return float(ranker(image, [region], concept)[0]), ""
    labels = ranker.labels(concept)
    chances = ranker.view_probabilities(image, [region], labels)[0]
    return float(chances[0]), labels[int(chances.argmax())]


def _outside(image: np.ndarray, background: np.ndarray, hole: np.ndarray) -> dict[str, int]:
    """Counts the bytes outside the hole, and those of them that differ."""
    changed = np.count_nonzero(image[~hole] != background[~hole])
    return {"bytes": int(image[~hole].size), "changed": int(changed)}


def _merit(one: Try) -> tuple[bool, bool, float]:
    scores = one["scores"]
    d, s = scores["d"]["score"], scores["s"]["score"]
    mean = -1.0 if d is None or s is None else (d + s) / 2
    return not (one.get("came_back") or {}).get("back", False), not scores["low"], mean
