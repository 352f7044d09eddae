"""The order of the stages: image → ranked, verified masks → fill → scores; alone and in batches."""

from __future__ import annotations

import logging
import os
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from forgetme.curate import checks
from forgetme.curate.fills import fill, made_by, record_try
from forgetme.errors import (
    BrokenImageError,
    DiskFullError,
    ForgetmeError,
    MissingModelError,
    StaleVersionError,
    StoreVersionError,
    VerifierError,
)
from forgetme.record import masks
from forgetme.record.concept import plain, single
from forgetme.record.images import IMAGE_SUFFIXES, PHONE_SUFFIXES, read_image_with_notes
from forgetme.record.sample import NOT_CHECKED, Proposal, Ranked, Verdict
from forgetme.record.settings import Settings
from forgetme.stages.models import Models
from forgetme.store import SampleRow, Store
from forgetme.store.names import MAX_CONCEPT_CHARS, plain_text

log = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class Progress:
    """How far a batch is, after one more image."""

    done: int  # images looked at, the skipped ones included
    total: int
    eta_seconds: float | None  # None until one image was really worked on
    name: str  # of the image just finished
    state: str | None  # of its sample; None: its work failed
    words: str = ""  # what went wrong with it, if anything


@dataclass(frozen=True)
class CurateReport:
    """What a batch left behind, over all of its images, those of earlier runs included.

    `selected` is the paper's success: the verifier confirmed a mask and the hole is filled. A fill
    with low scores counts as selected, and waits for the human all the same.
    """

    images: int  # all that were looked at, broken ones included; copies of a picture count once
    selected: int
    waiting: int  # no mask was confirmed
    unanswered: int  # the verifier did not answer; the next run asks again
    no_answer: str  # why, in the server's words; "" where all was answered
    low: int  # selected, with low scores
    broken: int  # not readable; in the store as rows with their error
    accepted: int  # by the policy or by a person
    finished: int  # by this run
    resumed: int  # finished before this run
    failed: tuple[str, ...]  # "name: why" of images whose work failed; the next run tries again
    seconds: float


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
    from forgetme.stages.rank import (
        order,  # brings torch, which the page loads behind its first answer
    )

    proposals = models.segmenter(image)
    if not proposals:
        return Proposed((), None, f"The segmenter found nothing here. Click the {concept}.")
    scores = models.ranker(image, proposals, concept)
    best = order(proposals, scores)[: settings.max_proposals]
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


def is_unfilled(store: Store, row: SampleRow) -> bool:
    """Tells whether a confirmed or imported mask waits for its fill.

    One that a hand is editing does not.
    """
    if row.state != "prepared" or row.tries:
        return False
    return row.chosen is not None or store.jobs.is_brought(row.id)


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
    embed = getattr(models.ranker, "embed_images", None)  # a plain function of the user's has none
    if embed is None:
        return None
    return store.looks.novelty(row, embed([image])[0], made_by(models, "ranker"))


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
    payload = {
        "proposals": [_ranked_payload(ranked) for ranked in proposed.ranked],
        "chosen": proposed.chosen,
        "preset": models.preset,
        "ranked_by": made_by(models, "ranker"),
        "note": proposed.note,
        "novelty": novelty,
    }
    return store.append(row.id, "proposed", payload, by=by, expected_version=row.version)


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


# ------------------------------------------------------------------------ a folder of images


def find_images(path: Path) -> tuple[list[Path], int]:
    """Lists the images under a folder, sorted, and counts the other files.

    A folder in ForgetMe's own layout (`original/` beside `mask/`) stands for its `original/`.

    Args:
        path: a folder, searched to any depth, or one file of any name.

    Returns:
        The files whose suffix says that they are images, and the number of files passed over.
        Hidden files and folders are not looked at.

    Raises:
        ForgetmeError: nothing is there.
    """
    if not path.is_dir():
        if os.path.lexists(path):
            return [path], 0
        raise ForgetmeError(f"{path}: no such file or folder; give a folder of images or one image")
    if (path / "original").is_dir() and (path / "mask").is_dir():
        path = path / "original"
    found, others = [], 0
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        seen = [Path(folder, name) for name in names if not name.startswith(".")]
        wanted = [
            file for file in seen if file.suffix.lower() in (*IMAGE_SUFFIXES, *PHONE_SUFFIXES)
        ]
        others += len(seen) - len(wanted)
        found += wanted
    return sorted(found), others


def check_concept(concept: str) -> str:
    """Returns the concept without surrounding space; any text of one line is one.

    Raises:
        ForgetmeError: it is empty, too long or has control characters.
    """
    concept = concept.strip()
    if not concept or len(concept) > MAX_CONCEPT_CHARS:
        raise ForgetmeError(
            f"a concept must have 1 to {MAX_CONCEPT_CHARS} characters, got {len(concept)}; "
            "name the thing to forget, for example --concept cat"
        )
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in concept):
        raise ForgetmeError(
            f"a concept must be one line without control characters, got {concept!r}; retype it"
        )
    try:
        plain(single(concept))
    except ValueError as error:  # "<>": no word is left for a prompt
        raise ForgetmeError(str(error)) from error
    return concept


def curate(
    images: Iterable[str | os.PathLike[str]],
    concept: str,
    models: Models,
    store: Store,
    *,
    settings: Settings = DEFAULTS,
    auto_accept: bool = False,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    by: str = "policy",
) -> CurateReport:
    """Imports images and walks each as far as the machine can go; resumes where it stopped.

    Every finished step is one committed event, so that it can be interrupted at any moment and
    started again with the same arguments. An unreadable image becomes a row with its error; an
    image whose work fails is reported and tried again by the next run.

    Args:
        images: image files; see `find_images` for a folder.
        concept: what to look for in them.
        models: the stages.
        store: where everything goes.
        settings: of the loop and the fill.
        auto_accept: accept without a human where the verdict is yes and the scores are not low.
        limit: stop after this many images that needed work.
        on_progress: called after each image.
        by: name recorded with the events.

    Returns:
        What was done, counted over all images looked at.

    Raises:
        MissingModelError: a model that is needed is not there.
        DiskFullError: no room is left.
        ForgetmeError: the concept is not usable.
    """
    concept = check_concept(concept)
    paths = [Path(path) for path in images]
    known = _finished_sources(store, concept, auto_accept, settings)
    seen: dict[str, _Outcome] = {}
    failed: list[str] = []
    no_answers: list[str] = []
    resumed = worked = finished = 0
    began = time.monotonic()
    for done, path in enumerate(paths, start=1):
        if limit is not None and worked >= limit:
            break
        source, words = plain_text(str(path.absolute())), ""
        outcome = known.get(source)
        if outcome is not None and _unchanged(path, outcome):
            resumed += 1
        else:
            worked += 1
            try:
                before = len(no_answers)
                row = _curate_one(
                    path, source, concept, models, store, settings, auto_accept, by,
                    no_answers.append,
                )  # fmt: skip
                outcome = _outcome(row, settings)
                words = row.error or "".join(no_answers[before:])
            except STOPS_EVERYTHING:
                raise
            except StaleVersionError as error:
                outcome = _outcome(error.theirs, settings)
                words = "somebody worked on it meanwhile; left as it is"
            except Exception as error:  # one image must never stop the rest
                outcome = None
                words = str(error) if isinstance(error, ForgetmeError) else repr(error)
                log.debug("%s failed", path, exc_info=True)
                failed.append(f"{path.name}: {words}")
            finished += outcome is not None and outcome.done
        if outcome is not None:
            seen[outcome.sample_id] = outcome
        if on_progress is not None:
            eta = (time.monotonic() - began) / worked * (len(paths) - done) if worked else None
            state = outcome.state if outcome else None
            on_progress(Progress(done, len(paths), eta, path.name, state, words))
    no_answer = no_answers[-1] if no_answers else ""
    seconds = time.monotonic() - began
    return _report(list(seen.values()), finished, resumed, failed, no_answer, seconds)


def _curate_one(
    path: Path,
    source: str,
    concept: str,
    models: Models,
    store: Store,
    settings: Settings,
    auto_accept: bool,
    by: str,
    on_no_answer: Callable[[str], None],
) -> SampleRow:
    try:
        read = read_image_with_notes(path)
    except BrokenImageError as error:
        return store.import_broken(
            name=path.stem, concept=concept, by=by, error=str(error), source=source
        )
    row = store.import_image(
        read.image, name=path.stem, concept=concept, by=by, source=source, notes=read.notes
    )
    row = prepare(store, row, models, settings, by=by, on_no_answer=on_no_answer)
    if auto_accept and policy_accepts(row):
        row = store.append(
            row.id, "accepted", {"how": "policy"}, by=by, expected_version=row.version
        )
    return row


def policy_accepts(row: SampleRow) -> bool:
    """Tells whether no human is needed: a yes, scores not low, all checks passed, the object gone.

    Where nobody could look for the object, a human does.
    """
    if row.state != "prepared" or not is_selected(row) or row.low:
        return False
    picked = row.tries[row.picked_try]
    return checks.is_gone(picked) and not checks.failed(picked)


def is_selected(row: SampleRow) -> bool:
    """Tells whether the machine's loop succeeded: a mask confirmed by the verifier, and filled."""
    if row.chosen is None or row.picked_try is None:
        return False
    verdict = row.proposals[row.chosen]["verdict"]
    return verdict is not None and verdict["yes"]


@dataclass(frozen=True)
class _Outcome:
    """What a batch keeps of a row: rows of thousands of images with their masks are too big."""

    sample_id: str
    state: str
    selected: bool
    low: bool
    unanswered: bool
    updated_at: str

    @property
    def done(self) -> bool:
        return not self.unanswered and self.state != "broken"


def _outcome(row: SampleRow, settings: Settings) -> _Outcome:
    return _Outcome(
        row.id,
        row.state,
        is_selected(row),
        bool(row.low),
        is_unanswered(row, settings),
        row.updated_at,
    )


def _finished_sources(
    store: Store, concept: str, auto_accept: bool, settings: Settings
) -> dict[str, _Outcome]:
    """Finds the samples that need no more work, by the file they came from."""
    finished: dict[str, _Outcome] = {}
    offset = 0
    while page := store.samples(concept=concept, offset=offset, limit=200):
        offset += len(page)
        for row in page:
            to_do = (
                row.state == "new"
                or is_unfilled(store, row)
                or is_unanswered(row, settings)
                or (auto_accept and policy_accepts(row))
            )
            if not to_do:
                finished[row.source] = _outcome(row, settings)
    return finished


def _unchanged(path: Path, outcome: _Outcome) -> bool:
    """Tells whether the file is older than its sample: a mended or replaced one is read again."""
    try:
        changed = path.stat().st_mtime
    except OSError:
        return True  # it is gone or cannot be reached; what was made from it stays
    return changed <= datetime.fromisoformat(outcome.updated_at).timestamp()


def _report(
    outcomes: Sequence[_Outcome],
    finished: int,
    resumed: int,
    failed: Sequence[str],
    no_answer: str,
    seconds: float,
) -> CurateReport:
    states = Counter(outcome.state for outcome in outcomes)
    unanswered = sum(outcome.unanswered for outcome in outcomes)
    return CurateReport(
        images=len(outcomes) + len(failed),
        selected=sum(outcome.selected for outcome in outcomes),
        waiting=states["waiting"] - unanswered,
        unanswered=unanswered,
        no_answer=no_answer,
        low=sum(outcome.selected and outcome.low for outcome in outcomes),
        broken=states["broken"],
        accepted=states["accepted"],
        finished=finished,
        resumed=resumed,
        failed=tuple(failed),
        seconds=seconds,
    )
