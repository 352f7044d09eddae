"""The model that is made to forget: one face for the loop and the methods, whatever the pipeline.

Stable Diffusion 1.x and 2.x, SDXL, and Stable Diffusion 3 as a transformer that is trained by flow
matching.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler

from forgetme.errors import ForgetmeError

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

CHUNK = 8  # pictures that the autoencoder sees at a time
ENCODERS = ("text_encoder", "text_encoder_2")  # those that may be trained

Family = Literal["sd", "sdxl", "sd3"]
Text = Mapping[str, torch.Tensor]  # what a call of the model is told of N prompts, each (N, …)
Words = Mapping[str, torch.nn.Module]  # text encoders by what their weights' names begin with


class Base:
    """Stable Diffusion 1.x and 2.x: text encoder, noise, aim and call of a U-Net.

    Another family of models is another class with these methods, and a line in `base_of`.
    Shapes: latents (B, C, h, w) float32, timesteps (B,) int64.

    Attributes:
        pipe: the pipeline.
        schedule: how much noise there is at each timestep.
        family: what methods say they are defined for.
    """

    family: Family = "sd"

    def __init__(self, pipe: DiffusionPipeline) -> None:
        """Args: the pipeline; nothing of it is changed."""
        self.pipe = pipe
        self.schedule: Any = DDPMScheduler.from_config(pipe.scheduler.config)

    @property
    def core(self) -> torch.nn.Module:
        """The network that predicts, which is what most methods train."""
        return core_of(self.pipe)

    @property
    def encoders(self) -> Words:
        """The text encoders that may be trained."""
        parts = {f"{name}.": getattr(self.pipe, name, None) for name in ENCODERS}
        return {start: part for start, part in parts.items() if part is not None}

    @property
    def roots(self) -> Mapping[str, torch.nn.Module]:
        """The networks that may be trained, by what their weights' names begin with."""
        return {"": self.core, **self.encoders}

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
        """Token ids (N, tokens) int64 of prompts as the (first) text encoder reads them."""
        return self.pipe.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.pipe.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def text(self, prompts: Sequence[str], words: Words | None = None) -> Text:
        """What the model is told of prompts, text states (N, tokens, D) among it.

        Args:
            prompts: N of them.
            words: text encoders in place of the pipeline's own.
        """
        with self._reading(words):
            return self._text(list(prompts))

    def _text(self, prompts: list[str]) -> Text:
        ids = self.tokens(prompts).to(self.device)
        return {"encoder_hidden_states": self.pipe.text_encoder(ids)[0]}

    @contextlib.contextmanager
    def _reading(self, words: Words | None) -> Iterator[None]:
        """Puts other text encoders in the place of the pipeline's inside the block."""
        own = self.encoders
        try:
            for start, part in (words or {}).items():
                setattr(self.pipe, start[:-1], part)
            yield
        finally:
            for start in words or {}:
                setattr(self.pipe, start[:-1], own[start])

    @torch.no_grad()
    def encode(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Mean latents (N, C, h, w) float32 on the CPU, shifted and scaled as the model has them.

        Args:
            images: each (S, S, 3) uint8, all of one size, a multiple of the VAE's factor.

        The mean is a departure from the published trainers, which draw from the VAE's normal
        distribution anew at every step: its spread is below what eight bits of colour round off.
        """
        vae, parts = self.pipe.vae, []
        half, upcast = vae.dtype, getattr(vae.config, "force_upcast", False)
        if upcast and half != torch.float32:
            vae.to(torch.float32)  # SDXL's overflows in float16
        for start in range(0, len(images), CHUNK):
            pixels = torch.from_numpy(np.stack(images[start : start + CHUNK])).permute(0, 3, 1, 2)
            pixels = (pixels.float() / 127.5 - 1).to(self.device, vae.dtype)
            parts.append(vae.encode(pixels).latent_dist.mean.float().cpu())
        if vae.dtype != half:
            vae.to(half)
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

    def solver(self, steps: int) -> Any:
        """A sampler of so many steps, with `timesteps` and `step`."""
        solver = DDIMScheduler.from_config(
            self.schedule.config, clip_sample=False, timestep_spacing="leading", steps_offset=1
        )
        solver.set_timesteps(steps, device=self.device)
        return solver

    def reading_states(self) -> Mapping[str, str]:
        """The weights that a text is read by, for closed forms, and which part of it each reads."""
        names = (name for name, _ in self.core.named_parameters())
        ends = ("attn2.to_k.weight", "attn2.to_v.weight")
        return {name: "encoder_hidden_states" for name in names if name.endswith(ends)}


class XLBase(Base):
    """SDXL: two text encoders, of which the second gives a summary, and the picture's size."""

    family: Family = "sdxl"

    def _text(self, prompts: list[str]) -> Text:
        """As the pipeline says it: where it is so configured, the empty prompt is all zeros."""
        states, _, pooled, _ = type(self.pipe).encode_prompt(
            self.pipe,
            prompts,
            do_classifier_free_guidance=False,  # past a gate on the pipeline
        )
        if self.pipe.config.force_zeros_for_empty_prompt:
            said = torch.tensor([float(bool(one)) for one in prompts], device=states.device)
            states, pooled = states * said.view(-1, 1, 1), pooled * said.view(-1, 1)
        size = torch.tensor([[self.side, self.side, 0, 0, self.side, self.side]] * len(prompts))
        return {
            "encoder_hidden_states": states,
            "text_embeds": pooled,
            "time_ids": size.to(states),
        }

    def call(
        self, core: torch.nn.Module, z_t: torch.Tensor, t: torch.Tensor, text: Text
    ) -> torch.Tensor:
        """The prediction (B, C, h, w) float32 of the core, or of a copy of it."""
        told = {name: value.to(z_t.dtype) for name, value in text.items()}
        states = told.pop("encoder_hidden_states")
        return core(z_t, t, encoder_hidden_states=states, added_cond_kwargs=told).sample.float()


class FlowBase(Base):
    """Stable Diffusion 3: a transformer that predicts the way from picture to noise.

    Timestep t of `times` is the noise level that the pipeline's own schedule has there.
    """

    family: Family = "sd3"

    def __init__(self, pipe: DiffusionPipeline) -> None:
        """Args: the pipeline; nothing of it is changed."""
        self.pipe = pipe
        self.schedule = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)
        self._levels = self.schedule.sigmas.flip(0)  # rising with t

    def _text(self, prompts: list[str]) -> Text:
        states, _, pooled, _ = type(self.pipe).encode_prompt(
            self.pipe, prompts, None, None, do_classifier_free_guidance=False
        )
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def _level(self, t: torch.Tensor) -> torch.Tensor:
        return self._levels.to(t.device)[t].view(-1, 1, 1, 1)

    def noise(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """z_t = (1 - sigma) z + sigma eps."""
        level = self._level(t)
        return (1 - level) * z + level * eps

    def target(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The velocity of the straight way, eps - z."""
        return eps - z

    def call(
        self, core: torch.nn.Module, z_t: torch.Tensor, t: torch.Tensor, text: Text
    ) -> torch.Tensor:
        """The prediction; t is a timestep (int64), or a level as a solver has it (float)."""
        if not t.is_floating_point():
            t = self._level(t).flatten() * self.times
        told = {name: value.to(z_t.dtype) for name, value in text.items()}
        return core(hidden_states=z_t, timestep=t, **told).sample.float()

    def solver(self, steps: int) -> Any:
        """A sampler of so many steps, with `timesteps` and `step`."""
        solver = FlowMatchEulerDiscreteScheduler.from_config(self.schedule.config)
        solver.set_timesteps(steps, device=self.device)
        return solver

    def reading_states(self) -> Mapping[str, str]:
        """The weights that a text is read by, for closed forms, and which part of it each reads."""
        return {
            "context_embedder.weight": "encoder_hidden_states",
            "time_text_embed.text_embedder.linear_1.weight": "pooled_projections",
        }


def name_of_core(pipe: DiffusionPipeline) -> str:
    """What a pipeline calls its network that predicts."""
    return "unet" if getattr(pipe, "unet", None) is not None else "transformer"


def core_of(pipe: DiffusionPipeline) -> torch.nn.Module:
    """The network of a pipeline that predicts."""
    return getattr(pipe, name_of_core(pipe))


def base_of(pipe: DiffusionPipeline) -> Base:
    """Gives a pipeline the face that it is trained by.

    Raises:
        ForgetmeError: it is of a family that no method here can train.
    """
    parts = getattr(pipe, "components", {})
    if {"unet", "tokenizer", "text_encoder"} <= parts.keys():
        return XLBase(pipe) if "text_encoder_2" in parts else Base(pipe)
    if {"transformer", "text_encoder_3"} <= parts.keys():
        return FlowBase(pipe)
    raise ForgetmeError(
        f"{type(pipe).__name__} cannot be trained here: expected a pipeline of Stable Diffusion "
        f"1.x or 2.x, SDXL or Stable Diffusion 3 ({', '.join(get_args(Family))}); name such a "
        "model with --base"
    )
