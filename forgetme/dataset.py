"""Accepted samples become a folder that others can load: four images each, and what made them."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetme import __version__
from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.images import png_bytes
from forgetme.sample import Layers
from forgetme.store import Event, SampleRow, Store
from forgetme.store.names import name_key, plain_text, safe_stem

LAYERS = ("original", "foreground", "background", "mask")
MARKER = ".forgetme-export.json"  # lists the files of an export; only these are ever replaced

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        folder: where it is.
        exported: number of quadruples.
        by_concept: the same, for each concept.
        replaced: whether an earlier export was there.
        left_out: "name: why" of accepted samples that are not sound.
        load: the Python line that loads it, whatever the stems are.
    """

    folder: Path
    exported: int
    by_concept: dict[str, int]
    replaced: bool
    left_out: tuple[str, ...]
    load: str


def export_folders(
    store: Store,
    out: str | os.PathLike[str],
    *,
    concept: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Writes the accepted samples as `original/ foreground/ background/ mask/ metadata.jsonl`.

    Each sample has one stem, its name; where two concepts share a name, the later sample's has
    its concept added. The folder appears whole or not at all: it is made beside `out` and then
    takes its name. Files that are not of an earlier export are carried over untouched.

    Args:
        store: opened store.
        out: a new or empty folder, or an earlier export, which is replaced.
        concept: only samples of this concept.
        on_progress: called with (samples done, samples in all).

    Returns:
        What was written.

    Raises:
        ForgetmeError: nothing is accepted, or `out` holds something that is no export.
        DiskFullError: no space left; what was at `out` is still there.
    """
    out = Path(out).resolve()
    _finish_swap(out)
    earlier = _earlier_files(out)
    stems = _stems(store, concept)
    if not stems:
        of = "" if concept is None else f" of concept {concept!r}"
        raise ForgetmeError(f"the store has no accepted sample{of}; accept some, then export")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name[:80]}.", suffix=".new"))
        try:
            new.chmod(0o755)  # mkdtemp makes it private
            rows, left_out = _write(store, stems, new, on_progress)
            if not rows:
                raise ForgetmeError(f"no accepted sample is sound: {'; '.join(left_out)}")
            _carry_over(out, new, earlier)
            _sync(new)
            _swap(out, new)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no room left to export to {out}; free some disk space and try again, "
                "what was there before is untouched"
            ) from error
        raise
    return ExportReport(
        folder=out,
        exported=len(rows),
        by_concept=dict(Counter(row["concept"] for row in rows)),
        replaced=bool(earlier),
        left_out=tuple(left_out),
        load=f'datasets.load_dataset("imagefolder", data_files={str(out / "metadata.jsonl")!r})',
    )


# The samples


def _stems(store: Store, concept: str | None) -> dict[str, str]:
    """Returns the stem of each accepted sample by id; later imports never change a stem."""
    stems, taken = {}, set()
    for row in store.samples(concept=concept, limit=None, light=True):
        of_concept = f"{row.name}-{safe_stem(plain_text(row.concept))}"
        for stem in (row.name, safe_stem(of_concept), f"{row.name}-{row.id}"):
            if name_key(stem) not in taken:
                break
        taken.add(name_key(stem))
        if row.state == "accepted":
            stems[row.id] = stem
    return stems


def _write(
    store: Store,
    stems: dict[str, str],
    folder: Path,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[dict[str, Any]], list[str]]:
    rows, left_out, files = [], [], ["metadata.jsonl"]
    for layer in LAYERS:
        (folder / layer).mkdir()
    for done, (sample_id, stem) in enumerate(stems.items(), start=1):
        row = store.sample(sample_id)
        if row.state == "accepted":  # a curator may take it back while this runs
            problem = _write_layers(store, row, folder, stem)
            if problem is None:
                rows.append(_metadata(store, row, stem))
                files += [f"{layer}/{stem}.png" for layer in LAYERS]
            else:
                left_out.append(f"{row.name}: {problem}")
        if on_progress is not None:
            on_progress(done, len(stems))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    marker = {"made_by": f"forgetme {__version__}", "format": "folders", "files": files}
    (folder / MARKER).write_text(json.dumps(marker), encoding="utf-8")
    return rows, left_out


def _write_layers(store: Store, row: SampleRow, folder: Path, stem: str) -> str | None:
    """Writes the four images, or says why the sample is not sound."""
    picked = row.tries[row.picked_try]
    shas = {"original": row.image_sha, "background": picked["image_sha"], "mask": row.mask_sha}
    try:
        layers = Layers.cut(
            store.get_image(shas["original"]),
            store.get_image(shas["background"]),
            store.get_mask(shas["mask"]),
        )
        filled = store.get_mask(picked["mask_sha"])
    except (ForgetmeError, ValueError, SyntaxError) as error:  # damaged PNG: SyntaxError
        return str(error)
    if not np.array_equal(layers.background[~filled], layers.original[~filled]):
        return "its background differs from the original outside the filled mask; fill it again"
    for layer, sha in shas.items():
        shutil.copyfile(store.blob_path(sha), folder / layer / f"{stem}.png")
    (folder / "foreground" / f"{stem}.png").write_bytes(png_bytes(layers.foreground))
    return None


def _metadata(store: Store, row: SampleRow, stem: str) -> dict[str, Any]:
    """Returns a sample's line: columns of one type in every row, details in `provenance`.

    `load_dataset` guesses the columns' types from the first lines, so a column that is null there
    and text further down would not load; hence "" for no text, and one JSON text for the rest.
    """
    picked = row.tries[row.picked_try]
    settings, scores = picked["settings"], picked["scores"]
    events = store.events(row.id)
    proposal = None if row.chosen is None else row.proposals[row.chosen]
    proposed = next((one for one in reversed(events) if one.kind == "proposed"), None)
    decision = next(one for one in events if one.id == row.decided_event)
    details = {
        "image_sha": row.image_sha,
        "background_sha": picked["image_sha"],
        "mask_sha": row.mask_sha,
        "filled_mask_sha": picked["mask_sha"],
        "kind": picked["kind"],
        "settings": settings,
        "scores": scores,
        "proposal": proposal and {key: value for key, value in proposal.items() if key != "rle"},
        "preset": proposed and proposed.payload.get("preset"),
        "ranked_by": proposed and proposed.payload.get("ranked_by"),
        "decided_at": decision.at,
        "comment": row.comment,
        "notes": row.notes,
        "tries": len(row.tries),
        "events": len(events),
        "versions": {"forgetme": __version__, **picked.get("versions", {})},
    }
    return {
        **{f"{layer}_file_name": f"{layer}/{stem}.png" for layer in LAYERS},
        "id": row.id,
        "concept": row.concept,
        "caption": row.caption,
        "source": row.source,
        "segmented_by": proposal["made_by"] if proposal else _masked_by(events),
        "verified_by": ((proposal or {}).get("verdict") or {}).get("made_by", ""),
        "inpainted_by": picked["made_by"],
        "prompt": settings.get("prompt", ""),
        "negative_prompt": settings.get("negative_prompt", ""),
        "seed": int(settings.get("seed", 0)),
        "entangled_d": row.score_d,
        "entangled_s": row.score_s,
        "variant": row.variant or "",
        "low": bool(row.low),
        "low_d": scores.get("thresholds", {}).get("low_d"),
        "low_s": scores.get("thresholds", {}).get("low_s"),
        "decided_by": row.decided_by,
        "decided_how": row.decided_how,
        "provenance": json.dumps(details, ensure_ascii=False),
    }


def _masked_by(events: list[Event]) -> str:
    edit = next(one for one in reversed(events) if one.kind == "mask_edited")
    return f"{edit.by} ({edit.payload.get('how', 'edited')})"


# The folder


def _earlier_files(out: Path) -> set[str]:
    """Returns the files of the earlier export at `out`, none where nothing is there.

    Raises:
        ForgetmeError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return set()
    try:
        return {MARKER, *json.loads((out / MARKER).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForgetmeError(
            f"{out} holds something that is not an export of ForgetMe, so it is left alone; "
            "name a new or empty folder"
        ) from error


def _carry_over(out: Path, new: Path, earlier: set[str]) -> None:
    """Gives the new folder all files of the old one that no export wrote."""
    for file in _files(out):
        if file.as_posix() in earlier:
            continue
        target = new / file
        if os.path.lexists(target):
            raise ForgetmeError(
                f"{out / file} is not of the earlier export, and this export has a file of that "
                "name; move it away, then export again"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(out / file, target, follow_symlinks=False)
        except (OSError, NotImplementedError):  # a file system without hard links
            shutil.copy2(out / file, target, follow_symlinks=False)


def _sync(folder: Path) -> None:
    """Waits until all below is on disk: a power cut after the swap must not find empty files."""
    if os.name == "posix":
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


def _swap(out: Path, new: Path) -> None:
    """Puts `new` in the place of `out`; a crash in between is mended by `_finish_swap`."""
    try:
        if out.exists():
            out.rename(_previous(out))
        new.rename(out)
    except OSError as error:
        raise ForgetmeError(
            f"cannot replace {out} ({error.strerror}); is it in use? Name another folder"
        ) from error
    finally:
        _finish_swap(out)


def _finish_swap(out: Path) -> None:
    previous = _previous(out)
    if not previous.is_dir():
        return
    if not out.exists():
        previous.rename(out)
        return
    earlier = _earlier_files(previous)
    for file in _files(previous):
        if file.as_posix() in earlier or os.path.lexists(out / file):
            (previous / file).unlink()
    for folder, _, _ in os.walk(previous, topdown=False):
        if not any(os.scandir(folder)):
            os.rmdir(folder)
    if previous.exists():
        log.warning("%s holds files that no export wrote; they are kept", previous)


def _previous(out: Path) -> Path:
    return out.with_name(f".{out.name}.previous")


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files and links below a folder, relative to it."""
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in (*names, *links):
            yield Path(root, name).relative_to(folder)
