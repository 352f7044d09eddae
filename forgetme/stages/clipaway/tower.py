"""AlphaCLIP: a CLIP picture encoder that an alpha channel tells where to look."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

from forgetme.stages.checkpoint import UNREADABLE, unusable

ALPHA_MEAN, ALPHA_STD = 0.5, 0.26  # of an alpha channel in [0, 1], as published
HEAD_WIDTH = 64  # channels of an attention head in every vision transformer of CLIP
NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": HEAD_WIDTH, "heads": 1, "layers": 1}


class AlphaClip:
    """The picture encoder of AlphaCLIP.

    Args:
        visual: A tower of open_clip whose first convolution `add_alpha` has widened; on its
            device, in eval mode.
        mean: Pixel mean of each channel, of [0, 1].
        std: Pixel standard deviation of each channel.

    **Source**: Sun et al. 2024, "Alpha-CLIP: A CLIP Model Focusing on Wherever You Want". Picture
    and alpha are both squashed to the tower's square; the published code centre-crops the picture
    alone, which agrees only for square pictures.
    """

    def __init__(
        self,
        visual: torch.nn.Module,
        *,
        mean: Sequence[float] = open_clip.OPENAI_DATASET_MEAN,
        std: Sequence[float] = open_clip.OPENAI_DATASET_STD,
    ) -> None:
        """Keeps the tower; the arguments are those of the class."""
        self.visual = visual
        size = visual.image_size
        self.size: int = size if isinstance(size, int) else size[0]
        self.dim: int = _dim(visual)
        self._mean = torch.tensor([*mean, ALPHA_MEAN]).view(4, 1, 1)
        self._std = torch.tensor([*std, ALPHA_STD]).view(4, 1, 1)

    @torch.no_grad()
    def __call__(self, images: np.ndarray, alphas: np.ndarray) -> torch.Tensor:
        """Embeds pictures as seen where their alpha is True.

        Args:
            images: (N, H, W, 3) uint8 RGB.
            alphas: (N, H, W) bool.

        Returns:
            (N, `dim`) float32 on the tower's device, not normalised.
        """
        weight = self.visual.get_submodule(_first(self.visual)).weight
        return self.visual(self.pixels(images, alphas).to(weight.device, weight.dtype)).float()

    def pixels(self, images: np.ndarray, alphas: np.ndarray) -> torch.Tensor:
        """What the tower is fed: (N, 4, `size`, `size`) float32, picture and alpha normalised."""
        rgb = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
        alpha = torch.from_numpy(np.array(alphas, np.float32))[:, None]
        shape = (self.size, self.size)
        resize = torch.nn.functional.interpolate
        rgb = resize(rgb, shape, mode="bicubic", antialias=True).clamp(0, 1)
        alpha = resize(alpha, shape, mode="bilinear", antialias=True)
        return (torch.cat([rgb, alpha], 1) - self._mean) / self._std


def add_alpha(visual: torch.nn.Module) -> torch.nn.Module:
    """Widens the first convolution by an alpha channel of weight zero, in place.

    One convolution over four channels is the sum of the published two, over picture and alpha.
    """
    first = visual.get_submodule(_first(visual))
    old = first.weight.data
    wide = torch.cat([old, old.new_zeros(len(old), 1, *old.shape[2:])], 1)
    first.weight, first.in_channels = torch.nn.Parameter(wide, first.weight.requires_grad), 4
    return visual


def _first(visual: torch.nn.Module) -> str:
    """The name of a tower's first convolution: CLIP's own, or that of a tower of timm's."""
    return "trunk.conv_stem" if hasattr(visual, "trunk") else "conv1"


def _dim(visual: torch.nn.Module) -> int:
    return visual.head.proj.out_features if hasattr(visual, "trunk") else visual.output_dim


def published_tensors(visual: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tower's tensors under their published names, `conv1_alpha` beside `conv1`.

    A tower of timm's has its own names, with `conv_stem_alpha` beside `conv_stem`.
    """
    first = _first(visual)
    state = {k.replace(".in_proj_", ".in_proj."): v for k, v in visual.state_dict().items()}
    wide = state.pop(f"{first}.weight")
    return {**state, f"{first}.weight": wide[:, :3], f"{first}_alpha.weight": wide[:, 3:]}


def load_alpha_clip(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    config: Mapping[str, Any] | None = None,
    mean: Sequence[float] = open_clip.OPENAI_DATASET_MEAN,
    std: Sequence[float] = open_clip.OPENAI_DATASET_STD,
) -> AlphaClip:
    """Loads a picture tower in AlphaCLIP's published format.

    Args:
        path: `.safetensors`, or `.pth` of plain tensors.
        device: "cpu", "cuda", ...
        config: What open_clip.CLIP takes, without its text tower; None = a vision transformer of
            OpenAI's kind, as large as the tensors say.
        mean: Pixel mean of each channel, of [0, 1].
        std: Pixel standard deviation of each channel.

    Raises:
        MissingModelError: The file is damaged, or a tensor is missing, left over or of a wrong
            shape.
    """
    path = Path(path)
    try:
        state = {k: v.float() for k, v in read_tensors(path).items()}
        visual = build_tower(config or _transformer_config(state))
        first = _first(visual)
        names = (f"{first}.weight", f"{first}_alpha.weight")
        wide = torch.cat([state.pop(name) for name in names], 1)
        state = {k.replace(".in_proj.", ".in_proj_"): v for k, v in state.items()}
        visual.load_state_dict({**state, names[0]: wide})
    except UNREADABLE as error:
        raise unusable(path, "the picture tower of an AlphaCLIP", error) from error
    return AlphaClip(visual.to(device).eval().requires_grad_(False), mean=mean, std=std)


def build_tower(config: Mapping[str, Any]) -> torch.nn.Module:
    """A tower with alpha and random weights; `config` is open_clip's, its text part unread."""
    return add_alpha(open_clip.CLIP(**{**config, "text_cfg": NO_TEXT}).visual)


def read_tensors(path: Path) -> dict[str, Any]:
    """Reads tensors from safetensors, or from a pickle that may hold nothing else."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _transformer_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Reads the size of a vision transformer off its tensors, as OpenAI's loader does."""
    width, _, patch, _ = state["conv1.weight"].shape
    grid = round((state["positional_embedding"].shape[0] - 1) ** 0.5)
    layers = {name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")}
    vision = {
        "image_size": grid * patch,
        "layers": len(layers),
        "width": width,
        "head_width": HEAD_WIDTH,
        "patch_size": patch,
    }
    return {"embed_dim": state["proj"].shape[1], "quick_gelu": True, "vision_cfg": vision}
