"""A page with secrets lying around its store, asked as an attacker asks: nothing is tidied up."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import small_store
import uvicorn
from page_server import Truth, TruthModels
from test_page import free_port, wait_for

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record.images import png_bytes
from forgetme.store import Store
from forgetme.ui.page import build

API = "/forgetme/api/"
PICTURE_UPLOADS = (f"{API}images?concept=cat&name=", f"{API}side/uploads?name=")
SCRIPT = b"<script>evil()</script>"
SECRET = b"nobody but the owner of this machine may read this"


@dataclass(frozen=True)
class Answer:
    """What came back, as it was sent."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def words(self) -> str:
        return json.loads(self.body)["words"]


class SafePage:
    """A running page and a client that sends a request's target as it is."""

    def __init__(self, store: Store, app: Any, port: int) -> None:
        self.store, self.app, self.port = store, app, port

    def ask(
        self, target: str, method: str = "GET", body: bytes | None = None, **headers: str | None
    ) -> Answer:
        """Asks with the header of our scripts; `a_b` names the header `a-b`, None leaves it out."""
        sent = {"host": f"127.0.0.1:{self.port}", "x-forgetme": "1"}
        if body is not None or method == "POST":
            sent["content-length"] = str(len(body or b""))
        sent |= {name.replace("_", "-"): text for name, text in headers.items()}
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {text}" for name, text in sent.items() if text is not None]
        head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as wire:
            # In one piece: a server that hangs up after the head would lose its own answer.
            wire.sendall(head + b"\r\n" + (body or b""))
            answer = http.client.HTTPResponse(wire, method=method)
            answer.begin()
            return Answer(answer.status, answer.headers, answer.read())

    def post(self, target: str, body: Any, **headers: str) -> Answer:
        """Sends JSON."""
        data = json.dumps(body).encode()
        return self.ask(target, "POST", data, content_type="application/json", **headers)

    def said(self, act: str, *values: Any) -> str:
        """Asks an endpoint as a program does; returns what was refused, empty when it is done."""
        called = f"/gradio_api/call/{act}"
        event = json.loads(self.post(called, {"data": values}).body)["event_id"]
        lines = self.ask(f"{called}/{event}").body.decode().splitlines()
        done = [one for one in lines if one.startswith("event: ")][-1]
        return "" if done == "event: complete" else lines[lines.index(done) + 1]

    def kept(self) -> set[str]:
        """Everything that the store keeps: its files beside the database, and its samples."""
        files = (path for path in self.store.folder.rglob("*") if path.is_file())
        names = {str(path) for path in files if not path.name.startswith("store.db")}
        return names | {row.id for row in self.store.samples(limit=None, light=True)}


@contextmanager
def serving(folder: Path) -> Iterator[SafePage]:
    """Serves a store with one accepted and one prepared sample; secrets lie in and beside it."""
    for place in (folder, folder.parent, folder.with_name(f"{folder.name}-private")):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("secret", "secret.png", "secret.zip", "table.json"):
            (place / name).write_bytes(SECRET)
    with Store(folder) as store:
        small_store.accept(store, small_store.add(store, 1, name="cat_1"))
        small_store.prepare(store, small_store.add(store, 2, name="cat_2"))
        review = Review(store, TruthModels(Truth()), by="ann")
        app, port = build(review, Worker(review)), free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_for(lambda: server.started)
        try:
            yield SafePage(store, app.app, port)
        finally:
            server.should_exit = True
            thread.join(20)


class Bait:
    """A server that a page which fetches addresses would ask; it counts who does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        bait = self
        picture = png_bytes(small_store.picture(5))

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bait.asked.append(self.path)
                self.send_response(200)
                self.send_header("content-type", "image/png")
                self.send_header("set-cookie", "stolen=1")
                self.send_header("content-length", str(len(picture)))
                self.end_headers()
                self.wfile.write(picture)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}/bait.png"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
