"""The table of `benchmarks/forgetting.py` is of the runs that are there, whoever was killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.forgetting import line, read, table
from forgetme.metrics import wilson

ONE = dict.fromkeys(("cat", "dog", "bird", "fish", "car", "boat"), 1.0)


def run_of(concept: str, seen: float, **others: float) -> dict:
    return {
        "key": ["esd", concept, 0], "n": [8, 4], "seen": {concept: seen}, "otherwise": 0.5,
        "seen_second": {concept: 0.0}, "others": {**ONE, **others}, "keep": ["dog"],
        "watch": ["boat"], "core_minutes": 2.0, "memory_mib": 2048.0, "patch_mib": 1.0,
    }  # fmt: skip


def test_a_line_pools_runs_and_names_the_worst_concept(tmp_path: Path) -> None:
    before = {"n": [8, 4], "seen": ONE, "seen_second": ONE, "others": {**ONE, "boat": 0.5}}
    before["others"] |= {"bird": 0.5}
    runs = [run_of("fish", 0.0, boat=0.5, bird=0.25), run_of("cat", 0.25, boat=0.25)]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in runs) + '{"k')
    assert read(tmp_path, (8, 4)) == runs  # the half line of a killed call is none
    assert read(tmp_path, (16, 4)) == []
    found = line("esd", before, runs)
    assert found["seen"]["after"] == 0.125
    assert found["seen"]["interval"] == wilson(2, 16)
    assert (found["worst"], found["concepts"]) == (["cat", 0.25], ["cat", "fish"])
    assert found["apart"]["after"] == pytest.approx(0.375 / 0.5)
    # of fish: bird, cat, dog; of cat: bird, dog, fish
    assert found["near"]["after"] == pytest.approx((0.25 + 5) / (0.5 + 5 - 0.5))
    assert not found["ok"]
    text = table({"pictures": [8, 4], "lines": [found]})
    assert "| 2: cat, fish |" in text
    assert "Not measured on this model: `lora`" in text
