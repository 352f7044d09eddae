"""Import: a dataset of any format becomes samples of a store, after its data are checked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from forgetme.dataset import coco, folders, parquet, webdataset
from forgetme.dataset.foreign import sound_part
from forgetme.dataset.quadruple import Progress, Record
from forgetme.dataset.rle import rle_mask
from forgetme.dataset.rows_in import Found, Listing
from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.record.concept import single
from forgetme.record.entangled import entangled_d, entangled_s
from forgetme.record.images import read_image_with_notes, read_mask_with_notes
from forgetme.record.masks import check_mask
from forgetme.record.sample import Scores
from forgetme.store import SampleRow, Store

imports: dict[str, Callable[[Path], Listing]] = {
    "folders": folders.read,
    "dataset": parquet.read,
    "parquet": parquet.read,
    "coco": coco.read,
    "webdataset": webdataset.read,
}

MOST_FAILED = 10_000  # a file of few bytes can claim billions of rows
IMPORTED = "imported"  # how a mask came that a dataset brought
_BY_HAND = ("chosen", "refined", "accepted", "rejected", "skipped", "flagged", "deleted", "undone")


def recognise(src: Path) -> str:
    """Tells the format of a dataset by its files: one of `imports`, "folders" where none fits."""
    if (src / "original").is_dir() and (src / "mask").is_dir():
        return "folders"
    files = [src] if src.is_file() else src.rglob("*")
    found = {file.suffix.lower() for file in files if file.is_file()}
    kinds = ((".parquet", "parquet"), (".tar", "webdataset"), (".json", "coco"))
    return next((format for suffix, format in kinds if suffix in found), "folders")


Outcome = Literal["imported", "there_already", "to_fill"]


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        source: what was read.
        imported: samples that are accepted now.
        there_already: samples that the store had, with the same pixels.
        to_fill: samples with a mask whose hole waits for its fill (masks without a background).
        by_concept: number of samples of each concept, of all three.
        failed: "row: why" of each row that was not taken.
    """

    source: Path
    imported: int
    there_already: int
    to_fill: int
    by_concept: dict[str, int]
    failed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Checked:
    """A quadruple from outside, decoded; its parts fit each other."""

    original: np.ndarray
    mask: np.ndarray
    background: np.ndarray | None
    filled: np.ndarray | None  # what was really filled
    notes: list[str]


def import_dataset(
    store: Store,
    src: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002 (as the command's option)
    by: str = "import",
    *,
    concept: str | None = None,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Takes a dataset into the store; doing it again, or after a crash, takes what is missing.

    A quadruple becomes an accepted sample, in the name of `by`; what our own export says of it
    is kept and exported again. A decision that stands in the store is never changed.

    Args:
        store: opened store.
        src: folder or file.
        format: one of `imports`; None = as it looks.
        by: whose name the events carry.
        concept: what the samples are to forget, where the dataset does not say.
        on_progress: called with (rows done, rows in all, words).

    Raises:
        ForgetmeError: `src` is not there or is no such dataset.
        DiskFullError: no space left; what was taken so far is whole.
        ValueError: unknown format.
    """
    format = recognise(Path(src)) if format is None else format  # noqa: A001
    if format not in imports:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(imports)}")
    if concept is not None:
        single(concept)
    src = Path(src)
    if not src.exists():
        raise ForgetmeError(f"{src} is not there; name a folder or file of the format {format}")
    listing = imports[format](src)
    outcomes: Counter[Outcome] = Counter()
    by_concept: Counter[str] = Counter()
    failed: list[str] = []
    for done, found in enumerate(listing.rows, start=1):
        try:
            row, outcome = _take(store, found, concept, by)
            outcomes[outcome] += 1
            by_concept[row.concept] += 1
            failed += [f"{found.where}: {words}" for words in found.left_out]
        except DiskFullError:
            raise
        except (ForgetmeError, ValueError) as error:
            failed.append(f"{found.where}: {error}")
            if len(failed) == MOST_FAILED:
                failed.append(f"{MOST_FAILED:,} rows could not be read; the rest was not looked at")
                break
        if on_progress is not None:
            on_progress(done, listing.total, f"read {found.where}")
    return ImportReport(src, **_counts(outcomes), by_concept=dict(by_concept), failed=tuple(failed))


def _counts(outcomes: Counter[Outcome]) -> dict[str, int]:
    return {name: outcomes[name] for name in ("imported", "there_already", "to_fill")}


def _take(store: Store, found: Found, concept: str | None, by: str) -> tuple[SampleRow, Outcome]:
    if found.problem is not None:
        raise ForgetmeError(found.problem)
    record = found.record
    concept = found.concept_named or concept
    if concept is None:
        raise ForgetmeError("it does not say its concept; name it with --concept")
    checked = _check(found)
    details = record.details if record else {}
    row = store.import_image(
        checked.original,
        name=f"{(record.name if record else found.name) or 'image'}.png",
        concept=concept,
        by=by,
        source=record.source if record else found.source,
        caption=record.caption if record else found.caption,
        notes=checked.notes if record is None else sound_part(details, "notes") or [],
        lineage=sound_part(details, "lineage"),
    )
    shas = (store.put_image(checked.mask), _put(store, checked.background))
    if not _is_free(store, row, shas):
        return row, _there(row, shas)
    if row.mask_sha != shas[0] or row.chosen is not None:
        row = _append(store, row, "mask_edited", {"mask_sha": shas[0], "how": IMPORTED}, by)
    if checked.background is None:
        return row, "to_fill"
    if row.picked_try is None:
        kind, payload = _fill(store, checked, record, shas[1])
        row = _append(store, row, kind, payload, by)
    return _accept(store, row, record, by), "imported"


def _is_free(store: Store, row: SampleRow, shas: tuple[str, str | None]) -> bool:
    """Tells whether an import may give the sample its mask: nobody did, or this import began to.

    What the machine proposed is nobody's. A mask of another import is somebody's: of two rows
    with the same pixels the first stays.
    """
    if row.decided_event is not None:
        return False
    if row.mask_sha is None:
        return True
    events = store.events(row.id)
    if any(event.kind in _BY_HAND for event in events):
        return False
    edits = [event.payload for event in events if event.kind == "mask_edited"]
    if not edits:
        return True
    began = all((one["mask_sha"], one.get("how")) == (shas[0], IMPORTED) for one in edits)
    return began and shas[1] is not None and all(one["image_sha"] == shas[1] for one in row.tries)


def _put(store: Store, image: np.ndarray | None) -> str | None:
    return None if image is None else store.put_image(image)


def _append(store: Store, row: SampleRow, kind: str, payload: dict[str, Any], by: str) -> SampleRow:
    return store.append(row.id, kind, payload, by=by, expected_version=row.version)


def _there(row: SampleRow, shas: tuple[str, str | None]) -> Outcome:
    """Says that the store has this sample, or why it cannot be taken."""
    background = None if row.picked_try is None else row.tries[row.picked_try]["image_sha"]
    same = row.mask_sha == shas[0] and shas[1] in (None, background)
    if same and row.state in ("accepted", "prepared"):
        return "there_already"
    what = "" if same else " with another mask or background" if shas[1] else " with another mask"
    state = f"{row.state} by {row.decided_by}" if row.decided_by else "not decided yet"
    raise ForgetmeError(f"the store has its pixels as {row.name}{what}, {state}; that is kept")


def _accept(store: Store, row: SampleRow, record: Record | None, by: str) -> SampleRow:
    if record is None:
        return _append(store, row, "accepted", {"how": "policy"}, by)
    if comment := sound_part(record.details, "comment"):
        row = _append(store, row, "commented", {"text": comment}, by)
    how = record.decided_how if record.decided_how in ("human", "policy") else "policy"
    return _append(store, row, "accepted", {"how": how, "origin": asdict(record)}, by)


# ------------------------------------------------------------------------------ the checks


def _check(found: Found) -> _Checked:
    """Decodes the images and holds them against each other.

    Raises:
        ForgetmeError: an image cannot be read.
        ValueError: sizes differ, or the mask leaves nothing on one side.
    """
    read = read_image_with_notes(_source(found.original))
    mask, taken = found.mask, ()
    if not isinstance(mask, np.ndarray):
        mask, taken = read_mask_with_notes(_source(mask))
    notes = [*read.notes, *(f"mask: {note}" for note in taken)]
    check_mask(mask, read.image)
    if mask.all() or not mask.any():
        raise ValueError(f"its mask is {'full' if mask.all() else 'empty'}, so there is no object")
    if found.background is None:
        return _Checked(read.image, mask, None, None, notes)
    background = read_image_with_notes(_source(found.background)).image
    if background.shape != read.image.shape:
        raise ValueError(
            f"its background must be of the original's size {_size(read.image)}, got "
            f"{_size(background)}; export it again, or resize it"
        )
    changed = (background != read.image).any(axis=2)
    filled = _filled(found.record, mask, changed)
    return _Checked(read.image, mask, background, filled, notes)


def _source(picture: Any) -> Any:
    if picture is None:
        raise ValueError("an image is missing")
    return picture


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"


def _filled(record: Record | None, mask: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Returns the mask that was filled: as our export says, else all that differs."""
    if record is None or "filled_mask" not in record.details:
        return mask | changed
    filled = rle_mask(record.details["filled_mask"], mask.shape)
    if (changed & ~filled).any():
        raise ValueError("its background differs from the original outside the filled mask")
    return filled


# ------------------------------------------------------------------------------ the fill


def _fill(
    store: Store, checked: _Checked, record: Record | None, image_sha: str
) -> tuple[str, dict[str, Any]]:
    """Returns the event of the fill: our export's own words, or scores of our own."""
    details = record.details if record else {}
    settings = sound_part(details, "settings") or {}
    payload = {
        "image_sha": image_sha,
        "mask_sha": store.put_image(checked.filled),
        "settings": settings,
        "made_by": record.inpainted_by if record else "imported",
        "scores": sound_part(details, "scores") or _scores(checked),
    }
    if versions := sound_part(details, "versions"):
        payload["versions"] = versions
    return "refined" if details.get("kind") == "refined" and settings else "filled", payload


def _scores(checked: _Checked) -> dict[str, Any]:
    """Scores a fill of another maker on its mask, since what was really filled is not known."""
    d = entangled_d(checked.original, checked.background, checked.mask)
    return Scores(d, entangled_s(checked.background, checked.mask)).as_json()
