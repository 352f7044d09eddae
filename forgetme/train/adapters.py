"""What a pipeline wears: patches at their scales, put on and taken off without a trace."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from forgetme.errors import ForgetmeError
from forgetme.train.gate import Gate
from forgetme.train.model import core_of
from forgetme.train.notes import is_same, weights_of_pipe
from forgetme.train.patch import Patch, shapes_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

log = logging.getLogger(__name__)


class Wardrobe:
    """The patches that one pipeline wears; taking them off leaves no trace.

    wardrobe = Wardrobe(pipe)
    wardrobe.wear(read_patch("runs/cat"), scale=0.7)
    wardrobe.wear(read_patch("runs/dog"))       # they stack
    wardrobe.wear(read_patch("runs/car"), gate=True)  # only for prompts with a car
    wardrobe.take_off()                          # bit for bit as before
    """

    def __init__(self, pipe: DiffusionPipeline) -> None:
        """Args: the pipeline, changed in place; LoRAs of its owner are left alone."""
        self._pipe, self._core = pipe, core_of(pipe)
        self._worn: dict[str, tuple[Patch, float]] = {}
        self._gates: dict[str, Gate] = {}
        self._before: dict[str, torch.Tensor] = {}  # weights that a difference has touched
        self._loaded: set[str] = set()

    @property
    def worn(self) -> dict[str, float]:
        """Scale of each patch that is worn, by its name."""
        return {name: scale for name, (_, scale) in self._worn.items()}

    def wear(self, patch: Patch, scale: float = 1.0, *, gate: bool = False) -> None:
        """Puts a patch on, or changes the scale of one that is.

        Args:
            patch: the patch.
            scale: 0 = no effect, 1 = as trained; a slider's goes from -1.
            gate: whether its scale follows the prompt of each call of the pipeline, see `Gate`; a
                call without its concept is drawn as if it were off.

        Raises:
            ValueError: the scale is out of range.
            ForgetmeError: the patch is of another model, or has no concept for a gate.
        """
        low, high = patch.record.get("scales", (0, 1))
        if not low <= scale <= high:
            raise ValueError(f"scale must be between {low:g} and {high:g}, got {scale}")
        if patch.name not in self._worn:
            self._check(patch)
        self._gates.pop(patch.name, None)
        if gate:
            self._worn.pop(patch.name, None)
            self._refresh()  # the gate is of the text encoder without this patch
            self._gates[patch.name] = Gate(self._pipe, patch)
        if patch.is_lora and patch.name not in self._loaded:
            self._load(patch)
        self._worn[patch.name] = (patch, scale)
        self._refresh()

    def take_off(self, patch: Patch | None = None) -> None:
        """Takes a patch off, or all of them."""
        names = list(self._worn) if patch is None else [patch.name]
        for name in names:
            self._worn.pop(name, None)
            self._gates.pop(name, None)
        gone = self._loaded & set(names)
        if gone and set(self._core.peft_config) <= gone:
            self._core.unload_lora()  # takes the adapters' wrapping off, too
        elif gone:
            active = {layer: self._not_ours(layer) for layer in self._layers()}
            self._core.delete_adapters(sorted(gone))
            for layer, others in active.items():
                layer.set_adapter(others)  # peft switches another one on instead
        self._loaded -= gone
        self._refresh()

    def _load(self, patch: Patch) -> None:
        """Loads LoRA matrices as an adapter that is not active yet."""
        active = {layer: layer.active_adapters for layer in self._layers()}
        # The tensors alone: settings of peft in a stranger's file can change the model's weights.
        self._pipe.load_lora_weights(load_file(patch.file), adapter_name=patch.name)
        self._loaded.add(patch.name)
        for layer in self._layers():
            layer.set_adapter(active.get(layer, []))

    def _layers(self) -> list[Any]:
        """The layers of the U-Net that adapters wrap, those of others included."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        return [layer for layer in self._core.modules() if isinstance(layer, BaseTunerLayer)]

    def _not_ours(self, layer: Any) -> list[str]:
        return [name for name in layer.active_adapters if name not in self._loaded]

    def _check(self, patch: Patch) -> None:
        """Refuses a patch whose layers this model lacks; warns where its weights are others."""
        weights = weights_of_pipe(self._pipe)
        for name, shape in shapes_of(patch).items():
            if name not in weights or tuple(weights[name].shape[: len(shape)]) != shape:
                raise ForgetmeError(
                    f"{patch.folder} changes {name} {shape}, which this model does not have; it "
                    f"was made for {patch.record['base'] or 'another model'}: open that one"
                )
        if not self._worn and not is_same(self._core, patch.record.get("base_notes", {})):
            log.warning(
                "%s was made for %s; this model has other weights, so what is forgotten here was "
                "not measured",
                patch.folder,
                patch.record["base"] or "another model",
            )

    @torch.no_grad()
    def _refresh(self, factors: Mapping[str, float] | None = None) -> None:
        """Sets all weights anew; patches with a gate are off but for the factors given."""
        self._watch_prompts()
        shut = dict.fromkeys(self._gates, 0.0)
        scales = {n: s * {**shut, **(factors or {})}.get(n, 1) for n, (_, s) in self._worn.items()}
        parameters = weights_of_pipe(self._pipe)
        for name, value in self._before.items():
            parameters[name].copy_(value)
        self._before = {}
        for patch, _ in self._worn.values():
            if patch.is_lora or not scales[patch.name]:
                continue
            for name, value in load_file(patch.file).items():
                parameter = parameters[name]
                self._before.setdefault(name, parameter.detach().clone())
                parameter.add_(
                    value.to(parameter.device, parameter.dtype), alpha=scales[patch.name]
                )
        adapters = {n: scales[n] for n, (patch, _) in self._worn.items() if patch.is_lora}
        for layer in self._layers() if adapters else ():
            ours = [name for name in adapters if name in layer.scaling and adapters[name]]
            layer.set_adapter([*self._not_ours(layer), *ours])
            for name in ours:
                layer.set_scale(name, adapters[name])

    def _watch_prompts(self) -> None:
        """Looks at the prompts of each call of the pipeline while a patch has a gate."""
        if not self._gates:
            vars(self._pipe).pop("encode_prompt", None)
        elif "encode_prompt" not in vars(self._pipe):
            encode = self._pipe.encode_prompt

            @functools.wraps(encode)
            def gated(prompt: str | list[str], *args: object, **kwargs: object) -> object:
                prompts = [prompt] if isinstance(prompt, str) else list(prompt or [])
                self._refresh()  # gates read by the text encoder without their patches
                self._refresh({n: one.of_all(prompts) for n, one in self._gates.items()})
                return encode(prompt, *args, **kwargs)

            self._pipe.encode_prompt = gated
