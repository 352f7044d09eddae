"""Push: publishes a store's accepted samples on the Hugging Face Hub, in one commit."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from forgetme import __version__
from forgetme.dataset.atomic_folder import MARKER
from forgetme.dataset.card import card, shards
from forgetme.dataset.exporting import SHARD_BYTES, write_files
from forgetme.dataset.hub import Hub
from forgetme.dataset.quadruple import Progress, Record, stems
from forgetme.dataset.splits import SHARES, SPLITS, Shares
from forgetme.errors import ForgetmeError
from forgetme.record.files import file_sha256
from forgetme.store import Store

CARD = "README.md"


@dataclass(frozen=True)
class PushReport:
    """What a push wrote, or with `dry_run` what it would write.

    Attributes:
        repo: "user/name".
        url: where it is.
        private: whether only its owner sees it; None where a dry run cannot know.
        dry_run: nothing was sent.
        commit: the commit that has it all; None in a dry run.
        changed: whether there was anything to change.
        files: bytes of each file by its path.
        removed: files of the earlier push that this one replaced.
        exported: number of quadruples.
        by_concept: the same, for each concept.
        by_split: the same, for each of train, validation and test.
        left_out: "name: why" of accepted samples that are not sound.
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
    exported: int
    by_concept: dict[str, int]
    by_split: dict[str, int]
    left_out: tuple[str, ...]
    card: str


def push(
    store: Store,
    repo: str,
    *,
    token: str | None,
    private: bool = True,
    dry_run: bool = False,
    concept: str | None = None,
    license: str | None = None,  # noqa: A002 (the card's own word)
    shares: Shares = SHARES,
    shard_bytes: int = SHARD_BYTES,
    endpoint: str | None = None,
    on_progress: Progress | None = None,
) -> PushReport:
    """Publishes the accepted samples as a dataset on the Hub.

    All files come in one commit on top of the one that was seen, so nobody sees half a dataset
    and a push of somebody else in between is noticed. What an interrupted push has uploaded is
    not uploaded again: the same samples give the same bytes. Of each `source` only the file's
    name is published, or the address without its query.

    Args:
        store: opened store.
        repo: "user/name"; it is made where it is missing.
        token: of the Hub, with the right to write; not needed for a dry run.
        private: whether a new repository is private. A push that wants it private is refused
            where the repository is public.
        dry_run: send nothing and ask nothing of the Hub.
        concept: only samples of this concept.
        license: identifier as the Hub lists them, for the card.
        shares: how large train, validation and test are meant to be.
        shard_bytes: about the size of a file.
        endpoint: address of the Hub; None = as huggingface_hub has it.
        on_progress: called with (done, in all, words), for samples and then for files.

    Raises:
        ForgetmeError: nothing is accepted, the Hub refuses, somebody else has pushed meanwhile,
            or the line is down; the message says what to do.
    """
    hub = Hub(repo, token=token, endpoint=endpoint)
    accepted = stems(store, concept)
    if not accepted:
        of = "" if concept is None else f" of concept {concept!r}"
        raise ForgetmeError(f"the store has no accepted sample{of}; accept some, then push")
    if not dry_run:
        hub.open(private=private)  # a token that may not is told before the long work
    with _work(store) as folder:
        records, left_out = write_files(
            store, accepted, folder, "parquet", shares=shares, shard_bytes=shard_bytes,
            on_progress=on_progress, change=_public,
        )  # fmt: skip
        seen_private = None if dry_run else hub.open(private=private)
        existing = None if dry_run else hub.text(CARD)
        stats = [one for one in store.table1() if concept in (None, one.concept)]
        text = card(repo, records, stats, shards(folder), license=license, existing=existing)
        (folder / CARD).write_text(text, encoding="utf-8")
        sent = _Sent(None, True, ()) if dry_run else _send(hub, folder, len(records), on_progress)
        files = {name: (folder / name).stat().st_size for name in _names(folder)}
    by_split = Counter(record.split for record in records)
    return PushReport(
        repo=repo,
        url=hub.url,
        private=seen_private,
        dry_run=dry_run,
        commit=sent.commit,
        changed=sent.changed,
        files=files,
        removed=sent.removed,
        exported=len(records),
        by_concept=dict(Counter(record.concept for record in records)),
        by_split={split: by_split[split] for split in SPLITS},
        left_out=left_out,
        card=text,
    )


@dataclass(frozen=True)
class _Sent:
    commit: str | None
    changed: bool
    removed: tuple[str, ...]


@contextmanager
def _work(store: Store) -> Iterator[Path]:
    """A folder beside the store's images, which has room for what they need."""
    place = store.folder / "cache"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix="push-") as folder:
        yield Path(folder)


def _public(record: Record) -> Record:
    """Leaves out of `source` what is nobody's business: folders, passwords, signed queries."""
    if "://" in record.source:
        parts = urlsplit(record.source)
        host = parts.netloc.rpartition("@")[2]
        return replace(record, source=urlunsplit((parts.scheme, host, parts.path, "", "")))
    return replace(record, source=record.source.replace("\\", "/").rpartition("/")[2])


def _send(hub: Hub, folder: Path, count: int, on_progress: Progress | None) -> _Sent:
    """Uploads the files that are not there yet, and makes one commit of all."""
    earlier = _earlier(hub)
    names = _names(folder)
    strange = [name for name in hub.files if _is_data(name) and name not in earlier]
    if strange:
        raise ForgetmeError(
            f"{hub.repo} holds data that no push of ForgetMe made ({strange[0]}), and loaders "
            "would mix its rows with yours; name another repository, or delete that file on the Hub"
        )
    marker = {
        "made_by": f"forgetme {__version__}",
        "format": "parquet",
        "files": {name: file_sha256(folder / name) for name in names},
    }
    (folder / MARKER).write_text(json.dumps(marker), encoding="utf-8")
    removed = tuple(name for name in hub.files if name in earlier and name not in names)
    for done, name in enumerate([*names, MARKER], start=1):
        hub.upload(name, folder / name)
        if on_progress is not None:
            on_progress(done, len(names) + 1, f"uploaded {name}")
    commit = hub.commit(
        f"{count} quadruples", delete=removed, landed=(MARKER, (folder / MARKER).read_text("utf-8"))
    )
    return _Sent(commit.sha, commit.changed, removed)


def _names(folder: Path) -> list[str]:
    return [*sorted(f"data/{path.name}" for path in (folder / "data").iterdir()), CARD]


def _earlier(hub: Hub) -> set[str]:
    """Returns the files of an earlier push, as its marker lists them."""
    text = hub.text(MARKER)
    try:
        marker: Any = json.loads(text or "{}")
        return {name for name in marker["files"] if name != CARD}
    except (ValueError, KeyError, TypeError):
        return set()


def _is_data(name: str) -> bool:
    return name.startswith("data/") or name.endswith((".parquet", ".csv", ".jsonl", ".tar", ".zip"))
