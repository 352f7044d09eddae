"""Serves the page: `python app.py`, then open http://127.0.0.1:7860."""

from __future__ import annotations

import argparse
import getpass
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from forgetme.errors import ForgetmeError
from forgetme.ui.guard import is_loopback

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "assets" / "samples"
PORT = 7860
NO_SIGN_IN = (
    "{host} can be reached from other machines, and this page has no sign-in: whoever finds it "
    "could decide in your name. Leave out --host to stay on this machine, or add --allow-network "
    "where a proxy or a private network keeps strangers away."
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the page until it is stopped; returns the exit code."""
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python app.py", description="The ForgetMe page, on this machine's browser."
    )
    parser.add_argument(
        "--store",
        default="forgetme-store",
        metavar="DIR|URL",
        help="folder or PostgreSQL URL with everything you decide (default: ./forgetme-store)",
    )
    parser.add_argument(
        "--blobs", metavar="DIR", help="folder of the images of a store on PostgreSQL"
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
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT, metavar="P", help=f"default: {PORT}")
    parser.add_argument(
        "--by", metavar="NAME", help="your name beside your decisions (default: your login name)"
    )
    parser.add_argument(
        "--allow-network",
        action="store_true",
        help="serve on a --host that other machines can reach, although there is no sign-in",
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    if not options.allow_network and not is_loopback(options.host):
        raise ForgetmeError(NO_SIGN_IN.format(host=options.host))
    if (options.images is None) != (options.concept is None):
        raise ForgetmeError("--images and --concept belong together: --images photos --concept cat")
    if options.images is not None and not options.images.is_dir():
        raise ForgetmeError(f"{options.images}: no such folder; give --images a folder of images")


def _serve(options: argparse.Namespace) -> int:
    # torch and the models are loaded by the worker's first job, behind a page that already answers.
    import uvicorn

    from forgetme.models import load_models
    from forgetme.review import Review
    from forgetme.store import Store
    from forgetme.ui.page import build
    from forgetme.work import Worker

    by = options.by or _login_name()
    with Store(options.store, blobs=options.blobs) as store:
        review = Review(store, load_models(options.preset), by=by)
        worker = Worker(review)
        app = build(review, worker, any_host=options.allow_network)

        class Server(uvicorn.Server):
            """Starts the heavy part when the page answers, so that nobody waits for torch."""

            async def startup(self, *arguments: Any, **more: Any) -> None:
                await super().startup(*arguments, **more)
                if self.started:
                    _say_where(options)
                    _take_in(store, options, by)
                    worker.start()

        config = uvicorn.Config(
            app, host=options.host, port=options.port, log_level="warning", access_log=False
        )
        try:
            Server(config).run()
        except SystemExit as end:  # uvicorn's answer to a port that is taken
            raise ForgetmeError(
                f"Port {options.port} of {options.host} cannot be opened; is ForgetMe running "
                f"already? Stop it, or take another one: --port {options.port + 1}"
            ) from end
        finally:
            worker.stop(timeout=5)
    return 0


def _take_in(store, options: argparse.Namespace, by: str) -> None:  # noqa: ANN001 (late import)
    from forgetme.ui.intake import Folder, sample_folders, take_in_all

    if options.images is not None:
        folders = [Folder(options.images, options.concept)]
    elif sum(store.counts().values()) == 0:
        folders = sample_folders(SAMPLES)
    else:
        return
    threading.Thread(
        target=take_in_all, args=(store, folders, by), name="forgetme-intake", daemon=True
    ).start()


def _say_where(options: argparse.Namespace) -> None:
    location = options.store if "://" in options.store else Path(options.store).resolve()
    print(f"ForgetMe: http://{options.host}:{options.port}", flush=True)
    print(f"Your decisions are kept in {location}", flush=True)


def _login_name() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # no such user, as in some containers
        return "curator"
    return "curator" if name == "root" else name


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
