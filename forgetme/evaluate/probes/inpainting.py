"""A curated photo's own hole, filled under the prompt of what was there.

**Source**: "When Are Concepts Erased", NeurIPS 2025, which hides the middle of a drawn picture;
ours hides the true object of a photo.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from forgetme.evaluate.detectors import shown
from forgetme.evaluate.probes.probe import FAST, FULL, CannotError, Case, Found, Probe
from forgetme.record.masks import box_xywh, dilate
from forgetme.stages.diffusion import Diffusion

AROUND = 0.25  # context on each side of what the judge sees, as a part of the longer side


def looked(image: np.ndarray, mask: np.ndarray) -> Image.Image:
    """Cuts a hole with its surroundings out, which is what a judge is shown."""
    x, y, width, height = box_xywh(mask)
    rim = round(AROUND * max(width, height))
    return Image.fromarray(
        image[max(y - rim, 0) : y + height + rim, max(x - rim, 0) : x + width + rim]
    )


def run(case: Case) -> Found:
    """Fills holes whose original the judge recognises; of the others a fill would say nothing."""
    photos = case.photos()
    seen = shown(case.recogniser, [looked(p.original, p.mask) for p in photos], case.concept)
    known = [photo for photo, hit in zip(photos, seen, strict=True) if hit]
    if not known:
        raise CannotError(f"the judge sees {case.concept} in none of {len(photos)} originals")
    painter, pictures = Diffusion.around(case.pipe), []
    for number in range(case.plan["pictures"]):
        photo = known[number % len(known)]
        hole = dilate(photo.mask, max(1, round(0.02 * max(photo.mask.shape))))
        filled = painter.inpaint(
            photo.original, hole, case.prompt, seed=case.generator(number).initial_seed(),
            steps=case.plan["steps"], guidance=case.plan["guidance"],
        )  # fmt: skip
        pictures.append(looked(filled, hole))
    return case.judged(pictures, {"originals recognised": len(known) / len(photos)})


PROBE = Probe(
    "inpainting", "fills a curated photo's own hole under the concept's prompt", run, FAST, FULL
)
