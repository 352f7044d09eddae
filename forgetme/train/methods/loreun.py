"""Random labelling whose samples are weighed by how well each is forgotten or kept.

**Source**: LoReUn, equations 4 to 6 and algorithm 1; there is no published code. A picture that is
still denoised well weighs more among those to forget, and one that got worse among those to keep.
What is normal at a timestep is a curve a exp(-b t) + k of the frozen model, one for each set; where
that does not fit, straight lines between its ten points. `share` above 0 adds SalUn's mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import curve_fit

from forgetme.errors import ForgetmeError
from forgetme.train.method import Batch, Context, Latents, Method, Option, RunSettings, Terms
from forgetme.train.methods import rl, salun

POINTS = range(0, 1000, 100)  # timesteps of the curve
MOST = 64  # pictures of a set that it is taken from

Curve = Callable[[np.ndarray], np.ndarray]


class Curves(NamedTuple):
    """What a loss normally is at each timestep."""

    forget: Curve
    retain: Curve


def weights(d: torch.Tensor, eta: float) -> torch.Tensor:
    """Weights (n,) in proportion to exp(eta d), which add up to 1."""
    return torch.softmax(eta * d, 0)


def curve(t: np.ndarray, losses: np.ndarray) -> Curve:
    """The curve a exp(-b t) + k through losses at timesteps."""

    def exponential(t: np.ndarray, a: float, b: float, k: float) -> np.ndarray:
        return a * np.exp(-b * t) + k

    begin = (losses[0] - losses[-1], 1 / 150, losses[-1])
    try:
        found, _ = curve_fit(exponential, t, losses, p0=begin, maxfev=2000)
    except RuntimeError:  # it does not converge
        return lambda at: np.interp(at, t, losses)
    inside = exponential(np.arange(t[-1] + 1), *found)
    if not np.isfinite(inside).all() or inside.min() <= 0:
        return lambda at: np.interp(at, t, losses)
    return lambda at: exponential(at, *found)


@torch.no_grad()
def _curve_of(ctx: Context, z: torch.Tensor, prompts: list[str]) -> Curve:
    z, size = z[:MOST], ctx.settings.batch
    eps, losses = torch.randn(z.shape), []
    for point in POINTS:
        parts = []
        for start in range(0, len(z), size):
            rows = slice(start, start + size)
            some, noise = z[rows].to(ctx.base.device), eps[rows].to(ctx.base.device)
            t = torch.full((len(some),), point, device=some.device)
            guess = ctx.student(ctx.add_noise(some, noise, t), t, prompts[rows])
            parts.append(ctx.errors(guess, ctx.goal(some, noise, t)))
        losses.append(float(torch.cat(parts).mean()))
    return curve(np.array(POINTS), np.array(losses))


def setup(ctx: Context, data: Latents) -> None:
    """Takes the curves of both sets, and SalUn's mask where it is asked for."""
    if ctx.option("share"):
        salun.setup(ctx, data)
    ctx.state = Curves(
        _curve_of(ctx, data.original, data.targets), _curve_of(ctx, data.retain, data.prompts)
    )


def loss(ctx: Context, batch: Batch) -> Terms:
    """Returns sum w_f MSE(e(z_t, c), sg e(z_t, anchor)) and alpha sum w_r MSE(e(retain), eps)."""
    right, wrong = rl.answers(ctx, batch)
    clean = ctx.errors(right, ctx.goal(batch.original, batch.eps, batch.t)).detach()
    d = clean / _at(ctx.state.forget, batch.t)
    forget = (weights(d, -ctx.option("eta_f")) * ctx.errors(right, wrong)).sum()
    kept = ctx.staying(batch).get("retain", torch.zeros_like(forget))
    if ctx.option("alpha"):
        losses = ctx.retain_errors(batch)
        d = losses.detach() / _at(ctx.state.retain, batch.retain_t)
        kept = kept + ctx.option("alpha") * (weights(d, ctx.option("eta_r")) * losses).sum()
    return {"forget": forget, "retain": kept}


def _at(normal: Curve, t: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(normal(t.cpu().numpy().astype(float))).float().to(t.device)


def check(settings: RunSettings) -> None:
    """Refuses a batch in which nothing can be weighed."""
    if settings.batch < 2:
        raise ForgetmeError("loreun weighs the pictures of a batch; take --batch 2 or more")


METHOD = Method(
    name="loreun",
    words="Random labelling that weighs each picture by how well it is forgotten or kept.",
    source="LoReUn, equations 4 to 6",
    loss=loss,
    needs=rl.METHOD.needs,
    trains=("full", "cross-attention", "kv", "no-cross-attention"),
    options={
        **rl.CORE,
        "eta_f": Option(0.1, "how much better remembered pictures weigh more; 0 = all alike"),
        "eta_r": Option(0.2, "how much worse kept pictures weigh more; 0 = all alike"),
        **salun.OPTIONS,
        "share": Option(0.0, "share of the weights that may move, SalUn's; 0 = all"),
    },
    more_needs=rl.more_needs,
    setup=setup,
    check=check,
    presets={
        **rl.METHOD.presets,
        "tiny": {
            **rl.METHOD.presets["tiny"],
            "options": {"alpha": 0.2, "retain": 5.0},
        },
    },
)
