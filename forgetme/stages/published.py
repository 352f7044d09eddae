"""The published checkpoints: where each is, what it must be, and its licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"


@dataclass(frozen=True)
class PublishedFile:
    """One file at a fixed address with a known hash."""

    url: str
    sha256: str
    size: int  # bytes
    licence: str


@dataclass(frozen=True)
class PublishedFolder:
    """Some files of a Hugging Face repository; sizes and hashes come from its own listing."""

    repo: str
    revision: str
    files: tuple[str, ...]
    size: int  # bytes, about
    licence: str
    single: str | None = None  # the one file that a loader wants, where it is not the folder
    kind: Literal["models", "spaces"] = "models"  # of repository


_DIFFUSION_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
)


# Sizes and hashes of the fixed files are stated alike by several independent public projects.
# UNCONFIRMED: "main" of the CLIP and CLIPAway repositories may move; their files are checked
# against the hash that the hub lists, and the hash that was found is kept beside them.
PUBLISHED: Mapping[str, PublishedFile | PublishedFolder] = {
    "sam-vit-h": PublishedFile(
        _SAM + "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
        "Apache-2.0",
    ),
    "sam-vit-l": PublishedFile(
        _SAM + "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
        "Apache-2.0",
    ),
    "sam-vit-b": PublishedFile(
        _SAM + "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
        "Apache-2.0",
    ),
    "ViT-L-14-quickgelu/openai": PublishedFolder(
        "timm/vit_large_patch14_clip_224.openai",
        "main",
        ("open_clip_model.safetensors",),
        1_710_000_000,
        "MIT",
        single="open_clip_model.safetensors",
    ),
    "ViT-B-32-quickgelu/openai": PublishedFolder(
        "timm/vit_base_patch32_clip_224.openai",
        "main",
        ("open_clip_model.safetensors",),
        605_000_000,
        "MIT",
        single="open_clip_model.safetensors",
    ),
    "big-lama": PublishedFile(
        "https://github.com/enesmsahin/simple-lama-inpainting/releases/download/v0.1.0/big-lama.pt",
        "344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
        205_669_692,
        "Apache-2.0",
    ),
    "sd15": PublishedFolder(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        _DIFFUSION_FILES,
        2_130_000_000,
        "CreativeML OpenRAIL-M",
    ),
    "sd15-inpaint": PublishedFolder(
        "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
        _DIFFUSION_FILES,
        2_130_000_000,
        "CreativeML OpenRAIL-M",
    ),
    "clipaway": PublishedFolder(
        "yigitekin/CLIPAway",
        "main",
        ("clip_l14_grit+mim_fultune_6xe.pth", "model.safetensors", "ip-adapter_sd15.bin"),
        1_290_000_000,
        "MIT, Apache-2.0",
        kind="spaces",
    ),
}
