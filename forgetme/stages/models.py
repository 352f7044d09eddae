"""Presets: which checkpoint serves each stage, loaded when it is first needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from forgetme.record.files import bundled
from forgetme.stages import weights
from forgetme.stages.plans import ALIASES, PLANS, Lazy, Place, Preset, Stage, plan_second

if TYPE_CHECKING:
    from forgetme.stages.diffusion import Diffusion
    from forgetme.stages.inpaint import Inpainter
    from forgetme.stages.rank import Ranker
    from forgetme.stages.second import SecondRecogniser
    from forgetme.stages.segment import Segmenter
    from forgetme.stages.verify import ClipVerifier, OpenAIVerifier

Choice = str | Path | Callable[..., Any] | None  # a name, a path, or the stage itself

PRESETS: Mapping[Preset, Mapping[Stage, str]] = {
    "tiny": {
        "segmenter": "tiny",
        "ranker": "tiny",
        "verifier": "clip",
        "inpainter": "tiny",
        "diffusion": "tiny",
    },
    "full": {
        "segmenter": "sam-vit-h",
        "ranker": "ViT-L-14-quickgelu/openai",
        "verifier": "gpt-4o",
        "inpainter": "big-lama",
        "diffusion": "sd15+sd15-inpaint",
    },
}


@dataclass(frozen=True, eq=False)
class Models:
    """One model for each stage, loaded on first use; safe to share between threads.

    Attributes:
        preset: What was asked for; the page shows it as a badge.
        names: What serves each stage: a name, a path, or "custom" for a callable.
    """

    preset: Preset
    names: Mapping[Stage, str]
    _stages: Mapping[Stage, Lazy] = field(repr=False)
    _second: Lazy = field(repr=False)

    @property
    def segmenter(self) -> Segmenter:
        """Masks of an image, and of a click."""
        return self._stages["segmenter"].get()

    @property
    def ranker(self) -> Ranker:
        """CLIP scores."""
        return self._stages["ranker"].get()

    @property
    def verifier(self) -> ClipVerifier | OpenAIVerifier:
        """Yes or no: is this the concept?"""
        return self._stages["verifier"].get()

    @property
    def inpainter(self) -> Inpainter:
        """Fills a hole from its surroundings."""
        return self._stages["inpainter"].get()

    @property
    def diffusion(self) -> Diffusion:
        """Fills a hole by a prompt, draws and redraws."""
        return self._stages["diffusion"].get()

    @property
    def named_verifier(self) -> str | None:
        """The verifier's name, for a process that is to load the same; None = the preset's."""
        name = self.names["verifier"]
        return None if name == "custom" else name

    @property
    def second(self) -> Ranker | SecondRecogniser:
        """Another recogniser than the ranker, which shares no weights with it; judges, no stage."""
        return self._second.get()

    def second_problem(self) -> str | None:
        """Says why there is no second recogniser; None where there is one."""
        return self._second.problem()

    def problems(self) -> dict[Stage, str]:
        """Says which stages cannot be loaded and what to do, without loading any."""
        found = {stage: lazy.problem() for stage, lazy in self._stages.items()}
        return {stage: problem for stage, problem in found.items() if problem}


def load_models(
    preset: Preset = "tiny",
    *,
    device: str | None = None,
    segmenter: Choice = None,
    ranker: Choice = None,
    verifier: Choice = None,
    inpainter: Choice = None,
    diffusion: Choice = None,
    assets: str | Path | None = None,
    cache: str | Path | None = None,
    embeddings: str | Path | None = None,
    api_key: str | None = None,
    base_url: str | None = None,
) -> Models:
    """Chooses a model for each stage; nothing is read before it is used.

    Each stage takes None (the preset's own), a name, a path, or the stage itself as a callable.
    A name with a path, `"sam-vit-b=my.pth"` or `"ViT-B-32-quickgelu/openai=my.safetensors"`, reads
    your copy of a published checkpoint.

    Args:
        preset: "tiny" (bundled, offline, CPU) or "full" (published checkpoints).
        device: "cpu" or "cuda"; None = "cuda" where there is one.
        segmenter: "tiny", "sam-vit-b", "sam-vit-l", "sam-vit-h"; a `.pth` of Segment Anything, or
            a `.safetensors` of ours with its `.json` beside it.
        ranker: "tiny", "ViT-B-32", "ViT-L-14"; a `.safetensors` of ours with its `.json`.
        verifier: "clip" (zero-shot by the ranker), "gpt-4o" or "openai", or "openai/MODEL" for
            any other model behind the endpoint.
        inpainter: "tiny", "big-lama"; a TorchScript file with LaMa's signature.
        diffusion: "tiny", "sd15", "sd15-inpaint"; a diffusers folder. "A+B" draws with A and
            inpaints with the U-Net of B.
        assets: Folder of the bundled weights; None = those that come with the package.
        cache: Folder of downloaded weights; None = `~/.cache/forgetme`.
        embeddings: Folder where the segmenter keeps what it computed once for each image, such as
            `store.embeddings`; None = in memory only.
        api_key: Key of the verifier's endpoint; None = the variable OPENAI_API_KEY, read now.
        base_url: Address of the verifier's endpoint; None = OPENAI_BASE_URL, read now, or the
            client's own.

    Returns:
        The models. Using a stage whose weights or key are absent raises MissingModelError with
        the command to run; another model is never taken instead.

    Raises:
        ValueError: The preset or a name is unknown.
    """
    if preset not in get_args(Preset):
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(get_args(Preset))}")
    place = Place(
        assets=Path(assets) if assets else bundled("tiny"),
        cache=Path(cache) if cache else weights.default_cache(),
        device=device,
        embeddings=None if embeddings is None else Path(embeddings),
        api_key=(api_key or os.environ.get("OPENAI_API_KEY") or "").strip(),
        base_url=(base_url or os.environ.get("OPENAI_BASE_URL") or "").strip() or None,
    )
    asked = {
        "segmenter": segmenter,
        "ranker": ranker,
        "verifier": verifier,
        "inpainter": inpainter,
        "diffusion": diffusion,
    }
    names: dict[Stage, str] = {}
    stages: dict[Stage, Lazy] = {}
    for stage, given in asked.items():
        choice = PRESETS[preset][stage] if given is None else given
        if callable(choice):
            names[stage], stages[stage] = "custom", Lazy(lambda: None, lambda choice=choice: choice)
            continue
        names[stage] = ALIASES.get(str(choice), str(choice))
        stages[stage] = PLANS[stage](names[stage], place, stages)
    return Models(preset, names, stages, plan_second(preset, names["ranker"], place))
