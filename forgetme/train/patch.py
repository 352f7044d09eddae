"""The result of a run: what was changed, in one small folder that any pipeline can wear.

A folder holds `patch.json` (base model, method, settings, data, seed, versions, scores) and one
safetensors file: LoRA matrices in diffusers' own keys, or the differences W - W0 of the weights
that changed. Worn at a scale s a weight is W0 + s (W - W0).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.record.files import file_sha256
from forgetme.train.disk import replacing
from forgetme.train.model import core_of, name_of_core

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

log = logging.getLogger(__name__)

LORA_FILE = "pytorch_lora_weights.safetensors"  # the name that load_lora_weights looks for
DELTA_FILE = "patch.safetensors"
RECORD = "patch.json"
MOST_RECORD_BYTES = 16 * 2**20
NAME = r"[A-Za-z0-9_-]{1,40}"  # of a method: it becomes part of an adapter's name
UP = (".up.weight", "_B.weight")  # how the names of a LoRA's second matrices end
_SUMS = "sha256"  # in the record: of the weights' file, and of the record's other words


@dataclass(frozen=True)
class Patch:
    """A patch on disk.

    Attributes:
        folder: where it is.
        record: its `patch.json`.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def is_lora(self) -> bool:
        """Whether it is LoRA matrices, which `pipe.load_lora_weights(folder)` takes as they are."""
        return self.record["trains"] == "lora"

    @property
    def file(self) -> Path:
        """Its weights."""
        return self.folder / (LORA_FILE if self.is_lora else DELTA_FILE)

    @property
    def digest(self) -> str:
        """Names its content: 16 hex digits of its weights' file."""
        return file_sha256(self.file)[:16]

    @property
    def concepts(self) -> tuple[str, ...]:
        """What it forgets."""
        first = [self.record["concept"]] if self.record.get("concept") else []
        return (*first, *self.record.get("also", ()))

    @property
    def name(self) -> str:
        """A name for this patch's content, fit for an adapter."""
        digest = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]
        return f"{self.record['method']}_{digest}"


def read_patch(folder: str | Path) -> Patch:
    """Opens a patch folder, or the folder of the run that made it.

    Raises:
        MissingModelError: there is no patch.
        ForgetmeError: its record is damaged.
    """
    folder = Path(folder)
    for place in (folder, folder / "patch"):
        if (place / RECORD).is_file():
            patch = Patch(place, _record(place / RECORD))
            if not _is_summed(patch.record, RECORD, _record_sum(patch.record)):
                log.warning(  # by hand, or by a turned byte: nobody can tell
                    "%s was changed since the patch was written; was that you?", place / RECORD
                )
            return patch
    raise MissingModelError(
        f"{folder} holds no {RECORD}; make one with: python -m forgetme train METHOD … --out RUN"
    )


def check_patch(folder: Path) -> None:
    """Reads a patch that is there.

    Raises:
        ForgetmeError: its record or its weights are damaged.
    """
    if not (folder / RECORD).is_file():
        return
    record = _record(folder / RECORD)
    if not _is_summed(record, RECORD, _record_sum(record)):
        raise _damaged(folder / RECORD, "it is not what was written, or was changed by hand")
    shapes_of(Patch(folder, record))


def _record(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_RECORD_BYTES:
            raise ValueError(f"it has more than {MOST_RECORD_BYTES} bytes")
        record = dict(json.loads(path.read_text(encoding="utf-8")))
        missing = [key for key in ("method", "trains", "base") if key not in record]
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    if missing:
        raise ForgetmeError(f"{path} is not the record of a patch: it has no {missing[0]}")
    for key in ("method", "trains"):
        if not re.fullmatch(NAME, str(record[key])):
            raise ForgetmeError(
                f"{path} is not the record of a patch: its {key} must be a name of letters, "
                f"digits, - and _, got {str(record[key])[:80]!r}"
            )
    dicts = all(isinstance(record.get(key, {}), dict) for key in ("base_notes", _SUMS))
    if not isinstance(record["base"], str | None) or not dicts:
        raise ForgetmeError(f"{path} is not the record of a patch: its base is of another kind")
    return record


def _damaged(path: Path, why: object) -> ForgetmeError:
    return ForgetmeError(
        f"{path} is damaged ({why}); bring it back from a backup, or write the patch again "
        "with: python -m forgetme train METHOD … --resume"
    )


def _is_summed(record: dict[str, Any], name: str, found: str) -> bool:
    """Whether a record that has hashes, as older ones do not, has this one of a file."""
    return not record.get(_SUMS) or record[_SUMS].get(name) == found


def _record_sum(record: dict[str, Any]) -> str:
    rest = {key: value for key, value in record.items() if key != _SUMS}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_lora(folder: Path, pipe: DiffusionPipeline, record: dict[str, Any]) -> Patch:
    """Writes the LoRA matrices of a pipeline's network, but for those that do nothing."""
    from peft.utils import get_peft_model_state_dict

    layers = get_peft_model_state_dict(core_of(pipe))
    layers = {name: value.float().cpu().contiguous() for name, value in layers.items()}
    layers = _that_act(layers) or layers
    with replacing(folder) as new:
        type(pipe).save_lora_weights(new, **{f"{name_of_core(pipe)}_lora_layers": layers})
        write_record(new, record)
    return Patch(folder, record)


def _that_act(layers: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    up = {name: value for name, value in layers.items() if name.endswith(UP)}
    idle = {_layer_of(name) for name, value in up.items() if not value.any()}
    return {name: value for name, value in layers.items() if _layer_of(name) not in idle}


def _layer_of(name: str) -> str:
    return name.rpartition(".lora")[0]


def write_delta(folder: Path, delta: Mapping[str, torch.Tensor], record: dict[str, Any]) -> Patch:
    """Writes differences of weights, in float32; those that are nothing are left out."""
    changed = {name: value.cpu().float().contiguous() for name, value in delta.items()}
    changed = {name: value for name, value in changed.items() if value.any()}
    with replacing(folder) as new:
        save_file(changed, new / DELTA_FILE)
        write_record(new, record)
    return Patch(folder, record)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes `patch.json` beside the weights, with the sums of both."""
    sums = {path.name: file_sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    record[_SUMS] = {RECORD: _record_sum(json.loads(json.dumps(record))), **sums}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def shapes_of(patch: Patch) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that a patch changes, by the names in the U-Net.

    Raises:
        ForgetmeError: the file is missing or damaged.
    """
    path = patch.file
    try:
        if not _is_summed(patch.record, path.name, file_sha256(path)):
            raise SafetensorError("it is not what was written")
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ForgetmeError(
            f"{path} cannot be read ({error}); bring it back from a backup, or write the patch "
            "again with: python -m forgetme train METHOD … --resume"
        ) from error
    if not patch.is_lora:
        return shapes
    ends: dict[str, dict[bool, int]] = {}
    for name, shape in shapes.items():
        layer = re.sub(r"^(unet|transformer)\.", "", _layer_of(name))
        down = not name.endswith(UP)  # (rank, in); the other one is (out, rank)
        ends.setdefault(f"{layer}.weight", {})[down] = shape[1 if down else 0] if shape[1:] else 0
    halved = next((name for name, sides in ends.items() if len(sides) < 2), None)
    if halved is not None:
        raise ForgetmeError(f"{path} holds no LoRA: {halved[:80]} has one matrix of the two")
    return {name: (sides[False], sides[True]) for name, sides in ends.items()}
