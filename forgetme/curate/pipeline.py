"""The order of the stages: image → ranked, verified masks → fill → scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forgetme.curate import checks
from forgetme.curate.fills import add_try, fill, made_by, record_try, try_payload
from forgetme.errors import (
    DiskFullError,
    ForgetmeError,
    MissingModelError,
    StoreVersionError,
    VerifierError,
)
from forgetme.record import masks
from forgetme.record.images import mask_sha, png_bytes, read_image
from forgetme.record.sample import NOT_CHECKED, Proposal, Ranked, Verdict
from forgetme.record.settings import Settings
from forgetme.stages.choice import order
from forgetme.stages.models import Models
from forgetme.store import SampleRow, Store

DEFAULTS = Settings()
NO_ANSWER = "The verifier did not answer ({}); masks are ranked by CLIP only. Ask again."
NOT_CONFIRMED = "No mask was confirmed as {0}. Click the {0}, or reject the image."
STOPS_EVERYTHING = (MissingModelError, DiskFullError, StoreVersionError)  # no image can succeed


@dataclass(frozen=True, eq=False)
class Proposed:
    """The masks of one image, best first, and the one that the verifier confirmed."""

    ranked: tuple[Ranked, ...]
    chosen: int | None  # None: no mask was confirmed; the sample waits for the human
    note: str = ""  # what went wrong on the way, for the curator
    no_answer: str = ""  # why the verifier gave none, where it was asked


def propose(
    image: np.ndarray,
    concept: str,
    models: Models,
    settings: Settings = DEFAULTS,
) -> Proposed:
    """Finds the concept's mask as the paper does: the first "yes" in order of CLIP score.

    Args:
        image: (H, W, 3) uint8 RGB.
        concept: what to look for.
        models: its segmenter, ranker and verifier are used.
        settings: how many masks are kept, and asked about.

    Returns:
        The ranked masks (whole objects before their parts) with the verdicts that were asked.
        Where the verifier fails, the rest is ranked by CLIP alone and `note` says so.

    **Source**: ForgetMe §3.1.1. The paper asks until a yes; we stop after `settings.k_asked`.
    """
    proposals = models.segmenter(image)
    if not proposals:
        return Proposed((), None, f"The segmenter found nothing here. Click the {concept}.")
    scores = models.ranker(image, proposals, concept)
    by = made_by(models, "ranker")
    best = order(proposals, scores, by)[: settings.max_proposals]
    ranked = [Ranked(proposals[i], float(scores[i])) for i in best]
    return _verified(image, ranked, concept, models, settings)


def _verified(
    image: np.ndarray, ranked: list[Ranked], concept: str, models: Models, settings: Settings
) -> Proposed:
    """Asks about the masks in their order until a yes; what was answered is not asked again."""
    for index, candidate in enumerate(ranked[: settings.k_asked]):
        verdict = candidate.verdict
        if verdict is None:
            try:
                verdict = models.verifier(image, candidate.proposal, concept)
            except VerifierError as error:
                return Proposed(tuple(ranked), None, NO_ANSWER.format(error), str(error))
            ranked[index] = replace(candidate, verdict=verdict)
        if verdict.yes:
            return Proposed(tuple(ranked), index)
        if not verdict.checked:
            said = f"{verdict.reason[0].upper()}{verdict.reason[1:]}"
            note = f"{said}. Choose a mask, or click the {concept}."
            return Proposed(tuple(ranked), None, note)
    return Proposed(tuple(ranked), None, NOT_CONFIRMED.format(concept))


# ------------------------------------------------------------------------ one sample of a store


def prepare(
    store: Store,
    row: SampleRow,
    models: Models,
    settings: Settings = DEFAULTS,
    *,
    by: str,
    on_no_answer: Callable[[str], None] = lambda why: None,
) -> SampleRow:
    """Walks a sample as far as the machine can: proposes, then fills a confirmed mask.

    Takes up where an interrupted run stopped, and asks again what the verifier has not answered.
    Does nothing to a sample that is decided or broken, nor to one that waits for the human.

    Args:
        store: the store.
        row: the sample as last seen.
        models: the stages.
        settings: of the loop and the fill.
        by: name recorded with the events.
        on_no_answer: hears why the verifier gave no answer.

    Returns:
        The sample as it is now.

    Raises:
        StaleVersionError: somebody worked on the sample meanwhile; nothing of theirs is lost.
    """
    if row.state == "new":
        image = store.get_image(row.image_sha)
        proposed = propose(image, row.concept, models, settings)
        novelty = novelty_of(store, row, image, models)
        row = record_proposed(store, row, proposed, models, by=by, novelty=novelty)
        if proposed.no_answer:
            on_no_answer(proposed.no_answer)
    elif is_unanswered(row, settings):
        image = store.get_image(row.image_sha)
        ranked = [_ranked(proposal) for proposal in row.proposals]
        proposed = _verified(image, list(ranked), row.concept, models, settings)
        if proposed.no_answer:
            on_no_answer(proposed.no_answer)
        if any(new is not old for new, old in zip(proposed.ranked, ranked, strict=True)):
            row = record_proposed(store, row, proposed, models, by=by, novelty=row.novelty)
    if is_unfilled(store, row):
        image, mask = store.get_image(row.image_sha), store.get_mask(row.mask_sha)
        made = fill(image, mask, models, settings)
        found = checks.of_row(row, image, mask, made, models, settings.thresholds)
        row = record_try(store, row, "filled", made, settings, by=by, checks=found)
    return row


# ------------------------------------------------------- worked on elsewhere, taken in afterwards


@dataclass(frozen=True, eq=False)
class Worked:
    """What the models made of an image, as `prepare` writes it into its events."""

    proposed: dict[str, Any]  # the event, but its novelty: that hangs on those before; {}: failed
    look: np.ndarray | None = None  # (D,) float32, the ranker's embedding
    no_answer: str = ""  # why the verifier gave none
    tried: dict[str, Any] | None = None  # the event of the fill
    fill_png: bytes = b""
    hole_rle: dict[str, Any] | None = None
    failed: str = ""  # why there are no masks, or no fill of a confirmed one


def work(image: np.ndarray, concept: str, models: Models, settings: Settings = DEFAULTS) -> Worked:
    """Walks an image as far as the machine can, without a store: what `take` puts into one.

    Args:
        image: (H, W, 3) uint8 RGB.
        concept: what to look for.
        models: the stages.
        settings: of the loop and the fill.
    """
    proposed = propose(image, concept, models, settings)
    found = Worked(_proposed_payload(proposed, models), _look_of(image, models), proposed.no_answer)
    if proposed.chosen is None:
        return found
    mask = proposed.ranked[proposed.chosen].proposal.mask
    try:
        made = fill(image, mask, models, settings)
        others = checks.outlines(found.proposed["proposals"])
        seen = checks.checks_of(image, made, mask, concept, models, settings.thresholds, others)
    except STOPS_EVERYTHING:
        raise
    except Exception as error:  # the masks were found all the same
        return replace(
            found, failed=str(error) if isinstance(error, ForgetmeError) else repr(error)
        )
    png = png_bytes(made.image)
    back = read_image(png)
    tried = try_payload(image, back, mask_sha(mask), made, settings, seen)
    return replace(found, tried=tried, fill_png=png, hole_rle=masks.rle_encode(made.mask))


def take(
    store: Store,
    row: SampleRow,
    worked: Worked,
    *,
    by: str,
    on_no_answer: Callable[[str], None] = lambda why: None,
) -> SampleRow:
    """Appends the events of `work` that a sample lacks: those that `prepare` had appended.

    Raises:
        ForgetmeError: the fill failed; the masks are taken.
        StaleVersionError: somebody worked on the sample meanwhile; nothing of theirs is lost.
    """
    if row.state == "new" and worked.proposed:
        maker, look = worked.proposed["ranked_by"], worked.look
        novelty = None if look is None else store.looks.novelty(row, look, maker)
        payload = worked.proposed | {"novelty": novelty}
        row = store.append(row.id, "proposed", payload, by=by, expected_version=row.version)
        if worked.no_answer:
            on_no_answer(worked.no_answer)
    if worked.failed:
        raise ForgetmeError(worked.failed)
    if worked.tried is None or not is_unfilled(store, row):
        return row
    if row.mask_sha != worked.tried["made_for"]:
        return row  # a hand drew another mask meanwhile
    store.put_png(worked.tried["image_sha"], worked.fill_png)
    store.put_image(masks.rle_decode(worked.hole_rle))
    return add_try(store, row, "filled", worked.tried, by=by)


def is_unfilled(store: Store, row: SampleRow) -> bool:
    """Tells whether a confirmed or imported mask waits for its fill.

    One that a hand is editing does not.
    """
    if row.state != "prepared" or row.tries:
        return False
    return row.chosen is not None or store.queue.is_brought(row.id)


def is_unanswered(row: SampleRow, settings: Settings = DEFAULTS) -> bool:
    """Tells whether a sample waits because the verifier failed, not because it said no."""
    if row.state != "waiting" or row.chosen is not None:
        return False
    verdicts = [proposal["verdict"] for proposal in row.proposals]
    # a yes, and a word that the verifier does not know, end the asking
    ended = any(
        verdict is not None and (verdict["yes"] or verdict["reason"].startswith(NOT_CHECKED))
        for verdict in verdicts
    )
    return None in verdicts[: settings.k_asked] and not ended


def novelty_of(store: Store, row: SampleRow, image: np.ndarray, models: Models) -> float | None:
    """Tells how new an image looks to the ranker among those before it; None if it cannot tell."""
    look = _look_of(image, models)
    return None if look is None else store.looks.novelty(row, look, made_by(models, "ranker"))


def _look_of(image: np.ndarray, models: Models) -> np.ndarray | None:
    embed = getattr(models.ranker, "embed_images", None)  # a plain function of the user's has none
    return None if embed is None else embed([image])[0]


def record_proposed(
    store: Store,
    row: SampleRow,
    proposed: Proposed,
    models: Models,
    *,
    by: str,
    novelty: float | None = None,
) -> SampleRow:
    """Appends the `proposed` event."""
    payload = _proposed_payload(proposed, models) | {"novelty": novelty}
    return store.append(row.id, "proposed", payload, by=by, expected_version=row.version)


def _proposed_payload(proposed: Proposed, models: Models) -> dict[str, Any]:
    return {
        "proposals": [_ranked_payload(ranked) for ranked in proposed.ranked],
        "chosen": proposed.chosen,
        "preset": models.preset,
        "ranked_by": made_by(models, "ranker"),
        "note": proposed.note,
    }


def _ranked_payload(ranked: Ranked) -> dict[str, Any]:
    proposal = ranked.proposal
    return {
        "rle": masks.rle_encode(proposal.mask),
        "box_xywh": [int(side) for side in proposal.box_xywh],
        "predicted_iou": float(proposal.predicted_iou),
        "stability_score": float(proposal.stability_score),
        "score": ranked.score,
        "verdict": verdict_payload(ranked.verdict) if ranked.verdict else None,
        "made_by": proposal.made_by,
    }


def _ranked(payload: dict[str, Any]) -> Ranked:
    """Reads a proposal of an event."""
    verdict = payload["verdict"]
    proposal = Proposal(
        masks.rle_decode(payload["rle"]),
        tuple(payload["box_xywh"]),
        payload["predicted_iou"],
        payload["stability_score"],
        payload["made_by"],
    )
    return Ranked(proposal, payload["score"], None if verdict is None else Verdict(**verdict))


def verdict_payload(verdict: Verdict) -> dict[str, Any]:
    """Turns a verdict into JSON; a verifier of the user's may answer with numpy's numbers."""
    return {
        "yes": bool(verdict.yes),
        "confidence": float(verdict.confidence),
        "reason": verdict.reason,
        "made_by": verdict.made_by,
    }
