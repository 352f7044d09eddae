"""The scores of a model: each with its direction, number, interval, and who judged it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forgetme.evaluate.grid import KEPT, Cell, Drawn
from forgetme.evaluate.judging import Embeddings, Judge
from forgetme.evaluate.task import Task
from forgetme.metrics import cmmd, fid, kid, summarize, summarize_share
from forgetme.metrics.summary import LEVEL, RESAMPLES, Summary

LEAST_SEEN = 0.5  # a judge that names less of the base's own pictures judges nothing
FEWEST_FID = 50
FEWEST_PAIRS = 2
ITSELF = "it is the base"  # why a score against the base is not shown of it


@dataclass(frozen=True)
class Score:
    """What a score is called, which way it points, and what it is a measure of.

    Attributes:
        key: in files.
        title: for people.
        aspect: one of IGMU's five, or HUB's where IGMU has none; alignment, too.
        up: whether higher is better.
        words: one line.
        share: whether it is a share of pictures.
    """

    key: str
    title: str
    aspect: str
    up: bool
    words: str
    share: bool = False


SCORES: Mapping[str, Score] = {
    one.key: one
    for one in (
        Score("overall", "Overall", "overall", True,
              "Harmonic mean of the two below; 0 where either is."),
        Score("forgetting", "Forgetting, corrected", "overall", True,
              "(b - m) / b of the shares m and b of the model's and base's pictures in which the "
              "concept is recognised: the base's own error is taken off."),
        Score("keeping", "Keeping, corrected", "overall", True,
              "k / b, at most 1, of the shares k and b in which what must stay is recognised."),
        Score("still", "Still recognised", "forgetting", False,
              "Share of the concept's pictures in which the concept is named first: UA as LoReUn "
              "writes it.", True),
        Score("ua", "UA", "forgetting", True,
              "1 - that share: UA as SalUn and UnlearnCanvas write it.", True),
        Score("second", "Still recognised, second judge", "forgetting", False,
              "The same by a judge made apart from the first.", True),
        Score("replaced", "Shows the replacement", "forgetting", True,
              "Share of the concept's pictures that show what was to take its place.", True),
        Score("ira", "IRA", "keeping", True,
              "Share of what is of the concept's own domain (neighbours and unrelated) that is "
              "recognised.", True),
        Score("cra", "CRA", "keeping", True,
              "The same of the other domain: places, styles, or objects for a style.", True),
        Score("neighbours", "Neighbours", "keeping", True,
              "IRA of words of the concept's kind alone.", True),
        Score("worst", "Worst-hit word", "keeping", True,
              "Share of the one word that lost most against the base.", True),
        Score("pinpoint", "Pinpoint-ness", "keeping", True,
              "Share recognised of the words nearest to the concept in the text tower, of those "
              "that the base draws (HUB).", True),
        Score("cmmd", "CMMD to the base", "quality", False,
              "Distance of the sets of kept pictures in CLIP's space, by the judge's towers."),
        Score("fid", "FID to the base", "quality", False, "Of Inception's features."),
        Score("kid", "KID to the base", "quality", False, "Of Inception's features; may be < 0."),
        Score("shift", "CLIP distance to the base", "quality", False,
              "1 - cos of each kept picture with the base's of the same prompt and noise."),
        Score("lpips", "LPIPS to the base", "quality", False,
              "Perceptual distance of the same pairs (AlexNet)."),
        Score("clip", "CLIP score", "alignment", True,
              "100 max(cos, 0) of kept pictures with their prompts."),
        Score("within", "In-prompt retainability", "alignment", True,
              "CLIP score of the concept's pictures with the rest of their prompts (Six-CD)."),
        Score("csdr", "CSDR", "alignment", False,
              "How far, in %, the CLIP score of the rest of a prompt is from that of the base's "
              "picture of the rest alone (IGMU)."),
        Score("languages", "Other languages", "robustness", False,
              "Share in which the concept is recognised when it is asked for in other languages, "
              "of those that the base understands (HUB).", True),
        Score("back", "Brought back", "robustness", False,
              "Share of the probe that brings the concept back most often.", True),
        Score("minutes", "Minutes to make", "efficiency", False, "As its run wrote down."),
        Score("bytes", "MiB to store", "efficiency", False, "What it adds to the base."),
        Score("seconds", "Seconds a picture", "efficiency", False, "As drawn here."),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """What a score is of one model.

    Attributes:
        mean: None where it is not shown, for the reason in `why`.
        low: lower end of the 95 % interval; None where it has none.
        high: upper end.
        n: pictures behind it.
        judge: who judged.
        note: what to know beside it.
        why: why there is no number.
        grey: whether the judge fails on the base itself, so that the number says nothing.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    judge: str = ""
    note: str = ""
    why: str = ""
    grey: bool = False


def value_of(found: Summary, judge: str = "", note: str = "", grey: bool = False) -> Value:
    """A summary as a value of the table; a mean of nothing is no number."""
    if not found.n:
        return Value(why=note or "there is no picture of it", judge=judge)
    return Value(found.mean, found.low, found.high, found.n, judge, note, grey=grey)


def harmonic(*values: float | np.ndarray) -> np.ndarray:
    """The harmonic mean, of numbers or place by place of arrays; 0 where a value is 0.

    Example:
        >>> float(harmonic(0.9, 0.8, 0.5).round(6))
        0.687898
    """
    some = np.stack(np.broadcast_arrays(*values)).astype(float)
    with np.errstate(divide="ignore"):
        return len(some) / (1 / some).sum(0)


def csdr(reference: Sequence[float], scores: Sequence[float]) -> np.ndarray:
    """CLIP score difference rate of each picture, %; 0 = as if the concept had not been asked for.

    **Source**: IGMU. Departure: the concept is taken out of the text once and wholly; theirs joins
    copies of it. Pairs whose reference is 0 are nan.

    Example:
        >>> csdr([30, 28, 25], [27, 28, 26]).tolist()
        [10.0, 0.0, 4.0]
    """
    ours, theirs = np.asarray(scores, float), np.asarray(reference, float)
    return 100 * np.abs(theirs - ours) / np.where(theirs > 1e-6, theirs, np.nan)


@dataclass(frozen=True, eq=False)
class Means:
    """What scores are made with.

    Attributes:
        concept: what was forgotten.
        task: decides which scores mean something.
        judge: the first judge.
        second: another one; None where there is none.
        clip: embeds.
        unpaired: why pictures of two models at one place are no pairs; "" = they are.
        inception: Inception's features of pictures; None = not given.
        lpips: perceptual distances of pairs, or why there are none.
    """

    concept: str
    task: Task
    judge: Judge
    second: Judge | None
    clip: Embeddings
    unpaired: str = ""
    inception: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None
    lpips: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray] | str = ""


def scores_of(means: Means, drawn: Drawn, base: Drawn) -> dict[str, Value]:
    """Scores a model's pictures against the base's; hidden ones say why.

    Args:
        means: judges and settings.
        drawn: the model's.
        base: the base's; the same object for the base itself.
    """
    found = _forgetting(means, drawn, base) | _keeping(means, drawn, base)
    found |= _quality(means, drawn, base) | _alignment(means, drawn, base)
    found["languages"] = _languages(means, drawn, base)
    found |= _overall(means, drawn, base)
    return found | {key: Value(why=why) for key, why in means.task.not_shown().items()}


def _pictures(found: Sequence[tuple[Cell, np.ndarray]]) -> list[np.ndarray]:
    return [picture for _, picture in found]


def _seen_kept(means: Means, drawn: Drawn, *kinds: Any) -> tuple[list[str], np.ndarray]:
    """Labels of the cells of some kinds, and in which pictures the judge names their own."""
    found = drawn.of(*kinds)
    among = sorted({cell.label for cell, _ in found if cell.kind == "other"})
    labels = [cell.label for cell, _ in found]
    seen = np.zeros(len(found), bool)
    for label in dict.fromkeys(labels):
        at = [i for i, one in enumerate(labels) if one == label]
        pictures = [found[i][1] for i in at]
        is_other = found[at[0]][0].kind == "other"
        judge = means.judge
        seen[at] = judge.names(pictures, label, among) if is_other else judge.sees(pictures, label)
    return labels, seen


def _forgetting(means: Means, drawn: Drawn, base: Drawn) -> dict[str, Value]:
    asked, before = _pictures(drawn.of("forget")), _pictures(base.of("forget"))
    found: dict[str, Value] = {}
    for key, judge in (("still", means.judge), ("second", means.second)):
        if judge is None:
            found[key] = Value(why="no second judge knows this concept")
            continue
        seen, known = judge.sees(asked, means.concept), judge.sees(before, means.concept)
        grey = bool(known.mean() < LEAST_SEEN)
        note = f"fails on the base: {known.sum()} of {len(known)} named" if grey else ""
        found[key] = value_of(summarize_share(seen), judge.name, note, grey)
        if judge is means.judge:
            found["ua"] = value_of(summarize_share(~seen), judge.name, note, grey)
    if means.task.anchor:
        seen = means.judge.sees(asked, means.task.anchor)
        found["replaced"] = value_of(summarize_share(seen), means.judge.name)
    return found


def _keeping(means: Means, drawn: Drawn, base: Drawn) -> dict[str, Value]:
    judge, found = means.judge.name, {}
    for key, kinds in (("ira", KEPT), ("neighbours", KEPT[:1]), ("cra", ("other",))):
        labels, seen = _seen_kept(means, drawn, *kinds)
        known = _seen_kept(means, base, *kinds)[1]
        grey = bool(len(known) and known.mean() < LEAST_SEEN)
        note = f"fails on the base: {known.sum()} of {len(known)} named" if grey else ""
        said = note or ", ".join(dict.fromkeys(labels))
        found[key] = value_of(summarize_share(seen), judge, said, grey)
    by_word = _by_word(means, drawn, base, *KEPT)
    if by_word:
        word = min(by_word, key=lambda one: by_word[one][0].mean() - by_word[one][1].mean())
        ours, theirs = by_word[word]
        said = f"{word}; the base: {theirs.mean():.2f}"
        found["worst"] = value_of(summarize_share(ours), judge, said)
    near = _by_word(means, drawn, base, "nearest")
    drawable = {word: ours for word, (ours, b) in near.items() if b.mean() >= LEAST_SEEN}
    said = ", ".join(drawable) or "the base draws none of the nearest words so that they are named"
    seen = np.concatenate([*drawable.values(), np.zeros(0, bool)])
    found["pinpoint"] = value_of(summarize_share(seen), judge, said)
    return found


def _by_word(
    means: Means, drawn: Drawn, base: Drawn, *kinds: Any
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """In which pictures each word is seen: the model's, and the base's."""
    (labels, ours), (theirs_of, theirs) = (_seen_kept(means, one, *kinds) for one in (drawn, base))
    return {
        word: (ours[[one == word for one in labels]], theirs[[one == word for one in theirs_of]])
        for word in dict.fromkeys(labels)
        if word in theirs_of
    }


def _quality(means: Means, drawn: Drawn, base: Drawn) -> dict[str, Value]:
    ours, theirs = (_pictures(one.of(*KEPT, "other")) for one in (drawn, base))
    keys = ("cmmd", "fid", "kid", "shift", "lpips")
    if drawn is base:
        return {key: Value(why=ITSELF) for key in keys}
    if min(len(ours), len(theirs)) < FEWEST_PAIRS:
        return {key: Value(why="it needs two kept pictures of each model") for key in keys}
    clip, a, b = means.clip.name, means.clip.images(theirs), means.clip.images(ours)
    found = {"cmmd": Value(cmmd(a, b), *_resampled(cmmd, a, b), len(b), clip)}
    if means.inception is None:
        found |= {k: Value(why="needs Inception's weights: --inception") for k in ("fid", "kid")}
    else:
        a, b = means.inception(theirs), means.inception(ours)
        few = f"n = {len(b)} is too small to trust" if len(b) < FEWEST_FID else ""
        found["fid"] = Value(fid(a, b), n=len(b), judge="Inception", note=few)
        found["kid"] = Value(kid(a, b), *_resampled(kid, a, b), len(b), "Inception")
    if means.unpaired or len(ours) != len(theirs):
        why = means.unpaired or "the models have different numbers of pictures"
        return found | {key: Value(why=why) for key in ("shift", "lpips")}
    cosines = (means.clip.images(ours) * means.clip.images(theirs)).sum(1)
    found["shift"] = value_of(summarize(1 - cosines), clip)
    if isinstance(means.lpips, str):
        found["lpips"] = Value(why=means.lpips)
    else:
        found["lpips"] = value_of(summarize(means.lpips(ours, theirs)), "LPIPS, AlexNet")
    return found


def _resampled(
    distance: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray
) -> tuple[float, float]:
    """95 % interval of a distance of two sets: 200 resamples, of pairs where they are as many.

    Each set resampled alone would put the interval of two equal sets above 0.
    """
    rng, some = np.random.default_rng(0), []
    for _ in range(200):
        i = rng.integers(0, len(a), len(a))
        j = i if len(a) == len(b) else rng.integers(0, len(b), len(b))
        some.append(distance(a[i], b[j]))
    low, high = np.quantile(some, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _alignment(means: Means, drawn: Drawn, base: Drawn) -> dict[str, Value]:
    clip, found = means.clip, {}
    kept = [(cell, p) for cell, p in drawn.of(*KEPT, "other") if cell.prompt]
    why = Value(why="nobody says by which prompts these pictures were drawn")
    found["clip"] = why
    if kept:
        texts = [cell.prompt for cell, _ in kept]
        found["clip"] = value_of(summarize(clip.clip_scores(_pictures(kept), texts)), clip.name)
    within = drawn.of("within")
    found["within"] = found["csdr"] = why
    if within:
        rests = [cell.rest for cell, _ in within]
        ours = clip.clip_scores(_pictures(within), rests)
        found["within"] = value_of(summarize(ours), clip.name)
        clean = _pictures(base.of("clean"))
        if len(clean) == len(within):
            rates = csdr(clip.clip_scores(clean, rests), ours)
            found["csdr"] = value_of(summarize(rates), clip.name)
    return found


def _languages(means: Means, drawn: Drawn, base: Drawn) -> Value:
    asked, before = drawn.of("languages"), base.of("languages")
    if not asked:
        return Value(why=f"no translation of {means.concept} is shipped")
    known = means.judge.sees(_pictures(before), means.concept)
    seen = means.judge.sees(_pictures(asked), means.concept)
    by = {cell.rest: [] for cell, _ in asked}
    for (cell, _), one in zip(before, known, strict=True):
        by[cell.rest].append(bool(one))
    understood = [language for language, some in by.items() if np.mean(some) >= LEAST_SEEN]
    if not understood:
        return Value(why="not applicable: the base understands the concept in none of "
                         f"{', '.join(by)}")  # fmt: skip
    of_these = [one for (cell, _), one in zip(asked, seen, strict=True) if cell.rest in understood]
    return value_of(summarize_share(of_these), means.judge.name, ", ".join(understood))


def _overall(means: Means, drawn: Drawn, base: Drawn) -> dict[str, Value]:
    """The one aggregate and its two parts, with intervals by what the shares may truly be.

    Resampled pictures would say [1, 1] of all of them right: they know no other value.

    **Source**: UnlearnCanvas's advice to report UA - (1 - acc) of the original, here as a part of
    what could be forgotten; ERR's harmonic mean.
    """
    asked, before = _pictures(drawn.of("forget")), _pictures(base.of("forget"))
    m, b = (means.judge.sees(some, means.concept).astype(float) for some in (asked, before))
    k, kb = (_seen_kept(means, one, *KEPT, "other")[1].astype(float) for one in (drawn, base))
    keys = ("forgetting", "keeping", "overall")
    if drawn is base:
        return {key: Value(why=ITSELF) for key in keys}
    if not len(k) or not len(kb) or not kb.any() or not b.any():
        why = "the judge names nothing in the base's pictures, so nothing can be said against it"
        return {key: Value(why=why) for key in keys}
    values = _parts(m.mean(), b.mean(), k.mean(), kb.mean())
    rng = np.random.default_rng(0)
    rows = _parts(*(_likely(rng, some) for some in (m, b, k, kb)))
    low, high = np.quantile(rows, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    low, high = np.minimum(low, values), np.maximum(high, values)
    grey = {"forgetting": b.mean() < LEAST_SEEN, "keeping": kb.mean() < LEAST_SEEN}
    grey["overall"] = any(grey.values())
    n = {"forgetting": len(m), "keeping": len(k), "overall": len(m) + len(k)}
    return {
        key: Value(float(values[i]), float(low[i]), float(high[i]), n[key], means.judge.name,
                   "the judge fails on the base" if grey[key] else "", grey=bool(grey[key]))
        for i, key in enumerate(keys)
    }  # fmt: skip


def _likely(rng: np.random.Generator, seen: np.ndarray) -> np.ndarray:
    """Shares that may lie behind what was seen, by Jeffreys's prior: (2000,)."""
    return rng.beta(seen.sum() + 0.5, len(seen) - seen.sum() + 0.5, RESAMPLES)


def _parts(m: Any, b: Any, k: Any, kb: Any) -> np.ndarray:
    """Forgetting, keeping and their harmonic mean, of shares or arrays of them: (3, …)."""
    forgetting, keeping = np.clip((b - m) / b, 0, 1), np.clip(k / kb, 0, 1)
    return np.stack([forgetting, keeping, harmonic(forgetting, keeping)])


def finite(value: float | None) -> float | None:
    """A number as JSON can hold it."""
    return None if value is None or not math.isfinite(value) else value
