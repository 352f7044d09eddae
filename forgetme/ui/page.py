"""Puts the page together: Gradio's Blocks, our routes beside them, and the guard in front."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from gradio.route_utils import FnIndexInferError
from starlette.exceptions import HTTPException

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.errors import ForgetmeError, StaleVersionError
from forgetme.ui import (
    acts,
    canvas,
    compare,
    curate,
    dataset,
    endpoints,
    evaluate,
    evaluations,
    fills,
    guard,
    holds,
    jobs,
    keys,
    mcp,
    metrics,
    oauth,
    pictures,
    publish,
    queue,
    runs,
    side,
    signin,
    team,
    theme,
    trail,
    train,
    views,
    who,
)
from forgetme.ui.oauth import HubSignIn

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
# In this order: later sheets lay the earlier ones out on narrow screens.
STYLES = (
    "frame.css", "controls.css", "queue.css", "filters.css", "stage.css",
    "inspector.css", "decisions.css", "dialogs.css", "jobs.css", "fills.css", "side.css",
    "curate.css", "signin.css", "conflict.css", "native.css",
    "compare.css", "compare-stage.css", "compare-views.css",
)  # fmt: skip
# In this order. A tab of ours has STATIC/<name>.html and STATIC/<name>.js with `mount`; a tab of
# Gradio's own parts is built by its file.
TABS = {
    "curate": None, "dataset": dataset.build, "train": train.build, "evaluate": evaluate.build,
    "compare": None, "team": team.build,
}  # fmt: skip


class _Static(StaticFiles):
    """Our scripts and styles; the browser asks each time whether they changed."""

    def file_response(self, *arguments: Any, **more: Any) -> Response:
        response = super().file_response(*arguments, **more)
        response.headers["cache-control"] = "no-cache"
        return response


def build(
    review: Review,
    worker: Worker,
    *,
    any_host: bool = False,
    hub: HubSignIn | None = None,
    public: str = "",
    demo: bool = False,
    with_mcp: bool = False,
) -> guard.Guard:
    """Builds the whole web application.

    Args:
        review: the acts on the store, with the models and the curator's name.
        worker: does the heavy part; the caller starts and stops it.
        any_host: answer to other host names than this machine's own; then everybody signs in.
        hub: sign-in with Hugging Face, where this is a Space.
        public: host and port of the address that people open, where a proxy hides them.
        demo: everybody may look without signing in, and nobody may change anything.
        with_mcp: the endpoints are tools of the Model Context Protocol, too, for whoever has an
            access token.

    Returns:
        An ASGI application.
    """
    app = FastAPI(title="ForgetMe", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.review, app.state.worker = review, worker
    alone = None if any_host else review.by
    app.state.door = who.Door(review.store, alone=alone, hub=hub, demo=demo)
    app.mount("/forgetme/static", _Static(directory=STATIC), name="static")
    ours = {"dependencies": [Depends(_marked)], "prefix": "/forgetme"}
    app.include_router(signin.router(), **ours)
    app.include_router(curate.router(), **ours)
    app.include_router(queue.router(), **ours)
    app.include_router(holds.router(), **ours)
    app.include_router(canvas.router(), **ours)
    app.include_router(keys.router(), **ours)
    app.include_router(jobs.router(), **ours)
    app.include_router(fills.router(), **ours)
    app.include_router(side.router(), **ours)
    for topic in (trail, publish, runs):
        app.include_router(topic.router(), **ours)
    app.include_router(compare.router(), **ours)
    app.include_router(evaluations.router(), **ours)
    app.include_router(pictures.router(), prefix="/forgetme")
    timed = metrics.Metrics(review.store, worker)
    app.include_router(timed.router())
    app.add_middleware(timed.around)
    if hub is not None:
        app.include_router(oauth.router(hub))
    _speak_plainly(app, review)
    door = app.state.door
    made = blocks(acts.Acts(door, review, worker))
    if with_mcp:
        mcp.mount(app, made, door)
    gr.mount_gradio_app(
        app,
        made,
        path="/",
        app_kwargs={"exception_handlers": GRADIOS},
        auth_dependency=lambda request: _asking(door, request),
        theme=theme.theme(),
        head=head(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,  # ours is beside it
        max_file_size="1mb",
        blocked_paths=[str(Path.cwd())],
        favicon_path=str(STATIC / "favicon.png"),
    )
    framed_by = [hub.provider] if hub is not None else [oauth.PROVIDER] if demo else []
    return guard.Guard(app, any_host=any_host, public=public, framed_by=framed_by,
                       also_open=[mcp.PATH] if with_mcp else [])  # fmt: skip


def blocks(bound: acts.Acts) -> gr.Blocks:
    """Returns the Blocks: the frame around the tabs, one file each."""
    with gr.Blocks(title="ForgetMe", fill_width=True, analytics_enabled=False) as demo:
        gr.HTML(
            _html("frame"),
            elem_id="fm-frame",
            apply_default_css=False,
            js_on_load=_mount("tabs"),
        )
        endpoints.build(bound)
        timers = {}
        with gr.Tabs(elem_id="fm-tabs") as tabs:
            for tab, built in TABS.items():
                word = tab.capitalize()
                with gr.Tab(word, id=tab, elem_id=f"fm-tab-{tab}") as place:
                    if built is not None:
                        looks, timers[word] = built(bound)
                        event = place.select(**looks[0])
                        for look in looks[1:]:
                            event = event.then(**look)
                        continue
                    gr.HTML(
                        _html(tab),
                        elem_id=f"fm-{tab}",
                        apply_default_css=False,
                        js_on_load=_mount(tab),
                    )

        def opened(tab: gr.SelectData) -> list[gr.Timer]:
            return [gr.Timer(active=word == tab.value) for word in timers]

        tabs.select(
            bound.by("viewer", opened, reads=True),
            None,
            list(timers.values()),
            show_progress="hidden",
            api_visibility="private",
        )
    return demo.queue(default_concurrency_limit=16)


def head() -> str:
    """Returns the tags for the page's head: our style sheets, and our scripts fetched early."""
    styles = "".join(
        f'<link rel="stylesheet" href="forgetme/static/{name}?{_version()}">' for name in STYLES
    )
    return styles + '<meta name="viewport" content="width=device-width, initial-scale=1">'


def _html(name: str) -> str:
    return (STATIC / f"{name}.html").read_text(encoding="utf-8")


def _mount(tab: str) -> str:
    return (
        f'import(new URL("forgetme/static/{tab}.js", document.baseURI).href)'
        ".then((tab) => tab.mount(element));"
    )


def _version() -> str:
    """Names the style sheets' content, so that a new release is never styled by an old cache."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _asking(door: who.Door, request: Request) -> str | None:
    """Names who asks Gradio for something; None, and Gradio refuses it.

    The page itself is empty until an act fills it, so it is shown to everybody: signing in lies
    over it. All the rest of Gradio needs a person.
    """
    try:
        return who.recognised(door, request).name
    except who.Refusal:
        return "" if request.url.path in guard.SHOWN else None


def _bad(request: Request, error: RequestValidationError) -> JSONResponse:
    wrong = error.errors()[0]
    where = ".".join(str(part) for part in wrong["loc"][1:]) or "the request"
    words = f"{where}: {wrong['msg']}. Correct it and try again."
    return JSONResponse({"error": "bad", "words": words}, 422)


def _no_act(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, FnIndexInferError):  # a wrong name, or a fault of Gradio's
        log.warning("%r was answered as unknown: %r", request.url.path, error)
    words = "There is no such act here. Reload the page, or look at its list of endpoints."
    return JSONResponse({"error": "missing", "words": words}, 404)


# What Gradio answers with an error of its own: no number for an argument, no act of that name.
GRADIOS = {RequestValidationError: _bad, FnIndexInferError: _no_act, KeyError: _no_act}


def _marked(request: Request) -> None:
    """Takes changes only with a header that a form or an image of another page cannot send."""
    marked = guard.MARK in request.headers or who.bearer(request.headers) is not None
    if request.method not in guard.READING and not marked:
        raise HTTPException(403, "Changes are taken from this page only; reload it and try again.")


def _speak_plainly(app: FastAPI, review: Review) -> None:
    """Turns every error into one sentence with the next step; the log has the rest."""

    def answer(status: int, error: str, words: str, **more: object) -> JSONResponse:
        return JSONResponse({"error": error, "words": words, **more}, status)

    @app.exception_handler(StaleVersionError)
    def stale(request: Request, error: StaleVersionError) -> JSONResponse:
        row, words = error.theirs, acts.stale(review, error)
        return answer(409, "stale", words, mine=error.mine, sample=views.detail(review, row))

    @app.exception_handler(ForgetmeError)
    def ours(request: Request, error: ForgetmeError) -> JSONResponse:
        status = 404 if request.method in guard.READING else 400  # a read fails where nothing is
        try:
            asking = who.person(request)
        except who.Refusal:
            asking = None
        return answer(status, type(error).__name__, who.told(asking, str(error)))

    app.add_exception_handler(RequestValidationError, _bad)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, getattr(error, "kind", "refused"), str(error.detail))

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        words = "ForgetMe met an error of its own; the terminal shows it. Nothing saved is lost."
        return answer(500, "internal", words)
