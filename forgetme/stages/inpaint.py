"""Fill a hole without a prompt: LaMa, behind one call that leaves the rest of the image alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import ndimage
from simple_lama_inpainting import SimpleLama

from forgetme.errors import EmptyRegionError, MissingModelError
from forgetme.record import masks
from forgetme.stages.checkpoint import cause_of

_MIN_SIDE = 16  # px; below it LaMa's reflected borders are wider than its smallest feature map


class _Lama(SimpleLama):
    """SimpleLama from a given file, on a given device.

    The vendor's constructor takes the path from an environment variable, downloads when it is not
    set, and fails on a machine without the device that the file was saved from.
    """

    def __init__(self, path: Path, device: str) -> None:
        with warnings.catch_warnings():  # LaMa is published as TorchScript and nothing else
            warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
            self.model = torch.jit.load(str(path), map_location=device).eval()
        self.device = torch.device(device)


class Inpainter:
    """A LaMa checkpoint that fills masked pixels from their surroundings.

    Args:
        path: TorchScript file with LaMa's signature, `(image (1,3,H,W) float in [0,1],
            mask (1,1,H,W) int64, 1 = hole) -> (1,3,H,W) float`, H and W multiples of 8.
        device: Where the model runs, "cpu" or "cuda".
        scale: Longest side in pixels at which the model works best: 256 for the bundled filler,
            1024 for big-lama. Crops above it are filled at this scale and enlarged.
        made_by: Name recorded with every fill.

    Raises:
        MissingModelError: The file is absent or is not a TorchScript model.

    **Source**: Suvorov et al. 2021, "Resolution-robust Large Mask Inpainting with Fourier
    Convolutions", through `simple_lama_inpainting`. The composite with the input, the crop and the
    removal of the padding are ours.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "cpu",
        scale: int = 1024,
        made_by: str = "lama",
    ) -> None:
        """Loads the model; the arguments are those of the class."""
        if not Path(path).is_file():
            raise MissingModelError(
                f"no LaMa weights at {path}; give the path of a TorchScript file"
            )
        try:
            self._lama = _Lama(Path(path), device)
        except RuntimeError as error:
            raise MissingModelError(
                f"{path} is not a TorchScript model that this torch can read; "
                f"download or train it again ({cause_of(error)})"
            ) from error
        self.scale = scale
        self.made_by = made_by

    def __call__(self, image: np.ndarray, mask: np.ndarray, *, pad: float = 0.5) -> np.ndarray:
        """Returns the image with the masked pixels painted from what surrounds them.

        Args:
            image: HxWx3 uint8 RGB.
            mask: HxW bool, True = paint here. Several separate holes are fine.
            pad: Context on each side of a hole, as a share of its longest side. The crop never
                shows less than `scale` pixels where the image has them.

        Returns:
            HxWx3 uint8, byte-identical to `image` wherever the mask is False. A copy of `image`
            when the mask is empty.

        Raises:
            ValueError: The mask does not fit the image.
            EmptyRegionError: The mask covers the whole image, so nothing is left to paint from.
        """
        masks.check_mask(mask, image)
        if mask.all() and mask.size:
            raise EmptyRegionError(
                "the mask must leave some of the image to paint from, got a mask that covers "
                "all of it; shrink the mask"
            )
        result = image.copy()
        left = mask.copy()  # holes that are still unpainted; later crops see the earlier fills
        for hole in _groups(mask, pad, self.scale):
            window = _window(hole, pad, self.scale)
            painted = self._paint(result[window], left[window])
            inside = hole[window]
            result[window][inside] = painted[inside]
            left &= ~hole
        return result

    def _paint(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        height, width = mask.shape
        factor = min(1.0, self.scale / max(height, width))
        factor = max(factor, _MIN_SIDE / min(height, width))
        if factor == 1:
            return self._run(image, mask)
        size = (max(_MIN_SIDE, round(width * factor)), max(_MIN_SIDE, round(height * factor)))
        # INTER_AREA touches exactly the covered pixels, so no masked colour leaks past the mask.
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        small_mask = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        if small_mask.all():  # an extreme shape: the known rim is thinner than one small pixel
            return self._run(image, mask)
        painted = self._run(small, small_mask)
        return cv2.resize(painted, (width, height), interpolation=cv2.INTER_CUBIC)

    def _run(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        height, width = mask.shape
        painted = self._lama(np.ascontiguousarray(image), mask.astype(np.uint8) * 255)
        return np.asarray(painted)[:height, :width]  # the vendor returns the padded size


def _groups(mask: np.ndarray, pad: float, scale: int) -> Iterator[np.ndarray]:
    """Splits a mask into holes that are filled together: all of them where one crop holds all."""
    if not mask.any():
        return
    rows, columns = _window(mask, pad, scale)
    if max(rows.stop - rows.start, columns.stop - columns.start) <= scale:
        yield mask
        return
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * (scale // 8) + 1,) * 2, np.uint8))
    labels, count = ndimage.label(near)
    for label in range(1, count + 1):
        yield mask & (labels == label)


def _window(mask: np.ndarray, pad: float, scale: int) -> tuple[slice, slice]:
    """Takes the rows and columns to show the model: box, padding, and at least `scale` pixels."""
    x, y, w, h = masks.box_xywh(mask)
    margin = round(pad * max(w, h))
    return (
        _span(y, h, margin, scale, mask.shape[0]),
        _span(x, w, margin, scale, mask.shape[1]),
    )


def _span(start: int, length: int, margin: int, least: int, limit: int) -> slice:
    size = min(max(length + 2 * margin, least), limit)
    first = start + length // 2 - size // 2
    first = min(max(first, 0), limit - size)
    return slice(first, first + size)
