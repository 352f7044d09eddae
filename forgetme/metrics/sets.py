"""Distances between two sets of features: FID, KID and CMMD."""

from __future__ import annotations

import numpy as np

CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0
CHUNK = 2048  # rows of a Gram matrix held at once


def _two_sets(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"features must be two (N, D) arrays of one D, got {a.shape} and {b.shape}"
        )
    if min(len(a), len(b)) < 2:
        raise ValueError(f"each set needs at least 2 pictures, got {len(a)} and {len(b)}")
    return a, b


def fid(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of features; 0 = equal, lower is better.

    Only Inception's features make it *FID*; of any other it is a Fréchet distance under that name.

    Args:
        a: (N, D) features.
        b: (M, D) features.

    Returns:
        |mu_a - mu_b|² + tr(S_a + S_b - 2 (S_a S_b)^½), covariances with N - 1.

    Raises:
        ValueError: shapes that do not fit, or fewer than 2 pictures.

    **Source**: Heusel et al. 2017, equation 6; the trace of the root is the sum of the roots of the
    product's eigenvalues.
    """
    a, b = _two_sets(a, b)
    cov_a, cov_b = (np.atleast_2d(np.cov(one, rowvar=False)) for one in (a, b))
    # eigenvalues of S_a S_b are those of the symmetric L' S_b L with S_a = L L'
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(min=0))
    cross = np.sqrt(np.linalg.eigvalsh(root.T @ cov_b @ root).clip(min=0)).sum()
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return max(0.0, float(distance))


def kid(a: np.ndarray, b: np.ndarray) -> float:
    """Kernel distance of two sets of features; about 0 = equal, lower is better, may be negative.

    Args:
        a: (N, D) features.
        b: (M, D) features.

    Returns:
        The unbiased squared MMD with the kernel (x·y / D + 1)³ over all pairs.

    Raises:
        ValueError: shapes that do not fit, or fewer than 2 pictures.

    **Source**: Bińkowski et al. 2018, section 4; over all pairs at once instead of subsets.
    """
    a, b = _two_sets(a, b)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    n, m = len(a), len(b)
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def cmmd(a: np.ndarray, b: np.ndarray) -> float:
    """CLIP maximum mean discrepancy; 0 = equal, at most 39.6, lower is better.

    Args:
        a: (N, D) CLIP embeddings, unit length; ViT-L/14@336 makes published numbers.
        b: (M, D) likewise.

    Returns:
        1000 times the biased MMD² with a Gaussian kernel of sigma 10, diagonals included.

    Raises:
        ValueError: shapes that do not fit, fewer than 2 pictures, or rows that are not unit length.

    **Source**: Jayasumana et al. 2024, "Rethinking FID", and its released code.
    """
    a, b = _two_sets(a, b)
    for one in (a, b):
        if not np.allclose((one**2).sum(1), 1, atol=1e-3):
            raise ValueError("CLIP embeddings must be of unit length; normalise them first")

    def mean_kernel(x: np.ndarray, y: np.ndarray) -> float:
        total = 0.0
        for start in range(0, len(x), CHUNK):
            part = x[start : start + CHUNK]
            square = (part**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * part @ y.T
            total += np.exp(-square.clip(min=0) / (2 * CMMD_SIGMA**2)).sum()
        return total / (len(x) * len(y))

    gap = mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)
    return max(0.0, CMMD_SCALE * gap)
