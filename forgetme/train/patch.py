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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from forgetme.errors import ForgetmeError, MissingModelError
from forgetme.record.files import file_sha256
from forgetme.train.disk import replacing
from forgetme.train.notes import is_same, own_weights

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

log = logging.getLogger(__name__)

LORA_FILE = "pytorch_lora_weights.safetensors"  # the name that load_lora_weights looks for
DELTA_FILE = "patch.safetensors"
RECORD = "patch.json"
MOST_RECORD_BYTES = 16 * 2**20
NAME = r"[A-Za-z0-9_-]{1,40}"  # of a method: it becomes part of an adapter's name
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
    _shapes(Patch(folder, record))


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


def write_lora(folder: Path, unet: torch.nn.Module, record: dict[str, Any]) -> Patch:
    """Writes the LoRA matrices of a U-Net as a patch."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    layers = {name: value.float().cpu().contiguous() for name, value in layers.items()}
    with replacing(folder) as new:
        StableDiffusionPipeline.save_lora_weights(new, unet_lora_layers=layers)
        _write_record(new, record)
    return Patch(folder, record)


def write_delta(
    folder: Path,
    before: dict[str, torch.Tensor],
    after: dict[str, torch.nn.Parameter],
    record: dict[str, Any],
) -> Patch:
    """Writes the differences of the weights that changed, in float32."""
    changed = {
        name: (after[name].detach().cpu().float() - value.cpu().float()).contiguous()
        for name, value in before.items()
    }
    changed = {name: value for name, value in changed.items() if value.any()}
    with replacing(folder) as new:
        save_file(changed, new / DELTA_FILE)
        _write_record(new, record)
    return Patch(folder, record)


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    sums = {path.name: file_sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    record[_SUMS] = {RECORD: _record_sum(json.loads(json.dumps(record))), **sums}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


class Wardrobe:
    """The patches that one pipeline wears; taking them off leaves no trace.

    wardrobe = Wardrobe(pipe)
    wardrobe.wear(read_patch("runs/cat"), scale=0.7)
    wardrobe.wear(read_patch("runs/dog"))       # they stack
    wardrobe.take_off()                          # bit for bit as before
    """

    def __init__(self, pipe: StableDiffusionPipeline) -> None:
        """Args: the pipeline; its U-Net is changed in place, LoRAs of its owner are left alone."""
        self._pipe = pipe
        self._worn: dict[str, tuple[Patch, float]] = {}
        self._before: dict[str, torch.Tensor] = {}  # weights that a difference has touched
        self._loaded: set[str] = set()

    @property
    def worn(self) -> dict[str, float]:
        """Scale of each patch that is worn, by its name."""
        return {name: scale for name, (_, scale) in self._worn.items()}

    def wear(self, patch: Patch, scale: float = 1.0) -> None:
        """Puts a patch on, or changes the scale of one that is.

        Args:
            patch: the patch.
            scale: 0 = no effect, 1 = as trained.

        Raises:
            ValueError: the scale is not in 0..1.
            ForgetmeError: the patch is of another model.
        """
        if not 0 <= scale <= 1:
            raise ValueError(f"scale must be between 0 and 1, got {scale}")
        if patch.name not in self._worn:
            self._check(patch)
        if patch.is_lora and patch.name not in self._loaded:
            self._load(patch)
        self._worn[patch.name] = (patch, scale)
        self._refresh()

    def take_off(self, patch: Patch | None = None) -> None:
        """Takes a patch off, or all of them."""
        names = list(self._worn) if patch is None else [patch.name]
        for name in names:
            self._worn.pop(name, None)
        gone = self._loaded & set(names)
        if gone and set(self._pipe.unet.peft_config) <= gone:
            self._pipe.unet.unload_lora()  # takes the adapters' wrapping off, too
        elif gone:
            active = {layer: self._not_ours(layer) for layer in self._layers()}
            self._pipe.unet.delete_adapters(sorted(gone))
            for layer, others in active.items():
                layer.set_adapter(others)  # peft switches another one on instead
        self._loaded -= gone
        self._refresh()

    def _load(self, patch: Patch) -> None:
        """Loads LoRA matrices as an adapter that is not active yet."""
        active = {layer: layer.active_adapters for layer in self._layers()}
        # The tensors alone: settings of peft in a stranger's file can change the model's weights.
        self._pipe.load_lora_weights(load_file(patch.folder / LORA_FILE), adapter_name=patch.name)
        self._loaded.add(patch.name)
        for layer in self._layers():
            layer.set_adapter(active.get(layer, []))

    def _layers(self) -> list[Any]:
        """The layers of the U-Net that adapters wrap, those of others included."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        return [layer for layer in self._pipe.unet.modules() if isinstance(layer, BaseTunerLayer)]

    def _not_ours(self, layer: Any) -> list[str]:
        return [name for name in layer.active_adapters if name not in self._loaded]

    def _check(self, patch: Patch) -> None:
        """Refuses a patch whose layers this model lacks; warns where its weights are others."""
        weights = own_weights(self._pipe.unet)
        for name, shape in _shapes(patch).items():
            if name not in weights or tuple(weights[name].shape[: len(shape)]) != shape:
                raise ForgetmeError(
                    f"{patch.folder} changes {name} {shape}, which this model does not have; it "
                    f"was made for {patch.record['base'] or 'another model'}: open that one"
                )
        if not self._worn and not is_same(self._pipe.unet, patch.record.get("base_notes", {})):
            log.warning(
                "%s was made for %s; this model has other weights, so what is forgotten here was "
                "not measured",
                patch.folder,
                patch.record["base"] or "another model",
            )

    @torch.no_grad()
    def _refresh(self) -> None:
        parameters = own_weights(self._pipe.unet)
        for name, value in self._before.items():
            parameters[name].copy_(value)
        self._before = {}
        for patch, scale in self._worn.values():
            if patch.is_lora:
                continue
            for name, value in load_file(patch.folder / DELTA_FILE).items():
                parameter = parameters[name]
                self._before.setdefault(name, parameter.detach().clone())
                parameter.add_(value.to(parameter.device, parameter.dtype), alpha=scale)
        adapters = {n: s for n, (patch, s) in self._worn.items() if patch.is_lora}
        for layer in self._layers() if adapters else ():
            ours = [name for name in adapters if name in layer.scaling]
            layer.set_adapter([*self._not_ours(layer), *ours])
            for name in ours:
                layer.set_scale(name, adapters[name])


def _shapes(patch: Patch) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that a patch changes, by the names in the U-Net.

    Raises:
        ForgetmeError: the file is missing or damaged.
    """
    path = patch.folder / (LORA_FILE if patch.is_lora else DELTA_FILE)
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
        layer, _, end = name.removeprefix("unet.").rpartition(".lora")
        down = end in (".down.weight", "_A.weight")  # (rank, in); the other one is (out, rank)
        ends.setdefault(f"{layer}.weight", {})[down] = shape[1 if down else 0] if shape[1:] else 0
    halved = next((name for name, sides in ends.items() if len(sides) < 2), None)
    if halved is not None:
        raise ForgetmeError(f"{path} holds no LoRA: {halved[:80]} has one matrix of the two")
    return {name: (sides[False], sides[True]) for name, sides in ends.items()}
