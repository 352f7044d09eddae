"""The page's endpoints as tools of the Model Context Protocol, for agents with an access token."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from copy import copy
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.blocks import BlockFunction
from gradio.mcp import GradioMCPServer
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from forgetme.errors import ForgetmeError
from forgetme.ui import who

PATH = "/gradio_api/mcp/"
TOKENS_ONLY = "Agents come with an access token: Authorization: Bearer TOKEN. A lead makes one."


class _Tools(GradioMCPServer):
    """Gradio's server, but that it runs a tool itself and answers in JSON.

    Gradio sends a tool's call, and the token with it, on to the page under the name that the first
    request gave the page, which may be anybody's; and it reads files that an answer names.
    """

    def get_block_fn_from_endpoint_name(self, endpoint_name: str) -> BlockFunction | None:
        found = copy(super().get_block_fn_from_endpoint_name(endpoint_name))
        if found is not None:
            found.queue = False
        return found

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
        request = Request(scope)
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
        await tools.handle_streamable_http(scope, receive, send)

    app.router.lifespan_context = lifespan
    app.mount(PATH.rstrip("/"), tokens_only)
