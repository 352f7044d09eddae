"""Curates one sample through the real page, ends the server with kill -9, and reads the export.

The page is `forgetme serve` of the installed package, on a fresh store with the sample images and
the bundled models, driven as a curator does: wait for a mask, refine with a prompt, look at the
scores, press A.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FORGETME = (sys.executable, "-m", "forgetme")  # what is installed; the checkout is on no path
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 180  # for a cold start on a busy machine
WORK_SECONDS = 180  # for the models' first answer
PROMPT = "an empty meadow"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="forgetme-ci-") as folder:
        store, out = Path(folder, "store"), Path(folder, "dataset")
        port = free_port()
        with running(store, port, Path(folder, "page.log")) as server, browser_page() as page:
            name = curate_one(page, f"http://127.0.0.1:{port}")
            server.send_signal(signal.SIGKILL)  # what the page called saved must survive this
            server.wait()
        check_export(store, out, name)


@contextmanager
def running(store: Path, port: int, log: Path) -> Iterator[subprocess.Popen]:
    """Runs the page until it answers; shows its log where the block fails."""
    command = [*FORGETME, "serve", "--store", str(store), "--port", str(port)]
    started = time.monotonic()
    with log.open("wb") as sink:
        server = subprocess.Popen(command, cwd=store.parent, stdout=sink, stderr=subprocess.STDOUT)
    try:
        while not answers(port):
            if server.poll() is not None:
                raise SystemExit(f"the page ended with code {server.returncode}")
            if time.monotonic() - started > START_SECONDS:
                raise SystemExit(f"the page did not answer within {START_SECONDS} s")
            time.sleep(0.1)
        print(f"the page answers after {time.monotonic() - started:.1f} s")
        yield server
    except BaseException:
        print(log.read_text(errors="replace"), file=sys.stderr)
        raise
    finally:
        server.kill()
        server.wait()


@contextmanager
def browser_page() -> Iterator[Page]:
    """Opens the system's Chromium; any error in the page's scripts fails the run."""
    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if binary is None:
        raise SystemExit("no Chromium on the PATH; apt-get install chromium")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=flags)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
    if errors:
        raise SystemExit("errors in the page's scripts:\n" + "\n".join(errors))


def curate_one(page: Page, address: str) -> str:
    """Accepts the first prepared sample with a refined background; returns its name."""
    page.goto(address, timeout=WORK_SECONDS * 1000)
    expect(by_test(page, "preset")).to_contain_text("tiny", timeout=30_000)
    row = page.locator('[data-test^="row-"][data-state="prepared"]').first
    row.wait_for(timeout=WORK_SECONDS * 1000)
    test_id = row.get_attribute("data-test")
    row.click()
    accept = by_test(page, "accept")
    expect(accept).to_be_enabled(timeout=WORK_SECONDS * 1000)
    print(f"{test_id[4:]}: {by_test(page, 'score-d').inner_text()!r} before refining")

    by_test(page, "prompt").fill(PROMPT)
    by_test(page, "refine").click()
    by_test(page, "try-2").wait_for(timeout=WORK_SECONDS * 1000)
    by_test(page, "try-2").click()  # picked by itself only where it is the better one
    expect(by_test(page, "which")).to_have_text("try 2 of 2")
    print(f"{test_id[4:]}: {by_test(page, 'score-d').inner_text()!r} after refining")

    page.keyboard.press("a")
    expect(by_test(page, "saved")).to_have_attribute("data-kind", "saved")
    accepted = page.locator(f'[data-test="{test_id}"][data-state="accepted"]')
    last = page.locator('[data-test="last"] button[data-state="accepted"]')
    expect(accepted.or_(last).first).to_be_visible()
    expect(last).to_have_count(1)
    return test_id.removeprefix("row-")


def check_export(store: Path, out: Path, name: str) -> None:
    """Exports the store in a new process and checks the one quadruple in it, pixel by pixel."""
    command = [*FORGETME, "export", "--store", str(store), str(out)]
    subprocess.run(command, cwd=store.parent, check=True)
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 1, f"one sample was accepted, {len(rows)} exported"
    files = {layer: list((out / layer).iterdir()) for layer in LAYERS}
    assert all(len(found) == 1 for found in files.values()), files
    stem = files["original"][0].stem
    assert {found[0].name for found in files.values()} == {f"{stem}.png"}, files
    assert stem in name or Path(name).stem in stem, f"{name} was accepted, {stem} exported"

    original, foreground, background, mask = (pixels(files[layer][0]) for layer in LAYERS)
    source = next(path for path in (ROOT / "assets/samples").rglob(f"{Path(name).stem}.*"))
    np.testing.assert_array_equal(original, pixels(source), "the original is not the source")
    assert set(np.unique(mask)) == {0, 255}, "the mask is not 0 or 255"
    np.testing.assert_array_equal(foreground[..., 3], mask, "the alpha is not the mask")
    np.testing.assert_array_equal(foreground[..., :3][mask == 255], original[mask == 255])
    changed = (background != original).any(axis=2)
    inside = changed[mask == 255].mean()
    outside = changed[mask == 0].mean()
    assert inside > 0.5, f"only {inside:.0%} of the object's pixels were filled"
    assert outside < 0.25, f"{outside:.0%} of the pixels outside the object were changed"
    print(f"{stem}: {inside:.0%} of the mask filled, {outside:.1%} of the rest, by its dilation")


LAYERS = ("original", "foreground", "background", "mask")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def by_test(page: Page, name: str):
    return page.locator(f'[data-test="{name}"]')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


if __name__ == "__main__":
    main()
