"""Refines all low fills with one prompt template; a new try is picked only where it is better."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from forgetme.curate import checks, fills
from forgetme.curate.suggest import suggest
from forgetme.errors import (
    DiskFullError,
    ForgetmeError,
    MissingModelError,
    StaleVersionError,
    StoreVersionError,
)
from forgetme.record.concept import plain
from forgetme.record.sample import FillSettings
from forgetme.record.settings import Settings
from forgetme.stages.models import Models, load_models
from forgetme.store import SampleRow, Store

TEMPLATE = "an empty {setting}"
PLACEHOLDERS = {
    "setting": "the likeliest surroundings, such as meadow",
    "suggestion": "the likeliest whole prompt",
    "concept": "what the object was",
    "caption": "what the picture shows, where that is known",
}
MAX_PROMPT = 500  # characters
DEFAULTS = Settings()

Outcome = Literal["better", "kept", "held", "gone", "failed", "known"]
WORDS: dict[Outcome, str] = {
    "better": "better: picked",
    "kept": "no better: the picked one stays",
    "held": "somebody is working on it: passed over",
    "gone": "changed meanwhile: passed over",
    "failed": "failed",
    "known": "tried before: passed over",
}


class Progress(Protocol):
    """The part of a running job that the work needs."""

    by: str

    @property
    def should_stop(self) -> bool:
        """Whether to finish this step and return."""

    def step(
        self, done: int, total: int | None = None, words: str = "", *, subject: str | None = None
    ) -> None:
        """Says how far it is."""


@dataclass(frozen=True)
class RetryReport:
    """What a round over the low ones brought.

    Attributes:
        low: how many samples were low when it began.
        better: of them, those whose new try is picked now.
        kept: those whose earlier try stays picked.
        passed: those left alone: held by somebody, changed meanwhile, or tried so before.
        still_low: of the better ones, those that are low still.
        failed: "name: why" of those whose work failed.
    """

    low: int = 0
    better: int = 0
    kept: int = 0
    passed: int = 0
    still_low: int = 0
    failed: tuple[str, ...] = ()


def low_samples(store: Store, concept: str | None = None) -> list[SampleRow]:
    """Returns the samples with a low fill that nobody has decided, in the order of import."""
    rows = store.samples(state="prepared", concept=concept, limit=None, light=True)
    return [row for row in rows if row.low and row.picked_try is not None]


def check_template(template: str) -> str:
    """Returns a prompt template without surrounding space.

    Raises:
        ForgetmeError: it is empty, too long, or names something else than `PLACEHOLDERS`.
    """
    template = template.strip()
    known = ", ".join("{" + name + "}" for name in PLACEHOLDERS)
    if not template or len(template) > MAX_PROMPT:
        raise ForgetmeError(
            f"a prompt must have 1 to {MAX_PROMPT} characters, got {len(template)}; "
            f"for example: {TEMPLATE}"
        )
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ForgetmeError(f"{template!r}: {error}; in braces stand only {known}") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or form or conversion):
            raise ForgetmeError(
                f"{template!r} names {{{name}}}, which is not known; known: {known}"
            )
    return template


def prompt_for(template: str, row: SampleRow, store: Store, models: Models) -> str:
    """Fills the template for one sample; the surroundings are looked at only if it names them."""
    values = {"concept": plain(row.concept), "caption": row.caption}
    if "{setting}" in template or "{suggestion}" in template:
        image, mask = store.get_image(row.image_sha), store.get_mask(row.mask_sha)
        found = suggest(image, mask, row.concept, models)
        values |= {"setting": found.setting, "suggestion": found.prompts[0]}
    return " ".join(template.format(**values).split())[:MAX_PROMPT]


def refine_all(
    rows: Iterable[SampleRow],
    template: str,
    store: Store,
    models: Models,
    *,
    form: FillSettings = DEFAULTS.fill,
    settings: Settings = DEFAULTS,
    by: str,
    on_step: Callable[[int, SampleRow, Outcome, str], None] = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RetryReport:
    """Gives each sample one more try, and picks it where `fills.is_better` says so.

    Samples that somebody has open are passed over, and so are those that have a try with the same
    prompt and settings: a round that was stopped goes on where it was.

    Args:
        rows: the samples, see `low_samples`.
        template: the prompt, see `PLACEHOLDERS`.
        store: their store.
        models: its inpainter, diffusion, ranker and verifier are used.
        form: strength, steps, guidance, seed and negative prompt.
        settings: the thresholds and the variant of Entangled.
        by: name recorded with the events.
        on_step: gets, after each sample, its number from 1, itself, what came of it, and why.
        should_stop: asked before each sample.

    Raises:
        ForgetmeError: the template cannot be used.
        MissingModelError: a model that is needed is not there.
    """
    template = check_template(template)
    rows = list(rows)
    report = RetryReport(low=len(rows))
    for number, row in enumerate(rows, start=1):
        if should_stop():
            break
        outcome, row, words = _try_once(row, template, store, models, form, settings, by)
        report = _count(report, outcome, row, words)
        on_step(number, row, outcome, words)
    return report


def refine_low(
    store: Store,
    job: Progress,
    *,
    prompt: str,
    concept: str | None = None,
    preset: Literal["tiny", "full"] = "tiny",
    verifier: str | None = None,
    form: dict[str, Any] | None = None,
    samples: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Does the job "refine_low".

    Args:
        store: the store.
        job: hears how far it is, and says when to stop.
        prompt: the template.
        concept: only its samples; None = all.
        preset: of the models.
        verifier: instead of the preset's, see `load_models`.
        form: fields of `FillSettings`.
        samples: only those of these ids that are low; None = all.
    """
    rows = low_samples(store, concept)
    if samples is not None:
        rows = [row for row in rows if row.id in set(samples)]
    job.step(0, len(rows), "loading the models")
    models = load_models(preset, verifier=verifier, embeddings=store.embeddings)

    def say(number: int, row: SampleRow, outcome: Outcome, words: str) -> None:
        line = f"{row.name}: {WORDS[outcome]}{': ' + words if words else ''}"
        print(line, flush=True)  # the job's log
        job.step(number, len(rows), line, subject=row.id)

    report = refine_all(
        rows,
        prompt,
        store,
        models,
        form=FillSettings(**(form or {})),
        by=job.by,
        on_step=say,
        should_stop=lambda: job.should_stop,
    )
    return asdict(report)


def _try_once(
    seen: SampleRow,
    template: str,
    store: Store,
    models: Models,
    form: FillSettings,
    settings: Settings,
    by: str,
) -> tuple[Outcome, SampleRow, str]:
    """Refines one sample; returns what came of it, the sample, and why."""
    row = store.sample(seen.id)
    if store.holds.of([row.id]).get(row.id, by) != by:
        return "held", row, ""
    if row.state != "prepared" or not row.low or row.picked_try is None:
        return "gone", row, ""
    try:
        wanted = replace(form, prompt=prompt_for(template, row, store, models))
        if any(_same(one, wanted) for one in row.tries):
            return "known", row, ""
        mask_sha = row.mask_sha
        image, mask = store.get_image(row.image_sha), store.get_mask(mask_sha)
        start = store.get_image(row.tries[row.picked_try]["image_sha"])
        made = fills.refine(image, mask, models, settings, wanted, start=start)
        found = checks.of_row(row, image, mask, made, models, settings.thresholds)
        row = fills.record_try(store, row, "refined", made, settings, by=by, checks=found)
    except (MissingModelError, DiskFullError, StoreVersionError):
        raise  # no sample can succeed
    except StaleVersionError as error:
        return "gone", error.theirs, ""
    except Exception as error:  # one sample must never stop the rest
        return "failed", row, str(error) if isinstance(error, ForgetmeError) else repr(error)
    if row.mask_sha != mask_sha:
        return "gone", row, ""  # a hand drew meanwhile; the try waits for its mask
    newest = len(row.tries) - 1
    return ("better" if row.picked_try == newest else "kept"), row, wanted.prompt


def _same(one: dict[str, Any], wanted: FillSettings) -> bool:
    names = ("prompt", "negative_prompt", "strength", "steps", "guidance", "seed")
    used = one["settings"]
    return one["kind"] == "refined" and all(used[name] == getattr(wanted, name) for name in names)


def _count(report: RetryReport, outcome: Outcome, row: SampleRow, words: str) -> RetryReport:
    if outcome == "better":
        still = report.still_low + bool(row.low)
        return replace(report, better=report.better + 1, still_low=still)
    if outcome == "kept":
        return replace(report, kept=report.kept + 1)
    if outcome == "failed":
        return replace(report, failed=(*report.failed, f"{row.name}: {words}"))
    return replace(report, passed=report.passed + 1)
