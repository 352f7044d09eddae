"""Saliency unlearning: random labelling that moves only the weights the concept hangs on.

**Source**: Fan et al. 2024 (SalUn), `generate_mask.py` and `random_label.py`. The mask is the top
`share` of all weights by the size of their gradients, added up with signs; `guidance` 0 is its form
for classifiers. Departures: those of `rl`; Adam without weight decay, so that what is masked stays
bit for bit.
"""

from __future__ import annotations

import torch

from forgetme.train.method import Context, Latents, Method, Option
from forgetme.train.methods import rl
from forgetme.train.saliency import signed_gradients, top_share

OPTIONS = {
    "share": Option(0.5, "share of the weights that may move"),
    "guidance": Option(7.5, "guidance in the loss whose gradients choose them; 0 = a plain loss"),
}


def setup(ctx: Context, data: Latents) -> None:
    """Masks the gradients of all but the salient weights."""
    found = signed_gradients(ctx, data, ctx.chosen, guidance=ctx.option("guidance"))
    still = {name: torch.zeros(()) for name in ctx.chosen if name not in found}
    ctx.mask = {**still, **top_share(found, ctx.option("share"))}


METHOD = Method(
    name="salun",
    words="Random labelling that moves only the half of the weights the concept hangs on.",
    source="Fan et al. 2024 (SalUn)",
    loss=rl.loss,
    needs=rl.METHOD.needs,
    trains=("full", "cross-attention", "kv", "no-cross-attention"),
    options={**rl.CORE, **OPTIONS},
    more_needs=rl.more_needs,
    setup=setup,
    presets=rl.METHOD.presets,
)
