"""The settings of the pipeline, with every default; each run records what it used."""

from __future__ import annotations

from dataclasses import dataclass, field

from forgetme.record.entangled import Variant
from forgetme.record.sample import FillSettings, Thresholds


@dataclass(frozen=True)
class Settings:
    """The settings of the loop from image to scored background."""

    k_asked: int = 5  # the verifier is asked about this many masks at most
    max_proposals: int = 24  # masks kept for the human, best first
    thresholds: Thresholds = field(default_factory=Thresholds)  # below: the fill is called low
    fill: FillSettings = field(default_factory=FillSettings)  # of the first fill, by LaMa
    variant: Variant = "paper"  # of Entangled
