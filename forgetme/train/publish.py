"""A patch goes to the Hugging Face Hub as a model: one commit with everything, or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forgetme import __version__
from forgetme.dataset.atomic_folder import MARKER
from forgetme.dataset.hub import Hub
from forgetme.record.files import file_sha256
from forgetme.train.card import CARD, PICTURES, write_card
from forgetme.train.patch import DELTA_FILE, LORA_FILE, RECORD, read_patch

WEIGHTS = (LORA_FILE, DELTA_FILE)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class PatchPush:
    """What a push wrote, or with `dry_run` what it would write.

    Attributes:
        repo: "user/name".
        url: where it is.
        private: whether only its owner sees it; None where a dry run cannot know.
        dry_run: nothing was sent.
        commit: the commit that has it all; None in a dry run.
        changed: whether there was anything to change.
        files: bytes of each file by its path.
        removed: files of an earlier push that this one has no more.
        card: the text of README.md.
    """

    repo: str
    url: str
    private: bool | None
    dry_run: bool
    commit: str | None
    changed: bool
    files: dict[str, int]
    removed: tuple[str, ...]
    card: str


def push_patch(
    run: Path,
    repo: str,
    *,
    token: str | None,
    private: bool = True,
    dry_run: bool = False,
    license: str | None = None,  # noqa: A002 (the card's own word)
    endpoint: str | None = None,
    on_progress: Progress = lambda *_: None,
) -> PatchPush:
    """Publishes the patch of a run: weights, record, card and pictures.

    All files come in one commit. What an interrupted push has uploaded is not uploaded again.
    The run's own folder stays as it is.

    Args:
        run: folder of the run.
        repo: "user/name"; it is made where it is missing.
        token: of the Hub, with the right to write; not needed for a dry run.
        private: whether a new repository is private. A push that wants it private is refused
            where the repository is public.
        dry_run: send nothing and ask nothing of the Hub.
        license: identifier as the Hub lists them; None = that of the base model.
        endpoint: address of the Hub; None = as huggingface_hub has it.
        on_progress: called with (done, in all, words) for files.

    Raises:
        MissingModelError: the run has no patch.
        ForgetmeError: the Hub refuses, somebody else has pushed meanwhile, or the line is down.
    """
    hub = Hub(repo, token=token, endpoint=endpoint, kind="model")
    patch = read_patch(run)
    seen_private = None if dry_run else hub.open(private=private)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        text = write_card(run, repo=repo, license=license, into=folder).read_text(encoding="utf-8")
        shutil.copyfile(patch.folder / RECORD, folder / RECORD)
        paths = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
        paths |= {name: patch.folder / name for name in WEIGHTS if (patch.folder / name).is_file()}
        files = {name: path.stat().st_size for name, path in sorted(paths.items())}
        removed, commit, changed = (), None, True
        if not dry_run:
            removed = _gone(hub, files)
            marker = _mark(folder, paths)
            paths[MARKER] = marker
            for done, (name, path) in enumerate(sorted(paths.items()), start=1):
                hub.upload(name, path)
                on_progress(done, len(paths), f"uploaded {name}")
            title = f"{patch.record['concept']} forgotten by {patch.record['method']}"
            made = hub.commit(title, delete=removed, landed=(MARKER, marker.read_text("utf-8")))
            commit, changed = made.sha, made.changed
    return PatchPush(repo, hub.url, seen_private, dry_run, commit, changed, files, removed, text)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _mark(folder: Path, paths: dict[str, Path]) -> Path:
    marker = folder / MARKER
    hashes = {name: file_sha256(path) for name, path in sorted(paths.items())}
    words = {"made_by": f"forgetme {__version__}", "format": "patch", "files": hashes}
    marker.write_text(json.dumps(words), encoding="utf-8")
    return marker


def _gone(hub: Hub, files: dict[str, int]) -> tuple[str, ...]:
    """Names what an earlier patch has left there and this one lacks: weights would be taken up."""
    ours = (*WEIGHTS, RECORD, CARD)
    return tuple(
        name
        for name in hub.files
        if name not in files and (name in ours or name.startswith(f"{PICTURES}/"))
    )
