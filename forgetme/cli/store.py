"""Commands that look after a store: check, rebuild, backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forgetme.cli.frame import (
    BlobsOption,
    JsonOption,
    StoreOption,
    app,
    note,
    open_store,
    print_json,
    say,
)

if TYPE_CHECKING:
    from forgetme.store import Store

care = typer.Typer(
    help="Look after a store: check it, derive its rows again, copy it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(care, name="store")


@care.command()
def check(store: StoreOption, blobs: BlobsOption = None, as_json: JsonOption = False) -> None:
    """Compare all that the store holds with its events, names and hashes; exit code 1 on damage."""
    with open_store(store, blobs, existing=True, damaged=True) as opened:
        problems = [*opened.check(), *_beside(opened)]
    if as_json:
        print_json({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            say(problem)
        if not problems:
            say("All rows fit their events, all images their names, and all files their hashes.")
    if problems:
        raise typer.Exit(1)


@care.command()
def rebuild(store: StoreOption, blobs: BlobsOption = None) -> None:
    """Derive all rows from the events again, in one transaction; nothing is decided anew."""
    with open_store(store, blobs, existing=True, damaged=True) as opened:
        say(f"{opened.rebuild()} samples derived from their events.")


@care.command()
def backup(
    store: StoreOption,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is missing or empty.")],
    blobs: BlobsOption = None,
) -> None:
    """Copy database and images to a folder that opens as a store; others may go on working."""
    with open_store(store, blobs, existing=True) as opened:
        say(f"{opened.backup(out)}")
    note(f"open it with: python -m forgetme serve --store {out}")


def _beside(store: Store) -> list[str]:
    """Looks through runs, reports and what was computed once; imports only what it needs."""
    from forgetme.stages.answers import AnswerCache
    from forgetme.stages.weights import default_cache

    found = AnswerCache.problems(default_cache() / "verdicts.db")
    if (store.folder / "runs").is_dir():
        from forgetme.train import damage

        found += damage.problems(store)
    if (store.folder / "comparisons").is_dir():
        from forgetme.compare import saved

        found += saved.problems(store)
    if (store.folder / "evaluations").is_dir():
        from forgetme.evaluate import as_job

        found += as_job.problems(store)
    if store.embeddings.is_dir():
        from forgetme.stages.embeddings import EmbeddingFolder

        found += EmbeddingFolder.problems(store.embeddings)
    return found
