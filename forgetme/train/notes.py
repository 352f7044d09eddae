"""Which model a patch was made for: a few of its weights, compared whatever their precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from forgetme.train.model import ENCODERS, core_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffusers import DiffusionPipeline

VALUES = 64  # weights that are noted
NEAR = 0.01  # relative; bfloat16 is off by 0.004 at most, another training by more
TINY = 1e-4  # absolute; below it float16 has few digits


def own_weights(unet: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """A U-Net's own weights by their names without adapters."""
    return {
        name.replace(".base_layer.", "."): parameter
        for name, parameter in unet.named_parameters()
        if "lora_" not in name
    }


def weights_of_pipe(pipe: DiffusionPipeline) -> dict[str, torch.nn.Parameter]:
    """A pipeline's own weights that a patch may change, as patches name them."""
    roots = {"": core_of(pipe)}
    roots |= {f"{one}.": part for one in ENCODERS if (part := getattr(pipe, one, None)) is not None}
    return {
        f"{start}{name}": value
        for start, part in roots.items()
        for name, value in own_weights(part).items()
    }


def notes_of(unet: torch.nn.Module) -> dict[str, float]:
    """Notes the first value of tensors spread evenly over a model, by the tensors' names."""
    weights = own_weights(unet)
    names = [name for name in sorted(weights) if weights[name].ndim > 1]  # norms start alike
    chosen = names[:: max(1, len(names) // VALUES)]
    return {name: float(weights[name].detach().flatten()[0]) for name in chosen}


def is_same(unet: torch.nn.Module, notes: Mapping[str, float]) -> bool:
    """Tells whether a model has the weights that were noted, rounding aside."""
    weights = own_weights(unet)
    return all(
        name in weights
        and abs(float(weights[name].detach().flatten()[0]) - value) <= NEAR * abs(value) + TINY
        for name, value in notes.items()
    )
