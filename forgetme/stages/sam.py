"""Segment Anything itself: builds and reads its models, and puts prompts into its form."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from segment_anything import sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from forgetme.stages.checkpoint import UNREADABLE, check_shapes, existing, read_config, unusable
from forgetme.stages.lite_sam import BACKBONE, build_lite

SamKind = Literal["vit_b", "vit_l", "vit_h"]

MASK_LOGIT = 8.0  # a drawn mask enters the decoder as logits of this size
MASK_EDGE = 1.0  # and falls off over this many low-resolution pixels


def read_published(kind: SamKind, checkpoint: str | os.PathLike[str]) -> Sam:
    """Reads a published `.pth` checkpoint, as plain tensors and never as code.

    Raises:
        MissingModelError: the file is absent, damaged or of another size of model.
        ValueError: the kind is unknown.
    """
    if kind not in get_args(SamKind):
        raise ValueError(f"unknown Sam {kind!r}; known: {', '.join(get_args(SamKind))}")
    path = existing(checkpoint, name=f"sam_{kind}.pth")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        sam = sam_model_registry[kind]()
        sam.load_state_dict(weights)
    except UNREADABLE as error:
        raise unusable(path, f"a Segment Anything {kind} checkpoint", error) from error
    return sam.eval()


def read_own(path: str | os.PathLike[str]) -> tuple[Sam, dict[str, Any]]:
    """Reads safetensors and the JSON config beside them.

    Args:
        path: the `.safetensors` file, or the folder that holds `segmenter.safetensors`.

    Returns:
        The model and its whole config.

    Raises:
        MissingModelError: a file is absent or damaged, or they do not belong together.
    """
    path = existing(path, name="segmenter.safetensors")
    config_path = existing(path.with_suffix(".json"), name="segmenter.json")
    try:
        config = read_config(config_path)
        with torch.device("meta"):
            check_shapes(path, build_sam(config))
        sam = build_sam(config)
        sam.load_state_dict(load_file(path))
    except UNREADABLE as error:
        raise unusable(path, f"a Sam as {config_path.name} describes it", error) from error
    return sam, config


def build_sam(config: dict[str, Any]) -> Sam:
    """Builds a `segment_anything` Sam of any size with fresh weights, in eval mode.

    Args:
        config: `image_size`, `patch_size` (pixels), `embed_dim`, `depth`, `num_heads`,
            `global_attn_indexes`, `window_size` (patches; 0 = global attention everywhere),
            `prompt_embed_dim`, `decoder_depth`, `decoder_heads`, `decoder_mlp_dim`,
            `iou_head_hidden_dim`, `mask_in_chans`; optional `use_rel_pos` (default True).
            With a `backbone` instead: what `lite_sam.build_lite` takes.

    Returns:
        The model; its masks are at a quarter of `image_size` (patch 16: 256 px gives 64x64).

    Source: `segment_anything.build_sam._build_sam`, whose constants are arguments here.
    """
    if config.get("backbone") == BACKBONE:
        return build_lite(config)
    image_size, patch_size = config["image_size"], config["patch_size"]
    prompt_dim = config["prompt_embed_dim"]
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=config["embed_dim"],
            depth=config["depth"],
            num_heads=config["num_heads"],
            mlp_ratio=4,
            out_chans=prompt_dim,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=config.get("use_rel_pos", True),
            window_size=config["window_size"],
            global_attn_indexes=tuple(config["global_attn_indexes"]),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=prompt_dim,
            image_embedding_size=(image_size // patch_size, image_size // patch_size),
            input_image_size=(image_size, image_size),
            mask_in_chans=config["mask_in_chans"],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=config["decoder_depth"],
                embedding_dim=prompt_dim,
                mlp_dim=config["decoder_mlp_dim"],
                num_heads=config["decoder_heads"],
            ),
            transformer_dim=prompt_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=config["iou_head_hidden_dim"],
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    return sam.eval()


def check_points(
    image: np.ndarray, points_xy: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gives clicks as (N, 2) float32 and (N,) int32; raises ValueError for impossible ones."""
    points = np.asarray(points_xy, np.float32).reshape(-1, 2)
    labels = np.asarray(labels, np.int32).reshape(-1)
    if len(points) != len(labels):
        raise ValueError(f"each point needs one label, got {len(points)} and {len(labels)}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 1 (on the object) or 0 (off it), got {labels.tolist()}")
    size = np.array(image.shape[1::-1])
    if not ((points >= 0) & (points < size)).all():
        raise ValueError(
            f"points must lie inside the {size[0]}x{size[1]} image, got {points.tolist()}"
        )
    return points, labels


def check_box(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Gives a box as xyxy float32, last pixel included; raises ValueError for one outside."""
    x, y, width, height = box
    if (
        min(x, y) < 0
        or min(width, height) < 1
        or x + width > image.shape[1]
        or (y + height > image.shape[0])
    ):
        raise ValueError(
            f"box_xywh must lie inside the {image.shape[1]}x{image.shape[0]} image, got {box}"
        )
    return np.array([x, y, x + width - 1, y + height - 1], np.float32)


def mask_logits(mask: np.ndarray, side: int) -> np.ndarray:
    """Turns any mask into the low-resolution logits that Sam takes as a previous mask.

    Args:
        mask: (H, W) bool.
        side: side of the logits, pixels (a quarter of the model's input); the mask is placed in
            it as its image is in the input: scaled to fit, at the top left.

    Returns:
        (1, side, side) float32: +8 inside, -8 outside and in the padding, a soft edge between.
    """
    scale = side / max(mask.shape)
    height, width = (max(1, round(n * scale)) for n in mask.shape)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    soft = np.zeros((side, side), np.float32)
    soft[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=how)
    soft = cv2.GaussianBlur(soft, (0, 0), MASK_EDGE, borderType=cv2.BORDER_REPLICATE)
    return (2 * soft - 1)[None] * MASK_LOGIT
