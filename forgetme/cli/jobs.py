"""Commands for long work: what runs, how far it is, stop it, read what it said."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forgetme.cli.frame import (
    BlobsOption,
    JsonOption,
    StoreOption,
    app,
    duration,
    note,
    open_store,
    print_json,
    print_table,
    say,
)
from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    from forgetme.jobs import Job

job_app = typer.Typer(help="Long work: list it, stop it, read what it said.", no_args_is_help=True)
app.add_typer(job_app, name="job")

LOOK_SECONDS = 2.0  # between looks for jobs

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `job list` shows it.")]


@job_app.command("list")
def list_(
    store: StoreOption,
    blobs: BlobsOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Print the latest jobs, the newest first."""
    from forgetme import jobs

    with open_store(store, blobs, existing=True) as opened:
        found = jobs.list(opened, limit=limit)
    if as_json:
        print_json({"jobs": [_plain(job) for job in found]})
    elif not found:
        note("no job was ever asked for in this store")
    else:
        print_table(
            {
                "Job": [job.id for job in found],
                "Kind": [job.kind for job in found],
                "State": [job.state for job in found],
                "By": [job.by for job in found],
                "Asked": [f"{datetime.fromtimestamp(job.created):%Y-%m-%d %H:%M}" for job in found],
                "Step": [_steps(job) for job in found],
                "Took": [duration(job.seconds) for job in found],
            },
            words=5,
        )


@job_app.command()
def show(
    job_id: IdArgument, store: StoreOption, blobs: BlobsOption = None, as_json: JsonOption = False
) -> None:
    """Print what is known of a job, and its last lines."""
    from forgetme import jobs

    with open_store(store, blobs, existing=True) as opened:
        job = jobs.get(opened, job_id)
        log = jobs.read_log(opened, job_id)
    if as_json:
        print_json({**_plain(job), "log": log})
        return
    say(f"{job.kind} by {job.by}: {job.state}, step {_steps(job)}, {duration(job.seconds)}")
    if job.trouble:
        say(job.trouble)
    if log:
        say(log)


@job_app.command()
def stop(
    job_id: IdArgument,
    store: StoreOption,
    blobs: BlobsOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="End it at once; the step it is at is lost.")
    ] = False,
) -> None:
    """Ask a job to finish its step, save and end."""
    from forgetme import jobs

    with open_store(store, blobs, existing=True) as opened:
        job = jobs.stop(opened, job_id, _login(), at_once=force)
    say(f"{job.kind} {job.id}: {job.state}")


@job_app.command()
def work(store: StoreOption, blobs: BlobsOption = None) -> None:
    """Take up the store's jobs on this machine as they come, until Ctrl-C: beside the page's."""
    from forgetme import jobs

    stopped = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stopped.set())
    with open_store(store, blobs) as opened:
        note(f"takes up the jobs of {opened.location}")
        while not stopped.wait(LOOK_SECONDS):
            for job_id in jobs.start_queued(opened):
                note(f"began {job_id}")
        jobs.end_children()


@job_app.command(hidden=True)
def run(job_id: IdArgument) -> None:
    """Do a job; the program itself calls this, with the store in FORGETME_STORE."""
    from forgetme import jobs
    from forgetme.store import Store

    location = os.environ.get("FORGETME_STORE")
    if not location:
        raise ForgetmeError(
            "`job run` is called by the program itself, with the store's address in FORGETME_STORE;"
            " ask for a job on the page"
        )
    with Store(location, blobs=os.environ.get("FORGETME_BLOBS")) as store:
        jobs.run(store, job_id)


def _plain(job: Job) -> dict[str, Any]:
    return {**asdict(job), "trouble": job.trouble}


def _steps(job: Job) -> str:
    return str(job.step) if job.total is None else f"{job.step} of {job.total}"


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user, as in some containers
        return "terminal"
