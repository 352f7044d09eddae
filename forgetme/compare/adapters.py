"""Patches of training runs: opened, and checked against the base model that loads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgetme.errors import ForgetmeError
from forgetme.record.files import file_sha256

if TYPE_CHECKING:
    from forgetme.train import Patch


@dataclass(frozen=True)
class Worn:
    """A run's patch and the scale at which it is worn."""

    run: str
    patch: Patch
    sha: str  # of its weights
    scale: float

    @property
    def prompt(self) -> str:
        """The prompt that the run made to forget."""
        record = self.patch.record
        return record.get("prompt") or f"a photo of a {record['concept']}"


def wear(runs: Mapping[str, Path], base: str, scale: float) -> list[Worn]:
    """Opens the patches of runs and checks that they are of the model that is to wear them.

    Args:
        runs: folders of runs or patches, by name.
        base: the model's name with its weights' signature, "name@signature".
        scale: at which they will be worn.

    Raises:
        MissingModelError: a folder holds no patch.
        ForgetmeError: a patch is of another model.
    """
    from forgetme.train import read_patch

    worn = []
    for name, folder in runs.items():
        patch = read_patch(folder)
        made_for = str(patch.record.get("base", ""))
        if _signature(made_for) != _signature(base):
            raise ForgetmeError(
                f"{patch.folder} is a patch of {made_for or 'an unnamed model'}, and this "
                f"comparison paints with {base}; name that model with --diffusion, or train again"
            )
        worn.append(Worn(name, patch, _weights_sha(patch), scale))
    return worn


def run_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Names runs by their folders; of two of one name the second gets a number."""
    named: dict[str, Path] = {}
    for folder in folders:
        plain = folder.resolve().name
        if plain == "patch":  # a run's own patch folder
            plain = folder.resolve().parent.name
        name, number = plain, 2
        while name in named:
            name, number = f"{plain}-{number}", number + 1
        named[name] = folder
    return named


def safe_name(name: str) -> str:
    """Turns a run's name into one for a key: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "run"


def _signature(base: str) -> str:
    """Of "name@signature", and of the first of two joined by "+"; folders may have any name."""
    first = base.partition("+")[0]
    return first.rpartition("@")[2]


def _weights_sha(patch: Patch) -> str:
    return " ".join(file_sha256(path) for path in sorted(patch.folder.glob("*.safetensors")))
