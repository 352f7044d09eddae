"""Fills a hole the CLIPAway way: background embedding, less the object, into the diffusion."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgetme.errors import MissingModelError
from forgetme.record.files import bundled
from forgetme.stages import weights as shelf
from forgetme.stages.checkpoint import UNREADABLE, existing, read_config, unusable
from forgetme.stages.clipaway.adapter import Adapter, AdapterTensors, read_adapter
from forgetme.stages.clipaway.mapping import load_mapping, project
from forgetme.stages.clipaway.tower import AlphaClip, load_alpha_clip
from forgetme.stages.diffusion import Diffusion, Progress
from forgetme.stages.models import Models

BUNDLED = bundled("tiny") / "clipaway"
RECORD = "clipaway.json"  # beside bundled weights: the tower's config and the settings
TINY_FILES = ("alphaclip.safetensors", "mapping.safetensors", "ip-adapter.safetensors")
PUBLISHED_FILES = shelf.PUBLISHED["clipaway"].files  # in the same order


@dataclass(frozen=True)
class ClipAwaySettings:
    """How the diffusion model is asked; the defaults are the published ones.

    Attributes:
        prompt: What to paint besides what the embedding says.
        negative_prompt: What not to paint.
        guidance: Classifier-free guidance scale, above 1.
    """

    prompt: str = ""
    negative_prompt: str = "monochrome, lowres, bad anatomy, worst quality, low quality"
    guidance: float = 7.5


@dataclass(frozen=True)
class Focused:
    """Embeddings (1, D) of one picture in the IP-Adapter's space.

    Attributes:
        foreground: Of the object.
        background: Of everything else.
        projected: The background without its part along the foreground: what is painted.
        nothing: Of no picture at all, the other side of the guidance.
    """

    foreground: torch.Tensor
    background: torch.Tensor
    projected: torch.Tensor
    nothing: torch.Tensor


class ClipAway:
    """Removes objects with a diffusion model that is shown the background's CLIP embedding.

    The diffusion model is shared and left as it was found; calls wait for its other users.

    Args:
        diffusion: Paints; with an inpainting U-Net where it has one.
        encoder: Sees the object and the background.
        mapping: From the encoder's space to the adapter's.
        adapter: Tensors of the IP-Adapter for the diffusion model.
        made_by: Name recorded with every fill.
        settings: Prompts and guidance.

    Raises:
        ValueError: The adapter is for a U-Net of another shape.

    **Source**: Ekin et al. 2024, "CLIPAway", section 3. The picture is cropped and the result
    pasted as by `Diffusion.inpaint`; the published code paints the whole picture at 512 px.
    """

    def __init__(
        self,
        diffusion: Diffusion,
        encoder: AlphaClip,
        mapping: torch.nn.Module,
        adapter: AdapterTensors,
        *,
        made_by: str = "clipaway",
        settings: ClipAwaySettings | None = None,
    ) -> None:
        """Fits the adapter; the arguments are those of the class."""
        self.made_by = made_by
        self.settings = settings or ClipAwaySettings()
        self._encoder, self._mapping = encoder, mapping
        shared = diffusion._inpaint
        # A pipeline of our own: loading an adapter adds a feature extractor to it.
        self._pipe = type(shared)(**shared.components, requires_safety_checker=False)
        self._pipe.set_progress_bar_config(disable=True)
        self._adapter = Adapter(self._pipe, adapter)
        self._painter = copy.copy(diffusion)  # its crop, paste and lock around our call
        self._painter._inpaint = self._paint

    def fill(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        *,
        seed: int,
        steps: int = 50,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Returns the image with the masked object painted over by background.

        Args:
            image: HxWx3 uint8 RGB.
            mask: HxW bool, True = the object; dilate it first, its rim is painted too.
            seed: Draws the noise; the same seed gives the same picture in any process.
            steps: Denoising steps.
            progress: Called with (steps done, steps in all) after each step. An exception raised
                by it stops the run.

        Returns:
            HxWx3 uint8, byte-identical to `image` wherever the mask is False.

        Raises:
            ValueError: The mask does not fit the image, or steps is below 1.
        """
        return self._painter.inpaint(
            image,
            mask,
            self.settings.prompt,
            seed=seed,
            negative_prompt=self.settings.negative_prompt,
            steps=steps,
            guidance=self.settings.guidance,
            progress=progress,
        )

    @torch.no_grad()
    def focus(self, image: np.ndarray, mask: np.ndarray) -> Focused:
        """Embeds what is in the mask, and what is around it.

        Args:
            image: HxWx3 uint8 RGB.
            mask: HxW bool, True = the object.

        Returns:
            Four embeddings (1, D).
        """
        seen = self._encoder(np.stack([image, image]), np.stack([mask, ~mask]))
        seen = torch.cat([seen, torch.zeros_like(seen[:1])])  # object, background, nothing
        foreground, background, nothing = self._mapping(seen).split(1)
        return Focused(foreground, background, project(background, foreground), nothing)

    def _paint(self, **asked: Any) -> Any:
        """Runs the pipeline on the crop that `Diffusion.inpaint` shows it."""
        crop, cells = np.asarray(asked["image"]), np.asarray(asked["mask_image"]) >= 128
        seen = self.focus(crop, cells)
        embeds = torch.stack([seen.nothing, seen.projected]).to(self._pipe.unet.dtype)  # (2, 1, D)
        with self._adapter.on():
            return self._pipe(**asked, ip_adapter_image_embeds=[embeds])


def load_clipaway(
    models: Models,
    *,
    cache: str | Path | None = None,
    weights: str | Path | None = None,
) -> ClipAway:
    """Loads CLIPAway for the diffusion model of a preset.

    Args:
        models: Its diffusion model paints, on the device where that is.
        cache: Folder of downloaded weights; None = `~/.cache/forgetme`.
        weights: Folder with the three files, under their bundled or their published names; None =
            the bundled ones for the preset "tiny", the downloaded ones for "full".

    Returns:
        The model; its `made_by` names these weights and the diffusion model's.

    Raises:
        MissingModelError: Weights are absent or damaged; the message names the command to run.
        ValueError: The adapter is for a U-Net of another shape.

    Example:
        ```python
        clipaway = load_clipaway(fm.load_models("tiny"))
        filled = clipaway.fill(image, mask, seed=0)
        ```
    """
    folder, sha256 = _find(models, cache, weights)
    diffusion = models.diffusion
    device = diffusion.pipe.device
    tiny = (folder / RECORD).is_file()
    tower, mapping, adapter = (folder / name for name in _names(folder))
    record = _read_record(folder / RECORD) if tiny else {}
    return ClipAway(
        diffusion,
        load_alpha_clip(tower, device, **record.get("tower", {})),
        load_mapping(mapping, device),
        read_adapter(adapter),
        made_by=f"{'tiny/' if tiny else ''}clipaway@{sha256[:8]}+{diffusion.made_by}",
        settings=ClipAwaySettings(**record.get("settings", {})),
    )


def _find(models: Models, cache: str | Path | None, weights: str | Path | None) -> tuple[Path, str]:
    """The folder of weights and one sha256 of its files."""
    if weights is None and models.preset == "full":
        return shelf.check("clipaway", cache=None if cache is None else Path(cache))
    folder = BUNDLED if weights is None else Path(weights).expanduser()
    for name in _names(folder):
        if weights is None and not (folder / name).is_file():
            raise MissingModelError(
                f"the bundled weights {folder / name} are not there; "
                "run `python -m forgetme tiny train clipaway`"
            )
        existing(folder / name, name=name)
    sums = "\n".join(shelf.file_sha256(folder / name) for name in _names(folder))
    return folder, hashlib.sha256(sums.encode()).hexdigest()


def _names(folder: Path) -> tuple[str, ...]:
    """The files of tower, mapping and adapter in a folder."""
    if folder == BUNDLED or (folder / RECORD).is_file():
        return TINY_FILES
    plain = "ip-adapter_sd15.safetensors"  # the same tensors, from the adapter's own repository
    return (*PUBLISHED_FILES[:2], plain if (folder / plain).is_file() else PUBLISHED_FILES[2])


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return read_config(path)
    except UNREADABLE as error:
        raise unusable(path, "the record of a small CLIPAway", error) from error
