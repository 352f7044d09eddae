"""What a curator does: one method per act, each computes, writes blobs and appends one event.

The page, a notebook and the tests call the same methods, so the page holds no logic of its own.
Nothing here knows Gradio. Every method returns the sample as the store has it after the act.

    review = Review(store, models, by="ann")
    row = review.prepare(sample_id)                    # heavy: let a Worker do it
    row = review.click(sample_id, [[120, 80, 1]])      # fast: answer the click with it
    row = review.fill(sample_id)                       # heavy
    row = review.accept(sample_id)

`Worker` runs the heavy ones in one background thread; see `forgetme.work`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from forgetme import masks, pipeline
from forgetme.errors import EmptyRegionError, ForgetmeError, StaleVersionError, VerifierError
from forgetme.images import png_bytes
from forgetme.merge import merge
from forgetme.models import Models
from forgetme.sample import FillSettings, Layers, Proposal
from forgetme.scenes import BACKGROUNDS
from forgetme.settings import Settings
from forgetme.store import SampleRow, Store

# What may stand behind an object, and the prompt for it. The bundled models know the drawn ones.
BACKDROPS = {name: f"an empty {name}" for name in BACKGROUNDS} | {
    "snow": "an empty field of snow",
    "night": "an empty landscape at night",
}
MORE_BACKDROPS = {
    "grass": "a lawn of short grass",
    "sand": "bare sand",
    "water": "calm open water",
    "sky": "an empty sky",
    "forest": "an empty forest",
    "wall": "a plain wall",
    "wooden floor": "a bare wooden floor",
    "carpet": "a bare carpet",
    "rock": "bare rocks",
}
MAX_POINTS = 200  # clicks on one mask
DIM_TO = 0.35  # of a card's picture outside its mask

Picture = Literal["original", "mask", "foreground", "background", "merged", "proposal"]


@dataclass(frozen=True)
class MaskStep:
    """One place in a sample's mask history: a chosen proposal or a mask edited by hand."""

    index: int | None = None  # the proposal, when the mask is one
    mask_sha: str | None = None  # the edited mask, when it is not; both None: no mask
    points: tuple[tuple[float, float, int], ...] = ()  # the clicks that made it: x, y, 1 fg / 0 bg


class _Images:
    """The last few decoded images, so that a click does not wait for the PNG decoder."""

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._held: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, store: Store, sha: str) -> np.ndarray:
        with self._lock:
            if sha in self._held:
                self._held.move_to_end(sha)
                return self._held[sha]
        image = store.get_image(sha)
        image.setflags(write=False)  # shared
        with self._lock:
            self._held[sha] = image
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        return image


@dataclass(frozen=True)
class Review:
    """A curator's acts on the samples of a store, with the models of one preset.

    Cheap to make: another curator or preset is `dataclasses.replace(review, by=…, models=…)`.
    Every act takes `seen`, the version of the sample that the curator looked at; None means the
    newest. An act on an older version raises StaleVersionError and changes nothing.
    """

    store: Store
    models: Models
    settings: Settings = field(default_factory=Settings)
    by: str = "curator"
    _images: _Images = field(default_factory=_Images, repr=False, compare=False)

    # ---------------------------------------------------------------- the machine's part (heavy)
    def prepare(self, sample_id: str) -> SampleRow:
        """Proposes, ranks, verifies, chooses and fills: events `proposed`, then `filled`.

        Takes up where an interrupted one stopped, and changes nothing on a sample that already has
        its masks and its fill, or that somebody has decided.
        """
        row = self._row(sample_id, None)
        return pipeline.prepare(self.store, row, self.models, self.settings, by=self.by)

    def fill(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Fills the hole under the current mask and scores it: event `filled`, picked at once.

        Raises:
            ForgetmeError: The sample has no mask.
            StaleVersionError: The mask was changed while the fill was computed.
        """
        row = self._row(sample_id, seen)
        mask = self._need_mask(row)
        made = pipeline.fill(self._image(row), mask, self.models, self.settings)
        return pipeline.record_try(self.store, row, "filled", made, self.settings, by=self.by)

    def refine(
        self, sample_id: str, fill_settings: FillSettings, *, seen: int | None = None
    ) -> SampleRow:
        """Fills the hole by diffusion from a prompt: event `refined`, a new try, picked at once.

        An empty prompt is replaced by the first of `suggestions`; the event records what was used.
        It starts from the picked try where there is one; strength < 1 keeps some of it.
        """
        row = self._row(sample_id, seen)
        mask = self._need_mask(row)
        if not fill_settings.prompt.strip():
            fill_settings = replace(fill_settings, prompt=self.suggestions(sample_id, 1)[0])
        made = pipeline.refine(
            self._image(row),
            mask,
            self.models,
            self.settings,
            fill_settings,
            start=self._background(row, row.picked_try),
        )
        return pipeline.record_try(self.store, row, "refined", made, self.settings, by=self.by)

    # ---------------------------------------------------------------- which object? (fast)
    def ask_verifier(self, sample_id: str, index: int, *, seen: int | None = None) -> SampleRow:
        """Asks "Is this a {concept}?" about one proposal and records the verdict on its card.

        A yes is chosen where the sample has no mask; a mask that is there stays, with its tries.

        Raises:
            VerifierError: It did not answer; the message says what to do.
        """
        row = self._row(sample_id, seen)
        proposals = list(self._need_proposal(row, index))
        asked = proposals[index]
        proposal = Proposal(
            masks.rle_decode(asked["rle"]),
            tuple(asked["box_xywh"]),
            asked["predicted_iou"],
            asked["stability_score"],
            asked["made_by"],
        )
        try:
            verdict = self.models.verifier(self._image(row), proposal, row.concept)
        except VerifierError as error:
            raise VerifierError(pipeline.NO_ANSWER.format(error)) from error
        proposals[index] = {**asked, "verdict": pipeline.verdict_payload(verdict)}
        first_yes = verdict.yes and row.mask_sha is None
        payload = {
            "proposals": proposals,
            "chosen": index if first_yes else row.chosen,
            "mask_sha": row.mask_sha,
            "preset": self.models.preset,
            "ranked_by": pipeline.made_by(self.models, "ranker"),
            "note": "" if first_yes else self.note(row),
            "asked": index,
        }
        return self._append(row, "proposed", payload)

    def choose(self, sample_id: str, index: int, *, seen: int | None = None) -> SampleRow:
        """Makes proposal `index` (0-based, best first) the mask: event `chosen`; does not fill."""
        row = self._row(sample_id, seen)
        self._need_proposal(row, index)
        return self._append(row, "chosen", {"index": index})

    def click(
        self, sample_id: str, points: Sequence[Sequence[float]], *, seen: int | None = None
    ) -> SampleRow:
        """Predicts the mask again from all points: event `mask_edited`; does not fill.

        Args:
            sample_id: The sample.
            points: All the points of this mask so far, each `[x, y, label]` in pixels of the
                original, label 1 on the object, 0 off it; see `points(row)`.
            seen: The version that the curator looked at.
        """
        row = self._row(sample_id, seen)
        image = self._image(row)
        clicked = _checked_points(points, image)
        xy, labels = clicked[:, :2], clicked[:, 2].astype(int)
        before = self.mask(row)
        if before is None and not labels.any():
            raise ForgetmeError(
                f"A point off the {row.concept} needs a mask to cut from; click the {row.concept} "
                "first."
            )
        # A single click on the object asks for the object there; every other one mends a mask.
        known = before if len(clicked) > 1 or not labels.any() else None
        found = self.models.segmenter.click(image, xy, labels, mask=known)
        if not found or not found[0].mask.any():
            raise ForgetmeError(
                f"Nothing was found there; click nearer the middle of the {row.concept}."
            )
        return self._edit(row, found[0].mask, "points", clicked.tolist())

    def grow(self, sample_id: str, px: int, *, seen: int | None = None) -> SampleRow:
        """Grows the mask by `px` pixels, or shrinks it where negative: event `mask_edited`."""
        row = self._row(sample_id, seen)
        mask = masks.grow(self._need_mask(row), px)
        if not mask.any() or mask.all():
            raise EmptyRegionError(
                f"{abs(px)} px is too much: the mask would be "
                f"{'the whole image' if mask.any() else 'empty'}; take fewer"
            )
        return self._edit(row, mask, "grow" if px >= 0 else "shrink", self.points(row))

    def fill_holes(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Fills the holes inside the mask: event `mask_edited`."""
        row = self._row(sample_id, seen)
        mask = masks.fill_holes(self._need_mask(row))
        return self._edit(row, mask, "fill_holes", self.points(row))

    def clear_mask(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Drops the hand's edits: back to the proposal last chosen, or to no mask at all."""
        row = self._row(sample_id, seen)
        steps, at = self._history(row)
        chosen = [step for step in steps[: at + 1] if step.index is not None]
        return self._go(row, chosen[-1] if chosen else MaskStep(), "clear")

    def undo_mask(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Goes back to the mask before this one (a new event; nothing is deleted)."""
        row = self._row(sample_id, seen)
        steps, at = self._history(row)
        if at == 0:
            raise ForgetmeError("There is no earlier mask.")
        return self._go(row, steps[at - 1], "undo")

    def redo_mask(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Takes the last `undo_mask` back."""
        row = self._row(sample_id, seen)
        steps, at = self._history(row)
        if at == len(steps) - 1:
            raise ForgetmeError("There is no later mask.")
        return self._go(row, steps[at + 1], "redo")

    # ---------------------------------------------------------------- tries and decisions (fast)
    def pick_try(self, sample_id: str, k: int, *, seen: int | None = None) -> SampleRow:
        """Picks try `k` (0-based) as the background: event `chosen {try: k}`."""
        row = self._row(sample_id, seen)
        self._need_try(row, k)
        return self._append(row, "chosen", {"try": k})

    def accept(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Accepts the quadruple: needs a mask and a picked try made for that mask.

        Raises:
            ForgetmeError: One of them is missing; the message says which, and what to press.
        """
        row = self._row(sample_id, seen)
        if row.image_sha is None:
            raise ForgetmeError(f"{row.name} cannot be read, so it cannot be accepted; reject it.")
        if row.mask_sha is None:
            raise ForgetmeError(
                f"There is no mask yet. Click the {row.concept}, pick a proposal, or reject."
            )
        if row.picked_try is None:
            raise ForgetmeError("The hole is not filled yet. Fill it, look at it, then accept.")
        return self._decide(row, "accepted", {"how": "human"})

    def reject(self, sample_id: str, reason: str = "", *, seen: int | None = None) -> SampleRow:
        """Rejects the sample: event `rejected`."""
        return self._decide(self._row(sample_id, seen), "rejected", _reason(reason))

    def skip(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Leaves the sample for later: event `skipped`."""
        return self._decide(self._row(sample_id, seen), "skipped", {})

    def flag(self, sample_id: str, reason: str = "", *, seen: int | None = None) -> SampleRow:
        """Flags the sample for a second pair of eyes: event `flagged`."""
        return self._decide(self._row(sample_id, seen), "flagged", _reason(reason))

    def comment(self, sample_id: str, text: str, *, seen: int | None = None) -> SampleRow:
        """Writes a comment on the sample: event `commented`."""
        return self._append(self._row(sample_id, seen), "commented", {"text": text.strip()})

    def undo(self, sample_id: str | None = None) -> SampleRow | None:
        """Undoes this curator's last decision (or that on one sample); None: nothing to undo."""
        return self.store.undo(self.by, sample_id=sample_id)

    # ---------------------------------------------------------------- what the page shows (reads)
    def mask(self, row: SampleRow) -> np.ndarray | None:
        """The current mask, (H, W) bool, or None."""
        return None if row.mask_sha is None else self.store.get_mask(row.mask_sha)

    def outline(self, row: SampleRow) -> list[list[tuple[int, int]]]:
        """The current mask's outline: polygons in pixels of the original; [] without a mask."""
        mask = self.mask(row)
        return [] if mask is None else masks.outline(mask)

    def points(self, row: SampleRow) -> list[list[float]]:
        """The clicks that made the current mask, `[[x, y, label], …]`; [] for a proposal."""
        steps, at = self._history(row)
        return [list(point) for point in steps[at].points]

    def can_undo_mask(self, row: SampleRow) -> tuple[bool, bool]:
        """Whether there is a mask to go back to, and one to go forward to."""
        steps, at = self._history(row)
        return at > 0, at < len(steps) - 1

    def note(self, row: SampleRow) -> str:
        """What the machine could not do for this sample, in one sentence; "" when all went well."""
        for event in reversed(self.store.events(row.id)):
            if event.kind == "proposed":
                return event.payload.get("note", "")
        return ""

    def suggestions(self, sample_id: str, n: int = 3) -> list[str]:
        """`n` prompts for what should be in the hole, likeliest first (one ranker call)."""
        row = self._row(sample_id, None)
        image = self._background(row, row.picked_try)
        if image is None:
            image = self._image(row)
            mask = self.mask(row)
            if mask is not None and not mask.all():  # the object itself must not speak
                image = np.where(mask[..., None], image[~mask].mean(axis=0), image)
        known = BACKDROPS if self.models.preset == "tiny" else BACKDROPS | MORE_BACKDROPS
        likely = self.models.ranker.probabilities([image.astype(np.uint8)], list(known))[0]
        prompts = list(known.values())
        return [prompts[i] for i in np.argsort(-likely, kind="stable")[:n]]

    def refine_defaults(self, sample_id: str) -> FillSettings:
        """The refine form's first values: the best suggestion, the concept as negative prompt."""
        row = self._row(sample_id, None)
        prompt = self.suggestions(sample_id, 1)[0]
        return replace(self.settings.fill, prompt=prompt, negative_prompt=row.concept)

    def layers(self, row: SampleRow) -> Layers | None:
        """The quadruple as accepting would make it now, or None without a mask or a picked try."""
        mask, background = self.mask(row), self._background(row, row.picked_try)
        if mask is None or background is None:
            return None
        return Layers.cut(self._image(row), background, mask)

    def picture(
        self,
        row: SampleRow,
        what: Picture,
        *,
        index: int | None = None,
        side: int | None = None,
    ) -> bytes:
        """One picture of a sample as PNG bytes, exact unless `side` asks for a smaller copy.

        Args:
            row: The sample.
            what: `background` is the picked try, or try `index`; `proposal` is card `index`: the
                crop around that mask with its surroundings dimmed; `merged` is the foreground over
                the background; the rest are the layers.
            index: See `what`.
            side: Longest side in pixels of a thumbnail; None for the exact picture.

        Raises:
            ForgetmeError: The sample has no such picture (yet).
        """
        if what not in get_args(Picture):
            raise ValueError(f"unknown picture {what!r}; known: {', '.join(get_args(Picture))}")
        picture = self._picture(row, what, index)
        if picture is None:
            raise ForgetmeError(f"{row.name} has no {what} yet")
        if side is not None and side < max(picture.shape[:2]):
            small = Image.fromarray(picture * np.uint8(255) if what == "mask" else picture)
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
            picture = np.asarray(small)
        return png_bytes(picture)

    # ---------------------------------------------------------------- below the acts
    def _row(self, sample_id: str, seen: int | None) -> SampleRow:
        row = self.store.sample(sample_id)
        if seen is not None and seen != row.version:
            raise StaleVersionError(
                f"{row.name} changed while you looked at it (you saw version {seen}, it is "
                f"{row.version}); look again",
                mine=seen,
                theirs=row,
            )
        return row

    def _append(self, row: SampleRow, kind: str, payload: dict[str, Any]) -> SampleRow:
        return self.store.append(row.id, kind, payload, by=self.by, expected_version=row.version)

    def _decide(self, row: SampleRow, kind: str, payload: dict[str, Any]) -> SampleRow:
        if row.state == kind and row.decided_by == self.by:
            return row  # a double press
        return self._append(row, kind, payload)

    def _edit(
        self, row: SampleRow, mask: np.ndarray, how: str, points: Sequence[Sequence[float]]
    ) -> SampleRow:
        payload = {"mask_sha": self.store.put_image(mask), "how": how, "points": list(points)}
        return self._append(row, "mask_edited", payload)

    def _go(self, row: SampleRow, step: MaskStep, how: str) -> SampleRow:
        if step.index is not None:
            return self._append(row, "chosen", {"index": step.index, "how": how})
        points = [list(point) for point in step.points]
        payload = {"mask_sha": step.mask_sha, "how": how, "points": points}
        return self._append(row, "mask_edited", payload)

    def _history(self, row: SampleRow) -> tuple[list[MaskStep], int]:
        """The masks this sample had since it was proposed, and the place of the current one."""
        steps, at = [MaskStep()], 0
        for event in self.store.events(row.id):
            if event.kind == "proposed" and "asked" not in event.payload:
                steps, at = [], 0
            elif event.kind not in ("proposed", "chosen", "mask_edited") or "try" in event.payload:
                continue
            how = event.payload.get("how")
            if how in ("undo", "redo"):
                at += 1 if how == "redo" else -1
                continue
            step = _step(event.payload)
            if steps and step.mask_sha == steps[at].mask_sha and step.index == steps[at].index:
                continue  # a question to the verifier that left the mask as it was
            steps = [*steps[: at + 1], step]
            at = len(steps) - 1
        return steps, at

    def _image(self, row: SampleRow) -> np.ndarray:
        if row.image_sha is None:
            raise ForgetmeError(f"{row.name} cannot be read ({row.error}); replace it or reject it")
        return self._images.get(self.store, row.image_sha)

    def _background(self, row: SampleRow, k: int | None) -> np.ndarray | None:
        return None if k is None else self.store.get_image(row.tries[k]["image_sha"])

    def _need_mask(self, row: SampleRow) -> np.ndarray:
        mask = self.mask(row)
        if mask is None:
            raise ForgetmeError(f"There is no mask yet. Click the {row.concept} first.")
        return mask

    def _need_proposal(self, row: SampleRow, index: int) -> list[dict[str, Any]]:
        if not 0 <= index < len(row.proposals):
            raise ForgetmeError(f"There is no mask {index + 1}; there are {len(row.proposals)}.")
        return row.proposals

    def _need_try(self, row: SampleRow, k: int) -> dict[str, Any]:
        if not 0 <= k < len(row.tries):
            raise ForgetmeError(f"There is no try {k + 1}; there are {len(row.tries)}.")
        return row.tries[k]

    def _picture(self, row: SampleRow, what: Picture, index: int | None) -> np.ndarray | None:
        if what == "original":
            return self._image(row)
        if what == "mask":
            return self.mask(row)
        if what == "background":
            k = row.picked_try if index is None else index
            if k is not None:
                self._need_try(row, k)
            return self._background(row, k)
        if what == "proposal":
            return _card(self._image(row), self._need_proposal(row, index or 0)[index or 0])
        if what == "foreground":  # needs no fill
            mask = self.mask(row)
            image = self._image(row)
            return None if mask is None else Layers.cut(image, image, mask).foreground
        layers = self.layers(row)
        return None if layers is None else merge(layers.foreground, layers.background, layers.mask)


def _reason(reason: str) -> dict[str, str]:
    return {"reason": reason.strip()} if reason.strip() else {}


def _step(payload: dict[str, Any]) -> MaskStep:
    index = payload.get("index", payload.get("chosen"))
    points = tuple((x, y, int(label)) for x, y, label in payload.get("points", ()))
    return MaskStep(index, payload.get("mask_sha"), points)


def _checked_points(points: Sequence[Sequence[float]], image: np.ndarray) -> np.ndarray:
    """Turns what the page sent into (N, 3) floats: x, y, label."""
    try:
        clicked = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        clicked = np.empty(0)
    if clicked.ndim != 2 or clicked.shape[1:] != (3,) or not 0 < len(clicked) <= MAX_POINTS:
        raise ForgetmeError(
            f"points must be a list of 1 to {MAX_POINTS} [x, y, label], got {str(points)[:80]!r}; "
            "click the image again"
        )
    height, width = image.shape[:2]
    x, y, label = clicked.T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # false for NaN too
    if not inside.all() or not np.isin(label, (0, 1)).all():
        raise ForgetmeError(
            f"points must lie in the image of {width}x{height} px with label 1 or 0, "
            f"got {clicked[~inside | ~np.isin(label, (0, 1))][0].tolist()}; click inside the image"
        )
    return clicked


def _card(image: np.ndarray, proposal: dict[str, Any]) -> np.ndarray:
    """The crop around a proposal, its surroundings dimmed."""
    mask = masks.rle_decode(proposal["rle"])
    x, y, w, h = proposal["box_xywh"]
    pad = round(0.15 * max(w, h)) + 1
    rows = slice(max(0, y - pad), y + h + pad)
    columns = slice(max(0, x - pad), x + w + pad)
    crop = image[rows, columns]
    return np.where(mask[rows, columns, None], crop, (crop * DIM_TO).astype(np.uint8))
