"""Loads a diffusers folder: safetensors, classes of the library, no code of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetme.errors import MissingModelError
from forgetme.stages.checkpoint import UNREADABLE, cause_of, read_config

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


def load_pipeline(folder: Path, device: str) -> StableDiffusionPipeline:
    """Loads a whole Stable Diffusion model.

    Raises:
        MissingModelError: the folder is absent, damaged, or brings code of its own.
    """
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
    return quiet(pipe.to(device))


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


def load_unet(folder: Path, device: str) -> Any:
    """Loads the U-Net of a folder; raises as `load_pipeline`."""
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


def quiet(pipe: Any) -> Any:
    """Returns the pipeline, which shows no progress bar from here on."""
    pipe.set_progress_bar_config(disable=True)
    return pipe
