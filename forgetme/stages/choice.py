"""Which mask is chosen: the ranker's score and the segmenter's own guess of its mask, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetme.record.sample import Proposal

IOU_WEIGHT = 0.05  # of predicted IoU in the order
WHOLE_CONTAINS = 0.9  # a mask with this part of another one inside it is its whole,
WHOLE_MARGIN = 0.03  # and goes first unless its score is lower by more than this
NEVER = 1e-3  # scores nearer to 0 or 1 than this say no more than this


@dataclass(frozen=True)
class Weights:
    """How sure a mask is the whole of what is looked for, by its name and by its outline.

    Attributes:
        outline: what 1 of predicted IoU weighs, in log-odds of the score.
        middle: the predicted IoU at which an even score is even.
        least_score: below this score no mask is chosen, however well it is cut out.
    """

    outline: float
    middle: float
    least_score: float

    def sure(self, scores: np.ndarray, predicted_iou: np.ndarray) -> np.ndarray:
        """How sure each mask is, in (0, 1), of scores and guesses (N,) or of one each."""
        scores = np.asarray(scores, float)
        odds = np.log((scores + NEVER) / (1 - scores + NEVER))
        return 1 / (1 + np.exp(-odds - self.outline * (np.asarray(predicted_iou) - self.middle)))

    def takes(self, score: float, predicted_iou: float) -> bool:
        """Tells whether a mask is good enough to be chosen."""
        return bool(score >= self.least_score and self.sure(score, predicted_iou) >= 0.5)


# By who made the masks and who scored them: elsewhere these numbers mean something else.
FITTED = {
    # A photo is filed under what it shows, so a well cut mask needs less of a name to be it, and
    # a part of it, which is named as surely, is cut worse. A logistic regression of "IoU with the
    # true mask is at least 0.75" on the masks of 123 photos (coco_train, photos_train; scored by a
    # ranker trained without them) weighs the outline 29 times, on 20 drawn scenes 5 times; 12 is
    # between. Of these photos 38 % are chosen with that IoU (28 % by `order` below and a score of
    # 0.5), another object on 8 % (9 %); of four words that are not there 2.6 % (3.0 %).
    ("tiny/segmenter", "tiny/ranker"): Weights(outline=12.0, middle=0.55, least_score=0.1),
}


def fitted(masks_by: str, scores_by: str) -> Weights | None:
    """The weights for masks and scores of these makers ("name@hash"); None = none were fitted."""
    return FITTED.get((masks_by.partition("@")[0], scores_by.partition("@")[0]))


def order(proposals: Sequence[Proposal], scores: np.ndarray, scores_by: str = "") -> list[int]:
    """Ranks masks, best first, and prefers the whole over its part.

    Args:
        proposals: masks of one image, of one maker.
        scores: (N,) of the ranker.
        scores_by: its name.

    Returns:
        Indices: where weights were fitted for these makers, the surest of those that may be chosen
        first. Elsewhere by score plus a little for predicted IoU; then a mask that holds at least
        90 % of a smaller one goes before it, unless its score is lower by more than 0.03 than the
        best of its parts or of what it would pass.

    Source: ours; Segment Anything gives parts too, and a cat's head alone often scores highest.
    """
    if not len(proposals):
        return []
    scores = np.asarray(scores, float)
    guesses = np.array([p.predicted_iou for p in proposals])
    weights = fitted(proposals[0].made_by, scores_by)
    if weights is not None:
        worse, surer = scores < weights.least_score, weights.sure(scores, guesses)
        return np.lexsort((-surer, worse)).tolist()
    step = max(1, max(proposals[0].mask.shape) // 256)  # containment needs no more than 256 px
    flat = np.stack([p.mask[::step, ::step].ravel() for p in proposals]).astype(np.float32)
    area = np.maximum(flat.sum(1), 1)
    inside = (flat @ flat.T) / area[:, None]  # part of mask i that lies inside mask j
    quality = scores + IOU_WEIGHT * guesses
    ranking: list[int] = []
    for whole in np.argsort(-quality, kind="stable").tolist():
        held = (area < area[whole]) & (inside[:, whole] >= WHOLE_CONTAINS)
        parts = (
            place
            for place, part in enumerate(ranking)
            if held[part]
            and max(scores[ranking[place:]].max(), scores[held].max()) - scores[whole]
            <= WHOLE_MARGIN
        )
        ranking.insert(next(parts, len(ranking)), whole)
    return ranking
