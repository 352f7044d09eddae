"""Drawn concepts of three groups, to measure over all of them what a model forgot.

**Source**: ours, after the groups of Forget-Me-Not's ConceptBench (id, object, style), whose lists
were never published. An identity is one drawn individual; a style is the look of a whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .compose import CONCEPTS, render_scene

Group = Literal["id", "object", "style"]
SEED = 900_000_000  # of the first scene; far from those that anything is trained or measured on


@dataclass(frozen=True)
class DrawnConcept:
    """One concept of the set.

    Attributes:
        group: "id", "object" or "style".
        name: of the concept, in words that the bundled model knows.
        prompt: that asks for it.
        concept: what the scenes hold; "" = each another thing.
        looks: seed of the individual's looks; None = each another one.
        setting: of the scenes; None = each another one.
    """

    group: Group
    name: str
    prompt: str
    concept: str = ""
    looks: int | None = None
    setting: str | None = None

    def pictures(self, count: int, size: int = 256) -> list[np.ndarray]:
        """Draws it `count` times, each (size, size, 3) uint8."""
        return [
            render_scene(
                SEED + i,
                concept=self.concept or CONCEPTS[i % len(CONCEPTS)],
                setting=self.setting,
                looks=self.looks,
                size=size,
                count=1,
            ).image
            for i in range(count)
        ]


def _individual(name: str, concept: str, looks: int) -> DrawnConcept:
    return DrawnConcept("id", name, f"a photo of a {name}", concept, looks)


def _object(name: str) -> DrawnConcept:
    return DrawnConcept("object", name, f"a photo of a {name}", name)


def _style(name: str, setting: str) -> DrawnConcept:
    return DrawnConcept("style", name, f"a picture {name}", setting=setting)


CONCEPT_SET: tuple[DrawnConcept, ...] = (
    _individual("cream striped cat", "cat", 2),
    _individual("golden spotted dog", "dog", 0),
    _individual("blue striped fish", "fish", 0),
    _object("car"),
    _object("fish"),
    _object("mushroom"),
    _style("at night", "night"),
    _style("in the snow", "snow"),
    _style("in the desert", "desert"),
)
