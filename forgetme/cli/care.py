"""Commands that look after the installation: doctor and tiny."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from forgetme.cli.frame import (
    JsonOption,
    app,
    mebibytes,
    note,
    now_and_then,
    print_json,
    print_table,
)


@app.command()
def doctor(
    download: Annotated[
        str | None, typer.Option(metavar="NAME", help="Download these weights first.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, which weights and keys are there, and what to do about the rest."""
    from forgetme.stages import doctor as surgery

    if download is not None:
        note(f"{download} is at {surgery.download(download, now_and_then(mebibytes))}")
    findings = surgery.examine()
    if as_json:
        print_json({"ok": surgery.healthy(findings), "findings": [asdict(f) for f in findings]})
    else:
        print_table(
            {
                "": ["ok" if f.ok else ("MISSING" if f.needed else "-") for f in findings],
                "What": [f.what for f in findings],
                "Found": [f.found for f in findings],
                "What to do": [f.todo for f in findings],
            },
            words=4,
        )
    if not surgery.healthy(findings):
        raise typer.Exit(1)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def tiny(ctx: typer.Context) -> None:
    """Train the bundled models (tiny train …) and measure them (tiny check)."""
    from forgetme.tiny.cli import app as tiny_app

    tiny_app(args=ctx.args or ["--help"], prog_name="python -m forgetme tiny")
