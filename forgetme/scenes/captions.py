"""Short natural captions for drawn scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PLACES: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "in a green meadow", "on a meadow"),
    "beach": ("on a beach", "at the beach", "on a sandy beach"),
    "snow": ("in the snow", "in deep snow", "in a field of snow"),
    "street": ("on a street", "in the street", "on a city street"),
    "room": ("in a room", "in a cosy room", "inside a room"),
    "night": ("at night", "on a starry night", "in the night"),
    "desert": ("in the desert", "in a sandy desert", "in a desert"),
    "lake": ("by a lake", "at a lake", "at the lake"),
}
_EMPTY: dict[str, tuple[str, ...]] = {
    name: (f"an empty {name}", f"a photo of an empty {name}", f"a quiet {name}") for name in _PLACES
} | {
    "snow": ("an empty field of snow", "a photo of empty snow", "a quiet landscape in the snow"),
    "night": ("an empty landscape at night", "a photo of a quiet night", "a quiet night"),
}


def write_caption(
    rng: np.random.Generator, objects: Sequence[tuple[str, str]], setting: str
) -> str:
    """Writes a caption that names the setting and the first object; in about 60 % also the others.

    Args:
        rng: draws the wording.
        objects: (concept, description) per object, the main one first; may be empty.
        setting: the background's name.

    Returns:
        One lower-case sentence without a full stop.
    """
    pick, plain, others, style = rng.random(4)
    if not objects:
        choices = _EMPTY[setting]
        return choices[int(pick * len(choices))]
    places = _PLACES[setting]
    place = places[int(pick * len(places))]
    named = objects if others < 0.6 else objects[:1]
    phrases = [_with_article(concept) if plain < 0.4 else text for concept, text in named]
    listed = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    templates = ("a photo of {} {}", "{} {}", "a picture of {} {}", "a drawing of {} {}")
    return templates[int(style**1.3 * len(templates))].format(listed, place)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
