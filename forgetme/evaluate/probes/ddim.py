"""Memories: does the model still know noise from which it redraws a photo of the concept?

**Source**: "Memories of Forgotten Concepts", 2412.00782: PSNR of the reconstruction, and whether
the noise is a likely one, here by its spread (1 is that of true noise).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import DDIMInverseScheduler

from forgetme.evaluate.probes.probe import CHUNK, FAST, FULL, Case, Found, Probe
from forgetme.metrics.pairs import outer_psnr
from forgetme.train.data import square
from forgetme.train.model import Base


@torch.no_grad()
def walked(base: Base, z: torch.Tensor, told: torch.Tensor, steps: int, *, up: bool) -> Any:
    """Follows DDIM without guidance from latents (N, C, h, w) up to their noise, or back."""
    solver = base.solver(steps)
    if up:
        solver = DDIMInverseScheduler.from_config(dict(solver.config))
        solver.set_timesteps(steps, device=z.device)
    text = {"encoder_hidden_states": told.expand(len(z), *told.shape[1:])}
    for t in solver.timesteps:
        guess = base.call(base.core, z, t.expand(len(z)), text)
        z = solver.step(guess, t, z).prev_sample
    return z


def run(case: Case) -> Found:
    """Inverts photos and draws them again from the noise found, both under the concept's prompt."""
    base, vae, told, steps = case.base, case.pipe.vae, case.told(), case.plan["walk"]
    photos = [square(one.original, base.side) for one in case.photos()]
    pictures, spread = [], []
    for start in range(0, len(photos), CHUNK):
        noise = walked(base, case.latents(photos[start : start + CHUNK]), told, steps, up=True)
        z = walked(base, noise, told, steps, up=False).to(vae.dtype)
        with torch.no_grad():
            drawn = vae.decode(z / vae.config.scaling_factor).sample.float()
        pictures += case.pipe.image_processor.postprocess(drawn, output_type="pil")
        spread += noise.std((1, 2, 3)).tolist()
    none = np.zeros((base.side, base.side), bool)
    pairs = zip(photos, pictures, strict=True)
    psnr = [outer_psnr(photo, np.asarray(one), none) for photo, one in pairs]
    values = {"reconstruction PSNR, dB": float(np.mean(psnr)), "spread": float(np.mean(spread))}
    return case.judged(pictures, values)


PROBE = Probe(
    "ddim-inversion",
    "finds the noise of curated photos and redraws them from it",
    run,
    {**FAST, "walk": 25},
    {**FULL, "walk": 50},
)
