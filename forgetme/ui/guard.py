"""Who may ask the page for what: the door in front of Gradio's routes and of ours.

Who may do what is checked by each route (`who`). The door keeps other web pages out, whoever is
signed in: without accounts the page answers to names of this machine only (a foreign name that
points here is refused, and so is a proxy that others reach), it takes changes only from its own
pages (Origin and a header that a foreign form cannot send), and it never serves a file that is not
a blob of the store.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forgetme.store.moment import one_moment

UPLOADS = ("/forgetme/api/images", "/forgetme/api/side/uploads")
MAX_UPLOAD_BYTES = 64 * 2**20
DATASET_UPLOAD = "/forgetme/api/data/imports/upload"
MAX_DATASET_BYTES = 4 * 2**30  # streamed to the disk, never held in memory
MAX_BODY_BYTES = 2**20  # of any other request
MARK = "x-forgetme"  # a header that only scripts of the same origin can send
MAX_NUMBER = 2**53  # of what a request may count: exact in JavaScript, small for a database
READING = ("GET", "HEAD", "OPTIONS")
# Acts on a sample, and what is shown of one: short, and asked for with every click.
ONE_MOMENT = ("/forgetme/api/samples/", "/forgetme/api/undo", "/forgetme/api/several")

# All that the page asks for: our own routes, and those of Gradio that show it and run its acts.
# What else Gradio answers (files and addresses to fetch, proxies, recordings, code generation) is
# closed, whatever its next version adds. What is SHOWN holds nothing of the store.
SHOWN = (
    "/",
    "/config",
    "/theme.css",
    "/favicon.ico",
    "/manifest.json",
    "/robots.txt",
    "/gradio_api/info",
    "/gradio_api/app_id",
)
OPEN = (
    *SHOWN,
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/health",
    "/metrics",
    "/login/huggingface",
    "/login/callback",
)
OPEN_BELOW = (
    "/forgetme/",
    "/assets/",
    "/static/",
    "/gradio_api/heartbeat/",
    "/gradio_api/call/",
)

NO_ACCOUNTS = "This page has no accounts and answers on this machine only"
CORS = b"access-control-"  # Gradio lets pages of other hosts read; here nobody else reads
POLICY = "content-security-policy"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Gradio needs inline code; nothing may come from another host.
    POLICY: (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'self'"
    ),
}


def is_loopback(host: str) -> bool:
    """Tells whether a host name or address means this machine only."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """Returns the host of "host:port" or "[v6]:port", in lower case."""
    return (urlsplit("//" + address).hostname or "").lower()


def same_origin(headers: Mapping[str, str], public: str = "") -> bool:
    """Tells whether a request comes from a page of this very server.

    A proxy may put its own name into Host. The page's name is then what the proxy says
    (`X-Forwarded-Host`), what the page was started with (`public`), or what the browser says of
    the request (`Sec-Fetch-Site`). Where none of them speaks, a forwarded request with our own
    header is taken: no page of another origin can send that header without asking first, and the
    door answers no such question.

    Args:
        headers: of the request, names in lower case.
        public: host and port of the address that people open; empty = unknown.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return False
    if origin is None:
        return True
    theirs = urlsplit(origin).netloc.lower()
    told = [public, *_list(headers.get("x-forwarded-host", ""))]
    names = [name.lower() for name in (headers.get("host", ""), *told) if name]
    if not theirs:  # "null": a sandboxed frame, a file
        return False
    if theirs in names or site == "same-origin":
        return True
    return not any(told) and "x-forwarded-for" in headers and MARK in headers


def from_this_machine(headers: Mapping[str, str]) -> bool:
    """Tells whether a request was sent to, and through proxies only from, this machine."""
    forwarded = _list(headers.get("x-forwarded-for", ""))
    hosts = [headers.get("host", ""), *_list(headers.get("x-forwarded-host", ""))]
    return all(map(is_loopback, (*map(host_of, hosts), *forwarded)))


def _list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


class Guard:
    """Refuses foreign hosts and foreign pages before anything else sees the request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        any_host: bool = False,
        public: str = "",
        framed_by: Sequence[str] = (),
        also_open: Sequence[str] = (),
    ) -> None:
        """Wraps `app`.

        Args:
            app: what is behind the door.
            any_host: also answer to names that are not this machine's.
            public: host and port of the address that people open, where a proxy hides them.
            framed_by: origins whose pages may show this one in a frame.
            also_open: paths that this page answers beside the usual ones.
        """
        self.app, self.open = app, {*OPEN, *also_open}
        self.any_host, self.public = any_host, public
        policy = " ".join((HEADERS[POLICY], *framed_by))  # frame-ancestors comes last
        self.headers = HEADERS | {POLICY: policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Checks one request, then lets it through with our headers on the answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {key.decode("latin-1"): text.decode("latin-1") for key, text in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal:
            await _refuse(send, *refusal)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                theirs = [one for one in message["headers"] if not one[0].startswith(CORS)]
                present = {key.lower() for key, _ in theirs}
                message["headers"] = [
                    *theirs,
                    *(
                        (name.encode(), value.encode())
                        for name, value in self.headers.items()
                        if name.encode() not in present
                    ),
                ]
            await send(message)

        with one_moment() if scope["path"].startswith(ONE_MOMENT) else nullcontext():
            await self.app(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if not self.any_host and not from_this_machine(headers):
            return 421, "host", f"{NO_ACCOUNTS}, not as {host!r} or through a proxy."
        if scope["path"] not in self.open and not scope["path"].startswith(OPEN_BELOW):
            return 404, "missing", "There is nothing here."
        if scope["method"] not in READING and not same_origin(headers, self.public):
            return 403, "origin", "Changes are taken from this page only; reload it and try again."
        return None if scope["method"] in READING else _too_large(scope["path"], headers)


def _too_large(path: str, headers: Mapping[str, str]) -> tuple[int, str, str] | None:
    """Refuses a body by its announced length; the server holds the sender to that length."""
    limits = dict.fromkeys(UPLOADS, MAX_UPLOAD_BYTES) | {DATASET_UPLOAD: MAX_DATASET_BYTES}
    limit = limits.get(path, MAX_BODY_BYTES)
    length = headers.get("content-length", "")
    if not length.isdecimal() or "transfer-encoding" in headers:
        return 411, "length", "Send the length of the content first."
    if int(length) > limit:
        return 413, "large", f"This is too large: at most {limit // 2**20} MiB. Make it smaller."
    return None


async def _refuse(send: Send, status: int, error: str, words: str) -> None:
    body = json.dumps({"error": error, "words": words}).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                *((name.encode(), value.encode()) for name, value in HEADERS.items()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
