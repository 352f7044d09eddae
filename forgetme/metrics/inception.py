"""Inception's features for FID and KID, by torch-fidelity, from a file of published weights."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forgetme.errors import MissingModelError

BATCH = 16
RESIZE = "tf1-bilinear"  # distances of other resizings are not comparable; results record it


class Inception:
    """Pictures to 2048 features, the way FID was defined.

    Args:
        weights: `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity's release.
        device: "cpu" or "cuda".

    Raises:
        MissingModelError: the file, or torch-fidelity, is not there, or it is of something else.

    **Source**: Heusel et al. 2017, with the network of 2015 as `torch_fidelity` ported it.
    """

    def __init__(self, weights: str | Path, *, device: str = "cpu") -> None:
        """Loads the network; the arguments are those of the class."""
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise MissingModelError(
                'FID and KID need torch-fidelity: pip install "torch-fidelity>=0.4"'
            ) from error
        if not Path(weights).is_file():
            raise MissingModelError(
                f"{weights}: no Inception weights; download "
                "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's release v0.2.0 "
                "and name it with --inception"
            )
        self._device = device
        try:
            self._network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=_plain(weights)
            ).to(device)
        except Exception as error:  # torch raises a dozen kinds for a damaged file
            raise MissingModelError(
                f"{weights} does not hold plain tensors of Inception's weights; get the file again "
                "from torch-fidelity's release v0.2.0"
            ) from error
        self._network.eval()

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures, each (H, W, 3) uint8 of one size, to (N, 2048) float32."""
        import torch

        parts = []
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                pixels = torch.from_numpy(np.stack(images[start : start + BATCH]))
                pixels = pixels.permute(0, 3, 1, 2).contiguous().to(self._device)
                parts.append(self._network(pixels)[0].float().cpu().numpy())
        return np.concatenate(parts)


def _plain(weights: str | Path) -> io.BytesIO:
    """The tensors of a file alone: torch-fidelity would run what objects bring with them."""
    import torch

    plain = io.BytesIO()
    torch.save(torch.load(weights, map_location="cpu", weights_only=True), plain)
    plain.seek(0)
    return plain
