"""What the loaders of weights share: is the file there, and is it what it should be."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from safetensors import SafetensorError

from forgetme.errors import MissingModelError

# What torch, safetensors, json and the model classes raise for a damaged or foreign file.
UNREADABLE = (
    RuntimeError,
    TypeError,
    KeyError,
    ValueError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)


def existing(path: str | os.PathLike[str], *, name: str) -> Path:
    """Finds a model's file.

    Args:
        path: the file, or a folder that holds it.
        name: the file's name in a folder; also says in the message what is missing.

    Raises:
        MissingModelError: it is not there.
    """
    path = Path(path)
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise MissingModelError(
            f"no {name} at {path}; `python -m forgetme doctor` says which weights are there and "
            "how to get the others"
        )
    return path


def unusable(path: Path, expected: str, error: Exception) -> MissingModelError:
    """Says that a file is damaged or belongs to another model; to be raised from `error`."""
    cause = (str(error) or type(error).__name__).strip().splitlines()[0]
    return MissingModelError(
        f"{path} does not hold {expected} ({cause}); get the file again, or name the model that "
        "it belongs to"
    )
