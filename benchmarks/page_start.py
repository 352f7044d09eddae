"""Times `python app.py` from a cold start to the first page against an empty Gradio page.

Run: `python -m benchmarks.page_start [--repeats 3] [--json]`.

The baseline is a Gradio page with one line of text, started in the same way: what nobody who uses
Gradio can go below.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

GOAL_SECONDS = 12.0
PATIENCE = 120.0  # seconds
ROOT = Path(__file__).resolve().parents[1]
EMPTY = """
import sys, gradio as gr
with gr.Blocks() as page:
    gr.Markdown("Hello")
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""


def seconds(command: list[str], port: int, folder: Path) -> float:
    """Time until the page answers with its first byte."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while time.perf_counter() - start < PATIENCE:
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with code {process.returncode}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE).read()
                return time.perf_counter() - start
            except urllib.error.URLError:
                time.sleep(0.02)
        raise SystemExit(f"{command} did not answer within {PATIENCE:.0f} s")
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(repeats: int) -> dict[str, object]:
    """Starts both in turn, each time with a store that is not there yet."""
    rounds = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = free_port(), free_port()
            app = [sys.executable, str(ROOT / "app.py"), "--port", str(ours)]
            empty = [sys.executable, "-c", EMPTY, str(theirs)]
            rounds.append((seconds(app, ours, Path(folder)), seconds(empty, theirs, Path(folder))))
    ours, baseline = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "what": "python app.py, from a cold start to the page",
        "seconds": ours,
        "baseline": "a Gradio page with one line of text",
        "baseline_seconds": baseline,
        "times_faster": baseline / ours,
        "goal_seconds": GOAL_SECONDS,
        "ok": ours < GOAL_SECONDS,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.repeats)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{result['what']}: {result['seconds']:.1f} s (goal < {GOAL_SECONDS:.0f} s); "
            f"{result['baseline']}: {result['baseline_seconds']:.1f} s"
        )
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
