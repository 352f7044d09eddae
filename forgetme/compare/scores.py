"""The scores of a comparison: of each picture, of each column as a set, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from forgetme.compare.items import View
from forgetme.curate import checks
from forgetme.metrics import (
    METRICS,
    clip_at,
    clip_distance,
    cmmd,
    crop_of,
    fid,
    kid,
    outer_psnr,
    outer_ssim,
    summarize,
    summarize_share,
)
from forgetme.metrics.summary import Z_95
from forgetme.record.concept import is_kind_of, word_for
from forgetme.record.entangled import entangled_d, entangled_s
from forgetme.record.sample import WARNING_WORDS, Thresholds
from forgetme.scenes import BACKGROUNDS, CONCEPTS

KS = (1, 3, 5)
SHARES = frozenset(
    {f"clip_at_{k}" for k in KS} | {"still_seen", "smear", "seam"}
)  # each picture has 0 or 1
LIMITS = Thresholds()  # of the checks, see `forgetme.curate.checks`
RESAMPLES = 200
Numbers = dict[str, float | None]
Pictures = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Score:
    """What a score is called and which way it points; the words are for a legend.

    Attributes:
        key: in the table.
        title: for people.
        variant: which reading, or whose features; "" where there is only one.
        higher_is_better: its direction.
        per_picture: whether each picture has one; others are of a whole column.
        words: one line.
        digits: after the point.
    """

    key: str
    title: str
    variant: str
    higher_is_better: bool
    per_picture: bool
    words: str
    digits: int = 3


@dataclass(frozen=True, eq=False)
class Eyes:
    """Who looks at the pictures.

    Attributes:
        embed: pictures to unit vectors.
        recognise: zero-shot probabilities.
        concept: what was removed.
        labels: what `recognise` chooses from, the concept first.
        made_by: name of both, with their weights' signature.
        knows: whether they were taught the concept's word.
        inception: pictures to Inception's features; None = no FID and KID.
        inception_sha: of its weights.
    """

    embed: Callable[[Sequence[np.ndarray]], np.ndarray]
    recognise: Callable[[Sequence[np.ndarray], Sequence[str]], np.ndarray]
    concept: str
    labels: tuple[str, ...]
    made_by: str
    knows: bool = True
    inception: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None
    inception_sha: str = ""

    @classmethod
    def of(cls, ranker: Any, concept: str, **inception: Any) -> Eyes:
        """Takes the ranker's eyes; its rivals, or the known things, are the other labels."""
        words = word_for(concept, ranker.vocabulary)
        things = [one for one in (*CONCEPTS, *BACKGROUNDS) if not is_kind_of(words, one)]
        labels = ranker.labels(words) if ranker.vocabulary else [words, *things]
        return cls(
            ranker.embed_images, ranker.probabilities, words, tuple(labels),
            ranker.made_by, not hasattr(ranker, "knows") or ranker.knows(concept), **inception,
        )  # fmt: skip

    @cached_property
    def record(self) -> dict[str, Any]:
        """All that decides what is seen, as plain JSON."""
        return {"made_by": self.made_by, "concept": self.concept, "labels": list(self.labels)}


def known_scores(eyes: Eyes, *, truth: bool) -> list[Score]:
    """Lists the scores that a comparison has, in the order of its table.

    Args:
        eyes: who looks.
        truth: whether it is known what is really behind the objects.
    """
    paper, released, words = "paper", "released", f"{len(eyes.labels)} words"
    one = [
        Score("entangled_d", "Entangled-D", paper, True, True, METRICS["Entangled-D"].words),
        Score("entangled_s", "Entangled-S", paper, True, True, METRICS["Entangled-S"].words),
        Score("entangled_d_released", "Entangled-D", released, True, True,
              "as the authors' code has it: an untouched copy scores best"),
        Score("entangled_s_released", "Entangled-S", released, True, True,
              "as the authors' code has it; the same number in both variants"),
        Score("clip_distance", "CLIP distance", eyes.made_by, True, True,
              METRICS["CLIP distance"].words),
        *(Score(f"clip_at_{k}", f"CLIP@{k}", f"{eyes.made_by}, box on black, {words}", True, True,
                f"{METRICS[f'CLIP@{k}'].words}; of {_some(eyes.labels)}; a copy scores 0")
          for k in KS),
        Score("still_seen", "still seen", eyes.made_by, False, True,
              "share in which the concept is named in the hole, around it or in the whole picture"),
        Score("smear", "smear", "", False, True,
              "share whose fill is smooth where its surroundings are not"),
        Score("seam", "seam", "", False, True, "share with a seam or a halo along the hole"),
        Score("outer_psnr", "outer PSNR", "", True, True,
              "dB, how well the rest was kept; none where not one byte outside differs", 1),
        Score("outer_ssim", "outer SSIM", "", True, True, METRICS["outer SSIM"].words),
    ]  # fmt: skip
    if truth:
        words = "RMSE in the hole to what is really there, 0..1"
        one.append(Score("truth_rmse", "true error", "", False, True, words))
    one += [
        Score("seconds", "seconds", "", False, True, "time of one picture", 2),
        Score("memory_mb", "MiB", "", False, True, "the process's peak memory while painting", 0),
    ]
    words = "maximum mean discrepancy of the embeddings of originals and fills; 0 = nothing removed"
    sets = [Score("cmmd", "CMMD", eyes.made_by, False, False, words)]
    if eyes.inception is not None:
        sets += [
            Score("fid", "FID", "Inception, tf1-bilinear", False, False,
                  "Fréchet distance of Inception features of originals and fills", 2),
            Score("kid", "KID", "Inception, tf1-bilinear", False, False,
                  "kernel distance of Inception features of originals and fills", 4),
        ]  # fmt: skip
    else:
        words = "Fréchet distance of the ranker's features, originals and fills; not comparable "
        words += "with any published one"
        sets.append(Score("features_fid", "Ranker-feature distance", eyes.made_by, False, False,
                          words))  # fmt: skip
    return one + sets


def _some(words: Sequence[str]) -> str:
    return ", ".join(words) if len(words) <= 12 else f"{', '.join(words[:8])}, …"


def score_picture(view: View, painted: np.ndarray, eyes: Eyes) -> tuple[Numbers, list[str]]:
    """Scores one picture.

    Args:
        view: original, mask, hole and truth.
        painted: (H, W, 3) uint8, what a column made of it.
        eyes: who looks.

    Returns:
        Value of each score by key, None where it is not finite; and warnings in plain words.
    """
    image, hole = view.image, view.hole
    values: Numbers = {}
    warned: dict[str, None] = {}
    for variant, suffix in (("paper", ""), ("released", "_released")):
        d = entangled_d(image, painted, hole, variant=variant)
        s = entangled_s(painted, hole, variant=variant)
        values[f"entangled_d{suffix}"], values[f"entangled_s{suffix}"] = d.score, s.score
        warned |= dict.fromkeys(d.warnings + s.warnings)
    values["clip_distance"] = clip_distance(eyes.embed, image, painted, view.mask)
    gone = clip_at(eyes.recognise, image, painted, view.mask, eyes.labels, KS)
    values |= {f"clip_at_{k}": float(gone[k]) for k in KS}
    values["still_seen"] = still_seen(painted, view.mask, eyes)
    for check in (checks.smear(painted, hole, LIMITS), checks.seam(painted, hole, LIMITS)):
        values[check.name] = None if check.ok is None else float(not check.ok)
    values["outer_psnr"] = outer_psnr(image, painted, hole)
    values["outer_ssim"] = outer_ssim(image, painted, hole)
    if view.truth is not None:
        values["truth_rmse"] = rmse(painted[hole], view.truth[hole])
    return {key: finite(value) for key, value in values.items()}, [
        WARNING_WORDS[name] for name in warned
    ]


def still_seen(painted: np.ndarray, mask: np.ndarray, eyes: Eyes) -> float | None:
    """Whether the concept is named in the hole, around it or in the whole picture: 1 or 0.

    Returns:
        None where the eyes do not know the word: nobody looked.
    """
    if not eyes.knows:
        return None
    crops = [crop_of(painted, place) for place in checks.places(mask).values()]
    return float(eyes.recognise(crops, eyes.labels)[:, 0].max() >= LIMITS.seen)


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean squared difference of uint8 values, as a part of full scale: 0..1."""
    return float(np.sqrt(((a.astype(np.float64) - b) ** 2).mean()) / 255)


def score_sets(before: Pictures, after: Pictures, eyes: Eyes) -> dict[str, dict[str, Any]]:
    """Scores a column as a set: the distance of its pictures from the originals.

    Args:
        before: gives the originals, each time that it is called.
        after: gives the painted pictures, in the same order.
        eyes: who looks.

    Returns:
        Summary of each set score by key; {} for fewer than 2 pictures.
    """
    old, new = _features(eyes.embed, before), _features(eyes.embed, after)
    if len(old) < 2:
        return {}
    found = {"cmmd": _set_summary(cmmd, old, new, METRICS["CMMD"].fewest)}
    if eyes.inception is None:
        # with fewer pictures than features a covariance has not its full rank
        found["features_fid"] = _set_summary(fid, old, new, old.shape[1] + 1)
        return found
    old, new = _features(eyes.inception, before), _features(eyes.inception, after)
    alone = {"low": None, "high": None}  # 200 roots of 2048 x 2048 would take an hour
    found["fid"] = _with_warning(fid(old, new), len(old), METRICS["FID"].fewest) | alone
    found["kid"] = _set_summary(kid, old, new, METRICS["KID"].fewest)
    return found


def mean_of(values: Sequence[float | None], what: str) -> dict[str, Any]:
    """Means a score over pictures, with its 95 % interval: Wilson's where each is 0 or 1.

    Args:
        values: one a picture; None = it has none.
        what: key of the score.
    """
    kept = [value for value in values if value is not None]
    if not kept:
        why = "nothing outside changed in any picture" if what == "outer_psnr" else "no value"
        return {"mean": None, "low": None, "high": None, "n": 0, "warning": why}
    made = (summarize_share if what in SHARES else summarize)(kept)
    notes = [made.warning] if made.warning else []
    if what == "outer_psnr" and len(kept) < len(values):
        notes.append(f"{len(values) - len(kept)} pictures unchanged outside are left out")
    return {
        "mean": made.mean, "low": made.low, "high": made.high, "n": made.n,
        "warning": "; ".join(notes) or None,
    }  # fmt: skip


def finite(value: float | None) -> float | None:
    """Returns a number as JSON has it: none is infinite."""
    return value if value is not None and math.isfinite(value) else None


def _features(
    embed: Callable[[Sequence[np.ndarray]], np.ndarray], pictures: Pictures
) -> np.ndarray:
    """One at a time: pictures of a folder need not be of one size, and need not fit in memory."""
    found = [embed([picture]) for picture in pictures()]
    return np.concatenate(found) if found else np.zeros((0, 1))


def _set_summary(
    distance: Callable[[np.ndarray, np.ndarray], float],
    before: np.ndarray,
    after: np.ndarray,
    fewest: int,
) -> dict[str, Any]:
    """A distance with a normal interval of the bootstrap's spread.

    Percentiles would be off: a resample holds some rows twice, which makes sets look further apart.
    """
    n = len(before)
    value = distance(before, after)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, n, (RESAMPLES, n))
    spread = float(np.std([distance(before[i], after[i]) for i in rows], ddof=1))
    least = -math.inf if distance is kid else 0.0
    low, high = max(least, value - Z_95 * spread), value + Z_95 * spread
    return _with_warning(value, n, fewest) | {"low": low, "high": high}


def _with_warning(value: float, n: int, fewest: int) -> dict[str, Any]:
    warning = f"n = {n} is too small; at least {fewest} are needed" if n < fewest else None
    return {"mean": value, "n": n, "warning": warning}
