"""The curated pictures that probes need: accepted quadruples, or drawn scenes of known truth."""

from __future__ import annotations

from collections.abc import Sequence

from forgetme.record.concept import word_for
from forgetme.record.images import read_image, read_mask
from forgetme.record.sample import Layers
from forgetme.scenes import CONCEPTS, render_scene
from forgetme.train.data import Item

MOST = 16
FIRST_SEED = 90_000  # of drawn samples: far from those that people train on
SIDE = 256  # px


def layers_of(items: Sequence[Item]) -> list[Layers]:
    """Reads the first quadruples."""
    return [
        Layers.cut(read_image(one.original), read_image(one.background), read_mask(one.mask))
        for one in items[:MOST]
    ]


def drawn_samples(concept: str) -> list[Layers]:
    """Draws scenes that hold a concept, with their true backgrounds; none of what cannot be drawn.

    Args:
        concept: what they show.
    """
    word = word_for(concept, CONCEPTS)
    if word not in CONCEPTS:
        return []
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + MOST):
        scene = render_scene(seed, concept=word, size=SIDE)
        own = next(one for one in scene.objects if one.concept == word)
        found.append(Layers.cut(scene.image, own.background, own.mask))
    return found
