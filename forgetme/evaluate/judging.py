"""What judges say of pictures, each picture asked about once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forgetme.errors import ForgetmeError
from forgetme.evaluate.detectors import shown
from forgetme.record.concept import word_for
from forgetme.record.images import array_sha

if TYPE_CHECKING:
    from forgetme.evaluate.detectors import Recogniser
    from forgetme.stages.rank import Ranker

ASKED_AT_ONCE = 64  # pictures


class Judge:
    """A recogniser that remembers what it said; a `Recogniser` itself.

    Attributes:
        name: of the recogniser, with all that decides an answer.
        counts: whether its scores are numbers of things seen.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        """Args: what judges."""
        self.name, self._recogniser = recogniser.name, recogniser
        self.counts = bool(getattr(recogniser, "counts", False))
        self._said: dict[str, dict[str, float]] = {}

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Gives each picture's score of every label."""
        shas = [array_sha(one) for one in images]
        fresh = {
            sha: image for sha, image in zip(shas, images, strict=True) if sha not in self._said
        }
        todo = list(fresh)
        for start in range(0, len(todo), ASKED_AT_ONCE):
            some = todo[start : start + ASKED_AT_ONCE]
            said = self._recogniser.predict([fresh[sha] for sha in some])
            self._said.update(zip(some, said, strict=True))
        return [self._said[sha] for sha in shas]

    def sees(self, images: Sequence[np.ndarray], label: str) -> np.ndarray:
        """Tells in which pictures it names a label above all else that it knows: (N,) bool.

        Raises:
            ForgetmeError: it has no such label.
        """
        return np.array(shown(self, images, label), bool)

    def names(self, images: Sequence[np.ndarray], label: str, among: Sequence[str]) -> np.ndarray:
        """Tells in which pictures it names a label above some others: (N,) bool.

        Raises:
            ForgetmeError: it lacks one of the labels.
        """
        found = self.predict(images)
        words = {one: word_for(one, list(found[0])) for one in among} if found else {}
        lacking = [one for one, word in words.items() if word not in found[0]]
        if lacking:
            raise ForgetmeError(f"{self.name} has no label {lacking[0]!r}, so it cannot judge it")
        best = [max(words, key=lambda one, said=said: said[words[one]]) for said in found]
        return np.array([one == label for one in best], bool)


class Embeddings:
    """CLIP embeddings of pictures, each computed once."""

    def __init__(self, ranker: Ranker) -> None:
        """Args: whose towers embed."""
        self._ranker, self.name = ranker, ranker.made_by
        self._known: dict[str, np.ndarray] = {}

    def images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds pictures: (N, D) float of length 1."""
        shas = [array_sha(one) for one in images]
        fresh = {s: o for s, o in zip(shas, images, strict=True) if s not in self._known}
        if fresh:
            rows = self._ranker.embed_images(list(fresh.values()))
            self._known.update(zip(fresh, rows, strict=True))
        return np.stack([self._known[sha] for sha in shas])

    def clip_scores(self, images: Sequence[np.ndarray], texts: Sequence[str]) -> np.ndarray:
        """100 max(cos, 0) of each picture with its text: (N,)."""
        cosines = (self.images(images) * self._ranker.embed_texts(list(texts))).sum(1)
        return 100 * np.clip(cosines, 0, None)
