"""Which weights of the U-Net a run moves: a setting apart from the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    import torch

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
_ENDS = ("conv_norm_out", "conv_out", "time_embedding")

# Names as diffusers gives them; attn2 is cross-attention. ESD calls these x-strict, x, u and all.
SELECTIONS: dict[str, Callable[[str], bool]] = {
    "kv": lambda name: "attn2.to_k" in name or "attn2.to_v" in name,
    "cross-attention": lambda name: "attn2" in name,
    "no-cross-attention": lambda name: "attn2" not in name and not name.startswith(_ENDS),
    "full": lambda name: True,
}


def choose(unet: torch.nn.Module, settings: RunSettings) -> dict[str, torch.nn.Parameter]:
    """Freezes a U-Net but for the weights that `settings.trains` names; LoRA ones are added.

    Returns:
        The trained parameters by name, as float32.
    """
    import torch

    unet.requires_grad_(False)
    if settings.trains == "lora":
        from peft import LoraConfig

        torch.manual_seed(settings.seed)
        unet.add_adapter(
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.rank,
                init_lora_weights="gaussian",
                target_modules=list(LORA_TARGETS),
            )
        )
        chosen = {name: p for name, p in unet.named_parameters() if "lora_" in name}
    else:
        wanted = SELECTIONS[settings.trains]
        chosen = {name: p for name, p in unet.named_parameters() if wanted(name)}
    for parameter in chosen.values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return chosen
