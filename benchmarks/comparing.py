"""Times a comparison as a user makes it: 50 drawn scenes, five ways to fill, all scores, a report.

Run: `python -m benchmarks.comparing [--samples 50] [--json]`.

The commands run in processes of their own. The patch that two of the columns wear comes from a run
of one step, which costs as much to wear as any other. The baseline is the same command once more,
which finds every picture and score in its cache.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL_SECONDS = 600
CONCEPT = "car"
COLUMNS = ("own", "sd-inpaint", "clipaway", "lora-inpaint", "lora-img2img")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.samples)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{result['what']}: {result['seconds']:.0f} s (goal {GOAL_SECONDS} s), again from its "
            f"cache {result['baseline_seconds']:.0f} s; peak memory {result['memory_mb']:.0f} MiB"
        )
    return 0 if result["ok"] else 1


def measure(folder: Path, samples: int) -> dict[str, object]:
    """Draws, trains one step, and compares twice."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    data, run = folder / "data", folder / "run"
    forgetme("scenes", data, "--count", samples, "--concept", CONCEPT)
    few = ("--steps", 1, "--retain-pictures", 8, "--probe-pictures", 0)
    forgetme("train", "lora", "--data", data, "--concept", CONCEPT, "--out", run, *few)
    compare = ("compare", "--data", data, "--concept", CONCEPT, "--runs", run)
    compare += ("--columns", ",".join(COLUMNS), "--out", folder / "report")
    seconds = forgetme(*compare)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest child
    again = forgetme(*compare)
    table = json.loads((folder / "report" / "table.json").read_text(encoding="utf-8"))
    failed = [one for cells in table["cells"].values() for one in cells if one["error"]]
    return {
        "what": f"a comparison of {samples} samples, {len(COLUMNS)} columns, all scores",
        "seconds": seconds,
        "goal_seconds": GOAL_SECONDS,
        "baseline": "the same once more, from its cache",
        "baseline_seconds": again,
        "times_faster": again / seconds,
        "memory_mb": memory,
        "ok": seconds <= GOAL_SECONDS and not failed,
    }


def forgetme(*words: object) -> float:
    """Runs a command; returns its seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "forgetme", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
