"""The jobs of a dataset: export, push and import, each in a process of its own."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol

from forgetme.dataset.exporting import export
from forgetme.dataset.importing import import_dataset
from forgetme.dataset.push import push
from forgetme.dataset.quadruple import Progress
from forgetme.dataset.splits import Shares
from forgetme.dataset.store_folders import export_path, import_path
from forgetme.store import Store


class Job(Protocol):
    """What an errand needs of the job that runs it."""

    by: str

    @property
    def should_stop(self) -> bool:
        """Whether to end before all is done."""

    def step(self, done: int, total: int | None = None, words: str = "") -> None:
        """Says how far it is."""


def export_job(
    store: Store,
    job: Job,
    *,
    name: str,
    format: str,  # noqa: A002 (as the command's option)
    concept: str | None = None,
    shares: str = "80/10/10",
) -> dict[str, Any]:
    """Writes the export `name` inside the store; stopped, it leaves the earlier one as it was."""
    report = export(
        store,
        export_path(store, name),
        format,
        concept=concept,
        shares=Shares.parse(shares),
        on_progress=_told(job),
    )
    return _plain(asdict(report) | {"name": name})


def push_job(
    store: Store,
    job: Job,
    *,
    repo: str,
    private: bool = True,
    dry_run: bool = False,
    license: str | None = None,  # noqa: A002 (as on the card)
    concept: str | None = None,
    shares: str = "80/10/10",
) -> dict[str, Any]:
    """Pushes the dataset to the Hub; stopped, what it sent is found again by the next push.

    The token comes from this process's environment or the Hub's login file, never from the job.
    """
    from huggingface_hub import get_token

    report = push(
        store,
        repo,
        token=get_token(),
        private=private,
        dry_run=dry_run,
        license=license,
        concept=concept,
        shares=Shares.parse(shares),
        on_progress=_told(job),
    )
    return _plain(asdict(report))


def import_job(
    store: Store,
    job: Job,
    *,
    name: str,
    format: str,  # noqa: A002 (as the command's option)
    concept: str | None = None,
) -> dict[str, Any]:
    """Imports a folder that lies in the store's `imports/`; stopped, what it took in stays."""
    report = import_dataset(
        store,
        import_path(store, name),
        format,
        by=job.by,
        concept=concept,
        on_progress=_told(job),
    )
    return _plain(asdict(report) | {"name": name})


def _told(job: Job) -> Progress:
    """Returns what to call after each step; it ends the work when the job is to stop."""

    def progress(done: int, total: int, words: str) -> None:
        job.step(done, total, words)
        if job.should_stop and done < total:
            raise KeyboardInterrupt

    return progress


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """Returns a report as JSON; paths become text."""
    return {key: value if _is_json(value) else str(value) for key, value in report.items()}


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, dict, list, tuple))
