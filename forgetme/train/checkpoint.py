"""The state of a run on disk: weights and Adam's moments, replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

NAME = "checkpoint.safetensors"


def save(
    folder: Path, step: int, chosen: dict[str, torch.nn.Parameter], optimizer: torch.optim.Adam
) -> None:
    """Writes the state after `step` steps.

    Args:
        folder: of the run.
        step: steps done.
        chosen: trained parameters by name.
        optimizer: over exactly these, in this order.
    """
    tensors = {}
    for name, parameter in chosen.items():
        tensors[f"weight/{name}"] = parameter.detach()
        for moment, value in optimizer.state[parameter].items():
            tensors[f"{moment}/{name}"] = value.detach()
    tensors = {name: value.cpu().contiguous() for name, value in tensors.items()}
    path = folder / NAME
    save_file(tensors, path.with_suffix(".tmp"), metadata={"step": str(step)})
    os.replace(path.with_suffix(".tmp"), path)


def load(folder: Path, chosen: dict[str, torch.nn.Parameter], optimizer: torch.optim.Adam) -> int:
    """Brings back what `save` wrote; returns the steps done, 0 where there is no checkpoint.

    Raises:
        ValueError: the checkpoint is of other weights.
    """
    path = folder / NAME
    if not path.is_file():
        return 0
    tensors = load_file(path)
    wanted = {f"weight/{name}" for name in chosen}
    found = {name for name in tensors if name.startswith("weight/")}
    if found != wanted:
        raise ValueError(
            f"{path} holds {len(found)} trained weights, this run has {len(wanted)}: it is of "
            "other settings; take another --out folder"
        )
    for name, parameter in chosen.items():
        parameter.data.copy_(tensors[f"weight/{name}"])
        state = {
            moment: tensors[f"{moment}/{name}"]
            for moment in ("step", "exp_avg", "exp_avg_sq")
            if f"{moment}/{name}" in tensors
        }
        if state:
            device = {m: "cpu" if m == "step" else parameter.device for m in state}
            optimizer.state[parameter] = {m: v.to(device[m]) for m, v in state.items()}
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])
