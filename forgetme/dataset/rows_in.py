"""The rows that a format reader yields to the import: quadruples, not yet checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetme.dataset.quadruple import Record

Picture = bytes | Path  # an image file, or its content


@dataclass(frozen=True, eq=False)
class Found:
    """One row of a dataset from outside, as it stands there.

    Attributes:
        where: names it to people.
        name: file stem; "" where it has none.
        original: image.
        background: image; None where the dataset has masks only.
        mask: image, or (H, W) bool.
        record: what our own export says of it; None for others.
        concept: what the sample is to forget; None where the dataset does not say.
        caption: what the picture shows.
        source: where it came from.
        left_out: what of it cannot be read, while the rest can.
        problem: why it cannot be read; then all else is missing.
    """

    where: str
    name: str = ""
    original: Picture | None = None
    background: Picture | None = None
    mask: Picture | np.ndarray | None = None
    record: Record | None = None
    concept: str | None = None
    caption: str = ""
    source: str = ""
    left_out: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def concept_named(self) -> str | None:
        """What the dataset says that the sample is to forget; None where it does not."""
        return self.record.concept if self.record else self.concept


@dataclass(frozen=True, eq=False)
class Listing:
    """A dataset from outside: how many rows it has, and the rows one by one."""

    total: int
    rows: Iterator[Found]


def record_of(row: dict[str, Any]) -> Record | None:
    """Returns the record of a row of our own export, None for a row of another maker.

    Raises:
        ValueError: it claims to be our own and is damaged.
    """
    return Record.read(row) if "provenance" in row else None
