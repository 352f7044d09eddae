"""Times the queue of a store of 10,000 samples: every order and filter, first page and a later one.

Run: `python -m benchmarks.queue [--samples 10000] [--json]`.

The baseline is reading whole samples, as `Store.samples` gives them, and sorting them in Python.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from sqlalchemy import insert

from forgetme.store import Store
from forgetme.store.audit import derive
from forgetme.store.filters import ORDERS, Filter
from forgetme.store.schema import event

GOAL_SECONDS = 0.020
CONCEPTS = ("cat", "dog", "bird", "boat", "horse")
CURATORS = ("ann", "ben", "cem")
MASKS = 12
FILTERS = {
    "to review": Filter(state=("new", "prepared", "waiting", "broken")),
    "everything": Filter(),
    "one concept": Filter(concept="cat", state=("prepared", "waiting")),
    "low": Filter(low=True),
    "verdict no": Filter(verdict="no", state=("prepared", "waiting")),
    "a curator's": Filter(curator="ann", state=("accepted",)),
    "small margin": Filter(margin=(None, 0.05)),
    "rare": Filter(concept="boat", low=True, verdict="no", d=(0.2, 0.25)),
    "held": Filter(held="held"),
    "part of a name": Filter(text="_99"),
    "fair to ann": Filter(state=("prepared",), fair_to="ann"),
}


def many_samples(store: Store, count: int, *, masks: int = MASKS, seed: int = 7) -> None:
    """Puts samples with proposals, fills, decisions, twins and leases into a store, quickly.

    Their events are written as lines and their rows derived from them; no image is on disk.
    """
    rngs = (random.Random(seed + number) for number in range(count))
    lines = [line for rng in rngs for line in _events(rng, masks)]
    database = store._database
    at = datetime.now(timezone.utc).isoformat(timespec="microseconds")  # after what is there
    with database.write() as connection:
        for start in range(0, len(lines), 500):
            part = [line | {"at": at} for line in lines[start : start + 500]]
            connection.execute(insert(event), part)
        derive(connection)
    ours = {line["sample_id"] for line in lines}
    ready = store.queue.page(Filter(state=("prepared",)), limit=200).lines
    for line in [one for one in ready if one.id in ours][:40]:
        store.holds.take([line.id], "dee")


def _events(rng: random.Random, masks: int) -> list[dict]:
    sample_id = f"{rng.getrandbits(64):016x}"
    sha = f"{rng.getrandbits(256):064x}"
    image = {"image_sha": sha, "width": 640, "height": 480}
    about = {"source": f"/photos/summer/2026/{sha[:20]}.jpg", "caption": "a beach at noon"}
    twin = {"twin_of": f"{rng.getrandbits(64):016x}", "twin_number": 2}
    steps: list[tuple[str, str, dict]] = [
        ("imported", "import", image | about | {
            "name": f"beach_{rng.getrandbits(40):010x}", "concept": rng.choice(CONCEPTS),
            **(twin if rng.random() < 0.1 else {}),
        }),
    ]  # fmt: skip
    if rng.random() < 0.9:
        chosen = 0 if rng.random() < 0.8 else None
        found = {"proposals": [_proposal(rng) for _ in range(masks)], "chosen": chosen}
        steps.append(("proposed", "machine", found | {"mask_sha": sha, "novelty": rng.random()}))
        if chosen == 0:
            steps.append(("filled", "machine", _fill(rng, sha)))
            if rng.random() < 0.4:
                kind = rng.choice(("accepted", "accepted", "rejected", "skipped", "flagged"))
                steps.append((kind, rng.choice(CURATORS), {"how": "human"}))
    return [
        {"sample_id": sample_id, "version": at, "kind": kind, "actor": by, "payload": payload}
        for at, (kind, by, payload) in enumerate(steps, start=1)
    ]


def _proposal(rng: random.Random) -> dict:
    yes, score = rng.random() < 0.5, rng.random()
    return {
        "rle": {"size": [480, 640], "counts": list(rng.randbytes(240))},
        "box_xywh": [rng.randrange(300), rng.randrange(200), 120, 90],
        "predicted_iou": rng.uniform(0.7, 1.0),
        "stability_score": 0.95,
        "score": score,
        "verdict": {"yes": yes, "confidence": rng.random(), "reason": "", "made_by": "clip"},
        "made_by": "sam",
    }


def _fill(rng: random.Random, sha: str) -> dict:
    d, s = rng.random(), rng.random()
    part = {"variant": "paper", "warnings": [], "s_inner": 0.1, "s_outer": 0.0, "mu_inner": 0.4}
    return {
        "image_sha": sha, "mask_sha": sha, "made_by": "lama", "settings": {"dilate_px": 4},
        "scores": {"d": part | {"score": d}, "s": part | {"score": s}, "low": d < 0.35 or s < 0.6},
    }  # fmt: skip


def times(store: Store, repeats: int) -> dict[str, float]:
    """Returns the median seconds of a first page and its count, by what is asked for."""
    asked: dict[str, Callable[[], object]] = {}
    for name, where in FILTERS.items():
        asked[name] = lambda where=where: (store.queue.page(where), store.queue.count(where))
    for order in ORDERS:
        for sign in ("", "-"):
            asked[f"by {sign}{order}"] = lambda order=sign + order: store.queue.page(order=order)
    half = store.queue.page(order="-disagreement", limit=500)
    asked["a later page"] = lambda: store.queue.page(order="-disagreement", start=half.end)
    asked["counts"] = lambda: (store.counts(), store.concepts(), store.queue.deciders())
    return {name: _median(act, repeats) for name, act in asked.items()}


def _median(act: Callable[[], object], repeats: int) -> float:
    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        act()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def measure(samples: int, repeats: int) -> dict[str, object]:
    """Fills a store and times its queue; the slowest question is the result."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as store:
        many_samples(store, samples)
        found = times(store, repeats)
        baseline = _median(
            lambda: sorted(store.samples(limit=None), key=lambda row: row.clip_margin or 9), 1
        )
    slowest = max(found, key=lambda name: found[name])
    return {
        "what": f"the queue of {samples:,} samples, slowest of {len(found)} questions ({slowest})",
        "seconds": found[slowest],
        "goal_seconds": GOAL_SECONDS,
        "baseline": "whole samples read and sorted in Python",
        "baseline_seconds": baseline,
        "times_faster": baseline / found[slowest],
        "goal_times_faster": None,
        "ok": found[slowest] <= GOAL_SECONDS,
        "milliseconds": {name: round(1000 * value, 2) for name, value in found.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.samples, options.repeats)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result["milliseconds"].items():
            print(f"{value:8.2f} ms  {name}")
        print(f"{result['what']}: {1000 * result['seconds']:.1f} ms (goal 20 ms), "
              f"{result['times_faster']:.0f} times faster than {result['baseline']}")  # fmt: skip
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
