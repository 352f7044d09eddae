"""M-Score: does a fresh inversion of the concept's pictures still land at the concept?

**Source**: ours, after Forget-Me-Not, section 4.4, which names the steps and not the distance: the
same pictures are inverted with the model before and after; each inversion's text feature is
compared with that of the plain words. If an inversion lands elsewhere but its loss is low, the
concept is hidden and not gone: that loss is told, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from forgetme.errors import ForgetmeError
from forgetme.record.images import read_image
from forgetme.scenes.concept_set import CONCEPT_SET
from forgetme.train.adapters import Wardrobe
from forgetme.train.data import PICTURES, square
from forgetme.train.inversion import Rows, asking, injected, invert, slots
from forgetme.train.model import Base, base_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffusers import DiffusionPipeline

    from forgetme.scenes.concept_set import DrawnConcept
    from forgetme.train.patch import Patch


@dataclass(frozen=True)
class MScore:
    """Means over seeds.

    Attributes:
        before: cosine of the unchanged model's inversion with the words, -1..1.
        after: that of the model that wears the patch; much lower = an inversion lands elsewhere.
        loss_before: of the inversion by the unchanged model.
        loss_after: by the other one; as low as before = the concept can still be drawn.
    """

    before: float
    after: float
    loss_before: float
    loss_after: float

    @property
    def change(self) -> float:
        """After less before; lower is better."""
        return self.after - self.before


@dataclass(frozen=True)
class Pictured:
    """A concept by pictures of one's own.

    Attributes:
        name: of the concept.
        files: its pictures.
    """

    name: str
    files: tuple[Path, ...]
    group: ClassVar[str] = "own"

    @property
    def prompt(self) -> str:
        """That asks for it."""
        return f"a photo of a {self.name}"

    def pictures(self, count: int) -> list[np.ndarray]:
        """The first `count`, each (H, W, 3) uint8."""
        return [read_image(file) for file in self.files[:count]]


def pictured(folder: Path, patch: Patch) -> Pictured:
    """The pictures of a folder, or of its `original/`, as those of what a patch forgets.

    Raises:
        ForgetmeError: there is none.
    """
    inside = folder / "original" if (folder / "original").is_dir() else folder
    found = sorted(inside.iterdir()) if inside.is_dir() else []
    files = tuple(one for one in found if one.suffix.lower() in PICTURES)
    if not files:
        raise ForgetmeError(f"{inside} holds no pictures; expected {', '.join(PICTURES)} files")
    if not patch.concepts:
        raise ForgetmeError(f"{patch.folder} names no concept to invert")
    return Pictured(patch.concepts[0], files)


def score_set(
    pipe: DiffusionPipeline,
    patch: Patch,
    concepts: Sequence[DrawnConcept | Pictured] = CONCEPT_SET,
    *,
    pictures: int = 6,
    **how: Any,
) -> Iterator[tuple[DrawnConcept | Pictured, MScore]]:
    """Scores a patch over several concepts: what it forgets, and what it should have left.

    Args:
        pipe: the model.
        patch: what it forgets.
        concepts: what is inverted.
        pictures: of each, at most.
        **how: `seeds`, `steps` and `words` of `m_score`.
    """
    base = base_of(pipe)
    for one in concepts:
        z = base.encode([square(image, base.side) for image in one.pictures(pictures)])
        yield one, m_score(pipe, patch, z, prompt=one.prompt, **how)


def cosine(feature: torch.Tensor, reference: torch.Tensor) -> float:
    """The cosine of two features."""
    return float(torch.cosine_similarity(feature.flatten(), reference.flatten(), dim=0))


def m_score(
    pipe: DiffusionPipeline,
    patch: Patch,
    z: torch.Tensor,
    *,
    prompt: str = "",
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 500,
    words: int = 4,
) -> MScore:
    """Inverts pictures before and after a patch; the pipeline is as it was afterwards.

    Args:
        pipe: the model.
        patch: what it forgets.
        z: (N, C, h, w) latents of the concept's pictures.
        prompt: the plain words; "" = those of the first concept that the patch forgets.
        seeds: one inversion each.
        steps: of each inversion.
        words: how many words are found; they begin as random ones.

    Raises:
        ForgetmeError: the patch names no concept, or is of another model.
    """
    if not (prompt or patch.concepts):
        raise ForgetmeError(f"{patch.folder} names no concept to invert")
    base, wardrobe, sides = base_of(pipe), Wardrobe(pipe), []
    plain = prompt or f"a photo of a {patch.concepts[0]}"
    reference = _feature(base, plain)  # read without the patch
    for worn in (False, True):
        if worn:
            wardrobe.wear(patch)
        found = [invert(base, z, count=words, steps=steps, seed=seed) for seed in seeds]
        near = [cosine(_feature(base, asking(words), one.rows), reference) for one in found]
        losses = [one.loss for one in found]
        sides.append((sum(near) / len(near), sum(losses) / len(losses)))
    wardrobe.take_off()
    (before, loss_before), (after, loss_after) = sides
    return MScore(before, after, loss_before, loss_after)


@torch.no_grad()
def _feature(base: Base, prompt: str, rows: Rows | None = None) -> torch.Tensor:
    """The (first) text encoder's state at the end of a prompt, (D,)."""
    ids = base.tokens([prompt])
    end = ids[0].tolist().index(base.pipe.tokenizer.eos_token_id)
    if rows is None:
        return base.text([prompt])["encoder_hidden_states"][0, end]
    with injected(base, rows, slots(base, prompt)):
        return base.text([prompt])["encoder_hidden_states"][0, end]
