"""The page's endpoints as tools of the Model Context Protocol, for agents with an access token."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from copy import copy
from typing import Any, NoReturn

import gradio as gr
from fastapi import FastAPI
from gradio.blocks import BlockFunction
from gradio.mcp import GradioMCPServer
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from forgetme.errors import ForgetmeError
from forgetme.ui import who

PATH = "/gradio_api/mcp/"
NO_TEXT = "This is no UTF-8 text. Send JSON."
TOKENS_ONLY = "Agents come with an access token: Authorization: Bearer TOKEN. A lead makes one."


class _Tools(GradioMCPServer):
    """Gradio's server, but that it runs a tool itself, answers in JSON, and asks no other server.

    Gradio sends a tool's call, and the token with it, on to the page under the name that the first
    request gave the page, which may be anybody's; it reads files that an answer names.
    """

    def get_block_fn_from_endpoint_name(self, endpoint_name: str) -> BlockFunction | None:
        found = copy(super().get_block_fn_from_endpoint_name(endpoint_name))
        if found is not None:
            found.queue = False
        return found

    def _get_or_create_client(self) -> NoReturn:
        raise ForgetmeError("here are tools alone, no resources and no prompts; list the tools")

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        words = [json.dumps(one, ensure_ascii=False) for one in data]
        return [self.types.TextContent(type="text", text=one) for one in words]


def mount(app: FastAPI, blocks: gr.Blocks, door: who.Door) -> None:
    """Adds the tools to the page; before Gradio's own routes, which take every path.

    Raises:
        ForgetmeError: the package `mcp` is not there.
    """
    try:
        tools = _Tools(blocks)
    except ImportError as error:
        raise ForgetmeError('--mcp needs the package mcp: pip install ".[mcp]"') from error
    before = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[object]:
        async with before(app) as state, tools.lifespan(app):
            yield state

    async def tokens_only(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        token = who.bearer(request.headers)
        try:
            if token is None:
                raise who.Refusal(401, "token", TOKENS_ONLY)
            await run_in_threadpool(who.of_token, door, token)
        except who.Refusal as error:
            told = {"error": error.kind, "words": error.detail}
            answer = JSONResponse(told, error.status_code, {"www-authenticate": "Bearer"})
            await answer(scope, receive, send)
            return
        body = await request.body()  # small: the door has looked at its length
        try:
            body.decode()
        except UnicodeDecodeError:
            answer = JSONResponse({"error": "bad", "words": NO_TEXT}, 400)
            await answer(scope, receive, send)
            return
        read = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Message:
            return read.pop() if read else await receive()

        await tools.handle_streamable_http(scope, received, send)

    app.router.lifespan_context = lifespan
    app.mount(PATH.rstrip("/"), tokens_only)
