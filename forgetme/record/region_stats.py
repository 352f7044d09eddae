"""Means, spreads and RMSE of pixels inside and outside a mask: Eq. 2, 7 and 8 of Entangled."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

Channels = Literal["pooled", "gray", "per_channel"]
FLAT_SIGMA = 1e-9  # far below the spread of any 8-bit image; less is rounding, as BLAS adds it up


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of one population, inside and outside the mask."""

    mu_inner: float
    mu_outer: float
    sigma_inner: float
    sigma_outer: float


def rmse(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Eq. 2 inside and outside, pooled over channels."""
    if after.dtype == np.uint8:
        import cv2

        squares = round(cv2.norm(before, after, cv2.NORM_L2SQR))
        squares_in = round(cv2.norm(before, after, cv2.NORM_L2SQR, inside.view(np.uint8)))
        squares_out = squares - squares_in
        scale = 255.0
    else:
        difference = before - after
        squares_in, squares_out = _sums((difference * difference), inside)
        scale = 1.0
    n_inner = np.count_nonzero(inside) * after.shape[2]
    n_outer = after.size - n_inner
    return sqrt(squares_in / n_inner) / scale, sqrt(squares_out / n_outer) / scale


def spreads_of(image: np.ndarray, inside: np.ndarray, channels: Channels) -> list[Spread]:
    """Eq. 7 and 8 for each population."""
    if channels == "per_channel":
        populations = [np.ascontiguousarray(image[..., i]) for i in range(image.shape[2])]
    else:
        populations = [image]
    measure = _spread_uint8 if image.dtype == np.uint8 else _spread_float
    return [measure(population, inside) for population in populations]


def _spread_uint8(population: np.ndarray, inside: np.ndarray) -> Spread:
    """Exact: whole-number sums of the whole image and of the inside; their difference is outside.

    No pixel is gathered by index; OpenCV sums 8-bit values in one vectorised pass.
    """
    import cv2

    values = population.reshape(*inside.shape, -1)
    masked = cv2.copyTo(values, inside.view(np.uint8))  # 0 outside
    n_inner = int(np.count_nonzero(inside)) * values.shape[2]
    n_outer = values.size - n_inner
    total, total_in = (round(sum(cv2.sumElems(v))) for v in (values, masked))
    squares, squares_in = (round(cv2.norm(v, cv2.NORM_L2SQR)) for v in (values, masked))

    def sigma(n: int, total: int, squares: int) -> float:
        return sqrt(n * squares - total**2) / (255 * n)

    return Spread(
        mu_inner=total_in / (255 * n_inner),
        mu_outer=(total - total_in) / (255 * n_outer),
        sigma_inner=sigma(n_inner, total_in, squares_in),
        sigma_outer=sigma(n_outer, total - total_in, squares - squares_in),
    )


def _spread_float(population: np.ndarray, inside: np.ndarray) -> Spread:
    """Two passes, so that a flat region has no spread."""
    values = population.reshape(*inside.shape, -1)
    n_inner = int(np.count_nonzero(inside)) * values.shape[2]
    counts = (n_inner, values.size - n_inner)
    means = [total / n for total, n in zip(_sums(values, inside), counts, strict=True)]
    centred = values - np.where(inside, *means)[..., None]
    shifts = [total / n for total, n in zip(_sums(centred, inside), counts, strict=True)]
    squares = _sums(centred * centred, inside)
    sigmas = [
        sqrt(max(total / n - shift**2, 0.0))
        for total, n, shift in zip(squares, counts, shifts, strict=True)
    ]
    return Spread(
        *(mu + shift for mu, shift in zip(means, shifts, strict=True)),
        *(sigma if sigma > FLAT_SIGMA else 0.0 for sigma in sigmas),
    )


def _sums(values: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Adds up (H, W, C) values inside and outside as one matrix product."""
    weights = np.empty((2, inside.size))
    weights[0] = inside.ravel()
    weights[1] = 1 - weights[0]
    total_in, total_out = (weights @ values.reshape(inside.size, -1)).sum(axis=1)  # (2, C)
    return float(total_in), float(total_out)
