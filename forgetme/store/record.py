"""What the store hands out: one event, one sample's derived row, one line of Table 1."""

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal[
    "new", "prepared", "waiting", "accepted", "rejected", "skipped", "flagged", "broken", "deleted"
]
Decision = Literal["accepted", "rejected", "skipped", "flagged", "deleted"]
Kind = Literal[
    "imported",
    "proposed",
    "chosen",
    "mask_edited",
    "filled",
    "refined",
    "accepted",
    "rejected",
    "skipped",
    "flagged",
    "deleted",
    "relabelled",
    "commented",
    "reviewed",
    "undone",
]
Review = Literal["approved", "returned"]


@dataclass(frozen=True)
class Event:
    """One line of the append-only log: the truth from which every sample row is derived."""

    id: int  # grows with the order of commits
    at: str  # UTC, ISO 8601 with microseconds
    by: str  # curator, or "policy"
    sample_id: str
    kind: Kind
    payload: dict[str, Any]
    version: int  # 1, 2, 3 … within the sample


@dataclass(frozen=True)
class SampleRow:
    """The present state of a sample, a pure function of its events.

    A *light* row (`Store.samples(light=True)`) leaves the bulky `proposals` and `other_tries` in
    the database and has None there.
    """

    id: str  # 16 hex digits of (concept, pixels): the same in every store
    name: str  # safe file stem, unique within the concept
    concept: str
    state: State
    version: int  # number of events of the sample; a write names the version it saw
    image_sha: str | None  # None: broken
    width: int | None  # px
    height: int | None  # px
    source: str
    caption: str
    notes: list[str]
    error: str | None
    proposals: list[dict[str, Any]] | None = field(default_factory=list)
    chosen: int | None = None  # index into proposals; None for an edited mask
    mask_sha: str | None = None
    tries: list[dict[str, Any]] = field(default_factory=list)  # of this mask, oldest first
    picked_try: int | None = None  # index into tries
    score_d: float | None = None  # Entangled-D of the picked try
    score_s: float | None = None  # Entangled-S of the picked try
    variant: str | None = None  # of both scores
    low: bool | None = None
    decided_by: str | None = None
    decided_how: Literal["human", "policy"] | None = None
    decided_event: int | None = None  # the event in force, which `undo` takes back
    comment: str | None = None
    updated_at: str = ""
    seq: int = 0  # id of the import event: the order of import
    clip_score: float | None = None  # of the chosen proposal, else of the best one
    clip_margin: float | None = None  # best score minus that of the best other object
    verdict: Literal["yes", "no"] | None = None  # on the proposal of clip_score
    disagreement: float | None = None  # [0, 1]: spread of ranker, verifier and segmenter
    novelty: float | None = None  # [0, 1]: 1 - similarity to the nearest earlier sample
    decided_at: str | None = None  # UTC, of the decision in force
    reviewed: Review | None = None  # what a lead said of the decision in force, or sent back
    reviewed_by: str | None = None
    lineage: dict[str, Any] | None = None  # the samples that it was merged from
    twin_of: str | None = None  # the sample of which this is a copy, for a second opinion
    twin_number: int | None = None  # 2, 3 … among the copies; the original has None
    # By mask_sha of the masks before: {"tries": […], "picked": k or None}, to come back with them.
    other_tries: dict[str, dict[str, Any]] | None = field(default_factory=dict)


@dataclass(frozen=True)
class ConceptStats:
    """One line of the paper's Table 1, with the shares of human and policy beside it.

    `images` counts every import that was not deleted, broken files too; the states sum up to it.
    """

    concept: str
    images: int
    selected: int  # accepted
    success_percent: float  # 100 * selected / images
    mean_d: float | None  # over the selected; None without scores or with mixed variants
    mean_s: float | None
    variant: str | None  # of the scores; "mixed" when the selected disagree
    human: int  # selected by a person
    policy: int  # selected by the batch policy
    rejected: int
    skipped: int
    flagged: int
    new: int
    prepared: int  # a mask was confirmed, no decision yet
    waiting: int  # no mask was confirmed: a person must look
    broken: int
