"""ForgetMe: turn photos into original, foreground, background and mask, and unlearn a concept.

Importing the package loads no model library; ``load_models``, ``curate``, ``Store``, ``Sample``
and ``render_scene`` are fetched from their modules on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

from forgetme.record.entangled import entangled, entangled_d, entangled_s
from forgetme.record.merge import merge

__version__ = "0.1.0"

_LAZY = {
    "load_models": "forgetme.stages.models",
    "Store": "forgetme.store",
    "Sample": "forgetme.record.sample",
    "render_scene": "forgetme.scenes",
}

__all__ = [
    "Sample",
    "Store",
    "__version__",
    "curate",
    "entangled",
    "entangled_d",
    "entangled_s",
    "load_models",
    "merge",
    "render_scene",
]


def __getattr__(name: str) -> Any:
    """Fetches a public name from its module on first use."""
    if name == "curate":  # the room of this name is the function, too
        return importlib.import_module("forgetme.curate")
    if name not in _LAZY:
        raise AttributeError(f"module 'forgetme' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
