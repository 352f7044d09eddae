"""What a run can be told, for people: a method's own settings, weights, presets and limits."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from forgetme.errors import ForgetmeError
from forgetme.record.concept import overlap, single
from forgetme.scenes import CONCEPTS
from forgetme.stages.models import Preset, load_models
from forgetme.train.data import Item
from forgetme.train.loop import check
from forgetme.train.method import Method
from forgetme.train.methods import METHODS, method_of
from forgetme.train.settings import Precision, RunSettings

# What must stay where nobody says otherwise. The bundled models know the drawn world's concepts.
KEEP: dict[Preset, tuple[str, ...]] = {
    "tiny": CONCEPTS,
    "full": ("cat", "dog", "bird", "car", "boat", "person"),
}
# Of these the training holds nothing, so that what is lost beside the concept is seen.
APART: dict[Preset, tuple[str, ...]] = {
    "tiny": ("bird", "boat", "balloon", "flower"),
    "full": ("bird", "boat"),
}
DEMO = "car"  # of what the bundled model draws well: named in 16 of 16 pictures of it
PRESETS: dict[Preset, tuple[str, str]] = {
    "tiny": ("Bundled model", "Small, offline, on a CPU in minutes; it draws the drawn world."),
    "full": ("Stable Diffusion 1.5", "The paper's model and settings; needs a GPU."),
}
TRAINS: dict[str, str] = {
    "lora": "LoRA matrices beside the attention layers; a small file, worn at any strength",
    "kv": "keys and values of cross-attention: how the prompt is read",
    "cross-attention": "all of cross-attention",
    "no-cross-attention": "everything but cross-attention: what is drawn whatever the prompt",
    "full": "the whole network that draws; most memory",
    "text-encoder": "how the prompt's words are understood; what draws stays as it was",
}
PICTURES = ("original", "background")  # needs that accepted samples meet

Json = dict[str, Any]


def settings_for(
    method: str,
    concept: str,
    preset: Preset,
    given: Mapping[str, Any],
    options: Mapping[str, float | str],
    keep: Sequence[str] | None,
    watch: Sequence[str] | None = None,
) -> RunSettings:
    """Puts a run's settings together: the method's for the preset, then what was given.

    Args:
        method: name of a method.
        concept: what is to be forgotten.
        preset: whose settings of the method to begin with.
        given: fields of `RunSettings`; None = as the preset has it.
        options: the method's own numbers.
        keep: what must stay and is held; None or nothing = what the preset's models know, but for
            some, see `APART`, and for what the concept is, is a kind of, or holds.
        watch: what must stay though nothing holds it; None = the rest of what they know.

    Raises:
        ForgetmeError: a value is none that a run can have.
    """
    try:
        chosen = method_of(method)
        values = {"trains": chosen.trains[0], **chosen.presets.get(preset, {})}
        held = (one for one in KEEP[preset] if one not in APART[preset])
        names = (concept, *given.get("also", ()))
        values["keep"] = tuple(keep or (o for o in held if not any(overlap(n, o) for n in names)))
        values["watch"] = watched_apart(preset, names, values["keep"], watch)
        values["options"] = {**values.get("options", {}), **options}
        values |= {name: value for name, value in given.items() if value is not None}
        values["also"] = tuple(single(one) for one in values.get("also", ()))
        return RunSettings(method, single(concept), **values)
    except ValueError as error:
        raise ForgetmeError(str(error)) from error


def watched_apart(
    preset: Preset,
    concepts: Sequence[str],
    keep: Sequence[str],
    watch: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Names what must stay though nothing holds it: what is given, or the rest of what is known."""
    held = (*concepts, *keep)
    rest = (one for one in KEEP[preset] if not any(overlap(one, other) for other in held))
    return tuple(rest if watch is None else watch)


def draws(preset: Preset, concept: str) -> bool:
    """Tells whether a preset's model draws a concept; of a published one nobody wrote it down."""
    return preset != "tiny" or any(overlap(concept, one) for one in CONCEPTS)


def methods() -> list[Json]:
    """Describes all methods: what they are, need, can train, and their settings by preset."""
    return [_described(one) for one in METHODS.values()]


def presets() -> list[Json]:
    """Describes the presets, and why one cannot be taken here."""
    return [
        {
            "name": name,
            "title": title,
            "words": words,
            "keep": list(KEEP[name]),
            "apart": list(APART[name]),
            "demo": DEMO,
            "problem": load_models(name).problems().get("diffusion"),
        }
        for name, (title, words) in PRESETS.items()
    ]


def words() -> dict[str, str]:
    """Returns a line on each setting, from the settings' own description."""
    text = inspect.getdoc(RunSettings) or ""
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", text, flags=re.MULTILINE)
    return {name: " ".join(line.split()) for name, line in found}


def choices() -> dict[str, list[str]]:
    """Returns the settings with few values, and these."""
    return {"precision": list(get_args(Precision))}


def problem(settings: RunSettings, items: Sequence[Item]) -> str | None:
    """Says why a run cannot begin; None where it can."""
    try:
        check(settings, list(items))
    except ForgetmeError as error:
        return str(error)
    return None


def needs_pictures(method: str, options: Mapping[str, float | str] | None = None) -> bool:
    """Tells whether a method learns from accepted samples, with some options."""
    return bool(method_of(method).needs_with(options or {}) & set(PICTURES))


def _described(method: Method) -> Json:
    return {
        "name": method.name,
        "words": method.words,
        "source": method.source,
        "pictures": needs_pictures(method.name),
        "anchor": "anchor" in method.needs,
        "trains": list(method.trains),
        "options": {
            name: {"default": one.value, "words": one.words, "choices": list(one.choices)}
            for name, one in method.options.items()
        },
        "defaults": {
            preset: settings_for(method.name, "concept", preset, {}, {}, None).record()
            for preset in PRESETS
        },
    }
