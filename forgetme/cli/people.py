"""Commands about people: accounts for the page, and second opinions."""

from __future__ import annotations

import getpass
import sys
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from forgetme.cli.frame import (
    BlobsOption,
    JsonOption,
    StoreOption,
    app,
    note,
    open_store,
    print_json,
    print_table,
    say,
)
from forgetme.errors import ForgetmeError

Role = Literal["viewer", "curator", "lead"]
NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
RoleOption = Annotated[
    Role, typer.Option(help="viewer: looks. curator: decides. lead: manages and publishes.")
]
PasswordOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
]

people = typer.Typer(
    help="Who may use the page, and how well they agree.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(people, name="people")


@people.command()
def add(
    name: NameArgument,
    store: StoreOption,
    role: RoleOption = "curator",
    password_stdin: PasswordOption = False,
    hugging_face: Annotated[
        bool, typer.Option("--hugging-face", help="Signs in with Hugging Face, on a Space.")
    ] = False,
    blobs: BlobsOption = None,
) -> None:
    """Make an account. From the first one on, everybody who uses the page signs in."""
    with open_store(store, blobs) as opened:  # may be new: a server wants its lead first
        first = not opened.people.any()
        if hugging_face:
            opened.people.add(name, role, origin="huggingface")
        else:
            opened.people.add(name, role, _password(password_stdin))
        say(f"{name} can sign in as {role}.")
        if first and role != "lead":
            note("There is no lead yet. Make one: python -m forgetme people add NAME --role lead")


@people.command("list")
def list_people(store: StoreOption, as_json: JsonOption = False, blobs: BlobsOption = None) -> None:
    """List all accounts."""
    with open_store(store, blobs, existing=True) as opened:
        found = opened.people.list()
    if as_json:
        print_json({"people": [asdict(one) for one in found]})
        return
    if not found:
        note("no accounts: the page answers this machine only, and nobody signs in")
        return
    print_table(
        {
            "Name": [one.name for one in found],
            "Role": [one.role for one in found],
            "Signs in with": [
                "Hugging Face" if one.origin == "huggingface" else "a password" for one in found
            ],
            "May sign in": ["yes" if one.active else "no" for one in found],
            "Since": [one.added_at[:10] for one in found],
        },
        words=5,
    )


@people.command()
def role(
    name: NameArgument,
    role: Annotated[Role, typer.Argument(metavar="viewer|curator|lead")],
    store: StoreOption,
    blobs: BlobsOption = None,
) -> None:
    """Give an account another role; it counts at once."""
    with open_store(store, blobs, existing=True) as opened:
        opened.people.set_role(name, role)
    say(f"{name} is {role}.")


@people.command()
def password(
    name: NameArgument,
    store: StoreOption,
    password_stdin: PasswordOption = False,
    blobs: BlobsOption = None,
) -> None:
    """Give an account another password, and sign it out everywhere."""
    with open_store(store, blobs, existing=True) as opened:
        opened.people.set_password(name, _password(password_stdin))
    say(f"{name} has another password and is signed out everywhere.")


@people.command()
def token(
    name: NameArgument,
    store: StoreOption,
    make: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Make a token; it is printed once.")
    ] = None,
    revoke: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Let a token open nothing any more.")
    ] = None,
    as_json: JsonOption = False,
    blobs: BlobsOption = None,
) -> None:
    """List, make or revoke the tokens with which programs act in an account's name."""
    if make is not None and revoke is not None:
        raise ForgetmeError("give --make or --revoke, not both; each does one thing")
    with open_store(store, blobs, existing=True) as opened:
        made = None if make is None else opened.tokens.add(name, make)
        if revoke is not None:
            opened.tokens.revoke(name, revoke)
        found = opened.tokens.list(name)
    if as_json:
        told = {} if made is None else {"token": made}
        print_json({"tokens": [asdict(one) for one in found], **told})
    elif made is not None:
        say(made)
        note("Keep it: it is never shown again. A program sends it as Authorization: Bearer TOKEN")
    elif revoke is not None:
        say(f"{revoke} opens nothing any more.")
    else:
        print_table(
            {
                "Token": [one.label for one in found],
                "Since": [one.added_at[:10] for one in found],
            },
            words=2,
        )


@people.command()
def disable(name: NameArgument, store: StoreOption, blobs: BlobsOption = None) -> None:
    """Let nobody sign in to an account, and sign it out; its decisions stay."""
    with open_store(store, blobs, existing=True) as opened:
        opened.people.disable(name)
    say(f"{name} cannot sign in any more.")


@people.command()
def enable(name: NameArgument, store: StoreOption, blobs: BlobsOption = None) -> None:
    """Let a disabled account sign in again."""
    with open_store(store, blobs, existing=True) as opened:
        opened.people.enable(name)
    say(f"{name} can sign in again.")


@people.command()
def remove(name: NameArgument, store: StoreOption, blobs: BlobsOption = None) -> None:
    """Delete an account; its decisions stay, under its name."""
    with open_store(store, blobs, existing=True) as opened:
        opened.people.remove(name)
        if not opened.people.any():
            note("That was the last account: without one the page answers this machine only.")
    say(f"{name} is removed.")


@people.command()
def overlap(
    store: StoreOption,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the images, 0.1 is a tenth.")
    ] = 0.1,
    copies: Annotated[int, typer.Option(min=2, max=5, help="Opinions on each of them.")] = 2,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who asks. [default: your login name]")
    ] = None,
    as_json: JsonOption = False,
    blobs: BlobsOption = None,
) -> None:
    """Let several people decide the same images, to see how well they agree."""
    from forgetme.curate import team

    with open_store(store, blobs, existing=True) as opened:
        made = team.overlap(opened, share=share, copies=copies, by=by or getpass.getuser())
    if as_json:
        print_json(asdict(made))
    else:
        say(f"{made.images} images have {copies} copies each; {made.added} were added.")


@people.command()
def agreement(store: StoreOption, as_json: JsonOption = False, blobs: BlobsOption = None) -> None:
    """Show how well people agree on images that several of them decided."""
    from forgetme.curate import team

    with open_store(store, blobs, existing=True) as opened:
        found = team.agreement(opened)
    if as_json:
        print_json(
            {
                "copied": found.copied,
                "compared": found.compared,
                "kappa": found.kappa,
                "mask_iou": found.mask_iou,
                "pairs": [asdict(one) for one in found.pairs],
                "disputed": [[row.id for row in group] for group in found.disputed],
            }
        )
        return
    print_table(
        {
            "Who": [f"{one.first}, {one.second}" for one in found.pairs] + ["all"],
            "Images": [str(one.images) for one in found.pairs] + [str(found.compared)],
            "Kappa": [_two(one.kappa) for one in found.pairs] + [_two(found.kappa)],
            "Mask IoU": [_two(one.mask_iou) for one in found.pairs] + [_two(found.mask_iou)],
        },
        words=1,
    )
    note(f"{found.copied} images have copies; {found.compared} have two opinions or more.")


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _password(from_stdin: bool) -> str:
    """Asks for a password; one on the command line would be read by every other user."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ForgetmeError("there is no terminal to ask for a password; use --password-stdin")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        raise ForgetmeError("the two passwords differ; nothing was changed, try again")
    return first
