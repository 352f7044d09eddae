"""A second recogniser for the drawn world: no weights, words or training data of CLIP's in it.

What one recogniser sees a patch may hide from it alone; two that were made apart err otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from forgetme.stages.checkpoint import UNREADABLE, existing, unusable

SIZE = 64  # px a side of what it sees
WIDTHS = (32, 64, 128, 192)
BATCH = 64


class Network(nn.Module):
    """A plain residual network: (N, 3, 64, 64) float in [-1, 1] to logits (N, words)."""

    def __init__(self, words: int) -> None:
        """Args: how many words it chooses from."""
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, stride=2, padding=1)
        pairs = zip(WIDTHS, (*WIDTHS[1:], WIDTHS[-1]), strict=True)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in pairs)
        self.head = nn.Linear(WIDTHS[-1], words)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shrinks the picture fourfold and more, then means over what is left."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.GroupNorm(8, a), nn.SiLU(), nn.Conv2d(a, b, 3, 2, 1))
        self.two = nn.Sequential(nn.GroupNorm(8, b), nn.SiLU(), nn.Conv2d(b, b, 3, 1, 1))
        self.skip = nn.Conv2d(a, b, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.two(self.one(x))


class SecondRecogniser:
    """Names what a whole picture shows, among the words it was taught.

    Attributes:
        words: all that it knows.
        made_by: name of its weights.
    """

    def __init__(self, network: Network, words: Sequence[str], made_by: str = "second") -> None:
        """Args: the network in eval mode, its words in the order of its logits, a name."""
        self._network, self.words, self.made_by = network.eval(), tuple(words), made_by

    @torch.no_grad()
    def probabilities(self, images: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
        """Classifies pictures among some of its words.

        Args:
            images: (H, W, 3) uint8 RGB each, of any sizes.
            labels: words that it knows.

        Returns:
            (N, L) float, rows sum to 1.

        Raises:
            ValueError: it was never taught a label.
        """
        unknown = [one for one in labels if one not in self.words]
        if unknown:
            raise ValueError(
                f"{self.made_by} was never taught {', '.join(unknown)}; it knows "
                f"{', '.join(self.words)}"
            )
        columns = [self.words.index(one) for one in labels]
        device = self._network.head.weight.device
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = as_input(images[start : start + BATCH]).to(device)
            parts.append(self._network(pixels)[:, columns].softmax(1).double().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, len(labels)))


def as_input(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures (H, W, 3) uint8 as (N, 3, 64, 64) float32 in [-1, 1], squeezed to squares."""
    small = [cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for one in images]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


def load_second(path: Path, device: str = "cpu") -> SecondRecogniser:
    """Opens weights of ours with their `.json` beside them.

    Raises:
        MissingModelError: a file is missing or damaged.
    """
    path = existing(path, name="second.safetensors")
    words = existing(path.with_suffix(".json"), name="second.json")
    try:
        known = json.loads(words.read_text(encoding="utf-8"))["words"]
        network = Network(len(known))
        network.load_state_dict({name: one.float() for name, one in load_file(path).items()})
    except UNREADABLE as error:
        raise unusable(path, "the second recogniser's weights", error) from error
    return SecondRecogniser(network.to(device), known)
