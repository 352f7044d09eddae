"""The state of a run on disk: weights and Adam's moments, replaced whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from forgetme.errors import ForgetmeError
from forgetme.stages.checkpoint import tensors_sha
from forgetme.train.disk import writing

NAME = "checkpoint.safetensors"


def save(
    folder: Path,
    step: int,
    chosen: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Adam,
    scaler: torch.amp.GradScaler,
) -> None:
    """Writes the state after `step` steps.

    Args:
        folder: of the run.
        step: steps done.
        chosen: trained parameters by name.
        optimizer: over exactly these, in this order.
        scaler: of the loss; has a state with "fp16" only.

    Raises:
        OSError, SafetensorError: it cannot be written; the one before is untouched.
    """
    tensors = {}
    for name, parameter in chosen.items():
        tensors[f"weight/{name}"] = parameter.detach()
        for moment, value in optimizer.state[parameter].items():
            tensors[f"{moment}/{name}"] = value.detach()
    tensors = {name: value.cpu().contiguous() for name, value in tensors.items()}
    words = {"step": str(step), "scaler": json.dumps(scaler.state_dict())}
    words["sha256"] = tensors_sha(tensors, words["step"], words["scaler"])
    with writing(folder / NAME) as new:
        save_file(tensors, new, metadata=words)


def load(
    folder: Path,
    chosen: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Adam,
    scaler: torch.amp.GradScaler,
) -> int:
    """Brings back what `save` wrote; returns the steps done, 0 where there is no checkpoint.

    Raises:
        ForgetmeError: the checkpoint is damaged, or of other weights.
    """
    path = folder / NAME
    if not path.is_file():
        return 0
    tensors, words = check(folder)
    wanted = {f"weight/{name}": parameter.shape for name, parameter in chosen.items()}
    found = {name: t.shape for name, t in tensors.items() if name.startswith("weight/")}
    if found != wanted:
        raise ForgetmeError(
            f"{path} holds {len(found)} trained weights that are not the {len(wanted)} of this "
            "run: it is of another model or other settings; take another --out folder"
        )
    for name, parameter in chosen.items():
        parameter.data.copy_(tensors[f"weight/{name}"])
        state = {
            moment: tensors[f"{moment}/{name}"]
            for moment in ("step", "exp_avg", "exp_avg_sq")
            if f"{moment}/{name}" in tensors
        }
        if state:
            optimizer.state[parameter] = {
                m: v if m == "step" else torch.empty_like(parameter.data).copy_(v)  # laid as it is
                for m, v in state.items()
            }
    if scaler.is_enabled():
        scaler.load_state_dict(json.loads(words["scaler"]))
    return int(words["step"])


def check(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Reads a checkpoint that is there: its tensors, and the words beside them.

    Raises:
        ForgetmeError: it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return {}, {}
    tensors, words = _read(path)
    written = words.get("sha256")  # a checkpoint of before has none
    if written and written != tensors_sha(tensors, words["step"], words.get("scaler", "")):
        raise _damaged(path, "it is not what was written")
    return tensors, words


def steps(folder: Path) -> int:
    """Returns the steps that are saved, 0 where there is no checkpoint.

    Raises:
        ForgetmeError: the checkpoint is damaged.
    """
    path = folder / NAME
    return int(_read(path, [])[1]["step"]) if path.is_file() else 0


def _read(
    path: Path, names: list[str] | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Reads these tensors, or all, and the words beside them."""
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys()) if names is None else names
            words = file.metadata()
            return {name: file.get_tensor(name) for name in names}, {"step": words["step"], **words}
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, why: object) -> ForgetmeError:
    return ForgetmeError(
        f"{path} is damaged ({why}); bring it back from a backup, or delete it and begin "
        "again from the first step with --resume"
    )
