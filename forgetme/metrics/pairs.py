"""How well the rest of a picture was kept: PSNR and SSIM outside the mask."""

from __future__ import annotations

import cv2
import numpy as np

from forgetme.errors import EmptyRegionError

SIGMA = 1.5  # px of SSIM's Gaussian window
WINDOW = 11  # px


def _checked(original: np.ndarray, edited: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if original.shape != edited.shape or mask.shape != original.shape[:2]:
        raise ValueError(
            f"original, edited and mask must be of one size, got {original.shape[:2]}, "
            f"{edited.shape[:2]} and {mask.shape}"
        )
    outside = ~mask.astype(bool)
    if not outside.any():
        raise EmptyRegionError("the mask covers everything, so nothing outside it can be compared")
    return outside


def outer_psnr(original: np.ndarray, edited: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio outside the mask, dB; inf = unchanged, higher is better.

    Args:
        original: (H, W, 3) uint8.
        edited: (H, W, 3) uint8.
        mask: (H, W) bool, the region that may change.
    """
    outside = _checked(original, edited, mask)
    error = (original[outside].astype(np.float64) - edited[outside]) ** 2
    mean = error.mean()
    return float("inf") if mean == 0 else float(10 * np.log10(255**2 / mean))


def outer_ssim(original: np.ndarray, edited: np.ndarray, mask: np.ndarray) -> float:
    """Structural similarity outside the mask, up to 1 = unchanged; higher is better.

    The mean of SSIM's map over the pixels outside the mask and over the channels. Inside the mask
    both pictures show the original, so that windows at its rim compare the outside only.

    Args:
        original: (H, W, 3) uint8, at least 11 px a side.
        edited: (H, W, 3) uint8.
        mask: (H, W) bool, the region that may change.

    **Source**: Wang et al. 2004, with the Gaussian window of 11 px and sigma 1.5.
    """
    outside = _checked(original, edited, mask)
    if min(outside.shape) < WINDOW:
        raise ValueError(f"SSIM needs at least {WINDOW} px a side, got {outside.shape}")
    x = original.astype(np.float64)
    y = np.where(outside[..., None], edited, original).astype(np.float64)

    def smooth(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = smooth(x), smooth(y)
    xx, yy, xy = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
    top = (2 * mx * my + c1) * (2 * xy + c2)
    bottom = (mx * mx + my * my + c1) * (xx + yy + c2)
    return float((top / bottom)[outside].mean())
