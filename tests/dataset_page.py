"""The page on a store of small accepted samples, for the tests of the Dataset tab."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import small_store
import uvicorn
from page_server import Truth, TruthModels
from test_page import API, MARK, free_port

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import SampleRow, Store
from forgetme.ui.page import build

CATS, DOGS = 40, 20


class DataPage:
    """A running page on a store, and a client that sends what its scripts send."""

    def __init__(self, store: Store, port: int) -> None:
        self.store = store
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def get(self, path: str, **more) -> httpx.Response:
        return self.client.get(API + "data/" + path, **more)

    def post(self, path: str, body: dict) -> httpx.Response:
        return self.client.post(API + "data/" + path, json=body, headers=MARK)

    def sign_in(self, name: str) -> httpx.Client:
        """Returns a client that acts as this account."""
        cookies = {self.cookie: self.store.people.begin_session(name)}
        return httpx.Client(base_url=self.url, timeout=60, cookies=cookies, headers=MARK)


@contextmanager
def serving(store: Store) -> Iterator[DataPage]:
    """Serves the page on a store; nothing is prepared there."""
    port = free_port()
    review = Review(store, TruthModels(Truth()), by="ann")
    app = build(review, Worker(review))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    page = DataPage(store, port)
    page.cookie = app.app.state.door.cookie
    try:
        yield page
    finally:
        server.should_exit = True
        thread.join(20)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Waits for what another thread or process makes true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def fill(folder: Path) -> None:
    """Makes a store: cats with D from 0 to 0.975, dogs with S from 0 to 0.95, some of each else."""
    with Store(folder) as store:
        for seed in range(CATS):
            row = small_store.add(store, seed, name=f"cat_{seed}")
            small_store.accept(store, row, d=seed / CATS, s=0.9)
        for seed in range(DOGS):
            row = small_store.add(store, 100 + seed, name=f"dog_{seed}", concept="dog")
            small_store.accept(store, row, d=0.8, s=seed / DOGS, by="ben", how="policy")
        rejected = small_store.prepare(store, small_store.add(store, 200, name="rejected"))
        small_store.step(store, rejected, "rejected", {"reason": "only a paw"}, by="ben")
        small_store.add(store, 201, name="fresh")
        store.import_broken(
            name="broken", concept="dog", by="ann", error="truncated JPEG", source="/photos/b.jpg"
        )


def twin(store: Store, row: SampleRow) -> SampleRow:
    """Adds a second copy of a sample, for another opinion."""
    return store.import_image(
        store.get_image(row.image_sha),
        name=row.name,
        concept=row.concept,
        by="lead",
        twin_of=row.id,
    )
