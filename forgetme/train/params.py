"""Which weights of the model a run moves: a setting apart from the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    import torch

    from forgetme.train.model import Base

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
_ENDS = ("conv_norm_out", "conv_out", "time_embedding")

# Names as diffusers gives them; attn2 is cross-attention. ESD calls these x-strict, x, u and all.
SELECTIONS: dict[str, Callable[[str], bool]] = {
    "kv": lambda name: "attn2.to_k" in name or "attn2.to_v" in name,
    "cross-attention": lambda name: "attn2" in name,
    "no-cross-attention": lambda name: "attn2" not in name and not name.startswith(_ENDS),
    "full": lambda name: True,
}


def choose(base: Base, settings: RunSettings) -> dict[str, torch.nn.Parameter]:
    """Freezes a model but for the weights that `settings.trains` names; LoRA ones are added.

    Returns:
        The trained parameters by name, as float32.
    """
    import torch

    for root in base.roots.values():
        root.requires_grad_(False)
    if settings.trains == "lora":
        from peft import LoraConfig

        torch.manual_seed(settings.seed)
        base.core.add_adapter(
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.rank,
                init_lora_weights="gaussian",
                target_modules=list(LORA_TARGETS),
            )
        )
        chosen = {name: p for name, p in _weights(base) if "lora_" in name}
    else:
        wanted = SELECTIONS[settings.trains]
        chosen = {name: p for name, p in _weights(base) if wanted(name)}
    for parameter in chosen.values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return chosen


def _weights(base: Base) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for start, root in base.roots.items():
        yield from ((f"{start}{name}", value) for name, value in root.named_parameters())
