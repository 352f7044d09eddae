"""From AlphaCLIP's space to the IP-Adapter's, and there away from the object."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from forgetme.stages.checkpoint import UNREADABLE, unusable
from forgetme.stages.clipaway.tower import read_tensors

BLOCKS = 6  # of linear, norm and GELU, before the last linear layer


def build_mapping(given: int, wanted: int) -> torch.nn.Sequential:
    """The published network with random weights.

    Args:
        given: Dimensions of AlphaCLIP's embeddings, 768 as published.
        wanted: Dimensions of the embeddings that the IP-Adapter was trained on, 1024 as published.

    Returns:
        Three blocks of `given` wide, three of `wanted`, and a linear layer; indices 0 to 18.

    **Source**: the code of Ekin et al. 2024, https://github.com/YigitEkin/CLIPAway.
    """
    layers: list[torch.nn.Module] = []
    for block in range(BLOCKS):
        before = given if block <= BLOCKS // 2 else wanted
        after = given if block < BLOCKS // 2 else wanted
        layers += [torch.nn.Linear(before, after), torch.nn.LayerNorm(after), torch.nn.GELU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(wanted, wanted))


def load_mapping(
    path: str | os.PathLike[str], device: str | torch.device = "cpu"
) -> torch.nn.Sequential:
    """Loads the network in its published format, as wide as the tensors say.

    Raises:
        MissingModelError: The file is damaged or holds another network.
    """
    path = Path(path)
    try:
        state = {k: v.float() for k, v in read_tensors(path).items()}
        last = f"{3 * BLOCKS}.weight"
        mapping = build_mapping(state["0.weight"].shape[1], state[last].shape[0])
        mapping.load_state_dict(state)
    except UNREADABLE as error:
        raise unusable(path, "the mapping network of CLIPAway", error) from error
    return mapping.to(device).eval().requires_grad_(False)


def project(background: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Takes out of the background's embedding whatever points along the foreground's.

    Args:
        background: (..., D).
        foreground: (..., D), not zero.

    Returns:
        (..., D), orthogonal to `foreground`.

    **Source**: Ekin et al. 2024, projection block: e_bg - (e_bg . e_fg) / |e_fg|^2 * e_fg.

    Example:
        >>> left = project(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 3.0, 4.0]))
        >>> [round(one, 2) for one in left.tolist()]
        [1.0, -0.16, 0.12]
    """
    along = (background * foreground).sum(-1, keepdim=True)
    return background - along / foreground.square().sum(-1, keepdim=True) * foreground
