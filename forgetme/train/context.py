"""What a loss may ask for: the model being trained, the frozen one, noise, and prompts."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from diffusers import DDIMScheduler, DDPMScheduler

from forgetme.train.method import Batch, Method
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

Prompts = str | Sequence[str]


class Context:
    """Gives losses their words: `student`, `teacher`, `add_noise`, `goal`, `mse`.

    Shapes: latents (B, C, h, w) float32, timesteps (B,) int64, text states (B, tokens, D).
    """

    def __init__(
        self, pipe: StableDiffusionPipeline, method: Method, settings: RunSettings
    ) -> None:
        """Args: the pipeline before its U-Net is changed, method and settings."""
        self._pipe = pipe
        self.unet = pipe.unet  # being trained; the loop puts it behind all processes
        self._lora = settings.trains == "lora"
        self._texts: dict[str, torch.Tensor] = {}
        self.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        self.prompt, self.anchor = settings.target_prompt, settings.anchor_prompt
        known = {name: value for name, (value, _) in method.options.items()}
        self._options = {**known, **settings.options}
        self._teacher = None
        if "teacher" in method.needs_with(self._options) and not self._lora:
            self._teacher = copy.deepcopy(pipe.unet).requires_grad_(False).eval()

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of the model's own size."""
        config = self._pipe.unet.config
        return config.in_channels, config.sample_size, config.sample_size

    def option(self, name: str) -> float:
        """A number of the method's own."""
        return self._options[name]

    @torch.no_grad()
    def text(self, prompts: Prompts, count: int) -> torch.Tensor:
        """Text states (count, tokens, D) of one prompt for all, or of one each."""
        names = [prompts] * count if isinstance(prompts, str) else list(prompts)
        for name in set(names) - set(self._texts):
            ids = self._pipe.tokenizer(
                [name],
                padding="max_length",
                max_length=self._pipe.tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids.to(self._pipe.device)
            self._texts[name] = self._pipe.text_encoder(ids)[0]
        return torch.cat([self._texts[name] for name in names])

    def student(self, z_t: torch.Tensor, t: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        """The prediction of the model being trained, float32."""
        return self._call(self.unet, z_t, t, prompts)

    @torch.no_grad()
    def teacher(self, z_t: torch.Tensor, t: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        """The prediction of the model as it was before the run, float32, without gradient."""
        if self._teacher is not None:
            return self._call(self._teacher, z_t, t, prompts)
        with self._without_adapters():
            return self._call(self._pipe.unet, z_t, t, prompts)

    def _call(
        self, unet: torch.nn.Module, z_t: torch.Tensor, t: torch.Tensor, prompts: Prompts
    ) -> torch.Tensor:
        text = self.text(prompts, len(z_t))
        return unet(z_t, t, encoder_hidden_states=text.to(z_t.dtype)).sample.float()

    @contextlib.contextmanager
    def _without_adapters(self):  # noqa: ANN202 (a context manager)
        self._pipe.unet.disable_adapters()
        try:
            yield
        finally:
            self._pipe.unet.enable_adapters()

    def add_noise(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """z_t = sqrt(alpha_bar_t) z + sqrt(1 - alpha_bar_t) eps."""
        return self.scheduler.add_noise(z, eps, t)

    def goal(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What this model predicts when it is right: the noise, or the velocity."""
        if self.scheduler.config.prediction_type == "v_prediction":
            return self.scheduler.get_velocity(z, eps, t)
        return eps

    @staticmethod
    def mse(guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared error over everything."""
        return torch.nn.functional.mse_loss(guess, target.detach())

    def denoise_retain(self, batch: Batch) -> torch.Tensor:
        """The ordinary denoising loss on what must stay."""
        z_t = self.add_noise(batch.retain, batch.retain_eps, batch.retain_t)
        guess = self.student(z_t, batch.retain_t, batch.retain_prompts)
        return self.mse(guess, self.goal(batch.retain, batch.retain_eps, batch.retain_t))

    def keep_teacher(self, batch: Batch) -> torch.Tensor:
        """How far the model has moved from the frozen one on what must stay."""
        z_t = self.add_noise(batch.retain, batch.retain_eps, batch.retain_t)
        was = self.teacher(z_t, batch.retain_t, batch.retain_prompts)
        return self.mse(self.student(z_t, batch.retain_t, batch.retain_prompts), was)

    @torch.no_grad()
    def partly_drawn(
        self, prompt: str, batch: Batch, *, steps: int, guidance: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents that the model being trained was drawing from noise when it was stopped.

        DDIM with classifier-free guidance; k ~ U{0 … steps - 1} steps are left undone.

        Returns:
            x_t (B, C, h, w) and its timesteps (B,).
        """
        ddim = DDIMScheduler.from_config(
            self.scheduler.config, clip_sample=False, timestep_spacing="leading", steps_offset=1
        )
        ddim.set_timesteps(steps, device=batch.eps.device)
        left = int(torch.randint(steps, (), generator=batch.generator))
        x_t, count = batch.eps, len(batch.eps)
        for t in ddim.timesteps[: steps - left]:
            both = torch.cat([x_t, x_t])
            guess = self.student(both, t.expand(2 * count), [""] * count + [prompt] * count)
            null, concept = guess.chunk(2)
            x_t = ddim.step(null + guidance * (concept - null), t, x_t).prev_sample
        stopped = ddim.timesteps[steps - left] if left else torch.zeros((), dtype=torch.int64)
        return x_t, stopped.to(x_t.device).expand(count)
