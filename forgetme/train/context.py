"""What a loss may ask for: the model being trained, the frozen one, noise, and prompts."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DDIMScheduler

from forgetme.train.attention import cross_attention
from forgetme.train.model import Base, Text
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from forgetme.train.batches import Batch

Prompts = str | Sequence[str]


class Context:
    """Gives losses their words: `student`, `teacher`, `add_noise`, `goal`, `mse`.

    Shapes: latents (B, C, h, w) float32, timesteps (B,) int64.

    Attributes:
        base: the model's face.
        core: the network being trained; the loop puts it behind all processes.
        chosen: the trained weights by name; the loop sets them before the first step.
        state: what the method's `setup` gave; None where it has none.
        prompt: what is made to forget; `anchor`: the prompt that takes its place.
    """

    def __init__(
        self,
        base: Base,
        settings: RunSettings,
        options: Mapping[str, float],
        *,
        teacher: bool,
        per_sample: bool = False,
    ) -> None:
        """Asks for the model before it is changed.

        Args:
            base: the model.
            settings: of the run.
            options: the method's own numbers, all of them.
            teacher: whether the model as it was is asked for, too.
            per_sample: whether `mse` keeps the samples of a batch apart.
        """
        self.base = base
        self.core = base.core
        self.chosen: Mapping[str, torch.nn.Parameter] = {}
        self.state: Any = None
        self.prompt, self.anchor = settings.target_prompt, settings.anchor_prompt
        self._options, self._per_sample = options, per_sample
        self._texts: dict[str, Text] = {}
        self._teacher = None
        if teacher and settings.trains != "lora":
            self._teacher = copy.deepcopy(base.core).requires_grad_(False).eval()

    def option(self, name: str) -> float:
        """A number of the method's own."""
        return self._options[name]

    def tokens(self, prompt: str) -> list[int]:
        """Token ids of a prompt as the text encoder reads it, with start, end and padding."""
        return self.base.tokens([prompt])[0].tolist()

    @torch.no_grad()
    def text(self, prompts: Prompts, count: int) -> Text:
        """What the model is told of one prompt for all of `count` pictures, or of one each."""
        names = [prompts] * count if isinstance(prompts, str) else list(prompts)
        for name in set(names) - set(self._texts):
            self._texts[name] = self.base.text([name])
        told = [self._texts[name] for name in names]
        return {key: torch.cat([one[key] for one in told]) for key in told[0]}

    def student(self, z_t: torch.Tensor, t: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        """The prediction of the model being trained, float32."""
        return self.base.call(self.core, z_t, t, self.text(prompts, len(z_t)))

    @torch.no_grad()
    def teacher(self, z_t: torch.Tensor, t: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        """The prediction of the model as it was before the run, float32, without gradient."""
        text = self.text(prompts, len(z_t))
        if self._teacher is not None:
            return self.base.call(self._teacher, z_t, t, text)
        with self._without_adapters():
            return self.base.call(self.base.core, z_t, t, text)

    @contextlib.contextmanager
    def _without_adapters(self):  # noqa: ANN202 (a context manager)
        self.base.core.disable_adapters()
        try:
            yield
        finally:
            self.base.core.enable_adapters()

    def attention(self) -> contextlib.AbstractContextManager[dict[str, torch.Tensor]]:
        """Captures the cross-attention of what is called inside the block, see `cross_attention`.

        with ctx.attention() as maps:
            ctx.student(z_t, t, ctx.prompt)
        """
        return cross_attention(self.base.core)

    def add_noise(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """z_t, the latents with the noise of timestep t."""
        return self.base.noise(z, eps, t)

    def goal(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What this model predicts when it is right."""
        return self.base.target(z, eps, t)

    def mse(self, guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared error: () over everything, or (B,) where the method weighs its samples."""
        if self._per_sample:
            return (guess - target.detach()).square().flatten(1).mean(1)
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
            self.base.schedule.config, clip_sample=False, timestep_spacing="leading", steps_offset=1
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
