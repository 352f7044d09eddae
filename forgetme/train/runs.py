"""Runs kept inside a store: what was asked for, how far each is, its rows, pictures and patch.

A run lies in `runs/<name>/` of the store's own folder. A name from outside is never a path: it
names one of these folders, or nothing.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from forgetme.errors import ForgetmeError
from forgetme.record.images import atomic_write
from forgetme.record.summed import opened, picture_problem, sealed
from forgetme.stages.models import Preset
from forgetme.store import Store
from forgetme.store.names import plain_folders
from forgetme.train.data import Item
from forgetme.train.folder import LOG, RECORD, rows_of
from forgetme.train.settings import RunSettings

NAME = r"^[a-z0-9][a-z0-9-]{0,79}$"
ASKED = "asked.json"  # what the page asked for; run.json is the loop's own
END_BYTES = 64 * 2**10  # of a log's end, where the last step and probe are looked for
RECENT = 20  # of the latest rows that tell the pace of a run
ROWS_BYTES = 2**19  # of a log in one answer
_log = logging.getLogger(__name__)
_PICTURE = re.compile(r"^(\d{6,9}) (.+)\.png$")

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a run was asked to do.

    Attributes:
        preset: of the models.
        settings: of the run.
        probe_pictures: pictures of each concept in a probe; 0 = no probes.
        samples: the store's images that it learns from, fixed when it was asked for, so that
            whoever goes on accepting does not change it.
        by: who asked.
        at: when, UTC, ISO 8601; with the name it tells this run from all others.
    """

    preset: Preset
    settings: RunSettings
    probe_pictures: int
    samples: tuple[Json, ...]
    by: str
    at: str

    def items(self, store: Store) -> list[Item]:
        """Finds the pictures in the store.

        Raises:
            ForgetmeError: some are gone.
        """
        found, gone = [], []
        for one in self.samples:
            try:
                paths = [
                    store.blob_path(one[layer]) for layer in ("original", "background", "mask")
                ]
                found.append(Item(one["name"], *paths, one["caption"], one.get("concept", "")))
            except ForgetmeError:
                gone.append(one["name"])
        if gone:
            raise ForgetmeError(
                f"{len(gone)} of the {len(self.samples)} pictures that this run learns from are "
                f"gone from the store ({gone[0]} is one); bring its images back from a backup, or "
                "start another run with what is accepted"
            )
        return found


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes:
        name: of its folder.
        folder: where it is.
        asked: what the page asked for; None of a run that a command made.
        record: its settings as plain JSON.
        done: steps done, by its log.
        first, last: the first and the last probe so far, as plain JSON.
        seconds: how long the steps took.
        recent: the latest steps, each with the seconds of the run when it was done.
        patch: steps that the patch has; None where there is none.
    """

    name: str
    folder: Path
    asked: Asked | None
    record: Json
    done: int
    first: Json | None
    last: Json | None
    seconds: float
    recent: tuple[tuple[int, float], ...]
    patch: int | None

    @property
    def concepts(self) -> list[str]:
        """What its probes draw: the concept to forget, those to keep, those watched apart."""
        return [self.record["concept"], *self.record["keep"], *self.record.get("watch", ())]


def runs_folder(store: Store) -> Path:
    """Returns the folder of the runs; it may not exist yet."""
    return store.folder / "runs"


def runs(store: Store) -> list[Run]:
    """Returns the runs inside a store, the latest first."""
    found = [one for folder in plain_folders(runs_folder(store), NAME) if (one := _run(folder))]
    return sorted(found, key=lambda one: _when(one), reverse=True)


def run_of(store: Store, name: str) -> Run:
    """Returns one run.

    Raises:
        ForgetmeError: there is none of that name.
    """
    folder = _path(store, name)
    found = None if folder.is_symlink() else _run(folder)
    if found is None:
        raise ForgetmeError(f"there is no run {name!r}; look at the list of runs")
    return found


def ask(
    store: Store,
    name: str,
    settings: RunSettings,
    items: Sequence[Item],
    *,
    preset: Preset,
    probe_pictures: int,
    by: str,
) -> Run:
    """Makes the folder of a run that is to be; a job then does it.

    Raises:
        ForgetmeError: the name is no name, or is taken.
    """
    samples = tuple(
        {
            "name": item.name,
            "original": item.original.stem,  # a blob's file is named by its content
            "background": item.background.stem,
            "mask": item.mask.stem,
            "caption": item.caption,
            "concept": item.concept,
        }
        for item in items
    )
    at = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    asked = Asked(preset, settings, probe_pictures, samples, by, at)
    folder = _path(store, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise ForgetmeError(f"there is a run {name} already; take another name") from error
    change(folder, asked)
    return run_of(store, name)


def change(folder: Path, asked: Asked) -> None:
    """Writes what a run is asked to do."""
    text = json.dumps(sealed(asdict(asked)), indent=1, ensure_ascii=False) + "\n"
    atomic_write(folder / ASKED, text.encode())


def delete(store: Store, name: str) -> None:
    """Removes a run with all that it made; its name is free at once.

    Raises:
        ForgetmeError: there is no such run.
    """
    folder = run_of(store, name).folder
    gone = folder.with_name(f".{name}.{os.getpid()}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone)


def rows(folder: Path, after: str) -> Json:
    """Reads what a run's log has gained.

    Args:
        folder: of the run.
        after: `next` of the answer before; "" = from the start.

    Returns:
        `rows`, as they were written; `next`; `more`, whether to ask again at once; `whole`,
        whether these rows take the place of all before.
    """
    try:
        with (folder / LOG).open("rb") as file:
            status = os.fstat(file.fileno())
            known, _, offset = after.partition(".")
            start = int(offset or 0)
            # A run that goes on writes its log anew: what came after its checkpoint is undone.
            whole = known != str(status.st_ino) or start > status.st_size
            start = 0 if whole else start
            file.seek(start)
            piece = file.read(ROWS_BYTES)
            more = start + len(piece) < status.st_size
    except FileNotFoundError:
        return {"rows": [], "next": "", "more": False, "whole": True}
    piece = piece[: piece.rfind(b"\n") + 1]
    end = f"{status.st_ino}.{start + len(piece)}"
    return {"rows": rows_of(piece)[0], "next": end, "more": more and bool(piece), "whole": whole}


def of_the_same(probes: Sequence[Json], record: Json) -> list[Json]:
    """Gives probes that speak of the same concepts, since some draw fewer than others.

    Args:
        probes: as they were logged.
        record: of the run, with what it keeps and watches.
    """
    drawn = [set(one["by_concept"]) for one in probes]
    common = set.intersection(*drawn) if drawn else set()

    def mean(shares: Json, names: Sequence[str]) -> float | None:
        found = [shares[name] for name in names if name in common]
        return sum(found) / len(found) if found else None

    return [
        {
            **one,
            "retain": mean(one["by_concept"], record["keep"]),
            "apart": mean(one["by_concept"], record.get("watch", ())),
        }
        for one in probes
    ]


def pictures(run: Run) -> dict[int, list[int]]:
    """Returns the steps of which there are probe pictures, by the concept's place."""
    places = {name: place for place, name in enumerate(run.concepts)}
    found: dict[int, list[int]] = {}
    for name in sorted(_names(run.folder / "probes")):
        matched = _PICTURE.match(name)
        if matched and matched[2] in places:
            found.setdefault(places[matched[2]], []).append(int(matched[1]))
    return found


def picture(run: Run, step: int, place: int) -> Path:
    """Returns the strip of pictures that a probe drew of one concept.

    Raises:
        ForgetmeError: there is none.
    """
    if step not in pictures(run).get(place, []):
        raise ForgetmeError(f"{run.name} has no pictures of concept {place} at step {step}")
    path = run.folder / "probes" / f"{step:06d} {run.concepts[place]}.png"
    if path.is_symlink():
        raise ForgetmeError(f"{path} is a link; put the picture itself there")
    if words := picture_problem(path):
        raise ForgetmeError(
            f"the picture {path.name} of {run.name} is damaged ({words}); bring it back from a "
            "backup: no number comes from it"
        )
    return path


def patch_files(run: Run) -> list[Path]:
    """Returns the files of a run's patch: weights, record, card, and the card's pictures.

    Raises:
        ForgetmeError: the run has no patch yet.
    """
    folder = run.folder / "patch"
    if run.patch is None:
        raise ForgetmeError(f"{run.name} has no patch yet; let it run, or stop it to save one")
    inside = [*folder.iterdir(), *(folder / "pictures").glob("*.png")]
    return sorted(path for path in inside if path.is_file() and not path.is_symlink())


def _path(store: Store, name: str) -> Path:
    if not re.fullmatch(NAME, name):
        raise ForgetmeError(
            f"a run's name has 1 to 80 small letters, digits and dashes, got {name!r}; "
            "for example cat-lora"
        )
    return runs_folder(store) / name


def _run(folder: Path) -> Run | None:
    """Reads a run; None where the folder holds none, or one that is being made or damaged."""
    try:
        asked = _asked(folder / ASKED)
        known = _json(folder / RECORD) or (asked and asked.settings.record())
        if not known:
            return None
        record = {**known, **(asked.settings.record() if asked else {})}
        begin, end = _ends(folder / LOG)
        patch = folder / "patch" / "patch.json"
        made = json.loads(patch.read_text(encoding="utf-8")) if patch.is_file() else None
        made = None if made is None else int(made["steps_done"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.warning("the run %s cannot be read: %s", folder, error)
        return None
    rows = [row["probe"] for row in (*begin, *end) if "probe" in row]
    probes = sorted(rows, key=lambda one: one["step"])
    probes = of_the_same([*probes[:1], *probes[-1:]], record)
    return Run(
        name=folder.name,
        folder=folder,
        asked=asked,
        record=record,
        done=max((row["step"] for row in end), default=0),
        first=probes[0] if probes else None,
        last=probes[-1] if probes else None,
        seconds=max((row.get("seconds", 0.0) for row in end), default=0.0),
        recent=_recent(end),
        patch=made,
    )


def _recent(rows: Sequence[Json]) -> tuple[tuple[int, float], ...]:
    """The last steps that no probe lies between, with their times."""
    found: list[tuple[int, float]] = []
    for row in rows[-RECENT:]:
        if "probe" in row:
            found = []
        elif "seconds" in row:
            found.append((row["step"], row["seconds"]))
    return tuple(found)


def _asked(path: Path) -> Asked | None:
    found = _json(path)
    if not found:
        return None
    settings = RunSettings.of(found["settings"])
    return Asked(**{**found, "settings": settings, "samples": tuple(found["samples"])})


def _json(path: Path) -> Json | None:
    """Reads a JSON object that has its hash inside, or has none."""
    return opened(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _ends(path: Path) -> tuple[list[Json], list[Json]]:
    """Returns the first and the last rows of a log."""
    if not path.is_file():
        return [], []
    with path.open("rb") as file:
        begin = file.read(END_BYTES // 8)
        start = max(0, os.fstat(file.fileno()).st_size - END_BYTES)
        file.seek(start)
        end = file.read()
    if start:
        end = end[end.find(b"\n") + 1 :]  # the piece of a row, which may look like one
    return rows_of(begin)[0], rows_of(end)[0]


def _names(folder: Path) -> Iterable[str]:
    return os.listdir(folder) if folder.is_dir() else ()


def _when(run: Run) -> str:
    if run.asked is not None:
        return run.asked.at
    written = (run.folder / "run.json").stat().st_mtime
    return datetime.fromtimestamp(written, timezone.utc).isoformat(timespec="microseconds")
