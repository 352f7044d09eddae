"""A curated photo's own hole, filled under the prompt of what was there.

**Source**: "When Are Concepts Erased", NeurIPS 2025, which hides the middle of a drawn picture;
ours hides the true object of a photo.
"""

from __future__ import annotations

from PIL import Image

from forgetme.evaluate.detectors import shown
from forgetme.evaluate.probes.probe import FAST, FULL, CannotError, Case, Found, Probe, close
from forgetme.record.masks import dilate
from forgetme.stages.diffusion import Diffusion


def run(case: Case) -> Found:
    """Fills holes whose original the judge recognises; of the others a fill would say nothing."""
    photos = case.photos()
    whole = [close(photo.original, photo.mask) for photo in photos]
    seen = shown(case.recogniser, whole, case.concept)
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
        pictures.append(Image.fromarray(close(filled, hole)))
    return case.judged(pictures, {"originals recognised": len(known) / len(photos)})


PROBE = Probe(
    "inpainting", "fills a curated photo's own hole under the concept's prompt", run, FAST, FULL
)
