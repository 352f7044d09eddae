"""Entangled: how well a removal worked, from the original, the edited image and the mask."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, get_args

import numpy as np

from forgetme.errors import EmptyRegionError
from forgetme.record.masks import LUMA_601, as_mask
from forgetme.record.region_stats import Channels, Spread, rmse, spreads_of

Variant = Literal["paper", "released"]
ConsistencyOn = Literal["edited", "original"]

EPS = 1e-6  # the paper's


@dataclass(frozen=True)
class EntangledResult:
    """An Entangled score with all of its parts; None marks a part that needs the original.

    Attributes:
        score: Entangled, [0, 1), higher is better.
        similarity: harmonic mean of "inner changed" and "outer unchanged", [0, 1).
        consistency: ``mean_consistency * var_consistency``, [0, 1).
        s_inner: RMSE inside the mask, [0, 1]; one minus it in the variant "released".
        s_outer: RMSE outside the mask, [0, 1], lower is better.
        mean_consistency: how alike the two regions' means are, [0, 1).
        var_consistency: how alike their spreads are, [0, 1).
        variant: which reading of the paper was used.
        warnings: names out of ``flat_region, black_region, one_pixel_region``.
        mu_inner: mean inside, [0, 1]; averaged over channels for ``channels="per_channel"``.
        mu_outer: mean outside, likewise.
        sigma_inner: population standard deviation inside, [0, 0.5], likewise.
        sigma_outer: population standard deviation outside, likewise.
        n_inner: pixels inside the mask.
        n_outer: pixels outside the mask.
    """

    score: float
    similarity: float | None
    consistency: float
    s_inner: float | None
    s_outer: float | None
    mean_consistency: float
    var_consistency: float
    variant: Variant
    warnings: tuple[str, ...]
    mu_inner: float
    mu_outer: float
    sigma_inner: float
    sigma_outer: float
    n_inner: int
    n_outer: int


def entangled(
    original: np.ndarray | None,
    edited: np.ndarray,
    mask: np.ndarray,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    variant: Variant = "paper",
    consistency_on: ConsistencyOn = "edited",
    channels: Channels = "pooled",
    var_stabilizer: float = 0.0,
    eps: float = EPS,
) -> EntangledResult:
    """Scores a removal: was the object changed, the rest kept, and does the fill blend in?

    Args:
        original: (H, W), (H, W, 3) or (H, W, 4) uint8, or float in [0, 1]; alpha is laid on
            white. None is allowed where ``alpha`` is 0.
        edited: the image with the object removed, same shape.
        mask: (H, W) region that was really filled; any kind that ``masks.as_mask`` reads.
        alpha: weight of the similarity, >= 0.
        beta: weight of the consistency, >= 0.
        variant: "paper" is the printed equations; "released" the authors' published code, whose
            inner term is 1 - RMSE, so that an untouched copy scores best.
        consistency_on: image whose means and spreads are compared.
        channels: "pooled" takes all channels of a region as one population, "gray" takes
            Rec. 601 luma first, "per_channel" averages the consistencies of the channels.
        var_stabilizer: added to numerator and denominator of Eq. 6; 0.03**2 makes two flat
            regions consistent. 0 is the published metric.
        eps: the paper's guard against division by zero.

    Returns:
        The score, in [0, 1), higher is better, with its parts.

    Raises:
        EmptyRegionError: the mask is empty or covers the whole image.
        ValueError: sizes differ, values are NaN or outside [0, 1], an option is unknown, or the
            original is missing where it is needed.

    Source:
        ForgetMe, Eq. 1-8. Departures: the statistics are of the edited image (the prose and
        the authors' code; Eq. 7-8 print the original, ``consistency_on="original"``), and where
        a part is 0 the limit is returned instead of dividing by zero.

    Example:
        >>> import numpy as np
        >>> x = np.array([[1.0, 1.0, 0.5, 0.25]])
        >>> y = np.array([[0.5, 0.25, 0.5, 0.25]])
        >>> round(entangled(x, y, np.array([[True, True, False, False]])).score, 6)
        0.875465
    """
    for name, value, known in (
        ("variant", variant, get_args(Variant)),
        ("consistency_on", consistency_on, get_args(ConsistencyOn)),
        ("channels", channels, get_args(Channels)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if not (alpha >= 0 and beta >= 0 and 0 < alpha + beta < float("inf")):
        raise ValueError(f"alpha and beta must be >= 0, not both 0, got {alpha} and {beta}")
    if original is None and (alpha > 0 or consistency_on == "original"):
        raise ValueError(
            "the original is needed for the similarity and for consistency_on='original'; "
            "give it, or use entangled_s"
        )
    before, after = _pair(original, edited, channels)
    inside = _inside(mask, after)
    n_inner = int(np.count_nonzero(inside))
    n_outer = inside.size - n_inner
    if not (n_inner and n_outer):
        raise EmptyRegionError(
            f"the mask must leave pixels inside and outside, got {n_inner} inside and {n_outer} "
            "outside; choose another mask"
        )

    s_inner = s_outer = similarity = None
    if before is not None:
        s_inner, s_outer = rmse(before, after, inside)
        if variant == "released":
            s_inner = 1 - s_inner
        similarity = _similarity(s_inner, s_outer, eps)
    spreads = spreads_of(before if consistency_on == "original" else after, inside, channels)
    mean_consistency = fmean(_alike(s.mu_inner, s.mu_outer, 0.0, eps) for s in spreads)
    var_consistency = fmean(
        _alike(s.sigma_inner, s.sigma_outer, var_stabilizer, eps) for s in spreads
    )
    consistency = mean_consistency * var_consistency
    return EntangledResult(
        score=combine(similarity, consistency, alpha, beta),
        similarity=similarity,
        consistency=consistency,
        s_inner=s_inner,
        s_outer=s_outer,
        mean_consistency=mean_consistency,
        var_consistency=var_consistency,
        variant=variant,
        warnings=_warnings(spreads, n_inner, n_outer, var_stabilizer),
        mu_inner=fmean(s.mu_inner for s in spreads),
        mu_outer=fmean(s.mu_outer for s in spreads),
        sigma_inner=fmean(s.sigma_inner for s in spreads),
        sigma_outer=fmean(s.sigma_outer for s in spreads),
        n_inner=n_inner,
        n_outer=n_outer,
    )


def entangled_d(
    original: np.ndarray, edited: np.ndarray, mask: np.ndarray, **options: Any
) -> EntangledResult:
    """Scores a removal against its original: Entangled-D ("double"), alpha = beta = 1/2.

    Args:
        original: as ``entangled``.
        edited: as ``entangled``.
        mask: as ``entangled``.
        **options: ``variant, consistency_on, channels, var_stabilizer, eps`` of ``entangled``.

    Returns:
        The score, in [0, 1), higher is better, with its parts.

    Raises:
        EmptyRegionError: the mask is empty or covers the whole image.
        ValueError: as ``entangled``.

    Source:
        ForgetMe, Eq. 1 with the default weights.
    """
    return entangled(original, edited, mask, alpha=0.5, beta=0.5, **options)


def entangled_s(edited: np.ndarray, mask: np.ndarray, **options: Any) -> EntangledResult:
    """Scores a removal without its original: Entangled-S ("single"), the consistency alone.

    Args:
        edited: as ``entangled``.
        mask: as ``entangled``.
        **options: ``variant, channels, var_stabilizer, eps`` of ``entangled``.

    Returns:
        The score, in [0, 1), higher is better; the parts that need an original are None.

    Raises:
        EmptyRegionError: the mask is empty or covers the whole image.
        ValueError: as ``entangled``.

    Source:
        ForgetMe, Eq. 1 with alpha = 0, beta = 1.
    """
    return entangled(None, edited, mask, alpha=0.0, beta=1.0, **options)


def combine(
    similarity: float | None, consistency: float, alpha: float = 0.5, beta: float = 0.5
) -> float:
    """Combines similarity and consistency by their weighted harmonic mean.

    Args:
        similarity: in [0, 1]; None where ``alpha`` is 0.
        consistency: in [0, 1].
        alpha: weight of the similarity, >= 0.
        beta: weight of the consistency, >= 0.

    Returns:
        In [0, 1], higher is better; where a weighted part is 0, the limit 0.

    Source:
        ForgetMe, Eq. 1. The authors' code adds eps to the denominator; we return the limit.

    Example:
        >>> round(combine(0.8, 0.6), 6)
        0.685714
    """
    if alpha == 0:
        return consistency
    if beta == 0:
        return similarity
    if similarity == 0 or consistency == 0:
        return 0.0
    return (alpha + beta) / (alpha / similarity + beta / consistency)


def _pair(
    original: np.ndarray | None, edited: np.ndarray, channels: Channels
) -> tuple[np.ndarray | None, np.ndarray]:
    """Gives both images one form: (H, W, C), both uint8 or both float64 in [0, 1]."""
    after = _pixels("edited", edited)
    if original is None:
        return None, _luma(after) if channels == "gray" else after
    before = _pixels("original", original)
    if before.shape != after.shape:
        raise ValueError(
            f"original and edited must have one size, got {before.shape} and {after.shape}; "
            "resize neither: score the image that was edited"
        )
    if before.dtype != after.dtype:
        before, after = _unit(before), _unit(after)
    if channels == "gray":
        return _luma(before), _luma(after)
    return before, after


def _pixels(name: str, image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(f"{name} must be HxW, HxWx3 or HxWx4, got {image.shape}")
    if image.dtype != np.uint8:
        if image.dtype.kind != "f":
            raise ValueError(f"{name} must be uint8, or float in [0, 1], got {image.dtype}")
        image = image.astype(np.float64)
        if image.size and not (image.min() >= 0 and image.max() <= 1):  # False for NaN
            raise ValueError(f"{name} must be finite and lie in [0, 1]; divide it by its scale")
    if image.shape[2] == 4:
        image = _unit(image)
        image = image[..., :3] * image[..., 3:] + (1 - image[..., 3:])
    return image


def _unit(image: np.ndarray) -> np.ndarray:
    return image / 255.0 if image.dtype == np.uint8 else image


def _luma(image: np.ndarray) -> np.ndarray:
    if image.shape[2] == 1:
        return image
    return (_unit(image) @ np.array(LUMA_601))[..., None]


def _inside(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    inside = as_mask(mask)
    if inside.shape != image.shape[:2]:
        raise ValueError(
            f"mask must have the images' size {image.shape[0]}x{image.shape[1]}, got "
            f"{inside.shape[0]}x{inside.shape[1]}; resize it with masks.resize_mask"
        )
    return inside


def _similarity(s_inner: float, s_outer: float, eps: float) -> float:
    """Eq. 3."""
    kept = 1 - s_outer
    return 2 * s_inner * kept / (s_inner + kept + eps)


def _alike(inner: float, outer: float, stabilizer: float, eps: float) -> float:
    """Eq. 5 and 6; exactly stable where a stabilizer replaces the need for eps."""
    if stabilizer:
        return (2 * inner * outer + stabilizer) / (inner**2 + outer**2 + stabilizer)
    return 2 * inner * outer / (inner**2 + outer**2 + eps)


def _warnings(
    spreads: list[Spread], n_inner: int, n_outer: int, var_stabilizer: float
) -> tuple[str, ...]:
    names = []
    if not var_stabilizer and any(0 in (s.sigma_inner, s.sigma_outer) for s in spreads):
        names.append("flat_region")
    if any(0 in (s.mu_inner, s.mu_outer) for s in spreads):
        names.append("black_region")
    if 1 in (n_inner, n_outer):
        names.append("one_pixel_region")
    return tuple(names)
