"""An evaluation from end to end: models opened, the grid drawn, scored, probed, written."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forgetme.compare.cache import Cache
from forgetme.compare.report import check_out
from forgetme.errors import ForgetmeError
from forgetme.evaluate import grid, probing
from forgetme.evaluate.detectors import known_by, open_recogniser
from forgetme.evaluate.grid import Cell, Drawing, Drawn
from forgetme.evaluate.judging import Embeddings, Judge
from forgetme.evaluate.models import BASE, Model, cautions, find_models, opened
from forgetme.evaluate.report import REPORT, files_of, report_of, write_report
from forgetme.evaluate.scores import ITSELF, Means, Value, scores_of
from forgetme.evaluate.task import Task, task_of
from forgetme.record.concept import plain

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from forgetme.record.sample import Layers
    from forgetme.stages.models import Models

OnStep = Callable[[int, int, str], None]
JUDGES = {"tiny": ("bundled", "second"), "full": ("ViT-L-14/openai", "ViT-B-32/openai")}
STEPS = {"tiny": 20, "full": 50}  # of a picture


@dataclass(frozen=True)
class Wanted:
    """What is to be evaluated.

    Attributes:
        concept: what was to be forgotten.
        task: as `task_of` reads it; what it leaves out is found in the patches.
        size: key of `grid.SIZES`.
        steps: of each picture.
        guidance: of each picture.
        seed: of the first picture of each prompt, and of the probes.
        neighbours: instead of the list's.
        unrelated: instead of the list's.
        prompts: the user's own CSV.
        judge: as `open_recogniser` takes it.
        second: likewise; "" = none.
        probes: "fast" or "full" runs the robustness probes; "" = none.
        only: names of probes; none = all.
        inception: Inception's weights, for FID and KID.
        title: of the report.
    """

    concept: str
    task: str = ""
    size: str = "quick"
    steps: int = 20
    guidance: float = 7.5
    seed: int = 0
    neighbours: tuple[str, ...] = ()
    unrelated: tuple[str, ...] = ()
    prompts: Path | None = None
    judge: str = "bundled"
    second: str = "second"
    probes: str = ""
    only: tuple[str, ...] = ()
    inception: Path | None = None
    title: str = ""

    def __post_init__(self) -> None:
        """Refuses an unknown size."""
        if self.size not in grid.SIZES:
            raise ForgetmeError(
                f"unknown grid {self.size!r}; known: {', '.join(grid.SIZES)}, or --prompts FILE"
            )


def evaluate(
    stages: Models,
    paths: Sequence[Path],
    wanted: Wanted,
    out: Path,
    *,
    samples: Sequence[Layers] = (),
    cache: Path | None = None,
    on_step: OnStep = lambda done, total, words: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Evaluates models side by side and writes the report.

    Stopped or killed it keeps what it has drawn and probed; asked again it goes on there.

    Args:
        stages: their diffusion model is the base, their ranker embeds.
        paths: of the models beside the base.
        wanted: what is to be evaluated.
        out: folder of the report.
        samples: curated quadruples of the concept, for the probes.
        cache: of what was computed once; None = inside `out`.
        on_step: hears how far it is.
        should_stop: whether to end before all is done.

    Returns:
        The report, as `report.json` has it.

    Raises:
        ForgetmeError: a model, a judge, a prompt or a setting cannot be had.
        KeyboardInterrupt: it was to stop.
    """
    began = time.monotonic()
    check_out(out, REPORT)
    probing.check(wanted)
    base = stages.diffusion
    models = find_models(paths, base.made_by)
    task = task_of(wanted.task, **_found(models))
    drawing = grid.drawing_of(base.pipe, wanted.steps, wanted.guidance)
    cells = _cells(stages, wanted, task)
    judge, second = open_judges(wanted, task, cells, str(base.pipe.device))
    kept = Cache(cache or out / "cache")
    probes = probing.names(wanted)
    each = len(set((cell.prompt, cell.seed) for cell in cells))
    total = len(models) * each + (len(models) - 1) * len(probes)
    told: dict[str, str] = {}
    drawn: dict[str, Drawn] = {}

    def step(done: int, words: str) -> None:
        if should_stop():
            raise KeyboardInterrupt
        on_step(done, total, words)

    for place, model in enumerate(models):
        step(place * each, f"opening {model.name}")
        told[model.name] = cautions(model, base.pipe)
        own = [one for one in cells if model.name == BASE or one.kind != "clean"]
        with ExitStack() as stack:
            drawn[model.name] = grid.draw_grid(
                _name(model, base.made_by),
                _opener(stack, model, stages, drawing),
                own,
                drawing,
                kept,
                lambda done, at=place, name=model.name: step(at * each + done, f"draws {name}"),
            )
    means = Means(
        plain(wanted.concept), task, judge, second, Embeddings(stages.ranker),
        inception=_inception(wanted), lpips=_lpips(),
    )  # fmt: skip
    values = {
        model.name: scores_of(means, drawn[model.name], drawn[BASE])
        | _costs(model, drawn[model.name].seconds)
        for model in models
    }
    found: dict[str, list[dict[str, Any]]] = {}
    if probes:
        first = copy.deepcopy(base.pipe)
        for place, model in enumerate(models[1:]):
            at = len(models) * each + place * len(probes)
            with ExitStack() as stack:
                found[model.name] = probing.probe(
                    _name(model, base.made_by),
                    _opener(stack, model, stages, drawing),
                    first, wanted, samples, judge, kept,
                    lambda done, words, at=at, name=model.name: step(at + done, f"{name}: {words}"),
                    should_stop,
                )  # fmt: skip
            values[model.name]["back"] = probing.worst(found[model.name])
    for one in values.values():
        one.setdefault("back", Value(why="no probe was run; ask with --robustness"))
    if found:
        values[BASE]["back"] = Value(why=ITSELF)
    places = {cell: i for i, cell in enumerate(cells)}
    pictures = {
        model: {places[cell]: sha for cell, sha in zip(one.cells, one.shas, strict=True)}
        for model, one in drawn.items()
    }
    report = report_of(
        wanted=wanted, task=task, drawing=asdict(drawing), models=models, cautions=told,
        cells=cells, pictures=pictures, values=values, probes=found, judges=[judge, second],
        preset=stages.preset, minutes=(time.monotonic() - began) / 60,
    )  # fmt: skip
    shas = {sha for one in pictures.values() for sha in one.values()}
    shas |= {sha for some in found.values() for one in some for sha in one["pictures"]}
    write_report(out, report, files_of(sorted(shas), kept))
    return report


def _found(models: Sequence[Model]) -> dict[str, str]:
    """What the patches themselves say of the task."""
    patches = [one.patch.record for one in models if one.patch is not None]
    count = "several" if any(len(one.concepts) > 1 for one in models) else "one"
    found = {"count": "sequence" if any(one.wears for one in models) else count}
    anchors = {str(one.get("anchor") or "") for one in patches}
    if len(anchors) == 1 and (anchor := anchors.pop()):
        found |= {"aim": "replace", "anchor": anchor}
    return found


def _cells(stages: Models, wanted: Wanted, task: Task) -> tuple[Cell, ...]:
    drawn_world = stages.names["diffusion"] == "tiny"
    size, ranker = grid.SIZES[wanted.size], stages.ranker
    own = grid.read_prompts(wanted.prompts, wanted.concept) if wanted.prompts else []

    def near(words: Sequence[str]) -> np.ndarray:
        texts = [f"a photo of a {one}" for one in (wanted.concept, *words)]
        embedded = ranker.embed_texts(texts)
        return embedded[1:] @ embedded[0]

    chosen = grid.choose_words(
        wanted.concept, task, size, drawn=drawn_world, near=near,
        neighbours=wanted.neighbours, unrelated=wanted.unrelated,
    )  # fmt: skip
    return grid.cells_of(
        wanted.concept, task, size, chosen, drawn=drawn_world, seed=wanted.seed, prompts=own
    )


def open_judges(
    wanted: Wanted, task: Task, cells: Sequence[Cell], device: str | None = None
) -> tuple[Judge, Judge | None]:
    """Opens the judge, and the second one where it knows the concept.

    Raises:
        ForgetmeError: one is unknown or not to be had, or the first has no word for the concept.
    """
    labels = list(dict.fromkeys([*(one.label for one in cells), *filter(None, [task.anchor])]))
    first = Judge(open_recogniser(wanted.judge, concepts=labels, device=device))
    known_by(first, wanted.concept)
    if not wanted.second:
        return first, None
    second = Judge(open_recogniser(wanted.second, concepts=labels, device=device))
    try:
        known_by(second, wanted.concept)
    except ForgetmeError:
        return first, None
    return first, second


def _name(model: Model, base: str) -> str:
    """Names what draws: the base's weights and what is on them."""
    return base if model.kind == "base" else f"{base} {model.kind} {model.digest}"


def _opener(
    stack: ExitStack, model: Model, stages: Models, drawing: Drawing
) -> Callable[[], DiffusionPipeline]:
    """Opens a model when it is first needed, and draws with it as with the base."""
    held: list[DiffusionPipeline] = []

    def pipe() -> DiffusionPipeline:
        if not held:
            base = stages.diffusion.pipe
            one = stack.enter_context(opened(model, base, str(base.device)))
            theirs = grid.drawing_of(one, drawing.steps, drawing.guidance)
            grid.check_same(model.name, theirs, drawing)
            held.append(one)
        return held[0]

    return pipe


def _costs(model: Model, seconds: float | None) -> dict[str, Value]:
    """What making and keeping a model costs."""
    base = Value(why=ITSELF)
    minutes = model.minutes
    found = {
        "minutes": Value(why="nobody wrote down how long it took")
        if minutes is None
        else Value(minutes),
        "bytes": Value(why="unknown") if model.bytes is None else Value(model.bytes / 2**20),
    }
    if model.kind == "base":
        found = {"minutes": base, "bytes": base}
    return found | {"seconds": Value(why="not drawn here") if seconds is None else Value(seconds)}


def _inception(wanted: Wanted) -> Any:
    if wanted.inception is None:
        return None
    from forgetme.metrics.inception import Inception

    return Inception(wanted.inception)


def _lpips() -> Any:
    """Perceptual distance of pairs, where the user has installed it; else why there is none."""
    try:
        import lpips
    except ModuleNotFoundError:
        return "needs LPIPS: pip install lpips"
    import torch

    try:
        network = lpips.LPIPS(net="alex", verbose=False)
    except OSError as error:
        return f"AlexNet's weights, which LPIPS needs, cannot be had ({error})"

    def distance(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            sides = [
                torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float() / 127.5 - 1
                for some in (ours, theirs)
            ]
            return network(*sides).flatten().numpy()

    return distance
