"""The model that is made to forget: one face for the loop and the losses, whatever the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import DDPMScheduler

from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

CHUNK = 8  # pictures that the autoencoder sees at a time

Text = Mapping[str, torch.Tensor]  # what a call of the model is told of N prompts, each (N, …)


class Base:
    """Stable Diffusion 1.x and 2.x: text encoder, noise, aim and call of a U-Net.

    Another family of models is another class with these methods, and a line in `base_of`.
    Shapes: latents (B, C, h, w) float32, timesteps (B,) int64.

    Attributes:
        pipe: the pipeline.
        schedule: how much noise there is at each timestep.
    """

    def __init__(self, pipe: StableDiffusionPipeline) -> None:
        """Args: the pipeline; nothing of it is changed."""
        self.pipe = pipe
        self.schedule = DDPMScheduler.from_config(pipe.scheduler.config)

    @property
    def core(self) -> torch.nn.Module:
        """The network that predicts, which is what most methods train."""
        return self.pipe.unet

    @property
    def roots(self) -> Mapping[str, torch.nn.Module]:
        """The networks that may be trained, by what their weights' names begin with."""
        return {"": self.core}

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.pipe.device

    @property
    def times(self) -> int:
        """How many timesteps there are."""
        return self.schedule.config.num_train_timesteps

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of the model's own size."""
        config = self.core.config
        return config.in_channels, config.sample_size, config.sample_size

    @property
    def side(self) -> int:
        """Pixels a side of the model's own size."""
        return self.core.config.sample_size * self.pipe.vae_scale_factor

    def tokens(self, prompts: Sequence[str]) -> torch.Tensor:
        """Token ids (N, tokens) int64 of prompts as the text encoder reads them, on the CPU."""
        return self.pipe.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.pipe.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def text(self, prompts: Sequence[str]) -> Text:
        """What the model is told of prompts: text states (N, tokens, D)."""
        ids = self.tokens(prompts).to(self.device)
        return {"encoder_hidden_states": self.pipe.text_encoder(ids)[0]}

    @torch.no_grad()
    def encode(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Mean latents (N, C, h, w) float32 on the CPU, shifted and scaled as the model has them.

        Args:
            images: each (S, S, 3) uint8, all of one size, a multiple of the VAE's factor.

        The mean is a departure from the published trainers, which draw from the VAE's normal
        distribution anew at every step: its spread is below what eight bits of colour round off.
        """
        vae, parts = self.pipe.vae, []
        for start in range(0, len(images), CHUNK):
            pixels = torch.from_numpy(np.stack(images[start : start + CHUNK])).permute(0, 3, 1, 2)
            pixels = (pixels.float() / 127.5 - 1).to(self.device, vae.dtype)
            parts.append(vae.encode(pixels).latent_dist.mean.float().cpu())
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        return (torch.cat(parts) - shift) * vae.config.scaling_factor

    def noise(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """z_t = sqrt(alpha_bar_t) z + sqrt(1 - alpha_bar_t) eps."""
        return self.schedule.add_noise(z, eps, t)

    def target(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What this model predicts when it is right: the noise, or the velocity."""
        if self.schedule.config.prediction_type == "v_prediction":
            return self.schedule.get_velocity(z, eps, t)
        return eps

    def call(
        self, core: torch.nn.Module, z_t: torch.Tensor, t: torch.Tensor, text: Text
    ) -> torch.Tensor:
        """The prediction (B, C, h, w) float32 of the core, or of a copy of it."""
        told = {name: value.to(z_t.dtype) for name, value in text.items()}
        return core(z_t, t, **told).sample.float()


def base_of(pipe: StableDiffusionPipeline) -> Base:
    """Gives a pipeline the face that it is trained by.

    Raises:
        ForgetmeError: it is of a family that no method here can train.
    """
    parts = getattr(pipe, "components", {})
    if "unet" not in parts or "tokenizer" not in parts or "text_encoder_2" in parts:
        raise ForgetmeError(
            f"{type(pipe).__name__} cannot be trained here: expected a pipeline of Stable "
            "Diffusion 1.x or 2.x, with one text encoder and a U-Net; name such a model with --base"
        )
    return Base(pipe)
