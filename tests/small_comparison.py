"""A comparison on drawn scenes, made with fills that need no model: real pictures, real scores."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from forgetme.metrics.pairs import outer_psnr
from forgetme.metrics.summary import summarize, summarize_share
from forgetme.record import masks
from forgetme.record.entangled import entangled_d, entangled_s
from forgetme.record.images import png_bytes
from forgetme.record.masks import rle_encode
from forgetme.scenes import Scene, render_scene
from forgetme.store import SampleRow, Store

SCALES = tuple(round(0.1 * step, 1) for step in range(1, 11))
SCORES = (
    ("entangled_d", "Entangled-D", True, "high: much changed in the hole, and its place fits"),
    ("entangled_s", "Entangled-S", True, "high: the fill fits its surroundings"),
    ("outer_psnr", "outer PSNR", True, "dB, how well the rest was kept"),
    ("rmse", "RMSE to the truth", False, "how far the fill is from the real background"),
)
Filler = Callable[[Scene, np.ndarray, int], np.ndarray]


def _telea(scene: Scene, mask: np.ndarray, seed: int) -> np.ndarray:
    return cv2.inpaint(scene.image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def _stokes(scene: Scene, mask: np.ndarray, seed: int) -> np.ndarray:
    return cv2.inpaint(scene.image, mask.astype(np.uint8), 5, cv2.INPAINT_NS)


def _grain(scene: Scene, mask: np.ndarray, seed: int) -> np.ndarray:
    """The mean colour around the hole, with grain; one in eight fails."""
    if seed % 8 == 5:
        raise MemoryError("the model did not fit into 812 MB; use a smaller picture")
    ring = masks.dilate(mask, 12) & ~mask
    noise = np.random.default_rng(seed).normal(0, 14, scene.image.shape)
    return np.clip(scene.image[ring].mean(axis=0) + noise, 0, 255).astype(np.uint8)


def _mixed(scene: Scene, mask: np.ndarray, seed: int) -> np.ndarray:
    fills = _telea(scene, mask, seed).astype(int) + scene.background
    return (fills // 2).astype(np.uint8)


def _softened(scene: Scene, mask: np.ndarray, seed: int) -> np.ndarray:
    """The whole picture drawn anew: nothing outside stays as it was."""
    return cv2.GaussianBlur(_telea(scene, mask, seed), (0, 0), 3)


COLUMNS: tuple[tuple[str, str, str, Filler, bool], ...] = (
    ("own", "LaMa, refined where low", "telea", _telea, True),
    ("sd-inpaint", "Stable Diffusion inpainting", "grain", _grain, True),
    ("clipaway", "CLIPAway", "navier-stokes", _stokes, True),
    ("lora-inpaint", "LoRA + inpaint", "half the truth", _mixed, True),
    ("lora-img2img", "LoRA + image to image", "softened", _softened, False),
)
PUBLISHED = [
    {
        "source": "ForgetMe, Table 2",
        "variant": "released or unknown",
        "label": label,
        "score": score,
        "value": value,
        "note": "on the paper's data set, with the authors' own tool",
    }
    for label, d, s in (
        ("the data set's own backgrounds", 0.8680, 0.8119),
        ("CLIPAway", 0.7920, 0.7266),
        ("LoRA + inpaint", 0.6997, 0.6350),
        ("LoRA + image to image", 0.5603, 0.5752),
    )
    for score, value in (("entangled_d", d), ("entangled_s", s))
] + [
    {
        "source": "ForgetMe, Table 3",
        "variant": "released or unknown",
        "label": f"cat, α = {scale}",
        "score": "entangled",
        "value": value,
        "note": "the paper does not say whether -D or -S",
        "concept": "cat",
        "scale": scale,
    }
    for scale, value in ((0.1, 0.1639), (0.5, 0.1469), (0.7, 0.3530), (0.9, 0.8507), (1.0, 0.9080))
]


def scenes_of(count: int, size: int) -> list[Scene]:
    """Draws scenes with a cat in each."""
    return [render_scene(7000 + seed, concept="cat", size=size) for seed in range(count)]


def hole_of(scene: Scene) -> np.ndarray:
    """Returns the hole that takes the cats out, with a rim."""
    cats = [one.mask for one in scene.objects if one.concept == "cat"]
    return masks.dilate(np.logical_or.reduce(cats), 3)


def accept(store: Store, scene: Scene, name: str) -> SampleRow:
    """Brings a scene into a store and accepts it with its true background."""
    hole = hole_of(scene)
    row = store.import_image(scene.image, name=name, concept="cat", by="ann", source=f"{name}.png")
    proposal = {
        "rle": rle_encode(hole),
        "box_xywh": list(masks.box_xywh(hole)),
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "score": 0.9,
        "verdict": {"yes": True, "confidence": 0.9, "reason": "a cat", "made_by": "truth"},
        "made_by": "truth",
    }
    fill = {
        "image_sha": store.put_image(np.where(hole[..., None], scene.background, scene.image)),
        "mask_sha": store.put_image(hole),
        "settings": {"dilate_px": 3, "prompt": "", "negative_prompt": "", "seed": 0},
        "made_by": "truth",
        "scores": {
            "d": {"score": 0.8, "variant": "paper", "warnings": []},
            "s": {"score": 0.9, "variant": "paper", "warnings": []},
            "low": False,
            "words": ["what was there changed inside the mask"],
            "thresholds": {"low_d": 0.35, "low_s": 0.6},
        },
    }
    acts = (
        ("proposed", {"proposals": [proposal], "chosen": 0, "preset": "tiny"}),
        ("filled", fill),
        ("accepted", {"how": "human"}),
    )
    for kind, payload in acts:
        row = store.append(row.id, kind, payload, by="ann", expected_version=row.version)
    return row


def make(store: Store, name: str = "cat-1", *, count: int = 8, size: int = 128) -> Path:
    """Fills a store with accepted scenes and lays a comparison of them beside.

    Returns:
        The comparison's folder.
    """
    folder = store.folder / "comparisons" / name
    (folder / "pictures").mkdir(parents=True)
    scenes = scenes_of(count, size)
    rows = [accept(store, one, f"{one.setting}_{k}") for k, one in enumerate(scenes)]
    table = {
        "version": 1,
        "made": "2026-05-04T10:20:30+00:00",
        "preset": "tiny",
        "seed": 0,
        "concept": "cat",
        "versions": {"forgetme": "0.1.0"},
        "title": f"Fills without models on {count} drawn cats",
        "scores": [
            {"key": key, "title": title, "variant": "paper", "higher_is_better": up,
             "per_picture": True, "words": words}
            for key, title, up, words in SCORES
        ] + [
            {"key": "features_fid", "title": "Fréchet distance, ranker's features",
             "variant": "not FID", "higher_is_better": False, "per_picture": False,
             "words": "of two sets of pictures"},
        ],
        "columns": [
            {"key": key, "title": title, "made_by": made_by, "settings": {"seed": 0}}
            for key, title, made_by, _, _ in COLUMNS
        ],
        "rows": [
            {"name": row.name, "sample": row.id, "original": _picture(folder, scene.image),
             "mask": _picture(folder, hole_of(scene)),
             "truth": _picture(folder, scene.background)}
            for row, scene in zip(rows, scenes, strict=True)
        ],
        "cells": {
            key: [_cell(folder, scene, fill, inside, seed) for seed, scene in enumerate(scenes)]
            for key, _, _, fill, inside in COLUMNS
        },
        "sweep": _sweep(folder, scenes[:4]),
        "published": PUBLISHED,
    }  # fmt: skip
    table["summary"] = {
        key: {score: _summary(cells, score) for score, *_ in SCORES}
        | {"features_fid": {"mean": 10.0 + k, "low": None, "high": None, "n": count,
                            "warning": f"n = {count} is too small; at least 2048 are needed"}}
        for k, (key, cells) in enumerate(table["cells"].items())
    }  # fmt: skip
    (folder / "table.json").write_text(json.dumps(table), encoding="utf-8")
    _reports(folder, table)
    return folder


def add_run(store: Store, name: str = "cat-lora") -> None:
    """Lays a run with a patch's record into a store."""
    patch = store.folder / "runs" / name / "patch"
    patch.mkdir(parents=True)
    record = {"method": "lora", "concept": "cat", "base": "tiny", "trains": "lora", "steps_done": 9}
    (patch / "patch.json").write_text(json.dumps(record), encoding="utf-8")


def _picture(folder: Path, image: np.ndarray) -> str:
    data = png_bytes(image)
    path = f"pictures/{hashlib.sha256(data).hexdigest()[:16]}.png"
    (folder / path).write_bytes(data)
    return path


def _cell(folder: Path, scene: Scene, fill: Filler, inside: bool, seed: int) -> dict[str, Any]:
    hole, begun = hole_of(scene), time.perf_counter()
    try:
        made = fill(scene, hole, seed)
    except MemoryError as error:
        return {"picture": None, "seconds": 0.0, "memory_mb": 812.0, "scores": {}, "warnings": [],
                "error": str(error)}  # fmt: skip
    seconds = time.perf_counter() - begun
    if inside:
        made = np.where(hole[..., None], made, scene.image)
    psnr = float(outer_psnr(scene.image, made, hole))
    off = (made.astype(float) - scene.background)[hole] / 255
    return {
        "picture": _picture(folder, made),
        "seconds": round(seconds, 5),
        "memory_mb": 96.0 + seed,
        "scores": {
            "entangled_d": entangled_d(scene.image, made, hole).score,
            "entangled_s": entangled_s(made, hole).score,
            "outer_psnr": psnr if np.isfinite(psnr) else None,
            "rmse": float(np.sqrt((off**2).mean())),
        },
        "warnings": ["the hole covers over a quarter of the picture"] if hole.mean() > 0.25 else [],
        "error": None,
    }


def _summary(cells: Sequence[dict[str, Any]], score: str) -> dict[str, Any]:
    values = [cell["scores"].get(score) for cell in cells]
    found = summarize([value for value in values if value is not None])
    numbers = {name: _finite(getattr(found, name)) for name in ("mean", "low", "high")}
    return {**numbers, "n": found.n, "warning": found.warning or None}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _sweep(folder: Path, scenes: Sequence[Scene]) -> dict[str, Any]:
    pictures, d, s, released = [], [], [], []
    for scene in scenes:
        hole, line = hole_of(scene), []
        for scale in SCALES:
            inside = scene.image * (1 - scale) + scene.background * float(scale)
            made = np.where(hole[..., None], inside, scene.image).astype(np.uint8)
            line.append(_picture(folder, made))
            d.append(entangled_d(scene.image, made, hole).score)
            s.append(entangled_s(made, hole).score)
            released.append(entangled_d(scene.image, made, hole, variant="released").score)
        pictures.append(line)

    def curve(values: list[float]) -> list[dict[str, Any]]:
        found = [summarize(values[k :: len(SCALES)]) for k in range(len(SCALES))]
        return [{"mean": one.mean, "low": one.low, "high": one.high, "n": one.n} for one in found]

    def share(gone: list[bool]) -> list[dict[str, Any]]:
        found = [summarize_share([float(one)] * len(scenes)) for one in gone]
        return [{"mean": one.mean, "low": one.low, "high": one.high, "n": one.n} for one in found]

    return {
        "run": "cat-lora",
        "patch": "runs/cat-lora/patch",
        "column": "lora-inpaint",
        "scales": list(SCALES),
        "rows": list(range(len(scenes))),
        "pictures": pictures,
        "curves": {
            "entangled_d": curve(d),
            "entangled_s": curve(s),
            "entangled_d_released": curve(released),
            "clip_at_1": share([scale > 0.55 for scale in SCALES]),
            "still_seen": share([scale < 0.45 for scale in SCALES]),
        },
    }


def _reports(folder: Path, table: dict[str, Any]) -> None:
    (folder / "report.html").write_text("<!doctype html><title>Report</title>", encoding="utf-8")
    (folder / "table.tex").write_text("\\begin{tabular}{l}\\end{tabular}\n", encoding="utf-8")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["sample"], *([row["name"]] for row in table["rows"])])
