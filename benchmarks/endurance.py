"""Kills curators with -9 at random moments, and lets 16 decide at once: is anything lost?

Run: `python -m benchmarks.endurance [--rounds 100] [--curators 16] [--decisions 1000] [--json]`.

First, several processes curate one SQLite store (imports, leases, masks, fills, decisions, undos)
and each is killed in every round; afterwards the store must open and hold all that it had
acknowledged, with every image whole. Then many processes decide on one store at once, on SQLite and
on PostgreSQL (a private server with its fsync on): each acknowledged decision must be there once,
and no sample may have been given to two. `kill -9` cuts no power: that commits reach the disk
before they are acknowledged is tested where it can be seen, in tests/store/test_store_crash.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from benchmarks.curators import (
    DECISIONS,
    SIZE,
    Ledger,
    Place,
    acts_in,
    curate_without_end,
    decide_many,
    start,
)
from benchmarks.postgres import Cluster
from benchmarks.waiting import SCORE
from forgetme.record.masks import rle_encode
from forgetme.store import Event, Store
from forgetme.store.audit import derive
from forgetme.store.names import sample_id
from forgetme.store.schema import event
from forgetme.tiny.card import machine

WRITERS = 4  # processes that are killed in each round
BEATS = 20  # a writer is killed after at most so many words: before and after each act it says one
LONGEST = 0.01  # seconds later at the most
PATIENCE = 60.0  # seconds that a writer has to end after Ctrl-C
CARE = 25  # rounds between two whole checks
MACHINE = "benchmark"  # prepared the samples
PICTURES = 64  # kept for the curators; each is in several concepts
STOPS = {"kill": signal.SIGKILL, "ctrl-c": signal.SIGINT}
DATABASES = ("sqlite", "postgres")
SAYS = (
    "{}: {curators} curators, {decisions} decisions, {decisions_a_second:.0f} a second (each: "
    "median {median_ms:.0f} ms, p99 {p99_ms:.0f} ms); {lost} lost, {twice} twice, {doubled} of "
    "{leases} leases given twice"
)


# ------------------------------ kill -9


def kill_rounds(folder: Path, rounds: int, *, stop: signal.Signals = signal.SIGKILL) -> dict:
    """Kills all writers of a store in each round; returns what was lost, torn or given twice."""
    place, moments, ledger = {"location": folder / "store"}, random.Random(7), Ledger()
    torn = unopened = failed = 0
    problems: list[str] = []
    seen = 0
    for number in range(rounds):
        failed += _one_round(place, folder, number, moments, stop, ledger)
        try:
            with Store(**place) as store:
                _, events = acts_in(store, after=seen)
                seen = events[-1].id if events else seen
                torn += _torn(store, events)
                if number % CARE == CARE - 1 or number == rounds - 1:
                    problems += _care(store)
        except Exception as error:
            unopened += 1
            problems.append(f"round {number}: {error}")
    with Store(**place) as store:
        there, events = acts_in(store)
    return {
        "rounds": rounds,
        "kills": rounds * WRITERS,
        "in_the_middle": ledger.in_the_middle,
        "acknowledged": ledger.told.total(),
        "decisions": len(ledger.seconds),
        "leases": len(ledger.leases),
        "lost": ledger.lost(there),
        "unasked": ledger.unasked(there),
        "torn": torn,
        "doubled": ledger.doubled(),
        "unopened": unopened,
        "failed": failed,
        "left_aside": len(list(folder.rglob("*.tmp"))),
        "problems": problems,
    }


def _one_round(
    place: Place,
    folder: Path,
    number: int,
    moments: random.Random,
    stop: signal.Signals,
    ledger: Ledger,
) -> int:
    """Stops each writer at a moment of its own, while the others go on; returns how many failed."""
    files = [folder / f"{number}-{one}.jsonl" for one in range(WRITERS)]
    writers = {}  # by the pipe on which a writer's heart beats
    for one, file in enumerate(files):
        beats, pulse = os.pipe()
        name = f"curator {one}"
        pid = start(curate_without_end, place, file, name, WRITERS * number + one, pulse)
        os.close(pulse)
        writers[beats] = [pid, moments.randint(0, BEATS)]
    pids = [pid for pid, _ in writers.values()]
    while writers:
        wanted = [beats for beats, (_, left) in writers.items() if left <= 0]
        for beats in wanted or select.select(list(writers), [], [])[0]:
            if not wanted and (said := os.read(beats, BEATS)):
                writers[beats][1] -= len(said)
                continue
            time.sleep(moments.uniform(0, LONGEST))  # somewhere inside what comes next
            os.kill(writers.pop(beats)[0], stop)
            os.close(beats)
    codes = [_exit_code(pid) for pid in pids]
    for file in files:
        ledger.read(file)
    return sum(code > 0 for code in codes)  # a signal's code is negative


def _exit_code(pid: int) -> int:
    """Waits for a writer that was stopped; Python may swallow Ctrl-C in a callback."""
    deadline = time.monotonic() + PATIENCE
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


def _await(ready: int, count: int) -> None:
    while count > 0 and (said := os.read(ready, count)):
        count -= len(said)


def _torn(store: Store, events: list[Event]) -> int:
    shas = {one.payload.get(key) for one in events for key in ("image_sha", "mask_sha")} - {None}
    return sum(store._blobs.problem(sha) is not None for sha in shas)


def _care(store: Store) -> list[str]:
    """Looks at everything; a rebuild must change nothing."""
    problems = store.check()
    rows = store.samples(limit=None)
    if store.rebuild() != len(rows) or store.samples(limit=None) != rows:
        problems.append("a rebuild changed rows")
    return problems


# ------------------------------ many curators


def many_curators(place: Place, folder: Path, curators: int, decisions: int) -> dict:
    """Lets curators decide at once, a sample each at a time, until every sample is decided."""
    with Store(**place) as store:
        fill(store, curators * decisions)
    files = [folder / f"{one}.jsonl" for one in range(curators)]
    ready, tell = os.pipe()
    wait, go = os.pipe()
    pids = []
    for one, file in enumerate(files):
        name = f"curator {one}"
        pids.append(start(_when_told, go, place, file, name, one, tell, wait, decisions))
    os.close(tell)
    os.close(wait)
    _await(ready, curators)
    begin = time.monotonic()
    os.close(go)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    seconds = time.monotonic() - begin
    os.close(ready)
    ledger = Ledger()
    for file in files:
        ledger.read(file)
    return {"curators": curators, "failed": sum(map(bool, codes))} | _told(place, ledger, seconds)


def _when_told(go: int, *arguments: object) -> None:
    os.close(go)  # this process's own copy: the pipe ends when the parent closes the last one
    decide_many(*arguments)


def _told(place: Place, ledger: Ledger, seconds: float) -> dict:
    """Compares what curators were told with what the store has."""
    with Store(**place) as store:
        there, events = acts_in(store)
        decided = Counter(one.sample_id for one in events if one.kind in DECISIONS)
        problems = _care(store)
    times = sorted(ledger.seconds)
    return {
        "decisions": len(times),
        "seconds": seconds,
        "decisions_a_second": len(times) / seconds,
        "median_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * times[int(0.99 * (len(times) - 1))],
        "lost": ledger.lost(there),
        "unasked": ledger.unasked(Counter(one for one in there.elements() if one[3] != MACHINE)),
        "twice": sum(count > 1 for count in decided.values()),
        "leases": len(ledger.leases),
        "doubled": len(ledger.leases) - len({one[0] for one in ledger.leases}),
        "problems": problems,
    }


def fill(store: Store, count: int) -> None:
    """Puts prepared samples into a store, quickly: a few pictures, each in many concepts."""
    rng = np.random.default_rng(11)
    mask = np.zeros(SIZE, bool)
    mask[30:60, 40:80] = True
    shas = [
        store.put_image(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        for _ in range(min(count, PICTURES))
    ]
    kept = {"mask": rle_encode(mask), "mask_sha": store.put_image(mask)}
    at = "2026-11-21T12:00:00.000000+00:00"
    lines = [
        line | {"sample_id": sample_id(_concept(one), shas[one % PICTURES]), "at": at}
        for one in range(count)
        for line in _history(one, shas, kept)
    ]
    with store._database.write() as connection:
        for begin in range(0, len(lines), 3000):
            connection.execute(insert(event), lines[begin : begin + 3000])
        derive(connection)


def _concept(number: int) -> str:
    return f"concept {number // PICTURES}"


def _history(number: int, shas: list[str], kept: dict) -> list[dict]:
    """Returns the events of a sample that is ready to be decided."""
    sha = shas[number % PICTURES]
    height, width = SIZE
    imported = {
        "image_sha": sha, "width": width, "height": height, "concept": _concept(number),
        "name": f"photo {number}", "source": "", "caption": "", "notes": [],
    }  # fmt: skip
    proposal = {
        "rle": kept["mask"], "box_xywh": [40, 30, 40, 30], "predicted_iou": 0.9, "score": 0.9,
        "stability_score": 0.9, "verdict": None, "made_by": "benchmark",
    }  # fmt: skip
    proposed = {"proposals": [proposal], "chosen": 0, "mask_sha": kept["mask_sha"]}
    filled = {
        "image_sha": shas[(number + 1) % len(shas)], "mask_sha": kept["mask_sha"],
        "settings": {"dilate_px": 4}, "made_by": "benchmark",
        "scores": {"d": SCORE, "s": SCORE, "low": False},
    }  # fmt: skip
    steps = (("imported", imported), ("proposed", proposed), ("filled", filled))
    return [
        {"version": version, "kind": kind, "actor": MACHINE, "payload": payload}
        for version, (kind, payload) in enumerate(steps, start=1)
    ]


# ------------------------------ the whole


def measure(options: argparse.Namespace) -> dict:
    """Runs what is asked for; `ok` tells that nothing was lost, torn or given twice."""
    result: dict = {"what": "endurance", "machine": machine()}
    with tempfile.TemporaryDirectory(prefix="forgetme-endurance-", dir=options.folder) as name:
        folder = Path(name)
        if options.rounds:
            (folder / "kills").mkdir()
            result["kills"] = kill_rounds(
                folder / "kills", options.rounds, stop=STOPS[options.stop]
            )
        for database in options.databases if options.decisions else ():
            (folder / database).mkdir()
            result[database] = on_database(database, folder / database, options)
    parts = [result[name] for name in ("kills", *DATABASES) if name in result]
    faults = ("lost", "unasked", "torn", "twice", "doubled", "unopened", "failed", "problems")
    result["ok"] = not any(part.get(fault) for part in parts for fault in faults)
    return result


def on_database(database: str, folder: Path, options: argparse.Namespace) -> dict:
    """Runs the curators on one kind of database."""
    if database == "sqlite":
        place = {"location": folder / "store"}
        return many_curators(place, folder, options.curators, options.decisions)
    cluster = Cluster()
    try:
        place = {"location": cluster.url, "blobs": folder / "store" / "blobs"}
        return many_curators(place, folder, options.curators, options.decisions)
    finally:
        cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="0: kill nobody")
    parser.add_argument("--stop", choices=STOPS, default="kill", help="how writers are stopped")
    parser.add_argument("--curators", type=int, default=16)
    parser.add_argument("--decisions", type=int, default=1000, help="of each curator; 0: none")
    parser.add_argument("--databases", nargs="*", choices=DATABASES, default=DATABASES)
    parser.add_argument("--folder", type=Path, help="of the stores: the disk that is measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print("\n".join(words(result)))
    return 0 if result["ok"] else 1


def words(result: dict) -> list[str]:
    """Says the result in lines."""
    lines = []
    if kills := result.get("kills"):
        lines.append(
            "{rounds} rounds, {kills} kills, {in_the_middle} of them in the middle of an act; "
            "{acknowledged} acts acknowledged, {lost} lost, {torn} images torn, {doubled} of "
            "{leases} leases given twice".format(**kills)
        )
    for database in DATABASES:
        found = result.get(database)
        lines += [] if found is None else [SAYS.format(database, **found)]
    problems = [one for part in result.values() if isinstance(part, dict)
                for one in part.get("problems", [])]  # fmt: skip
    return [*lines, *problems[:20], "ok" if result["ok"] else "NOT OK"]


if __name__ == "__main__":
    sys.exit(main())
