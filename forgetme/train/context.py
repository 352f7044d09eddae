"""What a method may ask for: the model being trained, the frozen one, noise, and prompts."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from forgetme.errors import ForgetmeError
from forgetme.train.attention import cross_attention
from forgetme.train.model import Base, Text
from forgetme.train.settings import RunSettings

if TYPE_CHECKING:
    from forgetme.train.batches import Batch

Prompts = str | Sequence[str] | Text


class Context:
    """Gives methods their words: `student`, `teacher`, `add_noise`, `goal`, `mse`.

    Shapes: latents (B, C, h, w) float32, timesteps (B,) int64.

    Attributes:
        base: the model's face.
        core: the network being trained; the loop puts it behind all processes.
        chosen: the trained weights by name; the loop sets them before the first step.
        state: whatever the method's `setup` leaves for its loss.
        mask: factors of gradients by weight; what has none is not held.
        settings: of the run.
        prompts: what is made to forget, one for each concept; `anchor`: what takes its place.
    """

    def __init__(
        self,
        base: Base,
        settings: RunSettings,
        options: Mapping[str, float | str],
        *,
        teacher: bool,
    ) -> None:
        """Asks for the model before it is changed.

        Args:
            base: the model.
            settings: of the run.
            options: the method's own, all of them.
            teacher: whether the model as it was is asked for, too.
        """
        self.base, self.settings = base, settings
        self.core = base.core
        self.chosen: Mapping[str, torch.nn.Parameter] = {}
        self.mask: Mapping[str, torch.Tensor] = {}
        self.state: Any = None
        self.prompts, self.anchor = settings.target_prompts, settings.anchor_prompt
        self._options = options
        self._words_move = settings.trains == "text-encoder"
        self._texts: dict[str, Text] = {}
        self._frozen_texts = {} if self._words_move else self._texts
        self._teacher = self._frozen_words = None
        if teacher and self._words_move:
            self._frozen_words = copy.deepcopy(base.encoders)
        elif teacher and settings.trains != "lora":
            self._teacher = copy.deepcopy(base.core).requires_grad_(False).eval()

    def option(self, name: str) -> Any:
        """A number or a word of the method's own."""
        return self._options[name]

    def tokens(self, prompt: str) -> list[int]:
        """Token ids of a prompt as the text encoder reads it, with start, end and padding."""
        return self.base.tokens([prompt])[0].tolist()

    def positions(self, prompt: str, words: str) -> list[int]:
        """Where a prompt's tokens are those of some words.

        Raises:
            ForgetmeError: nowhere.
        """
        ids = self.tokens(prompt)
        wanted = self.base.pipe.tokenizer([words]).input_ids[0][1:-1]
        starts = [i for i in range(len(ids)) if ids[i : i + len(wanted)] == wanted]
        if not starts or not wanted:
            raise ForgetmeError(
                f"the prompt {prompt!r} does not hold the tokens of {words!r}; write the concept "
                "into it as it is spelled, or name the one that it holds"
            )
        return sorted({i for start in starts for i in range(start, start + len(wanted))})

    def end(self, prompt: str) -> int:
        """Where a prompt ends: its first end-of-text token; others are padding."""
        return self.tokens(prompt).index(self.base.pipe.tokenizer.eos_token_id)

    def text(self, prompts: Prompts, count: int) -> Text:
        """What the model is told of one prompt for all of `count` pictures, or of one each."""
        if isinstance(prompts, Mapping):
            return prompts
        names = [prompts] * count if isinstance(prompts, str) else list(prompts)
        if self._words_move:
            return self.base.text(names)
        return self._told(names, self._texts, None)

    @torch.no_grad()
    def _told(self, names: list[str], known: dict[str, Text], words: Any) -> Text:
        for name in set(names) - set(known):
            known[name] = self.base.text([name], words)
        told = [known[name] for name in names]
        return {key: torch.cat([one[key] for one in told]) for key in told[0]}

    def student(self, z_t: torch.Tensor, t: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        """The prediction of the model being trained, float32."""
        return self.base.call(self.core, z_t, t, self.text(prompts, len(z_t)))

    @torch.no_grad()
    def teacher(self, z_t: torch.Tensor, t: torch.Tensor, prompts: str | list[str]) -> torch.Tensor:
        """The prediction of the model as it was before the run, float32, without gradient."""
        names = [prompts] * len(z_t) if isinstance(prompts, str) else list(prompts)
        text = self._told(names, self._frozen_texts, self._frozen_words)
        if self._teacher is not None or self._words_move:
            return self.base.call(self._teacher or self.base.core, z_t, t, text)
        with self._without_adapters():
            return self.base.call(self.base.core, z_t, t, text)

    @contextlib.contextmanager
    def _without_adapters(self):  # noqa: ANN202 (a context manager)
        self.base.core.disable_adapters()
        try:
            yield
        finally:
            self.base.core.enable_adapters()

    @contextlib.contextmanager
    def scaled(self, scale: float):  # noqa: ANN201 (a context manager)
        """Turns the LoRA being trained to a scale inside the block."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [one for one in self.base.core.modules() if isinstance(one, BaseTunerLayer)]
        for layer in layers:
            layer.scale_layer(scale)
        try:
            yield
        finally:
            for layer in layers:
                layer.unscale_layer()

    def attention(self) -> contextlib.AbstractContextManager[dict[str, torch.Tensor]]:
        """Captures the cross-attention of what is called inside the block, see `cross_attention`.

        with ctx.attention() as maps:
            ctx.student(z_t, t, prompts)
        """
        return cross_attention(self.base.core)

    def add_noise(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """z_t, the latents with the noise of timestep t."""
        return self.base.noise(z, eps, t)

    def goal(self, z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What this model predicts when it is right."""
        return self.base.target(z, eps, t)

    def mse(self, guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared error over everything."""
        return self.errors(guess, target).mean()

    def errors(self, guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared error of each sample of a batch, (B,)."""
        return (guess - target.detach()).square().flatten(1).mean(1)

    def retain_errors(self, batch: Batch) -> torch.Tensor:
        """The ordinary denoising loss of each picture of what must stay, (B,)."""
        z_t = self.add_noise(batch.retain, batch.retain_eps, batch.retain_t)
        guess = self.student(z_t, batch.retain_t, batch.retain_prompts)
        return self.errors(guess, self.goal(batch.retain, batch.retain_eps, batch.retain_t))

    def staying(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The term of the option `retain`: how far the model has left the frozen one elsewhere."""
        if not self.option("retain"):
            return {}
        z_t = self.add_noise(batch.retain, batch.retain_eps, batch.retain_t)
        was = self.teacher(z_t, batch.retain_t, batch.retain_prompts)
        now = self.student(z_t, batch.retain_t, batch.retain_prompts)
        return {"retain": self.option("retain") * self.mse(now, was)}

    @torch.no_grad()
    def partly_drawn(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents that the model being trained was drawing from noise when it was stopped.

        With the options `draw_steps` and `draw_guidance`; k ~ U{0 … steps - 1} are left undone.

        Returns:
            x_t (B, C, h, w) and its timesteps (B,).
        """
        steps, guidance = int(self.option("draw_steps")), self.option("draw_guidance")
        solver = self.base.solver(steps)
        left = int(torch.randint(steps, (), generator=batch.generator))
        x_t, count = batch.eps, len(batch.eps)
        for t in solver.timesteps[: steps - left]:
            both, asked = torch.cat([x_t, x_t]), [*[""] * count, *batch.prompts]
            null, concept = self.student(both, t.expand(2 * count), asked).chunk(2)
            x_t = solver.step(null + guidance * (concept - null), t, x_t).prev_sample
        stopped = solver.timesteps[steps - left] if left else torch.zeros((), dtype=torch.int64)
        return x_t, stopped.to(x_t.device).expand(count)
