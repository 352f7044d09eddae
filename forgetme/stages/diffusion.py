"""Paint with a diffusion model: fill a hole by a prompt, or draw a whole picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from forgetme.record import masks
from forgetme.stages.diffusion_folder import load_pipeline, load_unet, quiet

Progress = Callable[[int, int], None]  # (steps done, steps in all)


class Diffusion:
    """A Stable Diffusion checkpoint that inpaints, draws and redraws.

    One set of modules serves all three pipelines: an adapter loaded into `pipe` acts in each.
    Calls from several threads wait for each other, because a scheduler holds the state of a run.

    Args:
        folder: diffusers folder of a StableDiffusionPipeline or StableDiffusionInpaintPipeline,
            weights in safetensors (plain or the `fp16` variant).
        inpaint_folder: Another such folder whose U-Net does the inpainting, for example the
            9-channel one of "sd15-inpaint". None = `folder`'s own.
        device: Where the model runs, "cpu" or "cuda". On "cuda" the weights are float16.
        made_by: Name recorded with every fill.

    Raises:
        MissingModelError: A folder is absent or is not a Stable Diffusion folder.

    **Source**: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models",
    through `diffusers`. The crop around the hole and the feathered paste are ours.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        inpaint_folder: str | Path | None = None,
        device: str = "cpu",
        made_by: str = "diffusion",
    ) -> None:
        """Loads the modules; the arguments are those of the class."""
        unet = None if inpaint_folder is None else load_unet(Path(inpaint_folder), device)
        self._take(load_pipeline(Path(folder), device), unet, made_by)

    @classmethod
    def around(cls, pipe: Any, *, made_by: str = "diffusion") -> Diffusion:
        """Gives a pipeline that is open already, with all that it wears, these ways to paint."""
        made = cls.__new__(cls)
        made._take(pipe, None, made_by)
        return made

    def _take(self, pipe: Any, inpaint_unet: Any, made_by: str) -> None:
        from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

        self.pipe, self.made_by = pipe, made_by
        parts = {**pipe.components, "requires_safety_checker": False}
        self._redraw = quiet(StableDiffusionImg2ImgPipeline(**parts))
        if inpaint_unet is not None:
            parts["unet"] = inpaint_unet
        self._inpaint = quiet(StableDiffusionInpaintPipeline(**parts))
        self._lock = threading.Lock()

    @property
    def native_size(self) -> int:
        """Side of the square pictures that the model was trained on, in pixels."""
        return self.pipe.unet.config.sample_size * self.pipe.vae_scale_factor

    def inpaint(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        prompt: str,
        *,
        seed: int,
        negative_prompt: str = "",
        strength: float = 1.0,
        steps: int = 20,
        guidance: float = 5.0,
        pad: float = 0.5,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Returns the image with the masked pixels painted to match a prompt.

        Args:
            image: HxWx3 uint8 RGB.
            mask: HxW bool, True = paint here. The new pixels are blended with the old ones over
                a few pixels inside its rim.
            prompt: What to paint; "" = whatever fits.
            seed: Draws the noise; the same seed gives the same picture in any process.
            negative_prompt: What not to paint.
            strength: In (0, 1]; 1 ignores what is under the mask, less keeps more of it.
            steps: Denoising steps at strength 1; `int(steps * strength)` are run.
            guidance: Classifier-free guidance scale; up to 1 switches it off.
            pad: Context on each side of the hole, as a share of its longest side. The crop never
                shows less than `native_size` pixels where the image has them.
            progress: Called with (steps done, steps in all) after each step. An exception raised
                by it stops the run.

        Returns:
            HxWx3 uint8, byte-identical to `image` wherever the mask is False. A copy of `image`
            when the mask is empty.

        Raises:
            ValueError: The mask does not fit the image, or strength, steps or guidance is out of
                range.
        """
        masks.check_mask(mask, image)
        _check_steps(steps, strength, guidance)
        if not mask.any():
            return image.copy()
        box = _square(mask, pad, self.native_size)
        size = (self.native_size, self.native_size)
        crop = _resize(_cut(image, box), size)
        # Every latent cell that the hole touches is painted anew, else its rim keeps the object.
        cells = _cover(_cut(mask, box), self.pipe.vae_scale_factor, self.native_size)
        painted = self._run(
            self._inpaint,
            prompt,
            seed,
            progress,
            image=_to_pil(crop),
            mask_image=_to_pil(cells.astype(np.uint8) * 255),
            height=self.native_size,
            width=self.native_size,
            negative_prompt=negative_prompt,
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=guidance,
        )
        return _paste(image, mask, painted, box)

    def generate(
        self,
        prompt: str,
        *,
        seed: int,
        negative_prompt: str = "",
        steps: int = 20,
        guidance: float = 7.5,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Draws a picture of a prompt.

        Args:
            prompt: What to draw.
            seed: Draws the noise; the same seed gives the same picture in any process.
            negative_prompt: What not to draw.
            steps: Denoising steps.
            guidance: Classifier-free guidance scale; up to 1 switches it off.
            size: Side of the picture in pixels, a multiple of the autoencoder's factor (8 for
                Stable Diffusion). None = `native_size`.
            progress: As in `inpaint`.

        Returns:
            `size` x `size` x 3 uint8 RGB.

        Raises:
            ValueError: steps, guidance or size is out of range.
        """
        _check_steps(steps, 1.0, guidance)
        size = self.native_size if size is None else size
        factor = self.pipe.vae_scale_factor
        if size < factor or size % factor:
            raise ValueError(
                f"size must be a positive multiple of {factor}, got {size}; "
                f"the model's own size is {self.native_size}"
            )
        settings = {
            "height": size,
            "width": size,
            "negative_prompt": negative_prompt,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
        }
        if self.pipe.unet.config.in_channels == self.pipe.vae.config.latent_channels:
            return self._run(self.pipe, prompt, seed, progress, **settings)
        # An inpainting U-Net also needs a picture and a mask: all of a blank one is the hole.
        blank = np.full((size, size, 3), 127, np.uint8)
        hole = np.full((size, size), 255, np.uint8)
        settings |= {"image": _to_pil(blank), "mask_image": _to_pil(hole), "strength": 1.0}
        return self._run(self._inpaint, prompt, seed, progress, **settings)

    def redraw(
        self,
        image: np.ndarray,
        prompt: str,
        *,
        seed: int,
        negative_prompt: str = "",
        strength: float = 0.8,
        steps: int = 20,
        guidance: float = 5.0,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Redraws a whole picture by a prompt (image to image).

        Args:
            image: HxWx3 uint8 RGB. It is shown to the model as a square: mirrored at its edges,
                never squashed.
            prompt: What to draw.
            seed: Draws the noise; the same seed gives the same picture in any process.
            negative_prompt: What not to draw.
            strength: In (0, 1]; how far from `image` the result may go.
            steps: Denoising steps at strength 1; `int(steps * strength)` are run.
            guidance: Classifier-free guidance scale; up to 1 switches it off.
            progress: As in `inpaint`.

        Returns:
            HxWx3 uint8 RGB; every pixel may differ from `image`.

        Raises:
            ValueError: strength, steps or guidance is out of range, or the U-Net is an
                inpainting one.
        """
        _check_steps(steps, strength, guidance)
        channels = self.pipe.unet.config.in_channels
        if channels != self.pipe.vae.config.latent_channels:
            raise ValueError(
                f"redraw needs a U-Net that sees only the picture's "
                f"{self.pipe.vae.config.latent_channels} latent channels, got {channels}; "
                "load a plain checkpoint such as sd15"
            )
        height, width = image.shape[:2]
        side = max(height, width)
        box = ((width - side) // 2, (height - side) // 2, side)
        crop = _resize(_cut(image, box), (self.native_size, self.native_size))
        drawn = self._run(
            self._redraw,
            prompt,
            seed,
            progress,
            image=_to_pil(crop),
            negative_prompt=negative_prompt,
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=guidance,
        )
        x, y, _ = box
        return _resize(drawn, (side, side))[-y : height - y, -x : width - x]

    def _run(
        self, pipe: Any, prompt: str, seed: int, progress: Progress | None, **settings: Any
    ) -> np.ndarray:
        import torch

        def after_step(running: Any, index: int, _: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            if progress is not None:
                progress(index + 1, running.num_timesteps)
            return kwargs

        with self._lock:
            result = pipe(
                prompt=prompt,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
                callback_on_step_end=after_step,
                **settings,
            )
        return (result.images[0] * 255).round().astype(np.uint8)


def _check_steps(steps: int, strength: float, guidance: float) -> None:
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength}")
    if int(steps * strength) < 1:
        raise ValueError(
            f"steps times strength must be at least 1, got {steps} x {strength}; raise either"
        )
    if not 0 <= guidance <= 100:
        raise ValueError(f"guidance must be from 0 to 100, got {guidance}")


def _square(mask: np.ndarray, pad: float, native: int) -> tuple[int, int, int]:
    """Chooses the square to show the model.

    Returns:
        x, y, side in pixels. It lies in the image where it fits; otherwise it sticks out on both
        sides of the shorter axis by the same amount.
    """
    x, y, w, h = masks.box_xywh(mask)
    side = max(round(max(w, h) * (1 + 2 * pad)), native)
    side = min(side, max(mask.shape))
    return (
        _first(x + w // 2 - side // 2, side, mask.shape[1]),
        _first(y + h // 2 - side // 2, side, mask.shape[0]),
        side,
    )


def _first(wanted: int, side: int, limit: int) -> int:
    return (limit - side) // 2 if side > limit else min(max(wanted, 0), limit - side)


def _cut(array: np.ndarray, box: tuple[int, int, int]) -> np.ndarray:
    """Cuts a square out; what sticks out of the image is its mirror image."""
    x, y, side = box
    height, width = array.shape[:2]
    before = (max(0, -y), max(0, -x))
    after = (max(0, y + side - height), max(0, x + side - width))
    inside = array[max(0, y) : y + side, max(0, x) : x + side]
    axes = list(zip(before, after, strict=True)) + [(0, 0)] * (array.ndim - 2)
    return np.pad(inside, axes, mode="symmetric")


def _cover(mask: np.ndarray, cell: int, size: int) -> np.ndarray:
    """Resizes a square mask so that each cell of `cell` pixels is all in or all out."""
    # INTER_AREA touches exactly the covered pixels: a cell is above 0 if any masked pixel is in it.
    n = size // cell
    if mask.shape[0] < n:
        mask = cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
    cells = cv2.resize(mask.astype(np.float32), (n, n), interpolation=cv2.INTER_AREA) > 0
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = image.shape[0] > size[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _paste(
    image: np.ndarray, mask: np.ndarray, painted: np.ndarray, box: tuple[int, int, int]
) -> np.ndarray:
    """Lays the painted square over the image, under the mask only, feathered inside its rim."""
    x, y, side = box
    height, width = mask.shape
    rows = slice(max(0, y), min(height, y + side))
    columns = slice(max(0, x), min(width, x + side))
    new = _resize(painted, (side, side))
    new = new[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    inside = mask[rows, columns]
    feather = max(1, side // 128)  # pixels of the rim over which old turns into new
    alpha = np.clip(masks.distance_to(~inside) / (feather + 1), 0, 1)[..., None]
    result = image.copy()
    mixed = alpha * new + (1 - alpha) * result[rows, columns]
    result[rows, columns][inside] = mixed.round().astype(np.uint8)[inside]
    return result


def _to_pil(array: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(array)
