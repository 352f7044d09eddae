"""What a curator does: one method per act, each computes, writes blobs and appends one event.

The page, a notebook and the tests call the same methods, so the page holds no logic of its own.
Nothing here knows Gradio. Every method returns the sample as the store has it after the act.

    review = Review(store, models, by="ann")
    row = review.prepare(sample_id)                    # heavy: let a Worker do it
    row = review.click(sample_id, [[120, 80, 1]])      # fast: answer the click with it
    row = review.fill(sample_id)                       # heavy
    row = review.accept(sample_id)

`Worker` runs the heavy ones in one background thread; see `forgetme.curate.worker`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from forgetme.curate import batch, checks, fills, pipeline
from forgetme.curate.mask_edits import MaskActs, Pasts
from forgetme.curate.suggest import Suggestions, suggest
from forgetme.errors import ForgetmeError, StaleVersionError, VerifierError
from forgetme.record import masks
from forgetme.record.decoded import Decoded
from forgetme.record.images import png_bytes
from forgetme.record.merge import merge
from forgetme.record.sample import Fill, FillSettings, Layers, Proposal
from forgetme.record.settings import Settings
from forgetme.stages.models import Models
from forgetme.store import SampleRow, Store

DIM_TO = 0.35  # of a card's picture outside its mask

Picture = Literal["original", "mask", "foreground", "background", "merged", "proposal"]


@dataclass(frozen=True)
class Review(MaskActs):
    """A curator's acts on the samples of a store, with the models of one preset.

    Cheap to make: another curator or preset is `dataclasses.replace(review, by=…, models=…)`.
    Every act takes `seen`, the version of the sample that the curator looked at; None means the
    newest. An act on an older version raises StaleVersionError and changes nothing.
    """

    store: Store
    models: Models
    settings: Settings = field(default_factory=Settings)
    by: str = "curator"
    _images: Decoded = field(default_factory=Decoded, repr=False, compare=False)
    _masks: Decoded = field(default_factory=Decoded, repr=False, compare=False)
    _pasts: Pasts = field(default_factory=Pasts, repr=False, compare=False)

    # ---------------------------------------------------------------- the machine's part (heavy)
    def prepare(self, sample_id: str) -> SampleRow:
        """Proposes, ranks, verifies, chooses and fills: events `proposed`, then `filled`.

        Takes up where an interrupted one stopped, and changes nothing on a sample that already has
        its masks and its fill, or that somebody has decided.
        """
        row = self._row(sample_id, None)
        return pipeline.prepare(self.store, row, self.models, self.settings, by=self.by)

    def fill(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Fills the hole under the current mask, scores and checks it: event `filled`.

        Raises:
            ForgetmeError: The sample has no mask.
            StaleVersionError: The mask was changed while the fill was computed.
        """
        row = self._row(sample_id, seen)
        mask = self._need_mask(row)
        made = fills.fill(self._image(row), mask, self.models, self.settings)
        return self._record(row, "filled", made, mask)

    def refine(
        self, sample_id: str, fill_settings: FillSettings, *, seen: int | None = None
    ) -> SampleRow:
        """Fills the hole by diffusion from a prompt: event `refined`, picked if it is better.

        An empty prompt is replaced by the first of `suggestions`; the event records what was used.
        It starts from the picked try where there is one; strength < 1 keeps some of it.
        """
        row = self._row(sample_id, seen)
        mask = self._need_mask(row)
        if not fill_settings.prompt.strip():
            fill_settings = replace(fill_settings, prompt=self.suggestions(sample_id)[0])
        made = fills.refine(
            self._image(row),
            mask,
            self.models,
            self.settings,
            fill_settings,
            start=self._background(row, row.picked_try),
        )
        return self._record(row, "refined", made, mask)

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
            "ranked_by": fills.made_by(self.models, "ranker"),
            "note": "" if first_yes else self._note_after(row, proposals),
            "asked": index,
        }
        return self._append(row, "proposed", payload)

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

    def delete(self, sample_id: str, *, seen: int | None = None) -> SampleRow:
        """Takes the sample out of queue, counts and dataset: event `deleted`; undo restores it."""
        return self._decide(self._row(sample_id, seen), "deleted", {})

    def relabel(self, sample_id: str, concept: str, *, seen: int | None = None) -> SampleRow:
        """Gives the sample another concept: event `relabelled`.

        A mask that a hand drew stays; without one the sample is prepared anew.

        Raises:
            ForgetmeError: no usable name, or that concept has this image already.
        """
        row = self._row(sample_id, seen)
        concept = batch.check_concept(concept)
        if concept == row.concept:
            return row
        return self._append(row, "relabelled", {"concept": concept, "name": row.name})

    def comment(self, sample_id: str, text: str, *, seen: int | None = None) -> SampleRow:
        """Writes a comment on the sample: event `commented`."""
        return self._append(self._row(sample_id, seen), "commented", {"text": text.strip()})

    def undo(self, sample_id: str | None = None) -> SampleRow | None:
        """Undoes this curator's last decision (or that on one sample); None: nothing to undo."""
        return self.store.undo(self.by, sample_id=sample_id)

    # ---------------------------------------------------------------- what the page shows (reads)
    def suggest(self, sample_id: str, n: int = 3) -> Suggestions:
        """`n` prompts for what should be in the hole, from what surrounds it."""
        row = self._row(sample_id, None)
        return suggest(self._image(row), self.mask(row), row.concept, self.models, n)

    def suggestions(self, sample_id: str, n: int = 3) -> list[str]:
        """The prompts of `suggest`, likeliest first."""
        return list(self.suggest(sample_id, n).prompts)

    def refine_defaults(self, sample_id: str) -> FillSettings:
        """The refine form's first values: the best suggestion, the concept as negative prompt."""
        row = self._row(sample_id, None)
        prompt = self.suggestions(sample_id)[0]
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

    def _note_after(self, row: SampleRow, proposals: list[dict[str, Any]]) -> str:
        """The note of a sample after an answer: that there was none is true no longer."""
        left = replace(row, proposals=proposals)
        if pipeline.is_unanswered(row, self.settings) and not pipeline.is_unanswered(
            left, self.settings
        ):
            return pipeline.NOT_CONFIRMED.format(row.concept)
        return self.note(row)

    def _append(self, row: SampleRow, kind: str, payload: dict[str, Any]) -> SampleRow:
        return self.store.append(row.id, kind, payload, by=self.by, expected_version=row.version)

    def _decide(self, row: SampleRow, kind: str, payload: dict[str, Any]) -> SampleRow:
        if row.state == kind and row.decided_by == self.by:
            (before,) = self.store.events(row.id, after=row.decided_event - 1, limit=1)
            if payload.get("reason") in (None, before.payload.get("reason")):
                return row  # a double press; another reason is another event
        return self._append(row, kind, payload)

    def _record(self, row: SampleRow, kind: str, made: Fill, mask: np.ndarray) -> SampleRow:
        found = checks.of_row(
            row, self._image(row), mask, made, self.models, self.settings.thresholds
        )
        return fills.record_try(
            self.store, row, kind, made, self.settings, by=self.by, checks=found
        )

    def _image(self, row: SampleRow) -> np.ndarray:
        self._need_image(row)
        return self._images.get(row.image_sha, self.store.get_image)

    def _background(self, row: SampleRow, k: int | None) -> np.ndarray | None:
        return None if k is None else self.store.get_image(row.tries[k]["image_sha"])

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


def _card(image: np.ndarray, proposal: dict[str, Any]) -> np.ndarray:
    """The crop around a proposal, its surroundings dimmed."""
    mask = masks.rle_decode(proposal["rle"])
    x, y, w, h = proposal["box_xywh"]
    pad = round(0.15 * max(w, h)) + 1
    rows = slice(max(0, y - pad), y + h + pad)
    columns = slice(max(0, x - pad), x + w + pad)
    crop = image[rows, columns]
    return np.where(mask[rows, columns, None], crop, (crop * DIM_TO).astype(np.uint8))
