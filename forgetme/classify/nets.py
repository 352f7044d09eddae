"""ResNet-18 for small pictures, as the classification benchmarks of unlearning use it."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

# Of CIFAR-10's training pictures, in [0, 1].
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


class ResNet18(nn.Module):
    """A ResNet-18 whose first layer keeps the size: 3x3, stride 1, no max-pool.

    **Source**: He et al., Deep residual learning, 2016; the stem is that of SalUn's code.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        """Makes the layers.

        Args:
            classes: number of answers.
            width: channels of the first stage; 64 is the published net, fewer are for a CPU.
        """
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        ]  # fmt: skip
        channels = width
        for stage in range(4):
            for block in range(2):
                wide, stride = width * 2**stage, 2 if stage and not block else 1
                shortcut = None
                if stride > 1 or channels != wide:
                    shortcut = nn.Sequential(
                        nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)
                    )
                layers.append(BasicBlock(channels, wide, stride, shortcut))
                channels = wide
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Gives logits (N, classes) for images (N, 3, S, S) uint8."""
        x = (images.float() / 255 - self.mean) / self.std
        return self.fc(self.features(x))
