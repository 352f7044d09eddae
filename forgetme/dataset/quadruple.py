"""The quadruple of an accepted sample: its four images, and the record of what made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from forgetme import __version__
from forgetme.dataset.foreign import Whole, loads_object, read_as
from forgetme.dataset.rle import rle_string
from forgetme.dataset.splits import Shares, split_of
from forgetme.errors import ForgetmeError
from forgetme.record.images import png_bytes
from forgetme.record.sample import Layers
from forgetme.store import Event, SampleRow, Store
from forgetme.store.names import name_key, plain_text, safe_stem

LAYERS = ("original", "foreground", "background", "mask")

Progress = Callable[[int, int, str], None]  # done, in all, what was done


@dataclass(frozen=True)
class Record:
    """What a dataset says of one quadruple: columns of one type in every row.

    Loaders guess a column's type from the first rows, so a column that is null there and text
    further down would not load; hence "" for no text, and one JSON text for the details.
    """

    id: str
    name: str
    concept: str
    caption: str
    source: str
    segmented_by: str
    verified_by: str
    inpainted_by: str
    prompt: str
    negative_prompt: str
    seed: int
    entangled_d: float | None
    entangled_s: float | None
    variant: str
    low: bool
    low_d: float | None
    low_s: float | None
    decided_by: str
    decided_how: str
    split: str
    provenance: str  # JSON

    @property
    def details(self) -> dict[str, Any]:
        """The provenance, read."""
        return json.loads(self.provenance)

    @classmethod
    def read(cls, columns: dict[str, Any]) -> Record:
        """Reads the record of a row that comes from outside; other columns are passed over.

        Raises:
            ValueError: a column is missing or of another type.
        """
        values = read_as(_columns(), {"split": "", **columns}).model_dump()
        try:
            loads_object(values["provenance"])
        except ValueError as error:
            raise ValueError(f"provenance: {error}") from None
        return cls(**values)


RECORD_TYPES: dict[str, Any] = get_type_hints(Record)


@cache
def _columns() -> type[BaseModel]:
    """Returns the schema of a record's columns: no text is taken for a number."""
    fields = {name: Whole if kind is int else kind for name, kind in RECORD_TYPES.items()}
    config = ConfigDict(strict=True, allow_inf_nan=False)
    return create_model("Columns", __config__=config, **fields)


@dataclass(frozen=True, eq=False)
class Quadruple:
    """One sample of a dataset.

    Attributes:
        stem: file stem, unique within the dataset.
        record: what it is and what made it.
        layers: the pixels.
        paths: the store's own PNG files of original, background and mask.
    """

    stem: str
    record: Record
    layers: Layers
    paths: dict[str, Path]

    def png(self, layer: str) -> bytes:
        """Returns a layer as a PNG file: RGB, RGBA, RGB or 0/255.

        The foreground is encoded at each call, which takes far longer than reading a file.
        """
        if layer == "foreground":
            return png_bytes(self.layers.foreground, level=1)
        return self.paths[layer].read_bytes()


def stems(store: Store, concept: str | None = None) -> dict[str, str]:
    """Returns the stem of each accepted sample by id; later imports never change a stem.

    Copies for a second opinion are no samples of a dataset.
    """
    found, taken = {}, set()
    for row in store.walk(concept):
        if row.twin_of is not None:
            continue
        of_concept = f"{row.name}-{safe_stem(plain_text(row.concept))}"
        for stem in (row.name, safe_stem(of_concept), f"{row.name}-{row.id}"):
            if name_key(stem) not in taken:
                break
        taken.add(name_key(stem))
        if row.state == "accepted":
            found[row.id] = stem
    return found


def quadruples(
    store: Store,
    stems: dict[str, str],
    shares: Shares,
    left_out: list[str],
    on_progress: Progress | None = None,
) -> Iterator[Quadruple]:
    """Reads accepted samples one by one.

    Args:
        store: opened store.
        stems: the stem of each by its id.
        shares: of the splits.
        left_out: takes "name: why" of each sample that is not sound.
        on_progress: called with (samples done, samples in all, words).
    """
    for done, (sample_id, stem) in enumerate(stems.items(), start=1):
        row = store.sample(sample_id)
        if row.state == "accepted":  # a curator may take it back while this runs
            try:
                layers, paths, filled = _layers(store, row)
            except (ForgetmeError, ValueError, SyntaxError) as error:  # damaged PNG: SyntaxError
                left_out.append(f"{row.name}: {error}")
            else:
                yield Quadruple(stem, _record(store, row, filled, shares), layers, paths)
        if on_progress is not None:
            on_progress(done, len(stems), f"read {row.name}")


def _layers(store: Store, row: SampleRow) -> tuple[Layers, dict[str, Path], np.ndarray]:
    """Returns the four layers, the files of three, and the mask that was really filled.

    Raises:
        ForgetmeError: an image is missing, or the fill touches what it must not.
    """
    picked = row.tries[row.picked_try]
    shas = {"original": row.image_sha, "background": picked["image_sha"], "mask": row.mask_sha}
    layers = Layers.cut(
        store.get_image(shas["original"]),
        store.get_image(shas["background"]),
        store.get_mask(shas["mask"]),
    )
    filled = store.get_mask(picked["mask_sha"])
    if not np.array_equal(layers.background[~filled], layers.original[~filled]):
        raise ForgetmeError(
            "its background differs from the original outside the filled mask; fill it again"
        )
    return layers, {layer: store.blob_path(sha) for layer, sha in shas.items()}, filled


def _record(store: Store, row: SampleRow, filled: np.ndarray, shares: Shares) -> Record:
    events = store.events(row.id)
    decision = next(one for one in events if one.id == row.decided_event)
    split = split_of(row, shares)
    if "origin" in decision.payload:  # imported, and not worked on since
        record = Record(**decision.payload["origin"])
        since = {"comment": row.comment}
        if row.reviewed is not None:
            since |= {"reviewed": row.reviewed, "reviewed_by": row.reviewed_by}
        details = json.dumps(record.details | since, ensure_ascii=False)
        known = {"id": row.id, "name": row.name, "concept": row.concept}
        return replace(record, **known, split=split, provenance=details)
    picked = row.tries[row.picked_try]
    settings, scores = picked["settings"], picked["scores"]
    proposal = None if row.chosen is None else row.proposals[row.chosen]
    details = _details(row, events, decision, proposal, filled)
    return Record(
        id=row.id,
        name=row.name,
        concept=row.concept,
        caption=row.caption,
        source=row.source,
        segmented_by=proposal["made_by"] if proposal else _masked_by(events),
        verified_by=((proposal or {}).get("verdict") or {}).get("made_by", ""),
        inpainted_by=picked["made_by"],
        prompt=settings.get("prompt", ""),
        negative_prompt=settings.get("negative_prompt", ""),
        seed=int(settings.get("seed", 0)),
        entangled_d=row.score_d,
        entangled_s=row.score_s,
        variant=row.variant or "",
        low=bool(row.low),
        low_d=scores.get("thresholds", {}).get("low_d"),
        low_s=scores.get("thresholds", {}).get("low_s"),
        decided_by=row.decided_by,
        decided_how=row.decided_how,
        split=split,
        provenance=json.dumps(details, ensure_ascii=False),
    )


def _details(
    row: SampleRow,
    events: list[Event],
    decision: Event,
    proposal: dict[str, Any] | None,
    filled: np.ndarray,
) -> dict[str, Any]:
    picked = row.tries[row.picked_try]
    proposed = next((one for one in reversed(events) if one.kind == "proposed"), None)
    return {
        "image_sha": row.image_sha,
        "background_sha": picked["image_sha"],
        "mask_sha": row.mask_sha,
        "filled_mask_sha": picked["mask_sha"],
        "filled_mask": rle_string(filled),
        "kind": picked["kind"],
        "settings": picked["settings"],
        "scores": picked["scores"],
        "proposal": proposal and {key: value for key, value in proposal.items() if key != "rle"},
        "preset": proposed and proposed.payload.get("preset"),
        "ranked_by": proposed and proposed.payload.get("ranked_by"),
        "decided_at": decision.at,
        "reviewed": row.reviewed,
        "reviewed_by": row.reviewed_by,
        "lineage": row.lineage,
        "comment": row.comment,
        "notes": row.notes,
        "tries": len(row.tries),
        "events": len(events),
        "versions": {"forgetme": __version__, **picked.get("versions", {})},
    }


def _masked_by(events: list[Event]) -> str:
    edit = next(one for one in reversed(events) if one.kind == "mask_edited")
    return f"{edit.by} ({edit.payload.get('how', 'edited')})"
