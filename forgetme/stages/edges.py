"""Snaps soft masks to the edges of their image: the guided filter."""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)


class Guide:
    """An image that masks are snapped to; what depends on the image alone is computed once.

    Around each pixel a mask is fitted as a linear function of the colours there, so it may change
    where the colours do and nowhere else.

    **Source**: He, Sun, Tang 2013, "Guided Image Filtering", equations 11 and 19 to 21 (a colour
    guide). Windows are cut off at the border.
    """

    def __init__(self, image: torch.Tensor, radius: int, smooth: float) -> None:
        """Looks at the image.

        Args:
            image: (3, H, W) float in [0, 1].
            radius: of the square window, pixels.
            smooth: variance of the colours below which a window counts as flat, the paper's eps.
        """
        self._image, self._radius = image[None], radius
        self._mean = self._box(self._image)  # (1, 3, H, W)
        # In float64: where all is grey, the covariance has rank 1, and in float32 its inverse is
        # the difference of numbers that are equal.
        exact = self._image.double()
        product = exact[:, :, None] * exact[:, None]  # (1, 3, 3, H, W)
        mean = self._box(exact)
        covariance = self._box(product.flatten(1, 2)).view_as(product)
        covariance = covariance - mean[:, :, None] * mean[:, None]
        flat = smooth * torch.eye(3, device=image.device)[..., None, None]
        self._inverse = _inverse(covariance + flat).to(image.dtype)

    def snap(self, masks: torch.Tensor) -> torch.Tensor:
        """Filters masks (N, H, W), float of any range; returns the same shape."""
        masks = masks[:, None]
        mean = self._box(masks)
        shared = self._box(self._image * masks) - self._mean * mean  # (N, 3, H, W)
        slope = torch.einsum("ncdhw,mdhw->mchw", self._inverse, shared)
        offset = mean - (slope * self._mean).sum(1, keepdim=True)
        fitted = (self._box(slope) * self._image).sum(1, keepdim=True) + self._box(offset)
        return fitted[:, 0]

    def _box(self, x: torch.Tensor) -> torch.Tensor:
        """Mean over each pixel's window, one axis after the other."""
        r = self._radius
        x = F.avg_pool2d(x, (2 * r + 1, 1), 1, (r, 0), count_include_pad=False)
        return F.avg_pool2d(x, (1, 2 * r + 1), 1, (0, r), count_include_pad=False)


def _inverse(matrices: torch.Tensor) -> torch.Tensor:
    """Inverse of symmetric matrices (1, 3, 3, H, W); many times faster than one LU a pixel."""
    first, second, third = matrices.unbind(1)  # rows (1, 3, H, W)
    adjugate = torch.stack([_cross(second, third), _cross(third, first), _cross(first, second)], 2)
    determinant = (first * adjugate[:, :, 0]).sum(1)
    return adjugate / determinant[:, None, None]


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.linalg.cross(a, b, dim=1)
