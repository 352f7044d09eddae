"""Reads safetensors, .pth and JSON config files of weights, with errors in plain words."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from forgetme.errors import MissingModelError

MOST_CONFIG_BYTES = 2**20
MOST_SIZE = 65_536  # of a width, a vocabulary, a picture
MOST_LAYERS = 128

# What torch, safetensors, json and the model classes raise for a damaged or foreign file.
UNREADABLE = (
    RuntimeError,
    TypeError,
    LookupError,
    ValueError,
    EOFError,
    AssertionError,
    struct.error,
    pickle.UnpicklingError,
    SafetensorError,
)


def tensors_sha(tensors: Mapping[str, torch.Tensor], *words: str) -> str:
    """Names tensors by their content: the SHA-256 of names, types, shapes and values, and words."""
    digest = hashlib.sha256("\0".join(words).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    return MissingModelError(
        f"{path} does not hold {expected} ({cause_of(error)}); get the file again, or name the "
        "model that it belongs to"
    )


def cause_of(error: Exception) -> str:
    """Says in a line why weights were refused; torch's own line advises to switch that off."""
    said = str(error).strip()
    damaged = (pickle.UnpicklingError, struct.error, IndexError, AssertionError)
    if isinstance(error, damaged) or "weights_only" in said:
        return "it is damaged, or holds objects that could run code instead of plain tensors"
    return said.splitlines()[0] if said else type(error).__name__


def read_config(path: Path) -> dict[str, Any]:
    """Reads the JSON that describes a model of ours, within limits that no such model exceeds.

    Raises:
        ValueError: it is none, or it names sizes, downloads or code of its own.
    """
    if path.stat().st_size > MOST_CONFIG_BYTES:
        raise ValueError(f"a config has at most {MOST_CONFIG_BYTES} bytes")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("a config is not nested so deep") from None
    if not isinstance(config, dict):
        raise ValueError("a config is a JSON object")
    _check_config("config", config)
    return config


def _check_config(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_config(key, inner)
    elif isinstance(value, list):
        for inner in value:
            _check_config(name, inner)
    elif isinstance(value, int | float):
        most = MOST_LAYERS if name in ("depth", "layers", "decoder_depth") else MOST_SIZE
        if not abs(value) <= most:  # NaN as well
            raise ValueError(f"{name} must be at most {most}, got {value}")
        if name == "timm_model_pretrained" and value:
            raise ValueError("a model of ours downloads nothing")
    elif isinstance(value, str):
        elsewhere = name == "timm_model_name" and (":" in value or "/" in value)
        if elsewhere or name.startswith("hf_"):
            raise ValueError(f"a model of ours downloads nothing, got {name} {value[:80]!r}")


def check_shapes(path: Path, model: torch.nn.Module) -> None:
    """Compares a safetensors file's header with a model that was built on the device "meta".

    Nothing is allocated for it: sizes of a stranger's config cost no memory before they are right.

    Raises:
        ValueError: a tensor is missing, left over or of another shape.
        SafetensorError: the file is damaged.
    """
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = shapes_of(path)
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise ValueError(f"{name[:80]} is {found.get(name)} and must be {wanted.get(name)}")


def shapes_of(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Reads the names and shapes of a safetensors file, and no tensor."""
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
