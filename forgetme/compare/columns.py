"""The columns of a comparison: one short function for each way to fill a hole.

A maker gets the bench (models and settings) and, for a patch, what is worn; it returns a `Column`
with a function from a `View` to the painted picture. A further way is one function and one line
in `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from forgetme.compare.adapters import Worn
from forgetme.compare.items import View
from forgetme.curate import fills
from forgetme.curate.checks import checks_of, failed
from forgetme.curate.suggest import suggest
from forgetme.errors import MissingModelError
from forgetme.record.sample import Fill, FillSettings
from forgetme.record.settings import Settings
from forgetme.stages.models import Models, load_models

if TYPE_CHECKING:
    from forgetme.stages.diffusion import Diffusion


@dataclass(frozen=True)
class Wanted:
    """What is to be compared, and how; equal settings give equal pictures.

    Attributes:
        concept: what was removed.
        columns: keys of `COLUMNS`, in order.
        seed: of every column.
        steps: of diffusion at strength 1.
        guidance: of fills by a prompt for the background.
        lora_guidance: of fills by the prompt that a patch made to forget.
        strength: how far image-to-image may go from the picture, (0, 1].
        scale: at which patches are worn, 0..1.
        dilate_px: grows each mask to its hole; None = as the pipeline does.
        sweep: whether the first run is also worn at all `SCALES`.
        sweep_rows: rows of that, the first ones.
    """

    concept: str
    columns: tuple[str, ...] = ()
    seed: int = 0
    steps: int = 20
    guidance: float = 5.0
    lora_guidance: float = 7.5
    strength: float = 0.65
    scale: float = 1.0
    dilate_px: int | None = None
    sweep: bool = False
    sweep_rows: int = 6

    def __post_init__(self) -> None:
        """Refuses values that no comparison can have."""
        unknown = [key for key in self.columns if key not in COLUMNS]
        if unknown:
            raise ValueError(f"unknown column {unknown[0]!r}; known: {', '.join(COLUMNS)}")
        for name in ("strength", "scale"):
            if not 0 < getattr(self, name) <= 1:
                got = getattr(self, name)
                raise ValueError(f"{name} must be above 0 and at most 1, got {got}")
        for name in ("steps", "sweep_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class Painted:
    """A column's picture of one row, and a word on how it came about."""

    image: np.ndarray
    words: str = ""


@dataclass(frozen=True, eq=False)
class Column:
    """One way to fill, ready to paint.

    Attributes:
        key: in the table.
        title: for people.
        made_by: the models with their weights' names.
        settings: all else that decides a picture.
        paint: fills a row.
        pastes: whether the picture is pasted back, so that only the hole may differ.
        worn: the patch that must be worn while it paints.
    """

    key: str
    title: str
    made_by: str
    settings: Mapping[str, Any]
    paint: Callable[[View], Painted]
    pastes: bool = True
    worn: Worn | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What columns paint with."""

    models: Models
    wanted: Wanted
    policy: Settings = field(default_factory=Settings)

    @cached_property
    def host(self) -> Diffusion:
        """The model that wears patches: the plain one, whose U-Net also inpaints.

        A U-Net made for inpainting has other weights than those that a run has changed.
        """
        name, _, inpaints = self.models.names["diffusion"].partition("+")
        if not inpaints:
            return self.models.diffusion
        device = str(self.models.diffusion.pipe.device)
        return load_models(self.models.preset, device=device, diffusion=name).diffusion

    @property
    def form(self) -> FillSettings:
        """Settings of a fill; the hole is grown already."""
        wanted = self.wanted
        return FillSettings(
            dilate_px=0, steps=wanted.steps, guidance=wanted.guidance, seed=wanted.seed
        )

    @cached_property
    def judges(self) -> list[str]:
        """Who suggests prompts and looks at fills: the ranker, and the verifier if it is there."""
        names = [fills.made_by(self.models, "ranker")]
        with suppress(MissingModelError):  # such as a server without a key
            names.append(fills.made_by(self.models, "verifier"))
        return names

    def backdrop(self, view: View) -> str:
        """Suggests a prompt for what should be in the hole."""
        return suggest(view.image, view.mask, self.wanted.concept, self.models).prompts[0]


def own(bench: Bench, _: Worn | None) -> Column:
    """LaMa first; where that is low, one try by diffusion, kept where it is better.

    Better by the scores that judge it in the table: read it beside `lama`.
    """
    models, policy = bench.models, replace(bench.policy, fill=bench.form)
    names = [fills.made_by(models, stage) for stage in ("inpainter", "diffusion")]

    def paint(view: View) -> Painted:
        first = fills.fill(view.image, view.hole, models, policy)
        tried = _try(first, view, bench)
        if not tried["scores"]["low"]:
            return Painted(first.image, "LaMa")
        form = replace(bench.form, prompt=bench.backdrop(view))
        second = fills.refine(view.image, view.hole, models, policy, form, start=first.image)
        if fills.is_better(_try(second, view, bench), tried):
            return Painted(second.image, f"refined: {form.prompt}")
        return Painted(first.image, f"LaMa; no better: {form.prompt}")

    settings = _plain(bench.form) | {
        "judges": bench.judges,
        "thresholds": asdict(policy.thresholds),
    }
    return Column("own", "LaMa, refined where low", " + ".join(names), settings, paint)


def lama(bench: Bench, _: Worn | None) -> Column:
    """LaMa alone: no score chooses it, so that scores may judge it."""
    models = bench.models

    def paint(view: View) -> Painted:
        return Painted(models.inpainter(view.image, view.hole, pad=bench.form.pad))

    maker = fills.made_by(models, "inpainter")
    return Column("lama", "LaMa alone", maker, {"pad": bench.form.pad}, paint)


def sd_inpaint(bench: Bench, _: Worn | None) -> Column:
    """Diffusion alone, by a prompt for what surrounds the hole."""
    models, form = bench.models, bench.form

    def paint(view: View) -> Painted:
        prompt = bench.backdrop(view)
        return Painted(_inpainted(models.diffusion, view, prompt, form), prompt)

    settings = _plain(form) | {"prompts_by": bench.judges}
    maker = fills.made_by(models, "diffusion")
    return Column("sd-inpaint", "Diffusion inpainting alone", maker, settings, paint)


def clipaway(bench: Bench, _: Worn | None) -> Column:
    """CLIPAway: the background's embedding without the object's direction leads the inpainting."""
    from forgetme.stages.clipaway import load_clipaway

    try:
        stage = load_clipaway(bench.models)
    except ValueError as error:  # an adapter of another U-Net's shape
        raise MissingModelError(
            f"{error}; take the diffusion model that it was made for"
        ) from error
    wanted = bench.wanted

    def paint(view: View) -> Painted:
        return Painted(stage.fill(view.image, view.hole, seed=wanted.seed, steps=wanted.steps))

    settings = {"seed": wanted.seed, "steps": wanted.steps} | asdict(stage.settings)
    return Column("clipaway", "CLIPAway", stage.made_by, settings, paint)


def lora_inpaint(bench: Bench, worn: Worn | None) -> Column:
    """The patched model inpaints the hole by the very prompt that it was made to forget."""
    form = replace(bench.form, prompt=worn.prompt, guidance=bench.wanted.lora_guidance)

    def paint(view: View) -> Painted:
        return Painted(_inpainted(bench.host, view, worn.prompt, form))

    return Column(
        "lora-inpaint", "Patch + inpainting", bench.host.made_by, _plain(form), paint, worn=worn
    )


def lora_img2img(bench: Bench, worn: Worn | None) -> Column:
    """The patched model redraws the whole picture; nothing is pasted back (evaluation of S_out).

    **Source**: the baseline LoRA+I2I of ForgetMe, which knows no mask.
    """
    wanted = bench.wanted
    settings = {
        "prompt": worn.prompt, "seed": wanted.seed, "steps": wanted.steps,
        "guidance": wanted.lora_guidance, "strength": wanted.strength,
    }  # fmt: skip

    def paint(view: View) -> Painted:
        return Painted(bench.host.redraw(view.image, **settings))

    return Column(
        "lora-img2img", "Patch + image to image", bench.host.made_by, settings, paint,
        pastes=False, worn=worn,
    )  # fmt: skip


COLUMNS: dict[str, Callable[[Bench, Worn | None], Column]] = {
    "own": own,
    "lama": lama,
    "sd-inpaint": sd_inpaint,
    "clipaway": clipaway,
    "lora-inpaint": lora_inpaint,
    "lora-img2img": lora_img2img,
}
NEED_A_RUN = ("lora-inpaint", "lora-img2img")


@contextmanager
def wearing(bench: Bench, worn: Worn | None) -> Iterator[None]:
    """Puts a patch on for as long as the block runs; then the model is as it was, bit for bit."""
    if worn is None:
        yield
        return
    from forgetme.train import Wardrobe

    wardrobe = Wardrobe(bench.host.pipe)
    try:
        wardrobe.wear(worn.patch, worn.scale)
        yield
    finally:
        wardrobe.take_off()


def _inpainted(model: Diffusion, view: View, prompt: str, form: FillSettings) -> np.ndarray:
    return model.inpaint(
        view.image, view.hole, prompt,
        seed=form.seed, steps=form.steps, guidance=form.guidance, strength=form.strength,
        negative_prompt=form.negative_prompt, pad=form.pad,
    )  # fmt: skip


def _try(made: Fill, view: View, bench: Bench) -> dict[str, Any]:
    """A fill as `fills.is_better` compares them."""
    limits = bench.policy.thresholds
    found = checks_of(view.image, made, view.mask, bench.wanted.concept, bench.models, limits)
    tried = {"scores": made.scores.as_json(limits), "checks": [asdict(one) for one in found]}
    tried["scores"]["low"] |= failed(tried)
    return tried


def _plain(form: FillSettings) -> dict[str, Any]:
    """What decides a fill; its hole is named apart."""
    return {name: value for name, value in asdict(form).items() if name != "dilate_px"}
