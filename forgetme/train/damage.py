"""Looks through the runs inside a store for files that are not what was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from forgetme.errors import ForgetmeError
from forgetme.record.summed import opened, picture_problem
from forgetme.store import Store
from forgetme.store.names import plain_folders
from forgetme.train import checkpoint, latents
from forgetme.train.folder import LOG, RECORD, rows_of
from forgetme.train.patch import check_patch
from forgetme.train.runs import ASKED, NAME, runs_folder

_AGAIN = "bring it back from a backup, or delete the run and train again"


def problems(store: Store) -> list[str]:
    """Returns one sentence for each damaged file of a run, with what to do about it."""
    folders = plain_folders(runs_folder(store), NAME)
    return [words for folder in sorted(folders) for words in _of_run(folder)]


def _of_run(folder: Path) -> Iterator[str]:
    for name in (RECORD, ASKED):
        if words := _refused(lambda path: opened(json.loads(path.read_bytes())), folder / name):
            yield f"{folder / name} is damaged ({words}); {_AGAIN}"
    if (folder / LOG).is_file():
        _, bad = rows_of((folder / LOG).read_bytes())
        if bad:
            yield (
                f"{folder / LOG} is damaged in {bad} of its lines, which are left out; the steps "
                "themselves are intact"
            )
    for check, path in ((checkpoint.check, folder), (check_patch, folder / "patch")):
        if words := _refused(check, path):
            yield words
    for path in sorted(folder.rglob("*.safetensors")):
        if path.parent.name == latents.FOLDER and latents.is_damaged(path):
            yield f"{path} is damaged; the next start of this run makes it again"
    for path in sorted([*folder.glob("probes/*.png"), *folder.glob("patch/pictures/*.png")]):
        if words := picture_problem(path):
            yield (
                f"{path} is damaged ({words}); only this picture is lost, no number comes from "
                "it: bring it back from a backup or delete it"
            )


def _refused(read: Callable[[Path], object], path: Path) -> str | None:
    """Says why a file or folder that is there cannot be read."""
    try:
        if path.exists():
            read(path)
    except (ForgetmeError, OSError, ValueError) as error:
        return str(error)
    return None
