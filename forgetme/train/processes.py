"""Several processes that train one model: each takes its share of every batch.

A run's result depends on its settings and not on the number of processes: `batch` counts the
pictures of all of them. Every process draws the whole batch from the same seed and keeps its own
rows; the gradients are averaged.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator, PartialState

from forgetme.errors import ForgetmeError
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

PATIENCE = timedelta(hours=6)  # one process draws and probes while the others wait
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def join(pipe: DiffusionPipeline, settings: RunSettings) -> Accelerator:
    """Joins the processes that `accelerate launch` or `torchrun` started; alone, a team of one.

    Puts the pipeline on this process's device where there are several. Precision stays with the
    run's settings: accelerate's own is one for the life of a process.

    Raises:
        ForgetmeError: the batch cannot be shared equally.
    """
    # Made first, since an Accelerator told of the device refuses another kind ever after.
    state = PartialState(cpu=pipe.device.type == "cpu", timeout=PATIENCE)
    if settings.batch % state.num_processes:
        near = -(-settings.batch // state.num_processes) * state.num_processes
        raise ForgetmeError(
            f"a batch of {settings.batch} cannot be shared by {state.num_processes} processes: it "
            f"counts the pictures of all of them; take --batch {near}"
        )
    accelerator = Accelerator(mixed_precision="no", device_placement=False)
    if accelerator.num_processes > 1:
        pipe.to(accelerator.device)
    if settings.precision == "no":
        pipe.to(torch.float32)
    return accelerator


def halve_frozen(unet: torch.nn.Module, settings: RunSettings) -> None:
    """On a GPU, keeps the weights that do not move in the half precision they are used in."""
    half = HALF.get(settings.precision)
    for parameter in unet.parameters():
        if half and parameter.is_cuda and not parameter.requires_grad:
            parameter.data = parameter.data.to(half)


def autocast(device: torch.device, settings: RunSettings, enabled: bool = True) -> torch.autocast:
    """Mixed precision as the settings say; it does nothing for "no"."""
    half = HALF.get(settings.precision)
    enabled = enabled and half is not None
    return torch.autocast(device.type, half or torch.bfloat16, enabled=enabled)


def rows_of(accelerator: Accelerator, batch: int) -> slice:
    """The rows of a batch that are this process's share."""
    share = batch // accelerator.num_processes
    return slice(share * accelerator.process_index, share * (accelerator.process_index + 1))


def any_asked(accelerator: Accelerator, asked: bool) -> bool:
    """Tells whether one of the processes was asked to stop: then all stop after the same step."""
    if accelerator.num_processes == 1:
        return asked
    flag = torch.tensor(float(asked), device=accelerator.device)
    return accelerator.reduce(flag, "sum").item() > 0
