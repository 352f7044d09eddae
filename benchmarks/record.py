"""Runs the benchmarks and writes `benchmarks/results.json`, which README's tables are made from.

Run: `python -m benchmarks.record [NAME]... [--script PATH]`, on an idle machine; then
`python tests/test_readme.py`. Without names all are run; `training` wants the script that it is
compared with, and is left out without one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

from forgetme.tiny.card import machine

RESULTS = Path(__file__).parent / "results.json"
NAMES = (
    "curation", "ranking", "entangled", "cli_start", "page_start", "queue", "waiting", "canvas",
    "comparing", "training", "endurance",
)  # fmt: skip
# Those that print one line: seconds, a goal, a baseline.
TIMED = [name for name in NAMES if name not in ("curation", "canvas", "endurance")]


def main() -> None:
    """Writes the results; a missed goal is recorded, not hidden."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME")
    parser.add_argument("--script", type=Path, help="train_text_to_image_lora.py, for training")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in options.names or NAMES:
        if name == "training" and options.script is None:
            print("training is left out: it wants --script", file=sys.stderr)
            continue
        more = ("--script", options.script) if name == "training" else ()
        found = run(name, *more)
        results[name] = {"machine": machine(), "date": date.today().isoformat(), "found": found}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(RESULTS)


def run(name: str, *more: object) -> dict:
    """Runs one benchmark in a process of its own and returns what it prints as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, more), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"{name} printed no result and ended with code {done.returncode}")
    return json.loads(done.stdout)


def lines(results: dict) -> list[dict]:
    """The timings with a baseline, in the order of README's table."""
    found = {name: one["found"] for name, one in results.items()}
    if "entangled" in found:
        found["entangled"] = _entangled(found["entangled"])
    first = found["curation"]["lines"] if "curation" in found else []
    return [*first, *(found[name] for name in TIMED if name in found)]


def _entangled(found: dict) -> dict:
    """The result of the Entangled benchmark as the others say theirs."""
    times = found["milliseconds"]
    return {
        "what": f"Entangled of a pair of {found['size']}x{found['size']}",
        "seconds": times["ours"] / 1000,
        "goal_seconds": None,
        "baseline": "boolean indexing, as in the published tool",
        "baseline_seconds": times["boolean_indexing_from_float32"] / 1000,
        "times_faster": found["ratio_from_float32"],
        "goal_times_faster": found["goal"],
    }


if __name__ == "__main__":
    main()
