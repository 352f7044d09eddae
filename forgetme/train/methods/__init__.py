"""The methods, one file each. A new one is a file here and a line in `METHODS`."""

from __future__ import annotations

from forgetme.train.method import Method
from forgetme.train.methods import (
    advunlearn,
    ca,
    esd,
    fmn,
    lora,
    loreun,
    rece,
    rl,
    salun,
    slider,
    speed,
    uce,
)

METHODS: dict[str, Method] = {
    "lora": lora.METHOD,
    "rl": rl.METHOD,
    "salun": salun.METHOD,
    "loreun": loreun.METHOD,
    "esd": esd.METHOD,
    "advunlearn": advunlearn.METHOD,
    "ca": ca.METHOD,
    "fmn": fmn.METHOD,
    "slider": slider.METHOD,
    "uce": uce.METHOD,
    "rece": rece.METHOD,
    "speed": speed.METHOD,
}


def method_of(name: str) -> Method:
    """Returns a method by name.

    Raises:
        ValueError: there is none of this name; the message lists those there are.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
