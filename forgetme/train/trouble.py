"""What to do about a run that failed, in the page's words, and with which change it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forgetme.store.job_state import DIED
from forgetme.train.runs import Run

NO_MEMORY = "not enough memory"  # how `disk.plain_words` begins
LOWER = 4  # times lower goes the rate of a run that ran away


@dataclass(frozen=True)
class Advice:
    """What went wrong and what to do.

    Attributes:
        words: for people.
        changes: settings with which the run may go on; None where it cannot.
        act: what going on with them is called.
    """

    words: str
    changes: dict[str, Any] | None
    act: str


def advice(run: Run, trouble: str) -> Advice:
    """Tells what to do about a run that failed.

    Args:
        run: as it is on disk.
        trouble: what its job said.
    """
    record = run.record
    if "diverged" in record:
        rate = record["lr"] / LOWER
        return Advice(
            f"The loss was no number at step {record['diverged']}: the rate {record['lr']:g} is "
            "too high. What was saved before is intact.",
            {"lr": rate},
            f"go on at a rate of {rate:g}",
        )
    if NO_MEMORY in trouble:
        fewer = (
            f"start another run with a batch of {max(1, record['batch'] // 2)} and "
            f"{2 * record['accumulate']} batches added up, which learns as much from each step"
            if record["batch"] > 1
            else "start another run that trains fewer weights, such as kv"
        )
        words = f"Memory ran out at {record['batch']} pictures at a time. "
        if record["gradient_checkpointing"]:
            return Advice(f"{words}What was saved is intact; {fewer}.", None, "")
        return Advice(
            f"{words}Go on with gradient checkpointing, or {fewer}.",
            {"gradient_checkpointing": True},
            "go on with gradient checkpointing",
        )
    if trouble == DIED:
        words = (
            "The process ended without a word: most likely memory ran out, or the machine was "
            "restarted. What was saved is intact: go on from there, or start another run with a "
            "smaller batch."
        )
        return Advice(words, {}, "go on")
    return Advice(trouble, {}, "try again")
