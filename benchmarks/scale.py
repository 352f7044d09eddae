"""What work costs as it grows: the store's parts by its size, and the models' by their workers.

Run: `python -m benchmarks.scale [--rows 1000 10000 100000] [--new 100] [--photos 0]
[--workers 1 2] [--postgres]`.

For each number of rows a store is filled, then `--new` photos are taken in as Ray's results are
(picture, masks, fill, decision), and its questions are timed: the first page of the queue, the
numbers of Table 1, what a resuming batch must know of one concept, and an export of the new ones.
With `--photos` so many drawn scenes go through the bundled models on Ray, for each number of
workers; starting Ray and the models is timed by a run of one photo a worker, and taken off.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.postgres import Cluster
from benchmarks.queue import many_samples
from forgetme.curate import batch, pipeline
from forgetme.curate.photos import Photo
from forgetme.dataset import export
from forgetme.record.images import array_sha, png_bytes
from forgetme.record.masks import box_xywh
from forgetme.record.sample import Proposal, Verdict
from forgetme.record.settings import Settings
from forgetme.store import Store
from forgetme.store.filters import Filter
from forgetme.tiny.card import machine

SIZE = 256  # pixels of a side of the new photos
MASKS = 4  # proposals of each row that is there before
REVIEW = Filter(state=("new", "prepared", "waiting", "broken"))


class KnownModels:
    """Stages with the answers at hand: what is timed is the store's part."""

    preset = "tiny"
    names = dict.fromkeys(("segmenter", "ranker", "verifier", "inpainter"), "known")

    def __init__(self) -> None:
        self.mask = np.zeros((SIZE, SIZE), bool)
        self.mask[60:180, 70:200] = True
        found = Proposal(self.mask, box_xywh(self.mask), 0.9, 0.9, "known")
        self.segmenter = lambda image: [found]
        self.ranker = lambda image, proposals, concept: np.full(len(proposals), 0.9)
        self.verifier = lambda *_: Verdict(True, 0.9, "yes", "known")
        self.inpainter = lambda image, hole, *, pad: np.where(hole[..., None], image[:1, :1], image)


def new_photos(count: int, seed: int) -> dict[Photo, batch.Imported]:
    """Makes photos with their results, as workers of Ray hand them over."""
    rng, models = np.random.default_rng(seed), KnownModels()
    found = {}
    for number in range(count):
        small = rng.integers(0, 256, (SIZE // 8, SIZE // 8, 3), dtype=np.uint8)
        image = small.repeat(8, 0).repeat(8, 1)
        worked = pipeline.work(image, "new", models)
        photo = Photo(Path(f"/new/{seed}-{number}.png"))
        png = png_bytes(image)
        found[photo] = batch.Imported("", array_sha(image), (SIZE, SIZE), png, (), worked)
    return found


def of_store(location: str | Path, blobs: Path, rows: int, new: int) -> dict[str, float]:
    """Fills a store and times its parts."""
    with Store(location, blobs=blobs) as store:
        many_samples(store, rows, masks=MASKS)
        ready = new_photos(new, rows)
        begun = time.perf_counter()
        report = batch.curate(ready, "new", KnownModels(), store, made=ready.get)
        ingest = time.perf_counter() - begun
        assert report.selected == new, report
        for row in store.samples(concept="new", limit=None, light=True):
            store.append(row.id, "accepted", {"how": "human"}, by="a", expected_version=row.version)
        with tempfile.TemporaryDirectory() as out:
            exported = _seconds(lambda: export(store, Path(out) / "e", "parquet", concept="new"), 1)
        known = partial(batch.finished_sources, store, "cat", False, Settings())
        return {
            "rows": rows,
            "ingest_rows_per_s": new / ingest,
            "queue_page_ms": 1000 * _seconds(lambda: store.queue.page(REVIEW), 5),
            "stats_ms": 1000 * _seconds(store.table1, 3),
            "resume_ms": 1000 * _seconds(known, 1),
            "export_rows_per_s": new / exported,
        }


def _seconds(act: Callable[[], Any], times: int) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def of_workers(photos: int, workers: int) -> dict[str, float]:
    """Times drawn scenes on Ray, without the start, and the memory of a process with the models."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = [_on_ray(Path(folder), count, workers) for count in (workers, photos)]
    made = photos - workers
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # of the largest
    return {
        "workers": workers,
        "photos_per_min": 60 * made / max(seconds[1] - seconds[0], 1e-9),
        "start_s": seconds[0],
        "largest_process_gib": peak,
    }


def _on_ray(folder: Path, count: int, workers: int) -> float:
    shutil.rmtree(folder / "in", ignore_errors=True)
    command = [sys.executable, "-m", "forgetme"]
    scenes = [*command, "scenes", folder / "in", "--count", str(count), "--concept", "cat"]
    subprocess.run(scenes, check=True, stdout=subprocess.DEVNULL)
    begun = time.perf_counter()
    subprocess.run(
        [*command, "curate", folder / "in", "--concept", "cat", "--store", folder / f"s{count}",
         "--engine", "ray", "--workers", str(workers)],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--photos", type=int, default=0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "sqlite": []}
    with ExitStack() as kept:
        folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
        for rows in options.rows:
            place = folder / str(rows)
            result["sqlite"].append(of_store(place, place / "blobs", rows, options.new))
        if options.postgres:
            cluster = Cluster()
            kept.callback(cluster.stop)
            result["postgres"] = []
            for rows in options.rows:
                cluster.empty()
                blobs = folder / f"p{rows}" / "blobs"
                result["postgres"].append(of_store(cluster.url, blobs, rows, options.new))
    if options.photos:
        result["workers"] = [of_workers(options.photos, count) for count in options.workers]
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
