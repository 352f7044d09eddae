"""The scale sweep: one patch worn at all scales, from none on, what it paints, its scores.

**Source**: ForgetMe section 4.6, Table 3 and Figure 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forgetme.compare.adapters import Worn
from forgetme.compare.cache import Cache
from forgetme.compare.cells import Cell, cells_of
from forgetme.compare.columns import Bench, Wanted, lora_inpaint
from forgetme.compare.items import Subject
from forgetme.compare.scores import Eyes, mean_of

SCALES = tuple(round(0.1 * n, 1) for n in range(11))  # 0: no patch at all
CURVES = (
    "entangled_d", "entangled_s", "entangled_d_released", "entangled_s_released", "clip_at_1",
    "still_seen", "truth_rmse",
)  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """What is swept: a patch, over the first rows."""

    worn: Worn
    rows: int

    @classmethod
    def of(cls, worn: Worn, rows: int, wanted: Wanted) -> Sweep:
        """Takes the first rows, as many as wanted and there."""
        return cls(worn, min(rows, wanted.sweep_rows))

    @property
    def cells(self) -> int:
        """How many pictures that is."""
        return self.rows * len(SCALES)


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep brought: cells by scale, each a list by row."""

    worn: Worn
    cells: tuple[tuple[Cell, ...], ...]

    def curves(self) -> dict[str, list[dict[str, Any]]]:
        """Returns mean, interval and n of each score at each scale."""
        found = {}
        for key in CURVES:
            by_scale = [[cell.scores.get(key) for cell in cells] for cells in self.cells]
            if any(value is not None for values in by_scale for value in values):
                found[key] = [mean_of(values, key) for values in by_scale]
        return found


def sweep(
    wanted: Sweep,
    bench: Bench,
    subjects: Sequence[Subject],
    eyes: Eyes,
    cache: Cache,
    tell: Callable[[str], None],
) -> Swept:
    """Paints the first rows at each scale with one seed.

    Args:
        wanted: patch and rows.
        bench: models and settings.
        subjects: rows of the comparison.
        eyes: who looks.
        cache: what was computed once.
        tell: hears a line after each cell.
    """
    by_scale = []
    for scale in SCALES:
        column = lora_inpaint(bench, replace(wanted.worn, scale=scale))

        def said(words: str, scale: float = scale) -> None:
            tell(f"scale {scale}: {words}")

        made = cells_of(column, bench, subjects[: wanted.rows], eyes, cache, said)
        by_scale.append(tuple(made))
    return Swept(wanted.worn, tuple(by_scale))
