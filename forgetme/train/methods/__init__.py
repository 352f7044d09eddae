"""The methods, one file each. A new one is a file here and a line in `METHODS`."""

from __future__ import annotations

from forgetme.train.method import Method
from forgetme.train.methods import esd, lora, rl

METHODS: dict[str, Method] = {
    "lora": lora.METHOD,
    "esd": esd.METHOD,
    "rl": rl.METHOD,
}


def method_of(name: str) -> Method:
    """Returns a method by name.

    Raises:
        ValueError: there is none of this name; the message lists those there are.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
