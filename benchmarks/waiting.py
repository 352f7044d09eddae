"""Times what a curator waits for between two images: from the key to the next one painted.

Run: `python -m benchmarks.waiting [--samples 10000] [--decisions 100] [--store DIR] [--json]`.

Drives the real page (`app.py` with its preparing process) in headless Chromium. The store holds
10,000 samples, of which those that are visited have pictures of 1024x768 with the grain of a photo
and the rest only their records. The time is the browser's own: from the key event to the moment at
which the picture was rendered (Element Timing). The baseline is the same page without preloading,
for fewer decisions. Takes about two minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.queue import many_samples
from forgetme.record.masks import box_xywh, dilate, rle_encode
from forgetme.scenes import CONCEPTS, render_scene
from forgetme.store import SampleRow, Store

ROOT = Path(__file__).parents[1]
GOAL_MEDIAN, GOAL_P95 = 0.100, 0.200  # seconds
SIZE = (1024, 768)  # px, of the pictures that are visited
DILATE_PX = 20
PROPOSALS = 12
GRAIN = 4.0  # grey values; makes a PNG as large as that of a photo
SPARE = 15  # visited samples beyond the decisions: the list shows them
SCENES = 6  # drawn anew; each picture is one of them, shifted, with grain of its own
BASELINE_DECISIONS = 12
LOOK_SECONDS = 0.4  # at each image; faster than any curator
SEED = 9_500_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

SCORE = {
    "score": 0.7, "variant": "paper", "warnings": [], "similarity": 0.8, "consistency": 0.7,
    "s_inner": 0.7, "s_outer": 1.0, "mean_consistency": 0.7, "var_consistency": 0.7,
}  # fmt: skip

# Notes when a key went down, and when each picture of the stage was rendered.
WATCH = """
window.waits = { pressed: 0, painted: [] };
addEventListener("keydown", (event) => (window.waits.pressed = event.timeStamp), true);
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) for (const node of addedNodes) {
    if (node.dataset?.test === "picture") node.setAttribute("elementtiming", "picture");
  }
}).observe(document, { childList: true, subtree: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntriesByType("element")) {
    window.waits.painted.push({ at: entry.renderTime, url: entry.url });
  }
}).observe({ type: "element", buffered: true });
"""
AHEAD = "const AHEAD = 5;"  # in shelf.js


def build_store(folder: Path, samples: int, visited: int) -> None:
    """Fills a store with prepared samples, those that are visited first."""
    concept = CONCEPTS[0]
    with Store(folder) as store:
        for seed in range(visited):
            image, mask, background = picture(seed, concept)
            row = store.import_image(
                image, name=f"photo_{seed:05d}", concept=concept, by="benchmark", source=f"{seed}"
            )
            prepare(store, row, image, mask, background)
        many_samples(store, samples - visited, masks=3)


def picture(seed: int, concept: str) -> tuple[np.ndarray, ...]:
    """Returns image, mask and background of a drawn scene with grain."""
    scene, background, mask = (np.roll(one, seed, 1) for one in drawn(seed % SCENES, concept))
    grain = np.random.default_rng(seed).normal(0, GRAIN, (SIZE[1], SIZE[0], 1)).astype(np.float32)
    image, behind = (np.clip(one + grain, 0, 255).astype(np.uint8) for one in (scene, background))
    return image, mask, np.where(dilate(mask, DILATE_PX)[..., None], behind, image)


@functools.cache
def drawn(seed: int, concept: str) -> tuple[np.ndarray, ...]:
    """Returns a scene, what is behind its object, and its mask, in the size of a photo."""
    scene = render_scene(SEED + seed, concept=concept, size=256)
    large, behind = (
        np.asarray(Image.fromarray(one).resize(SIZE, Image.Resampling.BICUBIC), np.float32)
        for one in (scene.image, scene.background)
    )
    mask = Image.fromarray(scene.mask).resize(SIZE, Image.Resampling.NEAREST)
    return large, behind, np.asarray(mask)


def prepare(
    store: Store, row: SampleRow, image: np.ndarray, mask: np.ndarray, background: np.ndarray
) -> None:
    """Appends what the pipeline would: masks with scores, and a fill."""
    shift = max(1, image.shape[1] // 40)
    moved = [np.roll(mask, (k // 4 * shift, k % 4 * shift), (0, 1)) for k in range(PROPOSALS)]
    verdict = {"yes": True, "confidence": 0.9, "reason": "a whole cat", "made_by": "benchmark"}
    proposals = [
        {
            "rle": rle_encode(one),
            "box_xywh": [int(side) for side in box_xywh(one)],
            "predicted_iou": 0.9,
            "stability_score": 0.95,
            "score": 0.9 - 0.05 * k,
            "verdict": verdict if k == 0 else None,
            "made_by": "benchmark",
        }
        for k, one in enumerate(moved)
    ]
    payload = {"proposals": proposals, "chosen": 0, "preset": "tiny", "note": ""}
    row = store.append(row.id, "proposed", payload, by="benchmark", expected_version=row.version)
    store.append(
        row.id, "filled", filled(store, mask, background), by="benchmark",
        expected_version=row.version,
    )  # fmt: skip


def filled(store: Store, mask: np.ndarray, background: np.ndarray) -> dict:
    """Returns a fill's payload, as `pipeline.record_try` writes it."""
    hole = dilate(mask, DILATE_PX)
    return {
        "image_sha": store.put_image(background),
        "mask_sha": store.put_image(hole),
        "settings": {"dilate_px": DILATE_PX, "prompt": "", "seed": 0, "steps": 20},
        "made_by": "benchmark",
        "scores": {
            "d": SCORE,
            "s": SCORE,
            "low": False,
            "words": ["what was there changed inside the mask"],
            "thresholds": {"low_d": 0.35, "low_s": 0.6},
        },
    }


@contextlib.contextmanager
def page_of(base: Path) -> Iterator[str]:
    """Serves a copy of a store by the real program; yields its address."""
    with tempfile.TemporaryDirectory(prefix="forgetme-waiting-") as folder:
        store = Path(folder) / "store"
        shutil.copytree(base, store)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        program = subprocess.Popen(
            [sys.executable, ROOT / "app.py", "--store", store, "--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            line = program.stdout.readline()
            if not line.startswith("ForgetMe: "):
                raise SystemExit(f"the page did not start: {line}")
            yield line.split(" ", maxsplit=1)[1].strip()
        finally:
            program.send_signal(signal.SIGINT)
            program.wait(60)
            settle(store)


def settle(store: Path) -> None:
    """Waits until the preparing process has ended, so that the next run is alone."""
    from forgetme import jobs

    with Store(store) as opened:
        deadline = time.monotonic() + 60
        while any(job.state not in jobs.ENDED for job in jobs.list(opened)):
            if time.monotonic() > deadline:
                raise SystemExit("the preparing process does not end")
            time.sleep(0.2)


def waits(address: str, decisions: int, *, preload: bool) -> list[float]:
    """Accepts one image after the other; returns the seconds from each key to the next picture."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.add_init_script(WATCH)
        if not preload:
            page.route("**/static/shelf.js*", without_preload)
        page.goto(address)
        page.locator("[data-test=accept]:enabled").wait_for()
        page.wait_for_function("waits.painted.length > 0")
        for _ in range(decisions):
            page.locator("[data-test=accept]:enabled").wait_for()
            page.wait_for_timeout(1000 * LOOK_SECONDS)
            page.evaluate("waits.painted = []")
            page.keyboard.press("a")
            page.wait_for_function("waits.painted.some((one) => one.at > waits.pressed)")
            found.append(
                page.evaluate(
                    "waits.painted.find((one) => one.at > waits.pressed).at - waits.pressed"
                )
            )
        browser.close()
    return [milliseconds / 1000 for milliseconds in found]


def without_preload(route) -> None:  # noqa: ANN001 (playwright is imported late)
    """Serves shelf.js with nothing fetched ahead."""
    text = (ROOT / "forgetme/ui/static/shelf.js").read_text(encoding="utf-8")
    if AHEAD not in text:
        raise SystemExit(f"shelf.js has no line {AHEAD!r}; adapt the benchmark")
    route.fulfill(body=text.replace(AHEAD, "const AHEAD = 0;"), content_type="text/javascript")


def chromium() -> str:
    """Finds the system's browser."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("no Chromium on the PATH; apt-get install chromium")
    return found


def p95(values: list[float]) -> float:
    """The smallest value that 95 % do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def measure(base: Path, samples: int, decisions: int) -> dict:
    """Runs the page with and without preloading."""
    ours, theirs = [], []
    runs = ((True, ours, decisions), (False, theirs, min(decisions, BASELINE_DECISIONS)))
    for preload, found, count in runs:
        with page_of(base) as address:
            found += waits(address, count, preload=preload)
    median, baseline = statistics.median(ours), statistics.median(theirs)
    return {
        "what": f"a key to the next image painted, {samples:,} samples",
        "seconds": median,
        "p95_seconds": p95(ours),
        "goal_seconds": GOAL_MEDIAN,
        "goal_p95_seconds": GOAL_P95,
        "baseline": "the same page without preloading",
        "baseline_seconds": baseline,
        "baseline_p95_seconds": p95(theirs),
        "times_faster": baseline / median,
        "decisions": decisions,
        "ok": median <= GOAL_MEDIAN and p95(ours) <= GOAL_P95,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=100)
    parser.add_argument("--store", type=Path, help="keep the filled store here, for the next time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        base = options.store or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="forgetme-waiting-"))
        )
        if not (base / "store.db").exists():
            build_store(base, options.samples, options.decisions + SPARE)
        result = measure(base, options.samples, options.decisions)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{'ok  ' if result['ok'] else 'SLOW'} {result['what']}: median "
            f"{1000 * result['seconds']:.0f} ms (goal {1000 * GOAL_MEDIAN:.0f}), p95 "
            f"{1000 * result['p95_seconds']:.0f} ms (goal {1000 * GOAL_P95:.0f}); "
            f"{result['times_faster']:.1f} x the speed of {result['baseline']} "
            f"({1000 * result['baseline_seconds']:.0f} ms); {result['machine']}"
        )
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
