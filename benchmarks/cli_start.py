"""Times `python -m forgetme --help` against the same with torch imported first.

Run: `python -m benchmarks.cli_start [--repeats 9] [--json]`.

The baseline is what every command would cost if the heavy libraries were imported at the top.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time

GOAL_SECONDS = 0.5
HELP = [sys.executable, "-m", "forgetme", "--help"]
EAGER = [
    sys.executable,
    "-c",
    "import torch, runpy, sys; sys.argv = ['forgetme', '--help'];"
    " runpy.run_module('forgetme', run_name='__main__')",
]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(repeats: int) -> dict[str, object]:
    """Runs both in turn, so that a busy machine slows each alike; the first round warms up."""
    rounds = [(seconds(HELP), seconds(EAGER)) for _ in range(repeats + 1)][1:]
    ours, eager = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "what": "python -m forgetme --help",
        "seconds": ours,
        "baseline": "the same with torch imported first",
        "baseline_seconds": eager,
        "times_faster": eager / ours,
        "goal_seconds": GOAL_SECONDS,
        "ok": ours < GOAL_SECONDS,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.repeats)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{result['what']}: {result['seconds']:.2f} s (goal < {GOAL_SECONDS} s), "
            f"{result['times_faster']:.1f} times faster than {result['baseline']} "
            f"({result['baseline_seconds']:.2f} s)"
        )
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
