"""The page on a store of small accepted samples, for the tests of the Dataset tab."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import gradio as gr
import httpx
import small_store
import uvicorn
from gradio.blocks import BlockFunction
from page_server import Truth, TruthModels
from test_page import API, MARK, free_port
from test_signin import asks

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.store import SampleRow, Store
from forgetme.ui.acts import Acts
from forgetme.ui.page import blocks, build

CATS, DOGS = 40, 20


class DataPage:
    """A running page on a store, and a client that sends what its scripts send."""

    def __init__(self, store: Store, port: int, acts: Acts) -> None:
        self.store, self.acts = store, acts
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def get(self, path: str, **more) -> httpx.Response:
        return self.client.get(API + "data/" + path, **more)

    @cached_property
    def found(self) -> list[BlockFunction]:
        """All that Gradio's queue runs."""
        return [one for one in blocks(self.acts).fns.values() if one.fn is not None]

    def do(self, act: str, *values: object, by: httpx.Client | None = None):
        """Does an act as the queue does it."""
        one = next(one for one in self.found if act in (one.api_name, one.fn.__name__))
        return one.fn(asks(by or self.client), *values)

    def event(self, act: str, *shows: str) -> BlockFunction:
        """Returns the event of an act that sets the parts of these ids; the one that reads most."""
        found = [
            one for one in self.found
            if one.fn.__name__ == act and set(shows) <= {part.elem_id for part in one.outputs}
        ]  # fmt: skip
        return max(found, key=lambda one: len(one.inputs))

    def ask(self, event: BlockFunction, by: httpx.Client | None = None, **given: object) -> dict:
        """Runs an event that reads its parts by themselves; returns what it sets, by id.

        Args:
            event: of the tab.
            by: who asks.
            given: values of parts by their ids, `fm_data_low`; of the session's own, in their
                order, `states=(…)`.
        """
        states = iter(given.pop("states", ()))
        named = {name.replace("_", "-"): value for name, value in given.items()}
        held = {}
        for part in sorted(event.inputs, key=lambda one: one._id):
            if isinstance(part, gr.State):
                held[part] = next(states, part.value)
            else:
                held[part] = named.pop((part.elem_id or "").replace("_", "-"), part.value)
        assert not named, f"no part has these ids: {named}"
        told = event.fn(asks(by or self.client), held)
        return {part.elem_id or part: value for part, value in (told or {}).items()}

    def look(self, by: httpx.Client | None = None, **given: object) -> dict:
        """Opens the tab; its own of the session are the page and the picked sample."""
        return self.ask(self.event("look", "fm-gallery"), by, **given)

    def sign_in(self, name: str) -> httpx.Client:
        """Returns a client that acts as this account."""
        cookies = {self.cookie: self.store.people.begin_session(name)}
        return httpx.Client(base_url=self.url, timeout=60, cookies=cookies, headers=MARK)


@contextmanager
def serving(store: Store) -> Iterator[DataPage]:
    """Serves the page on a store; nothing is prepared there."""
    port = free_port()
    review = Review(store, TruthModels(Truth()), by="ann")
    worker = Worker(review)
    app = build(review, worker)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    door = app.app.state.door
    page = DataPage(store, port, Acts(door, review, worker))
    page.cookie = door.cookie
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
