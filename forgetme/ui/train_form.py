"""The Train tab's form: what to forget and how, made of the methods' own settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gradio as gr

from forgetme.curate.review import Review
from forgetme.ui import forms, markup, run_views, runs
from forgetme.ui.acts import Acts, refusal, validated
from forgetme.ui.runs import Settings
from forgetme.ui.who import Person, Refusal

Json = dict[str, Any]
MAIN = ("steps", "lr", "batch", "rank")
MORE = ("prompt", "any_prompt", "anchor", "retain_pictures", "accumulate", "precision",
        "gradient_checkpointing", "clip", "seed", "probe_every", "save_every")  # fmt: skip
LABELS = {
    "lr": "Learning rate", "batch": "Pictures a step", "rank": "LoRA rank",
    "clip": "Gradient clip", "accumulate": "Batches added up",
    "any_prompt": "the prompt need not name the concept", "save_every": "Steps between saves",
    "probe_every": "Steps between probes", "retain_pictures": "Pictures drawn to keep",
    "gradient_checkpointing": "gradient checkpointing: less memory, more time",
}  # fmt: skip
FOR_LEADS = (
    "Runs are started by people with the role lead. You can watch them, and see what they draw."
)


def build(acts: Acts, chosen: gr.State) -> tuple[Json, Any]:
    """Lays out the form, and binds what happens in it.

    Args:
        acts: binds functions to who asks.
        chosen: takes the name of a run that was started.

    Returns:
        The event that opens the form, and the one after which a run has begun.
    """
    begun, suggested = gr.State(False), gr.State("")
    not_lead = markup.html(visible=False)
    with gr.Column(visible=False) as form:
        gr.Markdown("## What to forget")
        concept = gr.Dropdown(
            [], label="Concept", allow_custom_value=True, elem_id="fm-train-concept"
        )
        concept_words = markup.html(elem_id="fm-train-concept-words")
        gr.Markdown("## How")
        preset = gr.Radio([], label="Preset", elem_id="fm-train-preset")
        preset_words = markup.html(elem_id="fm-train-preset-words")
        method = gr.Dropdown([], label="Method", elem_id="fm-train-method")
        method_words = markup.html()
        trains = gr.Dropdown([], label="What is trained", elem_id="fm-train-trains")
        trains_words = markup.html(elem_id="fm-train-trains-words")
        with gr.Row(elem_classes="fm-fields"):
            fields = forms.form(Settings, MAIN, prefix="fm-set-", labels=LABELS)
        with gr.Row(elem_classes="fm-fields"):
            own = _options()
        gr.Markdown("## What must stay")
        keep = gr.Dropdown(
            [], multiselect=True, allow_custom_value=True, label="Held by the training",
            info="The nearest first: probes watch a neighbour and something unrelated.",
            elem_id="fm-train-keep",
        )  # fmt: skip
        with gr.Row(elem_classes="fm-fields"):
            near = gr.Dropdown([], label="A neighbour", elem_id="fm-keep-near")
            far = gr.Dropdown([], label="Unrelated", elem_id="fm-keep-far")
        keep_words = markup.html(elem_id="fm-train-keep-words")
        with gr.Accordion("More settings", open=False):
            fields |= forms.form(Settings, MORE, prefix="fm-set-", labels=LABELS)
            probe_pictures = gr.Number(
                8, precision=0, label="Pictures in a probe",
                info="pictures of each concept in a probe; 0 = no probes",
            )  # fmt: skip
        verdict = markup.html(elem_id="fm-train-verdict")
        with gr.Row(elem_classes="fm-line"):
            name = gr.Textbox(label="Name of the run", max_length=80, elem_id="fm-train-name")
            start = gr.Button(
                "start",
                variant="primary",
                interactive=False,
                scale=0,
                elem_id="fm-train-start",
            )
    settings = [*fields.values(), *own.values()]
    asked = {method, concept, trains, keep, preset, probe_pictures, *settings}

    def read(held: dict[Any, Any]) -> dict[Any, Any]:
        """Gives back what the form holds; refuses what none of its components could hold."""
        words = [held.get(one) for one in (method, concept, trains, preset, name)]
        kept = held.get(keep) or []
        words += kept if isinstance(kept, list) else [kept]
        if not all(isinstance(one, str | None) for one in words) or isinstance(kept, str):
            raise Refusal(400, "bad", "The form holds words and lists of words; load it again.")
        return held

    def plan(held: dict[Any, Any]) -> Json:
        """Returns the arguments of a run from what the form holds."""
        from forgetme.train.methods import method_of

        if not held[method] or not held[concept]:
            raise Refusal(400, "bad", "Choose what is to be forgotten.")
        settings = {name: held[one] for name, one in fields.items()}
        settings |= {"method": held[method], "concept": held[concept], "trains": held[trains]}
        settings |= {"keep": tuple(one for one in held[keep] or () if one != held[concept])}
        settings["options"] = {n: held[own[n]] for n in method_of(held[method]).options}
        settings["rank"] = settings["rank"] or 4  # not asked for where no LoRA is trained
        return {
            "settings": settings,
            "preset": held[preset],
            "probe_pictures": held[probe_pictures],
        }

    def open_form(review: Review, person: Person, begun: bool) -> tuple:
        if person.role != "lead":
            return (gr.HTML(markup.note(FOR_LEADS), visible=True), *[gr.skip()] * 5)
        if begun:
            return (gr.skip(),) * 6
        from forgetme.train import form as forms_of
        from forgetme.train.cost import machine

        presets = forms_of.presets()
        able = [(one["title"], one["name"]) for one in presets if not one["problem"]]
        known = [value for _, value in able]
        value = review.models.preset if review.models.preset in known else (known or [None])[0]
        words = [f"{one['title']}: {one['words']}" for one in presets if one["name"] in known]
        words += [f"{one['title']}: {one['problem']}." for one in presets if one["problem"]]
        note = markup.lines([*words, f"Runs on {machine()['words']}."])
        methods = [one["name"] for one in forms_of.methods()]
        return (gr.skip(), gr.Column(visible=True), gr.Radio(able, value=value), note,
                gr.Dropdown(methods, value=methods[0]), True)  # fmt: skip

    def show_method(review: Review, held: dict[Any, Any]) -> dict[Any, Any]:
        """Puts a method's own settings for a preset in the place of what was there."""
        from forgetme.train import form as forms_of

        held = read(held)
        one = next((one for one in forms_of.methods() if one["name"] == held[method]), None)
        offered = next((one for one in forms_of.presets() if one["name"] == held[preset]), None)
        if one is None or offered is None:
            return {method_words: ""}
        usual, words = one["defaults"][held[preset]], forms_of.words()
        closed = [name for name in forms_of.TRAINS if name not in one["trains"]]
        not_with = f" {one['name']} is not defined for {', '.join(closed)}." if closed else ""
        accepted = {row.concept: row.selected for row in review.store.table1()}
        free = [] if one["pictures"] else [name for name in offered["keep"] if name not in accepted]
        able = {name: count for name, count in accepted.items() if count or not one["pictures"]}
        concepts = [(f"{name}, {count or 'none'} accepted", name) for name, count in able.items()]
        known = [name for _, name in concepts] + free
        drawn = [name for name in known if forms_of.draws(held[preset], name)]
        before = [held[concept], offered["demo"], *drawn, *known]
        value = next((name for name in before if name in known), None)
        if held[concept] and not one["pictures"]:
            value = held[concept]
        updates: dict[Any, Any] = {
            method_words: markup.note(f"{one['words']} Source: {one['source']}."),
            trains: gr.Dropdown(one["trains"], value=usual["trains"]),
            trains_words: markup.note("; ".join(
                f"{name}: {forms_of.TRAINS[name]}" for name in one["trains"]) + "." + not_with),
            concept: gr.Dropdown([*concepts, *free], value=value),
            keep: gr.Dropdown(offered["keep"], multiselect=True, value=[
                name for name in offered["keep"] if name not in offered["apart"]]),
        }  # fmt: skip
        for name, component in fields.items():
            more = {"visible": one["anchor"]} if name == "anchor" else {}
            updates[component] = gr.update(value=usual[name], info=words.get(name), **more)
        for name, component in own.items():
            told = one["options"].get(name)
            updates[component] = gr.update(visible=told is not None)
            if told is not None:
                value = usual["options"].get(name, told["default"])
                choices = {"choices": told["choices"]} if told["choices"] else {}
                updates[component] |= gr.update(value=value, info=told["words"], **choices)
        return updates

    def check(review: Review, held: dict[Any, Any]) -> dict[Any, Any]:
        """Says what the form would do, what stands in its way, and what it would cost."""
        from forgetme.train import form as forms_of

        held = read(held)
        word, kept = held[concept] or "", [one for one in held[keep] or () if one != held[concept]]
        offered = next((one for one in forms_of.presets() if one["name"] == held[preset]), None)
        if offered is None or not held[method]:
            return {start: gr.Button(interactive=False)}
        accepted = {row.concept: row.selected for row in review.store.table1()}.get(word, 0)
        apart = [one for one in offered["keep"] if one not in kept and one != word]
        taken = [one["name"] for one in runs.list_runs(review)]
        better = free_name(f"{word} {held[method]}", taken)
        names = name if held[name] in ("", held[suggested]) else None
        try:
            checked = check_run(review, **plan(held))
        except Exception as error:  # noqa: BLE001 (the form says it)
            checked = {"problem": refusal(review, error), "cost": None}
        return {
            concept_words: markup.note(
                run_views.learns(held[method], accepted) + run_views.undrawn(held[preset], word)
            ),
            keep: kept if word in (held[keep] or ()) else gr.skip(),
            keep_words: markup.note(run_views.held(kept, apart)),
            near: gr.Dropdown(kept, value=kept[0] if kept else None, visible=len(kept) > 1),
            far: gr.Dropdown(kept, value=kept[-1] if kept else None, visible=len(kept) > 1),
            fields["rank"]: gr.Number(visible=held[trains] == "lora"),
            verdict: run_views.verdict(checked),
            start: gr.Button(interactive=not checked["problem"]),
            suggested: better,
            **({name: better} if names else {}),
        }

    def begin(review: Review, held: dict[Any, Any]) -> tuple[str, str]:
        run = start_run(review, held[name], **plan(read(held)))
        gr.Info("It goes on when you close this page.", title=f"{run['name']} begins")
        return run["name"], ""

    def nearest(names: list[str] | None, one: str | None) -> list[str]:
        return [*([one] if one else []), *(name for name in names or [] if name != one)]

    def farthest(names: list[str] | None, one: str | None) -> list[str]:
        return [*(name for name in names or [] if name != one), *([one] if one else [])]

    check_run, start_run = validated(runs.check_run), validated(runs.start_run)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    lead = lambda act: acts.by("lead", act)  # noqa: E731
    checking = {
        "fn": lead(check),
        "inputs": {*asked, name, suggested},
        "outputs": [concept_words, keep, keep_words, near, far, fields["rank"], verdict, start,
                    suggested, name],
        "trigger_mode": "always_last",
        **quiet,
    }  # fmt: skip
    gr.on([method.change, preset.change], lead(show_method), {method, preset, concept},
          [method_words, trains, trains_words, concept, keep, *settings],
          trigger_mode="always_last", **quiet).then(**checking)  # fmt: skip
    gr.on([concept.change, *(one.input for one in asked - {method, preset, concept})], **checking)
    for one, placed in ((near, nearest), (far, farthest)):
        one.input(lead(placed), [keep, one], keep, **quiet).then(**checking)
    started = start.click(lead(begin), {*asked, name}, [chosen, name], **quiet)
    started.then(**checking)
    opening = {
        "fn": acts.by("viewer", open_form, reads=True),
        "inputs": [begun],
        "outputs": [not_lead, form, preset, preset_words, method, begun],
        **quiet,
    }
    return opening, started


def _options() -> dict[str, gr.components.Component]:
    """Makes a component for each setting that a method has of its own: a word, or a number."""
    from forgetme.train.methods import METHODS

    words = {name: one.choices for made in METHODS.values() for name, one in made.options.items()}
    return {
        name: (gr.Dropdown if choices else gr.Number)(
            label=forms.sentence(name), visible=False, elem_id=f"fm-option-{name}"
        )
        for name, choices in words.items()
    }


def free_name(words: str, taken: Sequence[str]) -> str:
    """Returns a name for a run; with a number where it is taken.

    Example:
        >>> free_name("golden retriever lora", ["golden-retriever-lora"])
        'golden-retriever-lora-2'
    """
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:70] or "run"
    if name not in taken:
        return name
    return next(f"{name}-{n}" for n in range(2, len(taken) + 3) if f"{name}-{n}" not in taken)
