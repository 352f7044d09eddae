"""An IP-Adapter that a U-Net wears only while it is asked to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging

from forgetme.stages.checkpoint import UNREADABLE, unusable
from forgetme.stages.clipaway.tower import read_tensors

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class AdapterTensors:
    """The tensors of an IP-Adapter by their published names.

    Attributes:
        image_proj: `proj.weight`, `proj.bias`, `norm.weight`, `norm.bias`: from one embedding to
            four tokens.
        ip_adapter: `1.to_k_ip.weight`, `1.to_v_ip.weight`, `3.to_k_ip.weight`, …: keys and values
            of those tokens, one pair for each cross-attention in diffusers' order.
    """

    image_proj: Tensors
    ip_adapter: Tensors

    def flat(self) -> dict[str, torch.Tensor]:
        """One dict with dotted names, as a `.safetensors` file holds it."""
        return {
            **{f"image_proj.{k}": v for k, v in self.image_proj.items()},
            **{f"ip_adapter.{k}": v for k, v in self.ip_adapter.items()},
        }


def read_adapter(path: Path) -> AdapterTensors:
    """Reads a published IP-Adapter, `.safetensors` with dotted names or `.bin` of two dicts.

    Raises:
        MissingModelError: The file is damaged or holds something else.
    """
    try:
        found = read_tensors(path)
        if path.suffix == ".safetensors":
            parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
            for name, value in found.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = value
            found = parts
        tensors = AdapterTensors(found["image_proj"], found["ip_adapter"])
        tensors.image_proj["proj.weight"]  # noqa: B018 (another kind of adapter has none)
    except UNREADABLE as error:
        raise unusable(path, "an IP-Adapter with a linear projection", error) from error
    return tensors


class Adapter:
    """An IP-Adapter fitted to the U-Net of one pipeline.

    Args:
        pipe: A Stable Diffusion pipeline of its own; its U-Net may be shared, since it is left as
            it was found.
        tensors: The adapter's.

    Raises:
        ValueError: The adapter is for a U-Net of another shape.

    **Source**: Ye et al. 2023, "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image
    Diffusion Models", through diffusers' `load_ip_adapter`.
    """

    def __init__(self, pipe: Any, tensors: AdapterTensors) -> None:
        """Fits the adapter; the arguments are those of the class."""
        self._unet = pipe.unet
        _check(self._unet, tensors)
        found = _Clothes.of(self._unet)
        with _errors_only():  # it would warn of the image encoder that is not asked for
            pipe.load_ip_adapter(
                {"image_proj": dict(tensors.image_proj), "ip_adapter": dict(tensors.ip_adapter)},
                subfolder="",
                weight_name="",
                image_encoder_folder=None,
            )
        pipe.set_ip_adapter_scale(1.0)
        self.projection = self._unet.encoder_hid_proj
        self.layers = {
            name: processor
            for name, processor in self._unet.attn_processors.items()
            if isinstance(processor, torch.nn.Module)
        }
        found.put_on(self._unet)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Lets the U-Net wear the adapter; afterwards it is what it was, bit for bit."""
        found = _Clothes.of(self._unet)
        try:
            ours = {**found.processors, **self.layers}
            _Clothes(ours, self.projection, "ip_image_proj").put_on(self._unet)
            yield
        finally:
            found.put_on(self._unet)


@dataclass(frozen=True)
class _Clothes:
    """What an IP-Adapter changes in a U-Net."""

    processors: dict[str, Any]
    projection: torch.nn.Module | None
    kind: str | None

    @staticmethod
    def of(unet: torch.nn.Module) -> _Clothes:
        kind = unet.config.encoder_hid_dim_type
        return _Clothes(unet.attn_processors, unet.encoder_hid_proj, kind)

    def put_on(self, unet: torch.nn.Module) -> None:
        unet.set_attn_processor(dict(self.processors))  # diffusers empties what it is given
        unet.encoder_hid_proj = self.projection
        unet.config.encoder_hid_dim_type = self.kind


def _check(unet: torch.nn.Module, tensors: AdapterTensors) -> None:
    """Compares shapes before anything is changed."""
    crosses = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for place, name in enumerate(crosses):
        module = unet.get_submodule(name.removesuffix(".processor"))
        wanted = (module.inner_dim, unet.config.cross_attention_dim)
        key = f"{2 * place + 1}.to_k_ip.weight"
        found = tuple(tensors.ip_adapter[key].shape) if key in tensors.ip_adapter else None
        if found != wanted:
            raise ValueError(
                f"the IP-Adapter does not fit this U-Net: {key} must be {wanted}, got {found}; "
                "use the adapter of the same base model (ip-adapter_sd15 for Stable Diffusion 1.5)"
            )


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
