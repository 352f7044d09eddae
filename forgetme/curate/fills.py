"""One try at the background: filled, scored, looked at again, and proven outside the hole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from forgetme.curate.checks import Check, failed
from forgetme.errors import EmptyRegionError, StaleVersionError
from forgetme.record import masks
from forgetme.record.entangled import entangled_d, entangled_s
from forgetme.record.images import array_sha, mask_sha
from forgetme.record.sample import Fill, FillSettings, Scores
from forgetme.record.settings import Settings
from forgetme.stages.models import Models, Stage
from forgetme.store import SampleRow, Store

DEFAULTS = Settings()
RECORD_TRIES = 5  # a comment or a pick in between does no harm

Try = Mapping[str, Any]  # a try as the store has it


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


def made_by(models: Models, stage: Stage) -> str:
    """Names what serves a stage; a plain function of the user's has no name but the preset's."""
    return getattr(getattr(models, stage), "made_by", None) or models.names[stage]


def is_better(new: Try, old: Try) -> bool:
    """Tells whether one try is better than another.

    A try in which the concept is still seen is worse than one in which it is not; of two alike, one
    that fails a check (smear, seam) is worse; of two alike, one with low scores; of two alike, the
    one with the lower mean of Entangled-D and -S. A tie is no better.

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
    checks: Sequence[Check] = (),
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
        checks: what was looked for in it; one that failed makes it low, whatever its scores.

    Returns:
        The sample with one more try. It is picked where none was, or where it is better than the
        picked one (`is_better`) and nobody picked that one by hand; where somebody decided the
        sample meanwhile, their decision stands. A "filled" that is the picked
        try to the byte is not written again. A "refined" whose mask changed meanwhile is kept for
        that mask and comes back with it.

    Raises:
        StaleVersionError: the mask changed meanwhile under a "filled", or the sample moves on
            faster than the try can be written.
    """
    back = store.get_image(store.put_image(made.image))
    store.put_image(made.mask)
    image = store.get_image(seen.image_sha)
    payload = try_payload(image, back, seen.mask_sha, made, settings, checks)
    return add_try(store, seen, kind, payload, by=by)


def try_payload(
    image: np.ndarray,
    back: np.ndarray,
    made_for: str | None,
    made: Fill,
    settings: Settings,
    checks: Sequence[Check] = (),
) -> dict[str, Any]:
    """Writes down a try for its event; its fill and mask must be put into the store apart.

    Args:
        image: (H, W, 3) uint8 RGB, the original.
        back: (H, W, 3) uint8 RGB, the fill, read back from where it was written.
        made_for: name of the mask of the object.
        made: the fill.
        settings: whose thresholds say what is low.
        checks: what was looked for in it.
    """
    payload = {
        "image_sha": array_sha(back),
        "mask_sha": mask_sha(made.mask),
        "made_for": made_for,
        "settings": asdict(made.settings),
        "made_by": made.made_by,
        "scores": made.scores.as_json(settings.thresholds),
        "outside": _outside(image, back, made.mask),
    }
    if checks:
        payload["checks"] = [asdict(one) for one in checks]
        payload["scores"]["low"] |= failed(payload)
    return payload


def add_try(
    store: Store, seen: SampleRow, kind: str, payload: dict[str, Any], *, by: str
) -> SampleRow:
    """Appends the event of a try whose fill and mask the store has; see `record_try`."""
    for _ in range(RECORD_TRIES):
        row = store.sample(seen.id)
        if row.mask_sha != seen.mask_sha and kind == "filled":
            break
        if kind == "filled" and _shows(row, payload):  # two prepared it at a time
            return row
        undecided = row.decided_event == seen.decided_event
        picked = _picked_of(row, seen.mask_sha)
        wanted = picked is None or (
            is_better(payload, picked) and not _picked_by_hand(store, row, picked)
        )
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
        px = masks.fill_margin(mask)
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


def _outside(image: np.ndarray, background: np.ndarray, hole: np.ndarray) -> dict[str, int]:
    """Counts the bytes outside the hole, and those of them that differ."""
    changed = np.count_nonzero(image[~hole] != background[~hole])
    return {"bytes": int(image[~hole].size), "changed": int(changed)}


def _merit(one: Try) -> tuple[bool, bool, bool, float]:
    scores = one["scores"]
    d, s = scores["d"]["score"], scores["s"]["score"]
    mean = -1.0 if d is None or s is None else (d + s) / 2
    return not failed(one, "seen"), not failed(one), not scores["low"], mean


def _picked_by_hand(store: Store, row: SampleRow, picked: Try) -> bool:
    """Whether somebody picked the try; an event of an old store has only its number."""
    made = picked["event"]
    return any(
        one.kind == "chosen" and "try" in one.payload
        and one.payload.get("made_by_event", made) == made
        for one in store.events(row.id, after=made)
    )  # fmt: skip
