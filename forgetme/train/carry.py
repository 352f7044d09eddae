"""Patches that travel: as differences, as LoRA for other programs, inside a pipeline, or stacked.

**Source** of LoRA by singular values: Eckart and Young 1936; the best matrices of a rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import pad

from forgetme.errors import ForgetmeError
from forgetme.train.disk import replacing, writing
from forgetme.train.model import ENCODERS
from forgetme.train.notes import weights_of_pipe
from forgetme.train.patch import LORA_FILE, UP, Patch, shapes_of, write_delta

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Format = Literal["diffusers", "kohya"]


def deltas(patch: Patch) -> dict[str, torch.Tensor]:
    """The differences W - W0 that a patch makes at scale 1, by the weights' names.

    Raises:
        ForgetmeError: its file is missing or damaged.
    """
    shapes_of(patch)
    tensors = load_file(patch.file)
    if not patch.is_lora:
        return tensors
    sides: dict[str, dict[bool, torch.Tensor]] = {}
    for name, value in tensors.items():
        layer = name.rpartition(".lora")[0].removeprefix("unet.").removeprefix("transformer.")
        sides.setdefault(f"{layer}.weight", {})[name.endswith(UP)] = value
    return {name: pair[True] @ pair[False] for name, pair in sides.items()}


@torch.no_grad()
def add(pipe: DiffusionPipeline, patch: Patch, scale: float = 1.0) -> None:
    """Adds a patch to a pipeline's weights, for good.

    Raises:
        ForgetmeError: it is of another model.
    """
    weights, found = weights_of_pipe(pipe), deltas(patch)
    other = [n for n, d in found.items() if n not in weights or weights[n].shape != d.shape]
    if other:
        raise ForgetmeError(
            f"{patch.folder} changes {other[0]}, which this model does not have; it was made for "
            f"{patch.record['base'] or 'another model'}: open that one"
        )
    for name, delta in found.items():
        weight = weights[name]
        weight.add_(delta.to(weight.device, weight.dtype), alpha=scale)


def lora_of(
    found: Mapping[str, torch.Tensor], rank: int, network: str
) -> tuple[dict[str, torch.Tensor], float]:
    """Differences as LoRA matrices of a rank, by singular values.

    Args:
        found: differences by name.
        rank: of each matrix at most.
        network: what the pipeline calls the network whose names have no beginning.

    Returns:
        Matrices by diffusers' names; and the share of the differences, as root of summed squares,
        that they leave out: 0 = nothing, 1 = all. What is no matrix is left out.
    """
    layers, lost, total = {}, 0.0, 0.0
    sides = [min(delta.flatten(1).shape) for delta in found.values() if delta.ndim > 1]
    rank = most = min(rank, max(sides, default=0))
    for name, delta in found.items():
        square = float(delta.double().square().sum())
        total += square
        if delta.ndim < 2 or not name.endswith(".weight"):
            lost += square
            continue
        u, s, v = torch.linalg.svd(delta.flatten(1).double(), full_matrices=False)
        lost += float(s[rank:].square().sum())
        part = s[:rank].sqrt()
        up, down = (u[:, :rank] * part).float(), (part[:, None] * v[:rank]).float()
        more = most - len(part)  # one rank for all: loaders take a scale from it
        up, down = (pad(up, (0, more)), pad(down, (0, 0, 0, more)))
        if delta.ndim == 4:
            up, down = up[..., None, None], down.unflatten(1, tuple(delta.shape[1:]))
        start = "" if name.startswith(ENCODERS) else f"{network}."
        layer = f"{start}{name.removesuffix('.weight')}"
        layers[f"{layer}.lora_A.weight"] = down.contiguous()
        layers[f"{layer}.lora_B.weight"] = up.contiguous()
    return layers, math.sqrt(lost / total) if total else 0.0


def export_lora(
    patch: Patch, out: Path, *, rank: int = 16, form: Format = "diffusers", network: str = "unet"
) -> float:
    """Writes a patch as one LoRA file that `load_lora_weights`, ComfyUI and A1111 read.

    Args:
        patch: of either kind.
        out: a folder for "diffusers", or a file that ends in .safetensors.
        rank: of the matrices; a difference of a lower rank is kept whole.
        form: whose names the matrices have.
        network: what the pipeline calls the network that predicts.

    Returns:
        The share of the patch that is lost, see `lora_of`.

    Raises:
        ForgetmeError: nothing of it is a matrix, or the file is there already.
    """
    layers, error = lora_of(deltas(patch), rank, network)
    if not layers:
        raise ForgetmeError(f"{patch.folder} changes no matrix, so no LoRA can say what it does")
    if form == "kohya":
        from diffusers.utils import convert_state_dict_to_kohya

        layers = {
            name.replace(f"lora_{network}_{network}_", f"lora_{network}_"): value.contiguous()
            for name, value in convert_state_dict_to_kohya(layers).items()
        }
    path = out if out.suffix == ".safetensors" else out / LORA_FILE
    if path.exists():
        raise ForgetmeError(f"{path} is there already; name another place")
    with writing(path) as new:
        save_file(layers, new)
    return error


def fuse(pipe: DiffusionPipeline, worn: Sequence[tuple[Patch, float]], out: Path) -> None:
    """Writes a whole pipeline's folder with patches in its weights; the pipeline keeps them, too.

    Raises:
        ForgetmeError: the folder is there already, or a patch is of another model.
    """
    if out.exists():
        raise ForgetmeError(f"{out} is there already; name another folder")
    for patch, scale in worn:
        add(pipe, patch, scale)
    with replacing(out) as new:
        pipe.save_pretrained(new)


def stack(worn: Sequence[tuple[Patch, float]], out: Path) -> Patch:
    """Makes one patch of several, each at its scale.

    Raises:
        ForgetmeError: they are of several models, or the folder is there already.
    """
    bases = {patch.record["base"] for patch, _ in worn}
    if len(bases) > 1:
        raise ForgetmeError(f"the patches were made for several models: {', '.join(sorted(bases))}")
    if out.exists():
        raise ForgetmeError(f"{out} is there already; name another folder")
    total: dict[str, torch.Tensor] = {}
    for patch, scale in worn:
        for name, delta in deltas(patch).items():
            total[name] = total.get(name, 0) + scale * delta
    return write_delta(out, total, _record_of(worn))


def _record_of(worn: Sequence[tuple[Patch, float]]) -> dict[str, Any]:
    """The first one's record, with all concepts, and without what held for it alone."""
    concepts = list(dict.fromkeys(one for patch, _ in worn for one in patch.concepts))
    kept = {name: [] for name in ("keep", "watch")}
    for name, found in kept.items():
        for patch, _ in worn:
            found += [o for o in patch.record.get(name, ()) if o not in (*concepts, *found)]
    first = worn[0][0].record
    shared = {name: first[name] for name in ("base", "base_notes", "versions") if name in first}
    parts = [{"name": p.name, "scale": s, "digest": p.digest} for p, s in worn]
    return {
        **shared, "method": "stack", "trains": "full", "concept": concepts[0],
        "also": concepts[1:], **kept, "stacked": parts,
    }  # fmt: skip
