"""Means with 95 % intervals (bootstrap, Wilson), and a warning when n is too small."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
Z_95 = 1.959963984540054  # of the normal distribution, two-sided 95 %
FEW = 20  # pictures under which an interval is a rough guess


@dataclass(frozen=True)
class Metric:
    """What a score is called and which way it points.

    Attributes:
        name: in tables.
        higher_is_better: None where neither is better by itself.
        words: one line.
        fewest: pictures under which it is not to be trusted.
    """

    name: str
    higher_is_better: bool | None
    words: str
    fewest: int = FEW


METRICS: Mapping[str, Metric] = {
    one.name: one
    for one in (
        Metric("Entangled-D", True, "similarity and consistency of original and edit"),
        Metric("Entangled-S", True, "consistency of the edit's inside with its outside"),
        Metric("FID", False, "Fréchet distance of Inception features", fewest=2048),
        Metric("KID", False, "kernel distance of Inception features", fewest=50),
        Metric("CMMD", False, "maximum mean discrepancy of CLIP embeddings", fewest=100),
        Metric("CLIP distance", True, "how far the region moved in CLIP's space"),
        Metric(
            "CLIP@1",
            True,
            "share where what CLIP saw is not its best guess any more",
        ),
        Metric("CLIP@3", True, "share where it is not among three guesses"),
        Metric("CLIP@5", True, "share where it is not among five guesses"),
        Metric("outer PSNR", True, "dB, how well the rest was kept"),
        Metric("outer SSIM", True, "how well the structure of the rest was kept"),
        Metric("seconds", False, "time of one picture"),
        Metric("MiB", False, "peak memory"),
    )
}


@dataclass(frozen=True)
class Summary:
    """A mean and its interval: Wilson's for a share, the bootstrap's for anything else.

    Attributes:
        mean: of the finite values; nan where there is none.
        low: lower end of the 95 % interval.
        high: upper end.
        n: finite values.
        warning: why not to trust it, or "".
    """

    mean: float
    low: float
    high: float
    n: int
    warning: str = ""


def wilson(won: int, n: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share, which stays wide where all or none are counted.

    Args:
        won: successes, 0..n.
        n: trials, at least 1.

    Returns:
        Its ends, in [0, 1].

    **Source**: E. B. Wilson, Probable inference, the law of succession, and statistical
    inference, JASA 22 (1927).

    Example:
        >>> [round(end, 3) for end in wilson(8, 10)]
        [0.49, 0.943]
    """
    share, z2 = won / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # the ends of none and all are 0 and 1, whatever the roots round to
    return (0.0 if won == 0 else middle - reach), (1.0 if won == n else middle + reach)


def summarize_share(values: Sequence[float], *, fewest: int = FEW) -> Summary:
    """Means values of which each is 0 or 1, with Wilson's interval.

    Resampling would say [1, 1] of 48 right out of 48: it knows no other value than those it has.

    Args:
        values: one a picture; nan is left out and counted in the warning.
        fewest: under this many the summary carries a warning.

    Raises:
        ValueError: a value is neither 0 nor 1.
    """
    kept, notes = _finite(values, fewest)
    if not np.isin(kept, (0, 1)).all():
        other = kept[~np.isin(kept, (0, 1))][0]
        raise ValueError(f"a share is of values 0 and 1, got {other:g}; use summarize for others")
    if not len(kept):
        return Summary(float("nan"), float("nan"), float("nan"), 0, notes)
    return Summary(float(kept.mean()), *wilson(int(kept.sum()), len(kept)), len(kept), notes)


def summarize(
    values: Sequence[float],
    *,
    fewest: int = FEW,
    seed: int = 0,
    statistic: Callable[[np.ndarray], float] = np.mean,
) -> Summary:
    """Means values and says how sure the mean is, by the percentile bootstrap.

    Of scores that are 0 or 1 take `summarize_share`.

    Args:
        values: one a picture; infinite ones and nan are left out and counted in the warning.
        fewest: under this many the summary carries a warning.
        seed: of the resampling: equal values, equal interval.
        statistic: what is taken of each resample.

    Returns:
        The statistic with its 95 % interval over 2000 resamples.
    """
    kept, notes = _finite(values, fewest)
    if not len(kept):
        return Summary(float("nan"), float("nan"), float("nan"), 0, notes)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(kept), (RESAMPLES, len(kept)))
    resampled = np.apply_along_axis(statistic, 1, kept[rows])
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Summary(float(statistic(kept)), float(low), float(high), len(kept), notes)


def paired_difference(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0) -> Summary:
    """Mean of ours - theirs over the same pictures, with its interval.

    Raises:
        ValueError: the two are not of the same pictures.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"both must be of the same pictures, got {len(ours)} and {len(theirs)}")
    return summarize(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64), seed=seed)


def _finite(values: Sequence[float], fewest: int) -> tuple[np.ndarray, str]:
    """Returns the finite values, and why not to trust their mean, or ""."""
    given = np.asarray(list(values), np.float64)
    kept = given[np.isfinite(given)]
    notes = []
    if len(kept) < len(given):
        notes.append(f"{len(given) - len(kept)} of {len(given)} values are not finite")
    if len(kept) < fewest:
        notes.append(f"n = {len(kept)} is too small; at least {fewest} are needed")
    return kept, "; ".join(notes)
