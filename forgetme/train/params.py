"""Which weights of the model a run moves: a setting apart from the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from forgetme.errors import ForgetmeError
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    import torch

    from forgetme.train.model import Base

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")  # and where a transformer reads its text:
_TEXT_TARGETS = ("add_q_proj", "add_k_proj", "add_v_proj")
_ENDS = ("conv_norm_out", "conv_out", "time_embedding")

# Names as diffusers gives them; attn2 is cross-attention. ESD calls these x, u and all, and "kv",
# the weights that read the text, x-strict.
SELECTIONS: dict[str, Callable[[str], bool]] = {
    "cross-attention": lambda name: "attn2" in name,
    "no-cross-attention": lambda name: "attn2" not in name and not name.startswith(_ENDS),
    "full": lambda name: True,
    "text-encoder": lambda name: True,
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
                target_modules=[*LORA_TARGETS, *_TEXT_TARGETS],
            )
        )
        chosen = {name: p for name, p in base.core.named_parameters() if "lora_" in name}
    else:
        reads, words = base.reading_states(), settings.trains == "text-encoder"
        wanted = reads.__contains__ if settings.trains == "kv" else SELECTIONS[settings.trains]
        roots = base.encoders if words else {"": base.core}
        chosen = {name: p for name, p in weights_of(roots) if wanted(name)}
    if not chosen:
        raise ForgetmeError(
            f"{type(base.pipe).__name__} has no weights of the kind {settings.trains}; take "
            "--trains lora"
        )
    for parameter in chosen.values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return chosen


def weights_of(
    roots: Mapping[str, torch.nn.Module],
) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """All weights of some networks, each name behind its network's start."""
    for start, root in roots.items():
        yield from ((f"{start}{name}", value) for name, value in root.named_parameters())
