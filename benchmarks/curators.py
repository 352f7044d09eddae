"""Curators as processes of their own, and a ledger of what the store told them.

A curator writes into a file of its own what it is about to do and what the store acknowledged. The
file outlives `kill -9`, so that whoever looks afterwards knows what must be in the store.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.waiting import filled, prepare
from forgetme.errors import StaleVersionError
from forgetme.store import Filter, SampleRow, Store
from forgetme.store.queue import QueueLine

SIZE = (96, 128)  # height, width in px of the pictures that are curated
LEASE_SECONDS = 5.0  # of a curator who may be killed: others get the sample soon
DECISIONS = ("accepted", "rejected", "skipped", "flagged")
Place = dict[str, Any]  # arguments of Store
Act = tuple[str, int, str, str]  # sample, version, kind, by


class Telling:
    """A store that writes down what it is asked for, and what it has acknowledged."""

    def __init__(self, store: Store, file: Path, pulse: int | None = None) -> None:
        """Appends to `file`, past all buffers of this process."""
        self.store = store
        self.pulse = pulse
        self.handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __getattr__(self, name: str) -> Any:
        """Reads and images go straight to the store."""
        return getattr(self.store, name)

    def say(self, **line: object) -> None:
        """Writes one line with its moment, and beats."""
        os.write(self.handle, json.dumps(line | {"at": time.time()}).encode() + b"\n")
        if self.pulse is not None:
            os.write(self.pulse, b".")

    def next_sample(self, by: str, seconds: float) -> SampleRow | None:
        """Writes down what was leased, and until when at least."""
        asked = time.time()
        for state in ("prepared", "waiting", "new"):
            free = Filter(state=(state,), held="free", fair_to=by)
            for line in self._all_of(free):
                if self.store.holds.take([line.id], by, seconds=seconds):
                    continue  # somebody was faster
                row = self.store.sample(line.id)
                if row.state == state:
                    self.say(leased=row.id, until=asked + seconds)
                    return row
                self.store.holds.take([], by, leave=[row.id])  # or has decided it meanwhile
        return None

    def _all_of(self, free: Filter) -> Iterator[QueueLine]:
        """Yields what nobody holds, until there is none; others take from it at the same time."""
        while lines := self.store.queue.page(free, limit=32).lines:
            yield from random.sample(lines, len(lines))  # else all reach for the first one

    def import_image(self, image: np.ndarray, *, name: str, concept: str, by: str) -> SampleRow:
        """Writes down the import before and after it."""
        self.say(begins=[None, 1, "imported", by])
        row = self.store.import_image(image, name=name, concept=concept, by=by)
        self.say(ends=[row.id, 1, "imported", by])
        return row

    def append(
        self, sample_id: str, kind: str, payload: dict, *, by: str, expected_version: int
    ) -> SampleRow:
        """Writes down the event before and after it."""
        act = [sample_id, expected_version + 1, kind, by]
        self.say(begins=act)
        try:
            row = self.store.append(
                sample_id, kind, payload, by=by, expected_version=expected_version
            )
        except StaleVersionError:
            self.say(refused=act)
            raise
        self.say(ends=act)
        return row

    def undo(self, by: str) -> None:
        """Writes down the undo before and after it."""
        self.say(begins=[None, None, "undone", by])
        row = self.store.undo(by)
        if row is None:
            self.say(refused=[None, None, "undone", by])
        else:
            self.say(ends=[row.id, row.version, "undone", by])


# ------------------------------ what a curator does


def curate_without_end(place: Place, file: Path, by: str, seed: int, pulse: int) -> None:
    """Imports, takes, masks, fills, decides, and takes a decision back now and then."""
    rng = np.random.default_rng(seed)
    with Store(**place) as opened:
        store = Telling(opened, file, pulse)
        while True:
            row = store.next_sample(by, LEASE_SECONDS)
            if row is None:
                image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
                store.import_image(image, name=f"photo {seed}", concept="cat", by=by)
                continue
            try:
                _finish(store, row, by, rng)
            except StaleVersionError:
                continue  # it took longer than the lease
            if rng.random() < 0.2:
                store.undo(by)


def _finish(store: Telling, row: SampleRow, by: str, rng: np.random.Generator) -> None:
    """Takes a sample on from wherever the one who had it was killed."""
    mask = np.zeros(SIZE, bool)
    mask[30:60, 40:80] = True
    if row.picked_try is None:
        image = store.get_image(row.image_sha)
        background = image.copy()
        background[8:88, 8:116] = rng.integers(0, 256, (80, 108, 3), dtype=np.uint8)
        if row.mask_sha is None:
            prepare(store, row, image, mask, background)
        else:
            store.append(
                row.id, "filled", filled(store, mask, background), by=by,
                expected_version=row.version,
            )  # fmt: skip
        row = store.sample(row.id)
    _decide(store, row, by, rng)


def _decide(store: Telling, row: SampleRow, by: str, rng: np.random.Generator) -> None:
    kind = DECISIONS[rng.integers(len(DECISIONS))]
    store.append(row.id, kind, {"how": "human"}, by=by, expected_version=row.version)


def decide_many(
    place: Place, file: Path, by: str, seed: int, ready: int, go: int, count: int
) -> None:
    """Takes the next sample and decides it, `count` times, once `go` is closed by all others."""
    rng = np.random.default_rng(seed)
    with Store(**place) as opened:
        store = Telling(opened, file)
        opened.counts()  # the connection is there
        os.write(ready, b".")
        os.read(go, 1)
        for _ in range(count):
            _decide(store, store.next_sample(by, 3600.0), by, rng)


def start(work: Any, *arguments: object) -> int:
    """Starts a process from this one, whose libraries are loaded; returns its id."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the process can take it
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return pid
    code = 1
    try:
        signal.signal(signal.SIGINT, _interrupt_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work(*arguments)
        code = 0
    except KeyboardInterrupt:
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)  # never back into the parent's code


def _interrupt_once(*_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


# ------------------------------ what they were told


@dataclass
class Ledger:
    """All that the store acknowledged to curators, and what it was asked for besides."""

    told: Counter[Act] = field(default_factory=Counter)
    asked: Counter[tuple] = field(default_factory=Counter)  # begun, with no answer
    leases: list[tuple[str, float, float]] = field(default_factory=list)  # sample, from, until
    seconds: list[float] = field(default_factory=list)  # of each acknowledged decision
    in_the_middle: int = 0  # curators whose last act has no answer

    def read(self, file: Path) -> None:
        """Takes in what one curator wrote, up to its last whole line."""
        text = file.read_bytes() if file.exists() else b""
        begun, lease = None, None
        for line in map(json.loads, text[: text.rfind(b"\n") + 1].splitlines()):
            if "leased" in line:
                lease = [line["leased"], line["at"], line["until"]]
                self.leases.append(lease)
            elif "begins" in line:
                begun = line
                if lease and begun["begins"][2] in DECISIONS:
                    lease[2] = min(lease[2], begun["at"])  # the decision gives it back
            else:
                if "ends" in line:
                    self.told[tuple(line["ends"])] += 1
                    if line["ends"][2] in DECISIONS:
                        self.seconds.append(line["at"] - begun["at"])
                begun = None
        if begun is not None:
            self.asked[tuple(begun["begins"])] += 1
            self.in_the_middle += 1

    def lost(self, there: Counter[Act]) -> int:
        """Counts the acknowledged acts that are not in the store as often as acknowledged."""
        return (self.told - there).total()

    def unasked(self, there: Counter[Act]) -> int:
        """Counts the events that nobody acknowledged or began: a kill may leave the begun one."""
        begun = Counter(self.asked)
        count = 0
        for act in (there - self.told).elements():
            sample, version, kind, by = act
            found = next(
                (
                    one
                    for one in (act, (None, version, kind, by), (None, None, kind, by))
                    if begun[one] > 0
                ),
                None,
            )
            if found is None:
                count += 1
            else:
                begun[found] -= 1
        return count

    def doubled(self) -> int:
        """Counts the leases that were given while another one on the same sample ran."""
        running: dict[str, float] = {}
        count = 0
        for sample, start, until in sorted(self.leases, key=lambda one: one[1]):
            count += start < running.get(sample, 0.0)
            running[sample] = max(until, running.get(sample, 0.0))
        return count


def acts_in(store: Store, after: int = 0) -> tuple[Counter[Act], list]:
    """Returns the store's events as acts, and the events themselves."""
    events = store.events(after=after)
    return Counter((one.sample_id, one.version, one.kind, one.by) for one in events), events
