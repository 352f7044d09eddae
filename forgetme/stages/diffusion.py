"""Paint with a diffusion model: fill a hole by a prompt, or draw a whole picture."""

from __future__ import annotations

import contextlib
import gzip
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from forgetme.errors import MissingModelError
from forgetme.record import masks
from forgetme.stages.checkpoint import UNREADABLE, cause_of, read_config

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTokenizer

Progress = Callable[[int, int], None]  # (steps done, steps in all)

_N_CLIP_MERGES = 49152 - 256 - 2  # the rest of the published list was never used by CLIP


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
        from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

        self.pipe = _load(Path(folder), device)
        self.made_by = made_by
        parts = {**self.pipe.components, "requires_safety_checker": False}
        self._redraw = _quiet(StableDiffusionImg2ImgPipeline(**parts))
        if inpaint_folder is not None:
            parts["unet"] = _load_unet(Path(inpaint_folder), device)
        self._inpaint = _quiet(StableDiffusionInpaintPipeline(**parts))
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


def build_tokenizer(words: Sequence[str] | None = None, context_length: int = 77) -> CLIPTokenizer:
    """Builds CLIP's tokenizer offline from the byte-pair list that open_clip ships.

    Args:
        words: None for CLIP's whole vocabulary of 49,408 tokens with its published ids. Otherwise
            a small vocabulary is made: the 512 byte tokens, the merges that these words (or
            phrases, whose words are taken one by one) need, and the two special tokens last. Each
            word is one token; any other text decomposes into shorter ones, never into "unknown".
        context_length: Tokens in a prompt, start and end included.

    Returns:
        A tokenizer that `save_pretrained` and StableDiffusionPipeline accept. The text encoder
        built for it needs `vocab_size=len(tokenizer)`, `max_position_embeddings=context_length`
        and the tokenizer's `bos_token_id`, `eos_token_id` and `pad_token_id`.

    **Source**: Radford et al. 2021, tokenizer of https://github.com/openai/CLIP (MIT).

    Example:
        >>> build_tokenizer()("a photo of a cat").input_ids
        [49406, 320, 1125, 539, 320, 2368, 49407]
        >>> build_tokenizer(["mushroom"]).tokenize("mushroom")
        ['mushroom</w>']
    """
    merges = _clip_merges()
    if words is not None:
        merges = _merges_for(_split(words), merges)
    return _clip_tokenizer(merges, context_length)


def _load(folder: Path, device: str) -> StableDiffusionPipeline:
    import torch
    from diffusers import StableDiffusionPipeline

    with _no_loading_bars(folder, "model_index.json"):
        _check_index(folder)
        pipe = StableDiffusionPipeline.from_pretrained(
            folder,
            variant=_variant(folder),
            dtype=torch.float16 if device.startswith("cuda") else torch.float32,
            use_safetensors=True,
            local_files_only=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        _check_vocabulary(pipe)
    return _quiet(pipe.to(device))


def _check_index(folder: Path) -> None:
    """Refuses a folder with code of its own: its parts are classes of diffusers and transformers.

    Raises:
        ValueError: it brings code, or names a part that comes from elsewhere.
    """
    code = next((path.name for path in folder.rglob("*.py")), None)
    if code is not None:
        raise ValueError(f"it brings code of its own, {code}, which is never run")
    index = read_config(folder / "model_index.json")
    if not isinstance(index.get("_class_name", ""), str):
        raise ValueError("its _class_name names a pipeline of its own, which is never run")
    for name, part in index.items():
        unused = name.startswith("_") or name in ("safety_checker", "feature_extractor")
        if unused or not isinstance(part, list) or part == [None, None]:
            continue
        library, kind = part if len(part) == 2 else (None, None)
        known = library in ("diffusers", "transformers") and isinstance(kind, str)
        if not known or re.match("Auto(?!encoder)", kind):
            raise ValueError(
                f"its {name[:40]} is {part}, and must be a class of diffusers or transformers"
            )


def _check_vocabulary(pipe: StableDiffusionPipeline) -> None:
    """Refuses a tokenizer that lost its vocabulary: it would load, and every prompt be ignored.

    Raises:
        ValueError: tokenizer and text encoder do not belong together.
    """
    tokenizer, rows = pipe.tokenizer, pipe.text_encoder.get_input_embeddings().num_embeddings
    vocabulary = tokenizer.get_vocab()
    if len(tokenizer) != rows:
        raise ValueError(
            f"its tokenizer knows {len(tokenizer)} tokens and its text encoder {rows}; a file of "
            "the vocabulary is missing or of another model"
        )
    ends = [token for token in vocabulary if token.endswith("</w>") and token[:-4].isalpha()]
    # the longest: only the merges make them one token; a letter is one without them
    words = sorted((token for token in ends if len(token) > 5), key=len)[-20:]
    if words and not any(tokenizer.tokenize(word[:-4]) == [word] for word in words):
        raise ValueError("its tokenizer splits every word into letters; its merges are missing")


def _load_unet(folder: Path, device: str) -> Any:
    import torch
    from diffusers import UNet2DConditionModel

    with _no_loading_bars(folder, "unet/config.json"):
        unet = UNet2DConditionModel.from_pretrained(
            folder / "unet",
            variant=_variant(folder),
            dtype=torch.float16 if device.startswith("cuda") else torch.float32,
            use_safetensors=True,
            local_files_only=True,
        )
    return unet.to(device)


def _variant(folder: Path) -> str | None:
    files = [path.name for path in (folder / "unet").glob("diffusion_pytorch_model*.safetensors")]
    return "fp16" if files and all(".fp16" in name for name in files) else None


@contextlib.contextmanager
def _no_loading_bars(folder: Path, needed: str) -> Iterator[None]:
    """Loads without progress bars, and turns the vendor's errors into one that can be acted on."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    if not (folder / needed).is_file():
        raise MissingModelError(
            f"no diffusion model at {folder}: {needed} is missing; "
            "give a folder written by diffusers' save_pretrained"
        )
    bars = [
        vendor
        for vendor in (diffusers_logging, transformers_logging)
        if vendor.is_progress_bar_enabled()
    ]
    for vendor in bars:
        vendor.disable_progress_bar()
    try:
        yield
    except (*UNREADABLE, OSError, ImportError, AttributeError) as error:
        raise MissingModelError(
            f"the diffusion model at {folder} cannot be loaded; "
            f"download or train it again ({cause_of(error)})"
        ) from error
    finally:
        for vendor in bars:
            vendor.enable_progress_bar()


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


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


def _clip_tokenizer(merges: Sequence[tuple[str, str]], context_length: int) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    alphabet = _byte_alphabet()
    tokens = [*alphabet, *(c + "</w>" for c in alphabet), *(a + b for a, b in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    # Two merges may spell one token in a small vocabulary; ids must still be without gaps.
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=list(merges), model_max_length=context_length)


def _clip_merges() -> list[tuple[str, str]]:
    spec = find_spec("open_clip")  # found without importing it: the list is all that is needed
    path = Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    return [tuple(line.split()) for line in lines[1 : _N_CLIP_MERGES + 1]]


def _byte_alphabet() -> list[str]:
    """Lists the printable stand-ins of the 256 bytes, in the order of CLIP's vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]


def _split(words: Sequence[str]) -> list[str]:
    """Cuts texts into the pieces that CLIP's tokenizer never merges across, without repeats."""
    backend = _clip_tokenizer([], 77).backend_tokenizer
    pieces = []
    for text in words:
        text = backend.normalizer.normalize_str(text)
        pieces += [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return list(dict.fromkeys(pieces))


def _merges_for(words: Sequence[str], merges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Chooses the merges that make each word one token; CLIP's own first, in CLIP's order.

    A word that CLIP splits gets further merges at the end of the list. They are of lower rank than
    everything before, so they cannot take a pair away from an earlier word.
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    split = [_apply_merges(word, ranks) for word in words]
    used = {pair for _, pairs in split for pair in pairs}
    chosen = sorted(used, key=ranks.__getitem__)
    extra: dict[tuple[str, str], int] = {}
    for symbols, _ in split:
        while True:
            symbols, _ = _apply_merges(symbols, extra)
            if len(symbols) == 1:
                break
            extra[symbols[0], symbols[1]] = len(extra)
    return [*chosen, *extra]


def _apply_merges(
    word: str | Sequence[str], ranks: dict[tuple[str, str], int]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Runs byte-pair encoding on one word.

    Returns:
        The symbols that are left, and the pairs that were merged, in order.
    """
    symbols = [*word[:-1], word[-1] + "</w>"] if isinstance(word, str) else list(word)
    used = []
    while pairs := [p for p in zip(symbols, symbols[1:], strict=False) if p in ranks]:
        first, second = best = min(pairs, key=ranks.__getitem__)
        used.append(best)
        merged, i = [], 0
        while i < len(symbols):
            if tuple(symbols[i : i + 2]) == best:
                merged.append(first + second)
                i += 2
            else:
                merged.append(symbols[i])
                i += 1
        symbols = merged
    return symbols, used
