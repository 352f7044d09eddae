"""Runs the benchmarks and writes `benchmarks/results.json`, which README's table is made from.

Run: `python -m benchmarks.record`, on an idle machine; then `python tests/test_readme.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

from forgetme.tiny.card import machine

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Writes the results; a missed goal is recorded, not hidden."""
    lines = [*run("curation")["lines"], run("ranking"), entangled_line(run("entangled"))]
    lines += [run("cli_start"), run("page_start"), run("queue")]
    results = {"machine": machine(), "date": date.today().isoformat(), "lines": lines}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(RESULTS)


def run(name: str) -> dict:
    """Runs one benchmark in a process of its own and returns what it prints as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"{name} printed no result and ended with code {done.returncode}")
    return json.loads(done.stdout)


def entangled_line(found: dict) -> dict:
    """Says the result of the Entangled benchmark as the others say theirs."""
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
