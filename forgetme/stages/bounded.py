"""An HTTP client with limits on bytes, seconds and host."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress
from typing import Any

import httpx2


class TooMuchError(Exception):
    """A server sent more than any answer needs."""


class BoundedClient(httpx2.Client):
    """Takes whole answers of at most some bytes within some seconds; follows no redirect.

    The timeouts of the base class count from byte to byte: a server that sends one now and then
    never ends. Each request has its own connection, which is closed when its time is over.
    """

    def __init__(self, *, most_bytes: int, seconds: float) -> None:
        """Makes a client.

        Args:
            most_bytes: of one answer.
            seconds: for one answer, from the first byte sent to the last one read.

        Raises:
            ImportError, ValueError: the environment names a proxy that cannot be used.
        """
        super().__init__(
            timeout=seconds,
            follow_redirects=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
            headers={"accept-encoding": "identity"},
        )
        self._most, self._seconds = most_bytes, seconds

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Sends a request and reads its whole answer.

        Raises:
            TooMuchError: the answer is longer than allowed, or packed.
            httpx2.ReadTimeout: it did not end in time.
        """
        ended = threading.Event()
        connection = _Connection(self._seconds, ended)
        request.extensions["trace"] = connection.trace
        request.headers["accept-encoding"] = "identity"
        try:
            response = super().send(request, **{**options, "stream": True})
            with closing(response):
                body = self._body(response)
        except httpx2.RequestError:
            if ended.is_set():
                raise httpx2.ReadTimeout("the answer did not end", request=request) from None
            raise
        finally:
            connection.done()
        if ended.is_set():
            raise httpx2.ReadTimeout("the answer did not end", request=request)
        return httpx2.Response(
            response.status_code, headers=response.headers, content=body, request=request
        )

    def _body(self, response: httpx2.Response) -> bytes:
        packed = response.headers.get("content-encoding", "identity")
        if packed != "identity":
            raise TooMuchError(f"the answer is packed ({packed[:20]}), which was not asked for")
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > self._most:
                raise TooMuchError(f"the answer is longer than {self._most / 2**20:g} MiB")
        return bytes(body)


class _Connection:
    """Cuts the connection of one request when its time is over."""

    def __init__(self, seconds: float, ended: threading.Event) -> None:
        self._socket: socket.socket | None = None
        self._ended = ended
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Notes the socket as the library opens or wraps it."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._ended.is_set():
                self._cut()

    def done(self) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self._ended.set()
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                # Not the method of a TLS socket, which takes the reader's session away.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
