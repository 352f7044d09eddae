"""A local HTTP server that speaks OpenAI's chat API, with good, wrong, slow and broken answers."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import numpy as np
from PIL import Image

KEY = "sk-test-5ecret-key"


@dataclass(frozen=True)
class Reply:
    """What the server does with one request; the fields that are set apply."""

    content: Any = None  # the model's text, as it stands
    refusal: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None  # the whole HTTP body, instead of a chat completion
    wait_s: float = 0.0  # before answering
    drop: bool = False  # close the connection without an answer
    usage: Any = True  # False: none; a value: instead of it
    finish: str = "stop"
    drip: Literal["head", "body"] | None = None  # one byte at a time, without end
    endless: bool = False  # megabyte after megabyte, until the client leaves


@dataclass(frozen=True)
class Asked:
    """A request as the server understood it; names of headers are in lower case."""

    question: str
    image: np.ndarray | None  # None: asked without a picture
    system: str
    body: dict[str, Any]
    headers: dict[str, str]


def verdict(answer: str = "yes", confidence: Any = 0.9, reason: str = "whiskers") -> Reply:
    """A well-formed answer."""
    return Reply(json.dumps({"answer": answer, "confidence": confidence, "reason": reason}))


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    """An error in OpenAI's format; underscores in header names become hyphens."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": code}})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=body, headers=named)


class OpenAIServer:
    """Serves 127.0.0.1 while the context is open.

    Attributes:
        queue: replies to the next requests; when it is empty, `answer` decides.
        asked: every chat request that was understood, in order.
        minds: gives the refusal of a request body that the server does not take, or None.
        refused: how many requests `minds` refused.
    """

    def __init__(self, answer: Callable[[Asked], Reply] = lambda asked: verdict()) -> None:
        """Binds a free port; `answer` replies when the queue is empty."""
        self.answer = answer
        self.minds: Callable[[dict[str, Any]], Reply | None] = lambda body: None
        self.refused = 0
        self.queue: deque[Reply] = deque()
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """The base_url for a client."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> OpenAIServer:
        """Starts serving."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops, also the replies that are waiting."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802 (the base class's name)
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/chat/completions":
            return self._send(error(404, f"unknown path {self.path}"))
        if self.headers.get("authorization") != f"Bearer {KEY}":
            return self._send(error(401, f"Incorrect API key: {self.headers['authorization']}"))
        refusal = owner.minds(body)
        if refusal is not None:
            owner.refused += 1
            return self._send(refusal)
        problem = _protocol_problem(body)
        if problem:
            return self._send(error(400, problem))
        asked = _read(body, {name.lower(): value for name, value in self.headers.items()})
        owner.asked.append(asked)
        reply = owner.queue.popleft() if owner.queue else owner.answer(asked)
        owner.closing.wait(reply.wait_s)
        if reply.drop:
            self.close_connection = True
            return self.connection.close()
        if reply.drip or reply.endless:
            self.close_connection = True
            return self._never_end(reply)
        return self._send(reply, body["model"])

    def _never_end(self, reply: Reply) -> None:
        start = b"HTTP/1.1 200 OK\r\n" if reply.drip == "head" else b"HTTP/1.1 200 OK\r\n\r\n"
        piece = b"x" * 2**20 if reply.endless else b"x"
        with contextlib.suppress(OSError):  # the client has left
            self.wfile.write(start)
            while not self.server.owner.closing.wait(0 if reply.endless else 0.05):
                self.wfile.write(piece)

    def _send(self, reply: Reply, model: str = "") -> None:
        body = reply.body if reply.body is not None else json.dumps(_completion(reply, model))
        data = body.encode()
        self.send_response(reply.status)
        headers = {"content-type": "application/json", **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has left
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing on stderr."""


def _protocol_problem(body: dict[str, Any]) -> str | None:
    """What OpenAI's server would refuse in a request."""
    asked = body.get("response_format")
    if not body.get("model") or not body.get("messages"):
        return "you must provide model and messages"
    if asked is None or asked == {"type": "json_object"}:
        return None
    schema = asked.get("json_schema", {})
    if not schema.get("strict") or not schema.get("name"):
        return "response_format must be a named, strict json_schema"
    if schema["schema"].get("additionalProperties") is not False:
        return "additionalProperties is required to be supplied and to be false"
    if set(schema["schema"].get("required", ())) != set(schema["schema"].get("properties", {})):
        return "required must name every key in properties"
    return None


def _read(body: dict[str, Any], headers: dict[str, str]) -> Asked:
    *system, user = body["messages"]
    content = user["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text, *pictures = parts
    image = None
    if pictures:
        [picture] = pictures
        prefix, _, data = picture["image_url"]["url"].partition(",")
        assert prefix == "data:image/png;base64"
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))
    return Asked(text["text"], image, system[0]["content"] if system else "", body, headers)


def _completion(reply: Reply, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [
            {"index": 0, "message": message, "finish_reason": reply.finish, "logprobs": None}
        ],
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    usage = usage if reply.usage is True else reply.usage
    return completion | ({} if usage is False else {"usage": usage})
