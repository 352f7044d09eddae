"""Times the mask canvas on a photo of 12 megapixels with 60 proposals, in headless Chromium.

Run: `python -m benchmarks.canvas [--seconds 3] [--json]`.

The real page is driven: the pointer goes over the proposals, the brush draws, the wheel zooms and
the middle button moves the picture. Each line is the time from one frame to the next while that
went on, and how long scripts kept the page from drawing at a stretch.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from forgetme.curate.review import Review
from forgetme.curate.worker import Worker
from forgetme.record import masks
from forgetme.scenes import render_scene
from forgetme.store import SampleRow, Store

SIZE = (4000, 3000)  # px
PROPOSALS = 60
GRAIN = 4.0  # grey values; makes a PNG as large as that of a photo
SEED = 9_700_000
GOAL_P95 = 0.050  # seconds from frame to frame while the hand moves
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# Collects frame times and long tasks between two calls.
WATCH = """
window.watch = () => {
  const frames = [], tasks = [];
  const seen = new PerformanceObserver((list) => {
    for (const one of list.getEntries()) tasks.push(one.duration);
  });
  seen.observe({ entryTypes: ["longtask"] });
  let last = performance.now(), going = true;
  const frame = (now) => {
    frames.push(now - last);
    last = now;
    if (going) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  return () => {
    going = false;
    seen.disconnect();
    return { frames: frames.slice(2), tasks };
  };
};
"""


@dataclass(frozen=True)
class Line:
    """What one kind of movement cost."""

    what: str
    frames: int
    median: float  # seconds from frame to frame
    p95: float
    longest_task: float  # seconds that scripts ran at a stretch; 0 where none took 50 ms


def main() -> None:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each movement")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.seconds)
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{SIZE[0]}x{SIZE[1]} px, {PROPOSALS} proposals; {found['machine']}")
    for line in found["lines"]:
        print(
            f"{line['what']:<28} frame to frame: median {line['median'] * 1e3:5.0f} ms, "
            f"p95 {line['p95'] * 1e3:5.0f} ms; longest task {line['longest_task'] * 1e3:4.0f} ms"
        )
    print(f"a stroke is answered after {found['answer_seconds'] * 1e3:.0f} ms (median)")


def measure(seconds: float) -> dict[str, Any]:
    """Sets the store and the page up, and drives both pages."""
    with (
        tempfile.TemporaryDirectory(prefix="forgetme-canvas-") as folder,
        Store(Path(folder) / "store") as store,
        serving(store) as url,
        browser_page() as page,
    ):
        return drive(page, url, fill(store), seconds)


def fill(store: Store) -> SampleRow:
    """One large photo and its proposals; the outlines have the teeth of a real mask."""
    width, height = SIZE
    scene = render_scene(SEED, size=512)
    photo = cv2.resize(scene.image, SIZE, interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(SEED)
    grain = rng.normal(0, GRAIN, (height, width, 1))
    photo = np.clip(photo + grain, 0, 255).astype(np.uint8)
    row = store.import_image(photo, name="photo", concept="cat", by="benchmark")
    found = [blob(rng, (height, width)) for _ in range(PROPOSALS)]
    proposals = [
        {
            "rle": masks.rle_encode(mask),
            "box_xywh": list(masks.box_xywh(mask)),
            "score": 1 - k / PROPOSALS,
            "predicted_iou": 0.9,
            "stability_score": 0.95,
            "made_by": "drawn",
            "verdict": None,
        }
        for k, mask in enumerate(found)
    ]
    payload = {"proposals": proposals, "chosen": 0, "preset": "tiny", "ranked_by": "drawn"}
    return store.append(row.id, "proposed", payload, by="benchmark", expected_version=row.version)


def blob(rng: np.random.Generator, shape_hw: tuple[int, int]) -> np.ndarray:
    """A rough shape of a tenth to a third of the image's width."""
    height, width = shape_hw
    turns = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    waves = np.zeros_like(turns)
    for k in range(1, 40):
        waves += rng.normal(0, 0.25 / k) * np.cos(k * turns + rng.uniform(0, 6))
    radius = rng.uniform(0.05, 0.16) * width * np.clip(1 + 0.3 * waves, 0.3, 1.8)
    x, y = rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.85) * height
    corners = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], 1)
    drawn = cv2.fillPoly(np.zeros(shape_hw, np.uint8), [corners.astype(np.int32)], 1)
    return drawn > 0


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """The page on a port of its own; nothing is computed behind the curator's back."""
    import uvicorn

    from forgetme.ui.page import build

    models = SimpleNamespace(preset="tiny")
    review = Review(store, models, by="ann")
    config = uvicorn.Config(build(review, Worker(review)), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def browser_page() -> Iterator[Any]:
    """A page of the system's Chromium."""
    from playwright.sync_api import sync_playwright

    path = next(found for name in BROWSERS if (found := shutil.which(name)))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.add_init_script(WATCH)
        yield page
        browser.close()


def drive(page: Any, url: str, row: SampleRow, seconds: float) -> dict[str, Any]:
    """Moves the hand over both pages."""
    page.goto(f"{url}?sample={row.id}")
    page.wait_for_function("document.querySelector('.fm')?.curate?.stage?.ready")
    page.wait_for_function("document.querySelector('.fm').curate.stage.usable")
    page.route("**/fill", lambda route: route.abort())
    box = page.locator("[data-test='stage']").bounding_box()
    follow = lambda at: page.mouse.move(*spot(box, at))  # noqa: E731
    lines = [watched(page, "hover over proposals", seconds, follow)]
    page.locator("[data-test='tool-brush']").click()
    page.mouse.move(*spot(box, 0))
    page.mouse.down()
    lines.append(watched(page, "brush", seconds, follow))
    page.mouse.up()
    settled = "document.querySelector('.fm').curate.acts.inFlight === 0"
    page.wait_for_function(settled)
    answers = []
    for k in range(5):
        with page.expect_event("requestfinished", lambda one: one.url.endswith("/paint")) as sent:
            page.mouse.click(*spot(box, k / 7))
        answers.append(sent.value.timing["responseEnd"])
    page.wait_for_function(settled)
    page.locator("[data-test='tool-pick']").click()
    page.mouse.move(*spot(box, 0))
    zoom = lambda at: page.mouse.wheel(0, -60 if at < 0.5 else 60)  # noqa: E731
    lines.append(watched(page, "zoom", seconds, zoom))
    page.mouse.wheel(0, -900)
    page.mouse.down(button="middle")
    lines.append(watched(page, "pan", seconds, follow))
    page.mouse.up(button="middle")
    return {
        "machine": f"{platform.processor() or platform.machine()}, headless Chromium",
        "lines": [asdict(line) for line in lines],
        "answer_seconds": statistics.median(answers) / 1000,
        "ok": max(line.p95 for line in lines[:2]) <= GOAL_P95,
    }


def spot(box: dict[str, float], at: float) -> tuple[float, float]:
    """A place on a way that crosses the whole box, by `at` in [0, 1]."""
    turn = 2 * np.pi * at
    return (
        box["x"] + box["width"] * (0.5 + 0.33 * np.sin(3 * turn)),
        box["y"] + box["height"] * (0.5 + 0.4 * np.sin(5 * turn + 1)),
    )


def watched(page: Any, what: str, seconds: float, move: Callable[[float], None]) -> Line:
    """Repeats a movement for a while and reads what the browser noted."""
    page.evaluate("window.stop = window.watch(); 0")
    begun = time.monotonic()
    while (past := time.monotonic() - begun) < seconds:
        move(past / seconds)
    found = page.evaluate("window.stop()")
    frames = sorted(found["frames"])
    return Line(
        what,
        len(frames),
        statistics.median(frames) / 1000,
        frames[int(0.95 * (len(frames) - 1))] / 1000,
        max(found["tasks"], default=0) / 1000,
    )


if __name__ == "__main__":
    main()
