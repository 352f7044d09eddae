"""Small images for stores in tests, and events that fit them."""

from __future__ import annotations

import numpy as np

from forgetme.record.masks import rle_encode
from forgetme.store import SampleRow, Store

SIZE = (20, 24)  # height, width


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def square(top: int = 4, side: int = 6) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, 5 : 5 + side] = True
    return mask


def proposal(top: int = 4) -> dict:
    verdict = {"yes": True, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}
    return {
        "rle": rle_encode(square(top)),
        "box_xywh": [5, top, 6, 6],
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "score": 0.8,
        "verdict": verdict,
        "made_by": "sam-small",
    }


def proposed(count: int = 2, chosen: int | None = 0) -> dict:
    proposals = [proposal(4 + index) for index in range(count)]
    return {"proposals": proposals, "chosen": chosen, "preset": "tiny"}


def filled(
    store: Store, row: SampleRow, *, seed: int = 99, d: float = 0.5, s: float = 0.75
) -> dict:
    """A fill that keeps the original outside a mask one pixel larger than the sample's."""
    mask = square(3, 9) | store.get_mask(row.mask_sha)
    original = store.get_image(row.image_sha)
    return {
        "image_sha": store.put_image(np.where(mask[..., None], picture(seed), original)),
        "mask_sha": store.put_image(mask),
        "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": seed},
        "made_by": "lama-small",
        "scores": {
            "d": {"score": d, "variant": "paper", "warnings": []},
            "s": {"score": s, "variant": "paper", "warnings": []},
            "low": False,
            "words": ["what was there changed inside the mask"],
            "thresholds": {"low_d": 0.35, "low_s": 0.6},
        },
    }


def add(store: Store, seed: int, *, name: str | None = None, concept: str = "cat") -> SampleRow:
    name = name or f"beach_{seed}"
    source = f"/photos/{name}.png"
    return store.import_image(picture(seed), name=name, concept=concept, by="ann", source=source)


def step(store: Store, row: SampleRow, kind: str, payload: dict | None = None, by: str = "ann"):
    return store.append(row.id, kind, payload or {}, by=by, expected_version=row.version)


def prepare(store: Store, row: SampleRow, **scores: float) -> SampleRow:
    row = step(store, row, "proposed", proposed(), by="policy")
    return step(store, row, "filled", filled(store, row, **scores), by="policy")


def accept(store: Store, row: SampleRow, *, how: str = "human", by: str = "ann", **scores: float):
    return step(store, prepare(store, row, **scores), "accepted", {"how": how}, by=by)


def hold(store: Store, sample_id: str, by: str, seconds: float = 300) -> bool:
    """Takes or prolongs the hold on a sample; False while somebody else has it."""
    return not store.holds.take([sample_id], by, seconds=seconds)


def leave(store: Store, sample_id: str, by: str) -> None:
    store.holds.take([], by, leave=[sample_id])
