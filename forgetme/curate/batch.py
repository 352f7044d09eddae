"""A folder of images, each walked as far as the machine can; a stopped batch goes on."""

from __future__ import annotations

import logging
import os
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forgetme.curate import checks
from forgetme.curate.photos import Photo, as_photo
from forgetme.curate.pipeline import (
    DEFAULTS,
    STOPS_EVERYTHING,
    Worked,
    is_unanswered,
    is_unfilled,
    prepare,
    take,
)
from forgetme.errors import (
    BrokenImageError,
    ForgetmeError,
    StaleVersionError,
)
from forgetme.record.concept import plain, single
from forgetme.record.images import IMAGE_SUFFIXES, PHONE_SUFFIXES
from forgetme.record.settings import Settings
from forgetme.stages.models import Models
from forgetme.store import SampleRow, Store
from forgetme.store.names import MAX_CONCEPT_CHARS

log = logging.getLogger(__name__)


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
    images: Iterable[str | os.PathLike[str] | Photo],
    concept: str,
    models: Models,
    store: Store,
    *,
    settings: Settings = DEFAULTS,
    auto_accept: bool = False,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    by: str = "policy",
    made: Callable[[Photo], Imported] | None = None,
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
        made: gives what was made of a photo elsewhere, which is then taken in its place.

    Returns:
        What was done, counted over all images looked at.

    Raises:
        MissingModelError: a model that is needed is not there.
        DiskFullError: no room is left.
        ForgetmeError: the concept is not usable.
    """
    concept = check_concept(concept)
    photos = [as_photo(image) for image in images]
    known = finished_sources(store, concept, auto_accept, settings)
    seen: dict[str, _Outcome] = {}
    failed: list[str] = []
    no_answers: list[str] = []
    resumed = worked = finished = 0
    began = time.monotonic()
    for done, photo in enumerate(photos, start=1):
        if limit is not None and worked >= limit:
            break
        words = ""
        outcome = known.get(photo.source)
        if outcome is not None and outcome.is_of(photo):
            resumed += 1
        else:
            worked += 1
            try:
                before = len(no_answers)
                row = _curate_one(
                    photo, made and made(photo), concept, models, store, settings, auto_accept, by,
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
                log.debug("%s failed", photo.source, exc_info=True)
                failed.append(f"{photo.label}: {words}")
            finished += outcome is not None and outcome.done
        if outcome is not None:
            seen[outcome.sample_id] = outcome
        if on_progress is not None:
            eta = (time.monotonic() - began) / worked * (len(photos) - done) if worked else None
            state = outcome.state if outcome else None
            on_progress(Progress(done, len(photos), eta, photo.label, state, words))
    no_answer = no_answers[-1] if no_answers else ""
    seconds = time.monotonic() - began
    return _report(list(seen.values()), finished, resumed, failed, no_answer, seconds)


@dataclass(frozen=True, eq=False)
class Imported:
    """A photo that was read and worked on elsewhere."""

    error: str = ""  # why it cannot be read; nothing else is there then
    image_sha: str = ""
    size_hw: tuple[int, int] = (0, 0)
    png: bytes = b""
    notes: tuple[str, ...] = ()
    worked: Worked | None = None


def _curate_one(
    photo: Photo,
    made: Imported | None,
    concept: str,
    models: Models,
    store: Store,
    settings: Settings,
    auto_accept: bool,
    by: str,
    on_no_answer: Callable[[str], None],
) -> SampleRow:
    about = {"name": photo.name, "concept": concept, "by": by, "source": photo.source}
    if made is None:
        try:
            read = photo.read()
        except BrokenImageError as error:
            return store.import_broken(error=str(error), **about)
        row = store.import_image(read.image, notes=read.notes, **about)
    elif made.error:
        return store.import_broken(error=made.error, **about)
    else:
        store.put_png(made.image_sha, made.png)
        row = store.import_kept(made.image_sha, made.size_hw, notes=made.notes, **about)
    if made is not None and (row.state == "new" or is_unfilled(store, row)):
        row = take(store, row, made.worked, by=by, on_no_answer=on_no_answer)
    else:
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

    def is_of(self, photo: Photo) -> bool:
        """Tells whether the file is older than its sample: a mended or replaced one is read again.

        What was made from one that is gone, or cannot be reached, stays.
        """
        try:
            changed = photo.path.stat().st_mtime
        except OSError:
            return True
        return changed <= datetime.fromisoformat(self.updated_at).timestamp()


def _outcome(row: SampleRow, settings: Settings) -> _Outcome:
    return _Outcome(
        row.id,
        row.state,
        is_selected(row),
        bool(row.low),
        is_unanswered(row, settings),
        row.updated_at,
    )


def finished_sources(
    store: Store, concept: str, auto_accept: bool, settings: Settings
) -> dict[str, _Outcome]:
    """Finds the samples that need no more work, by the file they came from."""
    finished: dict[str, _Outcome] = {}
    for row in store.walk(concept, light=False):
        to_do = (
            row.state == "new"
            or is_unfilled(store, row)
            or is_unanswered(row, settings)
            or (auto_accept and policy_accepts(row))
        )
        if not to_do:
            finished[row.source] = _outcome(row, settings)
    return finished


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
