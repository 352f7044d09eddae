"""Nothing acknowledged is lost: kill -9 and Ctrl-C again and again, and many curators at once.

The work is done by `benchmarks/endurance.py`, in a process of its own that may fork.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.curators import Ledger

ROOT = Path(__file__).parents[2]
ROUNDS = 100
CURATORS, DECISIONS = 16, 250  # the benchmark makes 1,000 each

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")


def endure(folder: Path, *arguments: object) -> dict:
    """Runs a part of the benchmark on stores in `folder`."""
    command = [sys.executable, "-m", "benchmarks.endurance", "--json", "--folder", folder]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("stop", "rounds"), [("kill", ROUNDS), ("ctrl-c", 5)])
def test_curators_who_are_stopped_at_any_moment_lose_nothing(tmp_path, stop, rounds):
    found = endure(tmp_path, "--rounds", rounds, "--decisions", 0, "--stop", stop)["kills"]
    assert found["problems"] == []
    faults = ("lost", "unasked", "torn", "doubled", "unopened", "failed")
    assert {fault: found[fault] for fault in faults} == dict.fromkeys(faults, 0)
    assert found["acknowledged"] > 5 * rounds, "the curators never got to work"
    assert found["decisions"] > rounds // 2
    assert found["in_the_middle"] > rounds // 2


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_many_curators_at_once_decide_every_sample_once(tmp_path, database):
    wanted = ("--curators", CURATORS, "--decisions", DECISIONS, "--databases", database)
    found = endure(tmp_path, "--rounds", 0, *wanted)[database]
    assert found["problems"] == []
    faults = ("lost", "unasked", "twice", "doubled", "failed")
    assert {fault: found[fault] for fault in faults} == dict.fromkeys(faults, 0)
    assert found["decisions"] == found["leases"] == CURATORS * DECISIONS


def said(folder: Path, *lines: dict) -> Ledger:
    file = folder / "said.jsonl"
    file.write_text(
        "".join(json.dumps({"at": 10.0 + at} | one) + "\n" for at, one in enumerate(lines))
    )
    ledger = Ledger()
    ledger.read(file)
    return ledger


def test_ledger_sees_what_is_lost_what_nobody_asked_for_and_a_lease_given_twice(tmp_path):
    accepted, comment = ["s1", 4, "accepted", "ann"], ["s1", 5, "commented", "ann"]
    ledger = said(
        tmp_path,
        {"leased": "s1", "until": 99.0},
        {"begins": accepted},
        {"ends": accepted},
        {"leased": "s2", "until": 99.0},
        {"leased": "s2", "until": 99.0},
        {"begins": comment},
    )
    one, begun, odd = tuple(accepted), tuple(comment), ("s9", 1, "imported", "ben")
    assert ledger.doubled() == 1
    assert ledger.in_the_middle == 1
    assert (ledger.lost(Counter([one])), ledger.unasked(Counter([one, begun]))) == (0, 0)
    assert ledger.lost(Counter([begun])) == 1
    assert ledger.unasked(Counter([one, one, begun, odd])) == 2
