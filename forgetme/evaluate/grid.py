"""The grid: which prompts every model is asked, with which seeds, and its pictures, drawn once."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from forgetme.compare.cache import Cache, key_of
from forgetme.errors import ForgetmeError
from forgetme.evaluate.task import Task
from forgetme.record.concept import overlap, plain, same
from forgetme.scenes import CONCEPTS
from forgetme.train.probe import CHUNK, TEMPLATES, draw

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Kind = Literal[
    "forget", "neighbours", "unrelated", "other", "nearest", "within", "clean", "languages"
]
KEPT: tuple[Kind, ...] = ("neighbours", "unrelated")  # of the concept's own kind: IRA
LARGEST_SEED = 2**31


@dataclass(frozen=True)
class Size:
    """How much is drawn.

    Attributes:
        seeds: of each of the four forget prompts.
        words: neighbours, and as many unrelated ones, each by four prompts.
        others: of the other kind (places, styles), each by two seeds.
        nearest: words nearest to the concept, each by four prompts.
    """

    seeds: int
    words: int
    others: int
    nearest: int


SIZES = {"quick": Size(4, 2, 4, 3), "standard": Size(12, 4, 8, 6), "full": Size(50, 8, 10, 20)}


@dataclass(frozen=True)
class Cell:
    """One picture that every model draws.

    Attributes:
        kind: what it is drawn for.
        label: what it is to show.
        prompt: how it is asked for.
        seed: of its first noise.
        rest: the prompt without the concept, where something else must show; or the language.
    """

    kind: Kind
    label: str
    prompt: str
    seed: int
    rest: str = ""


@cache
def words() -> dict[str, Any]:
    """The word lists that are shipped."""
    return json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Words:
    """What is asked for beside the concept.

    Attributes:
        neighbours: of its kind.
        unrelated: of other kinds.
        other: of another domain: places in the drawn world, styles elsewhere, objects for a style.
        nearest: of all words the nearest to the concept, as a text tower has them.
    """

    neighbours: tuple[str, ...]
    unrelated: tuple[str, ...]
    other: tuple[str, ...]
    nearest: tuple[str, ...]


def choose_words(
    concept: str,
    task: Task,
    size: Size,
    *,
    drawn: bool,
    near: Callable[[Sequence[str]], np.ndarray],
    neighbours: Sequence[str] = (),
    unrelated: Sequence[str] = (),
) -> Words:
    """Chooses what is asked for beside the concept, from the shipped lists.

    Args:
        concept: what was forgotten; it and its kinds are left out.
        task: says whose list it is of.
        size: how many.
        drawn: whether the base learned the drawn world alone, so that it knows no other words.
        near: gives the cosine of each word to the concept.
        neighbours: instead of the list's.
        unrelated: instead of the list's.
    """
    style = task.family == "style"
    kinds = {"styles": words()["styles"]} if style else words()["objects"]
    if drawn:
        kinds = {k: [w for w in some if w in CONCEPTS] for k, some in kinds.items()}
    free = [w for some in kinds.values() for w in some if not overlap(w, concept)]
    order = np.argsort(-near(free), kind="stable") if free else []
    nearest = [free[i] for i in order]
    own = next((some for some in kinds.values() if any(same(w, concept) for w in some)), [])
    close = [w for w in nearest if w in own] + [w for w in nearest if w not in own]
    beside = tuple(neighbours) or tuple(close[: size.words])
    far = tuple(unrelated) or tuple([w for w in reversed(close) if w not in beside][: size.words])
    if style:
        other = [some[0] for some in words()["objects"].values()]
    else:
        other = list(words()["places"]) if drawn else words()["styles"]
    return Words(beside, far, tuple(other[: size.others]), tuple(nearest[: size.nearest]))


def cells_of(
    concept: str,
    task: Task,
    size: Size,
    chosen: Words,
    *,
    drawn: bool,
    seed: int = 0,
    prompts: Sequence[Cell] = (),
) -> tuple[Cell, ...]:
    """Lays out the grid.

    Args:
        concept: what was forgotten.
        task: decides the templates.
        size: how much.
        chosen: what is asked for beside the concept.
        drawn: as in `choose_words`.
        seed: of the first picture of every prompt.
        prompts: the user's own; those of a kind take the place of the shipped ones of that kind.
    """
    concept = plain(concept)
    style = task.family == "style"
    templates = words()["templates"]["style"] if style else TEMPLATES
    other_templates = TEMPLATES[:1] if style else words()["templates"]["style"][:1]
    cells: list[Cell] = []

    def ask(kind: Kind, label: str, some: Sequence[str], times: int, rest: str = "") -> None:
        for round_ in range(times):
            for i, text in enumerate(some):
                cells.append(Cell(kind, label, text, seed + round_ * len(some) + i, rest))

    ask("forget", concept, [one.format(concept) for one in templates], size.seeds)
    for kind, some in (
        ("neighbours", chosen.neighbours),
        ("unrelated", chosen.unrelated),
        ("nearest", chosen.nearest),
    ):
        for word in some:
            ask(kind, word, [one.format(word) for one in templates], 1)
    for word in chosen.other:
        texts = [words()["places"][word]] if drawn and not style else None
        ask("other", word, texts or [one.format(word) for one in other_templates], 2)
    for text, rest in words()["within"]["style" if style else "object"].items():
        ask("within", concept, [text.format(concept)], 1, rest)
        if task.scope == "part":
            ask("clean", concept, [rest], 1, rest)
    for language, known in words()["languages"].items():
        name = next((known[w] for w in known if w != "a" and same(w, concept)), None)
        if name is not None and not style:
            ask("languages", concept, [known["a"].format(name)], 2, language)
    own = {one.kind for one in prompts}
    return (*prompts, *(one for one in cells if one.kind not in own))


def read_prompts(path: Path, concept: str) -> list[Cell]:
    """Reads the user's own prompts: a CSV, one line a picture.

    Its columns are `prompt`, and optionally `seed` (or `evaluation_seed`), `kind` (forget,
    neighbours, unrelated, other) and `label` (or `class`).

    Raises:
        ForgetmeError: there is none in it, or a line cannot be understood.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise ForgetmeError(f"{path} is no list of prompts ({error})") from error
    found = []
    for number, row in enumerate(rows, 2):
        text = (row.get("prompt") or "").strip()
        kind = (row.get("kind") or "forget").strip()
        label = (row.get("label") or row.get("class") or "").strip()
        said = row.get("seed") or row.get("evaluation_seed") or str(number - 2)
        if not text:
            continue
        if kind not in ("forget", *KEPT, "other") or (kind != "forget" and not label):
            raise ForgetmeError(
                f"{path}, line {number}: a kind is forget, neighbours, unrelated or other, and all "
                f"but forget need a label; got {kind!r} with {label!r}"
            )
        if not said.isdecimal() or int(said) >= LARGEST_SEED:
            raise ForgetmeError(f"{path}, line {number}: a seed is a whole number, got {said!r}")
        name = plain(concept) if kind == "forget" else label
        found.append(Cell(kind, name, text, int(said)))
    if not found:
        raise ForgetmeError(
            f"{path} holds no prompt; expected a CSV with a column `prompt` and a line for each"
        )
    return found


@dataclass(frozen=True)
class Drawing:
    """All that decides a picture beside model, prompt and seed; one for the whole grid."""

    pipeline: str
    scheduler: str
    side: int
    latents: tuple[int, ...]
    steps: int
    guidance: float
    precision: str


def drawing_of(pipe: DiffusionPipeline, steps: int, guidance: float) -> Drawing:
    """Says how a pipeline draws."""
    from forgetme.train.model import base_of

    base = base_of(pipe)
    config = {k: v for k, v in dict(pipe.scheduler.config).items() if not k.startswith("_")}
    scheduler = f"{type(pipe.scheduler).__name__} {key_of(**config)[:8]}"
    precision = str(base.core.dtype).removeprefix("torch.")
    shape = base.latent_shape
    return Drawing(type(pipe).__name__, scheduler, base.side, shape, steps, guidance, precision)


def check_same(name: str, theirs: Drawing, ours: Drawing) -> None:
    """Refuses a model that does not draw as the base does: their pictures are no pairs.

    Raises:
        ForgetmeError: it names the first setting that differs.
    """
    for key, value in asdict(ours).items():
        if getattr(theirs, key) != value:
            raise ForgetmeError(
                f"{name} draws with {key} {getattr(theirs, key)}, the base with {value}: pictures "
                "of different settings cannot be compared; name the model it was made from with "
                "--diffusion, or evaluate its pictures with --pictures"
            )


@dataclass(frozen=True, eq=False)
class Drawn:
    """A model's pictures of the grid, each (S, S, 3) uint8, and the names of their content.

    Attributes:
        cells: what each was drawn for.
        shas: names of the pictures in the cache.
        pictures: the pictures themselves.
        seconds: of drawing one, on average; None where nobody measured it.
    """

    cells: tuple[Cell, ...]
    shas: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]
    seconds: float | None = None

    def of(self, *kinds: Kind) -> list[tuple[Cell, np.ndarray]]:
        """The cells of some kinds, each with its picture."""
        return [
            (cell, picture)
            for cell, picture in zip(self.cells, self.pictures, strict=True)
            if cell.kind in kinds
        ]


def draw_grid(
    model: str,
    open_pipe: Callable[[], DiffusionPipeline],
    cells: Sequence[Cell],
    drawing: Drawing,
    kept: Cache,
    on_step: Callable[[int], None],
) -> Drawn:
    """Draws what the cache lacks, and returns all.

    Args:
        model: names the model's content, 16 hex digits or more.
        open_pipe: gives the pipeline, with what it wears; called where something must be drawn.
        cells: the grid.
        drawing: the settings.
        kept: has what was drawn before.
        on_step: hears how many pictures are there; raising KeyboardInterrupt there stops, and what
            is done stays.
    """
    keys = {
        cell: key_of(model=model, prompt=cell.prompt, seed=cell.seed, **asdict(drawing))
        for cell in cells
    }
    found = {key: kept.record(key) for key in set(keys.values())}
    found = {k: one for k, one in found.items() if one and kept.is_whole(one["picture"])}
    todo = list({keys[cell]: cell for cell in cells if keys[cell] not in found}.items())
    on_step(len(found))
    for start in range(0, len(todo), CHUNK):
        some, began = todo[start : start + CHUNK], time.monotonic()
        pictures = draw(
            open_pipe(),
            [cell.prompt for _, cell in some],
            [cell.seed for _, cell in some],
            steps=drawing.steps,
            guidance=drawing.guidance,
        )
        each = (time.monotonic() - began) / len(some)
        for (key, _), picture in zip(some, pictures, strict=True):
            found[key] = {"picture": kept.keep_picture(picture), "seconds": round(each, 4)}
            kept.keep(key, found[key])
        on_step(len(found))
    shas = tuple(found[keys[cell]]["picture"] for cell in cells)
    seconds = float(np.mean([one["seconds"] for one in found.values()]))
    return Drawn(tuple(cells), shas, tuple(map(kept.picture, shas)), seconds)
