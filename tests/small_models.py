"""Small checkpoints with random weights, written in the formats of the published ones."""

from __future__ import annotations

from pathlib import Path

import torch

from forgetme.stages.tokenizer import build_tokenizer

WORDS = ["a photo of a", "cat dog meadow beach", "an empty snowy street at night"]


class _Mean(torch.nn.Module):
    """Fills a hole with the mean of what is known: LaMa's signature, and an honest fill."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        known = (1 - mask).to(image.dtype)
        total = (image * known).sum(dim=[2, 3], keepdim=True)
        mean = total / known.sum(dim=[2, 3], keepdim=True)
        return torch.zeros_like(image) + mean  # everywhere: the caller must composite


class _Darkest(torch.nn.Module):
    """Fills a hole with the darkest known pixel: one leaked dark pixel shows everywhere."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        known = torch.where(mask > 0, torch.ones_like(image), image)
        return torch.zeros_like(image) + known.amin(dim=[2, 3], keepdim=True)


def save_lama(path: Path, *, darkest: bool = False) -> Path:
    """Saves a TorchScript file with LaMa's signature, of which a test can say what it fills.

    It paints the mean of the known pixels, or the darkest one.
    """
    torch.jit.script(_Darkest() if darkest else _Mean()).save(str(path))
    return path


def save_diffusion(
    folder: Path,
    *,
    in_channels: int = 4,
    sample_size: int = 8,
    variant: str | None = None,
    words: int = 32,
) -> Path:
    """Saves a StableDiffusion folder: 4 channels in the U-Net, or 9 for an inpainting one.

    `words` is how many numbers tell it of each token.
    """
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        StableDiffusionInpaintPipeline,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)  # the U-Net comes last, so that the other parts are alike in all folders
    tokenizer = build_tokenizer(WORDS, context_length=16)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=words,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=words,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    kind = StableDiffusionInpaintPipeline if in_channels == 9 else StableDiffusionPipeline
    pipe = kind(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DPMSolverMultistepScheduler(beta_schedule="scaled_linear", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, variant=variant)
    return folder
