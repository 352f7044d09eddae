"""The page as a command: `forgetme serve`, or `python app.py` in a checkout."""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from forgetme.cli.frame import app
from forgetme.errors import ForgetmeError
from forgetme.record.concept import single
from forgetme.record.files import bundled
from forgetme.stages.addresses import check_proxies

log = logging.getLogger("forgetme")
PORT = 7860
STREAMS_SECONDS = 3  # an open page's streams never end by themselves
WORK_SECONDS = 20.0  # that a stop waits for the step at work; a second Ctrl-C does not
GUESTS = ("viewer", "curator")
DEMO = (
    "Nobody can sign in here, so this is a demo to look at: the bundled samples, in a store of its "
    "own that ends with the page."
)
NO_ACCOUNTS = (
    "{host} can be reached from other machines, and this store has no accounts: whoever finds the "
    "page could decide in your name. Make one first, or leave out --host to stay on this machine:\n"
    "  python -m forgetme people add NAME --role lead --store {store}"
)
NO_TOKENS = (
    "--mcp answers to access tokens only, and this store has no account that one could act for. "
    "Make both first:\n"
    "  python -m forgetme people add NAME --store {store}\n"
    "  python -m forgetme people token NAME --make agent --store {store}"
)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,  # the parser below has its own
)
def serve(ctx: typer.Context) -> None:
    """Serve the page until Ctrl-C; its options are those of `python app.py`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger().handlers.clear()  # the commands' says a thing once; a page runs for days
    raise typer.Exit(main(ctx.args, program=ctx.command_path))


def main(arguments: list[str] | None = None, *, program: str = "python app.py") -> int:
    """Runs the page until it is stopped; returns the exit code."""
    options = _parser(program).parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("forgetme").setLevel(logging.INFO)
    try:
        _check(options)
        return _serve(options)
    except ForgetmeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # Ctrl-C is how the page is stopped
        return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="The ForgetMe page, on this machine's browser."
    )
    parser.add_argument(
        "--store",
        default=os.environ.get("FORGETME_STORE", "forgetme-store"),
        metavar="DIR|URL",
        help="folder or PostgreSQL URL with everything you decide (default: FORGETME_STORE of the "
        "environment, else ./forgetme-store)",
    )
    parser.add_argument(
        "--blobs",
        default=os.environ.get("FORGETME_BLOBS"),
        metavar="DIR",
        help="folder of the images of a store on PostgreSQL (default: FORGETME_BLOBS of the "
        "environment)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="take in this folder's images; needs --concept"
    )
    parser.add_argument("--concept", metavar="NAME", help="what is to be forgotten in them")
    parser.add_argument(
        "--preset",
        choices=("tiny", "full"),
        default="tiny",
        help="bundled small models, or the published ones (default: tiny)",
    )
    parser.add_argument(
        "--verifier",
        metavar="NAME",
        help="who is asked whether a mask shows the concept: clip, gpt-4o, or openai/MODEL for any "
        "other model behind OPENAI_BASE_URL (default: the preset's)",
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME"),
        metavar="H",
        help="default: GRADIO_SERVER_NAME of the environment, else 127.0.0.1: this machine only. "
        "Another one needs accounts, see `python -m forgetme people --help`",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("GRADIO_SERVER_PORT", PORT),
        metavar="P",
        help=f"default: GRADIO_SERVER_PORT of the environment, else {PORT}",
    )
    parser.add_argument(
        "--by", metavar="NAME", help="your name beside your decisions (default: your login name)"
    )
    parser.add_argument(
        "--guests",
        default=os.environ.get("FORGETME_GUESTS"),
        metavar="ROLE",
        help="on a Hugging Face Space: viewer or curator, for whoever signs in and has no account "
        "(default: FORGETME_GUESTS of the environment, else they do not get in)",
    )
    parser.add_argument(
        "--public-url",
        default=os.environ.get("FORGETME_PUBLIC_URL"),
        metavar="URL",
        help="address that people open, where a proxy in front passes its own name as Host "
        "(default: FORGETME_PUBLIC_URL of the environment, else what the proxy says)",
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="let agents use the page's endpoints as tools of the Model Context Protocol, at "
        "/gradio_api/mcp/; each needs an access token (`python -m forgetme people token --help`)",
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    check_proxies()  # gradio ends in a traceback over one that it cannot use
    if options.guests not in (None, *GUESTS):
        raise ForgetmeError(f"guests are {' or '.join(GUESTS)}, got {options.guests!r}")
    if options.public_url is not None:
        address = urlsplit(options.public_url)
        if address.scheme not in ("http", "https") or not address.netloc or address.path.strip("/"):
            raise ForgetmeError(
                "--public-url is the scheme and host that people open, such as "
                f"https://photos.example, got {options.public_url!r}"
            )
    if (options.images is None) != (options.concept is None):
        raise ForgetmeError("--images and --concept belong together: --images photos --concept cat")
    single(options.concept or "")
    if options.images is not None and not options.images.is_dir():
        raise ForgetmeError(f"{options.images}: no such folder; give --images a folder of images")


def _serve(options: argparse.Namespace) -> int:
    # torch and the models are loaded by the worker's first job, behind a page that already answers.
    import uvicorn

    from forgetme.curate.prepare_ahead import Keeper
    from forgetme.curate.review import Review
    from forgetme.curate.worker import Worker
    from forgetme.stages.models import load_models
    from forgetme.store import Store
    from forgetme.ui.guard import is_loopback
    from forgetme.ui.oauth import hub_sign_in
    from forgetme.ui.page import build

    by = options.by or _login_name()
    hub = hub_sign_in(os.environ, guests=options.guests)
    on_space = bool(os.environ.get("SPACE_ID"))
    host = options.host or ("0.0.0.0" if on_space else "127.0.0.1")  # a Space is reached
    with ExitStack() as kept:
        store = kept.enter_context(Store(options.store, blobs=options.blobs))
        guarded = store.people.any() or hub is not None
        demo = on_space and not guarded
        if options.mcp and not store.people.any():
            raise ForgetmeError(NO_TOKENS.format(store=_place(options, store)))
        if demo:  # whatever else lies there is shown to nobody
            log.warning(DEMO)
            # the preparing process may write its last sample while the folder goes
            place = tempfile.TemporaryDirectory(prefix="forgetme-demo-", ignore_cleanup_errors=True)
            options.store = kept.enter_context(place)
            options.images, options.blobs = None, None
            store = kept.enter_context(Store(options.store))
        elif not guarded and not is_loopback(host):
            raise ForgetmeError(NO_ACCOUNTS.format(host=host, store=_place(options, store)))
        try:
            models = load_models(
                options.preset, verifier=options.verifier, embeddings=store.embeddings
            )
        except ValueError as error:  # an unknown name; the message lists the known ones
            raise ForgetmeError(str(error)) from error
        review = Review(store, models, by=by)
        keeper = Keeper(  # a process prepares ahead
            store, preset=options.preset, verifier=options.verifier, by=by
        )
        worker = Worker(review, ahead=0, preparing=keeper)  # what somebody waits for
        app = build(
            review,
            worker,
            any_host=guarded or demo,
            hub=hub,
            public=urlsplit(options.public_url or "").netloc,
            demo=demo,
            with_mcp=options.mcp,
        )

        class Server(uvicorn.Server):
            """Starts the heavy part when the page answers, so that nobody waits for torch."""

            async def startup(self, *arguments: Any, **more: Any) -> None:
                await super().startup(*arguments, **more)
                if self.started:
                    _say_where(options, host, store)
                    _take_in(store, options, by)
                    worker.start()
                    keeper.start()

            async def shutdown(self, *arguments: Any, **more: Any) -> None:
                # each stream that is cut off would print a page of traces
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
                await super().shutdown(*arguments, **more)

        config = uvicorn.Config(
            app,
            host=host,
            port=options.port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=STREAMS_SECONDS,
        )
        try:
            Server(config).run()
        except SystemExit as end:  # uvicorn's answer to a port that is taken
            raise ForgetmeError(
                f"Port {options.port} of {host} cannot be opened; is ForgetMe running "
                f"already? Stop it, or take another one: --port {options.port + 1}"
            ) from end
        finally:
            keeper.stop()
            if not worker.stop(timeout=WORK_SECONDS):
                log.warning("The worker's last step took too long and was dropped; ask again.")
    return 0


def _take_in(store, options: argparse.Namespace, by: str) -> None:  # noqa: ANN001 (late import)
    from forgetme.ui.intake import Folder, sample_folders, take_in_all

    if options.images is not None:
        folders = [Folder(options.images, options.concept)]
    elif sum(store.counts().values()) == 0:
        folders = sample_folders(bundled("samples"))
    else:
        return
    threading.Thread(
        target=take_in_all, args=(store, folders, by), name="forgetme-intake", daemon=True
    ).start()


def _say_where(options: argparse.Namespace, host: str, store) -> None:  # noqa: ANN001 (late import)
    print(f"ForgetMe: http://{host}:{options.port}", flush=True)
    print(f"Your decisions are kept in {_place(options, store)}", flush=True)


def _place(options: argparse.Namespace, store) -> str:  # noqa: ANN001 (as above)
    """Returns where the store is; an address comes without its password."""
    return store.location if "://" in options.store else str(Path(options.store).resolve())


def _login_name() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no such user, as in some containers
        return "curator"
    return "curator" if name == "root" else name
