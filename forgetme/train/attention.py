"""What each place of a picture looks at in its prompt: cross-attention while a model is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from forgetme.errors import ForgetmeError


@contextmanager
def cross_attention(core: torch.nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Captures the maps of all cross-attention layers that are called inside the block.

    Args:
        core: a U-Net of diffusers, bare or with adapters.

    Yields:
        Filled by each call: (B, heads, places, tokens) by the layer's name, each row of tokens a
        distribution; with its gradient. A second call takes the place of the first.

    Raises:
        ForgetmeError: the core recomputes its activations, so that what is captured would not be
            what is learned from.
    """
    if getattr(core, "is_gradient_checkpointing", False):
        raise ForgetmeError(
            "attention maps cannot be learned from with gradient checkpointing; leave it out"
        )
    layers = {name: part for name, part in core.named_modules() if name.endswith("attn2")}
    before = {name: layer.processor for name, layer in layers.items()}
    maps: dict[str, torch.Tensor] = {}
    try:
        for name, layer in layers.items():
            layer.processor = _Explicit(name, maps)
        yield maps
    finally:
        for name, layer in layers.items():
            layer.processor = before[name]


class _Explicit:
    """Computes attention by its formula, so that the distribution is there to be read."""

    def __init__(self, name: str, maps: dict[str, torch.Tensor]) -> None:
        self._name, self._maps = name, maps

    def __call__(
        self,
        attn: torch.nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **_: object,
    ) -> torch.Tensor:
        told = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if attn.norm_cross:
            told = attn.norm_encoder_hidden_states(told)
        parts = (attn.to_q(hidden_states), attn.to_k(told), attn.to_v(told))
        query, key, value = map(attn.head_to_batch_dim, parts)  # (B heads, places, D / heads)
        chances = attn.get_attention_scores(query, key, attention_mask)
        self._maps[self._name] = chances.unflatten(0, (len(hidden_states), -1))
        made = attn.batch_to_head_dim(torch.bmm(chances, value))
        return attn.to_out[1](attn.to_out[0](made))
