"""The dataclasses of a sample: proposals, verdict, fill, scores, layers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from forgetme.record.entangled import EntangledResult
from forgetme.record.masks import check_mask

State = Literal[
    "new", "prepared", "waiting", "accepted", "rejected", "skipped", "flagged", "broken", "deleted"
]
STATES: tuple[str, ...] = get_args(State)

LITTLE_CHANGED_RMSE = 0.12  # less than this inside the mask caps Entangled-D at 0.353

WARNING_WORDS = {
    "flat_region": "one side of the mask is a single flat colour, so the texture part is 0",
    "black_region": "one side of the mask is all black, so the brightness part is 0",
    "one_pixel_region": "one side of the mask is a single pixel",
}


NOT_CHECKED = "not checked"  # how the reason of a verdict on an unknown word starts


@dataclass(frozen=True, eq=False)
class Proposal:
    """One candidate mask of an image, as a segmenter gives it.

    Attributes:
        mask: (H, W) bool.
        box_xywh: smallest box around the mask, pixels.
        predicted_iou: the segmenter's own guess of its quality, about [0, 1], higher is better.
        stability_score: overlap of the masks at a high and a low cut, [0, 1], higher is better.
        made_by: name of the checkpoint, or of the curator's tool.
    """

    mask: np.ndarray
    box_xywh: tuple[int, int, int, int]
    predicted_iou: float
    stability_score: float
    made_by: str


@dataclass(frozen=True)
class Verdict:
    """The answer to "Is this a {concept}?".

    Attributes:
        yes: whether the verifier said yes.
        confidence: in [0, 1], of the given answer.
        reason: one sentence for the curator; starts with `NOT_CHECKED` where the model does not
            know the concept, which is then no answer at all.
        made_by: name of the model that answered.
    """

    yes: bool
    confidence: float
    reason: str
    made_by: str

    @property
    def checked(self) -> bool:
        """False where the verifier does not know what it was asked about."""
        return not self.reason.startswith(NOT_CHECKED)


@dataclass(frozen=True, eq=False)
class Ranked:
    """A proposal, its CLIP score for the concept in [0, 1], and its verdict if one was asked."""

    proposal: Proposal
    score: float
    verdict: Verdict | None = None


@dataclass(frozen=True)
class FillSettings:
    """How a hole is filled; the prompt and all below it matter to the diffusion fill only."""

    dilate_px: int | None = None  # grows the mask first; None = max(3, round(2 % of longest side))
    pad: float = 0.5  # context around the hole's box, as a part of the box's longest side
    prompt: str = ""
    negative_prompt: str = ""
    strength: float = 1.0  # (0, 1]: 1 forgets what was under the hole
    steps: int = 20
    guidance: float = 5.0
    seed: int = 0


@dataclass(frozen=True)
class Thresholds:
    """When a fill is called low: a score below its threshold, or a check that it fails."""

    low_d: float = 0.35  # Entangled-D
    low_s: float = 0.60  # Entangled-S
    seen: float = 0.3  # the ranker's probability from which on the concept is still seen
    alike: float = 0.35  # CLIP distance of the hole before and after below which nothing went
    smear: float = 0.5  # texture as a part of that around it, below which a fill is a smear
    seam: float = 2.5  # how many times stronger than elsewhere steps across the border may be


@dataclass(frozen=True)
class Scores:
    """Entangled of one fill: ``d`` paired with the original, ``s`` of the fill alone."""

    d: EntangledResult
    s: EntangledResult

    def low(self, thresholds: Thresholds = Thresholds()) -> bool:  # noqa: B008 (frozen)
        """Tells whether a human should look: a score below its threshold, or any warning.

        The released variant rates an untouched copy best, so that there too little change is low.
        """
        d = self.d
        untouched = d.variant == "released" and d.s_inner is not None
        return bool(
            (untouched and 1 - d.s_inner < LITTLE_CHANGED_RMSE)
            or self.d.score is None
            or self.s.score is None
            or self.d.score < thresholds.low_d
            or self.s.score < thresholds.low_s
            or self.d.warnings
            or self.s.warnings
        )

    def as_json(self, thresholds: Thresholds = Thresholds()) -> dict[str, Any]:  # noqa: B008
        """Returns both scores with their parts and what they mean, as an event keeps them."""
        return {
            "d": asdict(self.d),
            "s": asdict(self.s),
            "low": self.low(thresholds),
            "words": self.words(thresholds),
            "thresholds": asdict(thresholds),
        }

    def words(self, thresholds: Thresholds = Thresholds()) -> list[str]:  # noqa: B008 (frozen)
        """Says the parts in plain phrases: removal, pixels outside, blending, warnings."""
        names = dict.fromkeys(self.d.warnings + self.s.warnings)
        return [
            *_removal_words(self.d),
            *_blend_words(self.s, thresholds.low_s),
            *(WARNING_WORDS[name] for name in names),
        ]


def _removal_words(d: EntangledResult) -> list[str]:
    words = []
    if d.s_inner is not None:
        rmse = 1 - d.s_inner if d.variant == "released" else d.s_inner
        little = rmse < LITTLE_CHANGED_RMSE
        changed = "too little" if little else "what was there"
        words.append(f"{changed} changed inside the mask")
    if d.s_outer:
        words.append("pixels outside the mask changed")
    return words


def _blend_words(s: EntangledResult, low_s: float) -> list[str]:
    if s.consistency is None:
        return []
    if s.consistency >= low_s:
        return ["brightness and contrast are as around the mask"]
    parts = [
        (s.mean_consistency, "darker" if s.mu_inner < s.mu_outer else "brighter"),
        (s.var_consistency, "smoother" if s.sigma_inner < s.sigma_outer else "rougher"),
    ]
    worst = min(value for value, _ in parts)
    # the worse part is to blame, and the other one too if it alone would be low
    return [
        f"the fill is {how} than its surroundings"
        for value, how in parts
        if value == worst or value < low_s
    ]


@dataclass(frozen=True, eq=False)
class Fill:
    """One try at the background.

    Attributes:
        image: (H, W, 3) uint8 RGB, equal to the original outside ``mask``.
        mask: (H, W) bool, what was really filled (after dilation); the scores are of this mask.
        made_by: name of the model.
        settings: the settings that made it.
        scores: Entangled-D and -S.
    """

    image: np.ndarray
    mask: np.ndarray
    made_by: str
    settings: FillSettings
    scores: Scores


@dataclass(frozen=True, eq=False)
class Layers:
    """The quadruple.

    Attributes:
        original: (H, W, 3) uint8 RGB.
        foreground: (H, W, 4) uint8 RGBA, alpha 255 on the mask and 0 elsewhere.
        background: (H, W, 3) uint8 RGB, the original without the concept.
        mask: (H, W) bool, True = the concept.
    """

    original: np.ndarray
    foreground: np.ndarray
    background: np.ndarray
    mask: np.ndarray

    @classmethod
    def cut(cls, original: np.ndarray, background: np.ndarray, mask: np.ndarray) -> Layers:
        """Cuts the foreground out of the original.

        Args:
            original: (H, W, 3) uint8 RGB.
            background: (H, W, 3) uint8 RGB, same size.
            mask: (H, W) bool, same size.

        Returns:
            The four layers; the foreground keeps the original's RGB everywhere, and its alpha
            is 255 on the mask, 0 elsewhere.

        Raises:
            ValueError: a size or dtype differs.
        """
        check_mask(mask, original)
        for name, image in (("original", original), ("background", background)):
            if image.dtype != np.uint8 or image.shape != (*mask.shape, 3):
                raise ValueError(
                    f"{name} must be HxWx3 uint8 of size {mask.shape[0]}x{mask.shape[1]}, "
                    f"got {image.shape} {image.dtype}; read it with images.read_image"
                )
        alpha = mask.astype(np.uint8) * 255
        return cls(original, np.dstack([original, alpha]), background, mask)


@dataclass(frozen=True, eq=False)
class Sample:
    """One image on its way to a quadruple.

    Attributes:
        id: the store's name for it.
        name: the source file's stem.
        concept: what is to be forgotten in it.
        state: where it stands.
        layers: the quadruple, once there is a mask and a picked background.
        proposals: ranked masks, best first.
        tries: backgrounds made so far, oldest first.
        caption: what the picture shows, where known.
        source: path or address it came from.
        notes: what was changed at import (turned upright, first frame, ...).
        error: why it is ``broken``.
    """

    id: str
    name: str
    concept: str
    state: State
    layers: Layers | None = None
    proposals: tuple[Ranked, ...] = ()
    tries: tuple[Fill, ...] = ()
    caption: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()
    error: str | None = None
