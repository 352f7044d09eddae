"""The Evaluate tab: the form beside the evaluations, and what each found of runs and the base."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

from forgetme.compare.saved import NAME, saved_runs
from forgetme.curate.review import Review
from forgetme.ui import evaluate_views as views
from forgetme.ui import evaluations, markup
from forgetme.ui.acts import Acts, validated
from forgetme.ui.evaluations import Size
from forgetme.ui.news import clicked, news
from forgetme.ui.who import Person, Refusal, told

Json = dict[str, Any]
REFRESH_SECONDS = 2
SIZES = [("quick: minutes on a laptop", "quick"), ("standard", "standard"), ("full", "full")]
FOR_LEADS = "Evaluations are started by people with the role lead. You can read them."
NO_RUN = "Train something first: a run of the Train tab that has a patch can be evaluated here."
NOTHING = "No evaluation yet. Choose runs and press evaluate."
NOTHING_SEEN = "No evaluation yet. A lead starts one here."


def build(acts: Acts) -> tuple[list[Json], gr.Timer]:
    """Builds the tab; returns the events that open it, and the timer that runs meanwhile."""
    timer, marks = gr.Timer(REFRESH_SECONDS, active=False), gr.State({})
    chosen, names, making = gr.State(""), gr.State([]), gr.State("")
    with gr.Row(elem_classes="fm-columns"):
        with gr.Column(scale=1, min_width=320, elem_classes="fm-form"):
            words = markup.html(elem_id="fm-evaluate-words")
            with gr.Column(visible=False) as form:
                gr.Markdown("## What to evaluate")
                runs = gr.Dropdown(
                    [], multiselect=True, label="Runs", elem_id="fm-evaluate-runs",
                    info="The model before them stands beside them.",
                )  # fmt: skip
                concept = gr.Dropdown(
                    [], label="What was to be forgotten", value=None, allow_custom_value=True,
                    elem_id="fm-evaluate-concept",
                )  # fmt: skip
                size = gr.Dropdown(SIZES, value="quick", label="Pictures")
                robustness = gr.Checkbox(
                    label="try to bring it back", elem_id="fm-evaluate-robustness",
                    info="Other spellings, finished halves, inversion, learning it again.",
                )  # fmt: skip
                with gr.Row(elem_classes="fm-line"):
                    name = gr.Textbox(label="Name", max_length=80, elem_id="fm-evaluate-name",
                                      placeholder="chosen for you")  # fmt: skip
                    start = gr.Button("evaluate", variant="primary", scale=0,
                                      elem_id="fm-evaluate-start")  # fmt: skip
            with gr.Column(visible=False) as work:
                how = markup.html(elem_id="fm-evaluate-job")
                stop = gr.Button("stop", size="sm", scale=0, elem_id="fm-evaluate-stop")
            table = gr.Dataframe(headers=["Evaluation", "Forgets", "Models"], interactive=False,
                                 show_label=False, buttons=[], visible=False,
                                 elem_id="fm-evaluations")  # fmt: skip
        with gr.Column(scale=3, min_width=320, visible=False) as panel:
            head = markup.html(elem_id="fm-evaluation")
            scores = gr.Dataframe(interactive=False, show_label=False, buttons=[], wrap=True,
                                  elem_id="fm-evaluation-scores")  # fmt: skip
            notes = markup.html(elem_id="fm-evaluation-notes")
            with gr.Column(visible=False) as drawn:
                plot = gr.ScatterPlot(
                    x="forgetting", y="keeping", color="model", height=300, buttons=[],
                    title="Forgetting against keeping", tooltip="all", color_title=" ",
                    y_lim=[-0.1, 1.1],
                    elem_id="fm-evaluation-plot",
                )  # fmt: skip
            page = gr.Button("report .html", size="sm", scale=0, elem_id="fm-evaluation-page")

    def look(review: Review, person: Person, held: dict[Any, Any]) -> dict[Any, Any]:
        """Shows what is made, how far the job is, and the chosen evaluation."""
        made = told(person, evaluations.all_made(review))  # no act looks into a component
        known = [one[0] for one in made]
        picked = next((one for one in (held[chosen], *known) if one in known), "")
        able, job = saved_runs(review.store), evaluations.shown_job(review)
        lead = person.role == "lead"
        nothing = NOTHING if lead else NOTHING_SEEN
        said = ["" if lead else FOR_LEADS,
                NO_RUN if not able else "" if made or job else nothing]  # fmt: skip
        updates: dict[Any, Any] = {
            chosen: picked, names: known, making: job["name"] if job else "",
            words: markup.lines(filter(None, said)) if any(said) else "",
            form: gr.Column(visible=lead and bool(able)),
            runs: gr.Dropdown([one.name for one in able]),
            concept: gr.Dropdown(evaluations.concepts(review, able)),
            work: gr.Column(visible=job is not None),
            how: views.progress(job) if job else "",
            stop: gr.Button(visible=lead and job is not None and views.can_stop(job)),
            table: gr.Dataframe([views.line(*one) for one in made], visible=bool(made)),
            panel: gr.Column(visible=bool(picked)),
        }  # fmt: skip
        if picked:
            updates |= panel_of(picked, dict(made)[picked])
        return news(updates, held, marks)

    def panel_of(name: str, report: Json | str) -> dict[Any, Any]:
        if isinstance(report, str):  # why it cannot be read
            hidden = gr.Column(visible=False)
            return {head: views.unread(name, report), scores: gr.Dataframe(visible=False),
                    notes: "", drawn: hidden, page: gr.Button(visible=False)}  # fmt: skip
        dots = views.dots(report)
        return {
            head: views.head(name, report),
            scores: gr.Dataframe(views.table(report), visible=True),
            notes: views.notes(report),
            drawn: gr.Column(visible=bool(len(dots))),
            plot: gr.ScatterPlot(dots, x_lim=[min(0.0, *dots["forgetting"]) - 0.1, 1.1])
            if len(dots)
            else None,
            page: gr.Button(link=f"forgetme/evaluation/{name}/report.html", visible=True),
        }

    def pick(names: list[str], line: gr.SelectData) -> str:
        return clicked(line) if clicked(line) in names else ""

    def suggest_concept(review: Review, runs: list[str] | None) -> str | None:
        """Returns what the run chosen last was to forget."""
        last = (runs or [""])[-1]
        return next((one.record.get("concept") for one in saved_runs(review.store)
                     if one.name == last), None)  # fmt: skip

    def begin_evaluation(
        review: Review, name: str | None, concept: str | None, runs: list[str] | None,
        size: Size, robustness: bool,
    ) -> str:  # fmt: skip
        if not runs or not concept:
            what = "what was to be forgotten" if runs else "the runs"
            raise Refusal(400, "bad", f"Choose {what}, then press evaluate.")
        if name and not re.fullmatch(NAME, name):
            raise Refusal(400, "bad", "A name has small letters, digits and dashes: cats-2026.")
        ask(review, name or evaluations.free_name(review, concept), concept, runs, size, robustness)
        return ""

    def stop_making(review: Review, name: str) -> None:
        stopping(review, name)

    started_by_leads = (evaluations.evaluate, evaluations.stop_evaluation)
    ask, stopping = map(validated, started_by_leads)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    opened = {
        "fn": acts.by("viewer", look, reads=True),
        "inputs": {chosen},
        "outputs": [chosen, names, making, marks, words, form, runs, concept, work, how, stop,
                    table, panel, head, scores, notes, drawn, plot, page],
        **quiet,
    }  # fmt: skip
    looking = opened | {"inputs": {chosen, marks}}
    timer.tick(**looking)
    runs.input(acts.by("lead", suggest_concept, reads=True), runs, concept, **quiet)
    asked = [name, concept, runs, size, robustness]
    start.click(acts.by("lead", begin_evaluation), asked, name, **quiet).then(**looking)
    stop.click(acts.by("lead", stop_making), making, None, **quiet).then(**looking)
    table.select(acts.by("viewer", pick, reads=True), names, chosen, **quiet).then(**looking)
    for act in started_by_leads:
        gr.api(acts.by("lead", act), api_name=act.__name__)
    for act in (evaluations.evaluations, evaluations.evaluation):
        gr.api(acts.by("viewer", act, reads=True), api_name=act.__name__)
    return [opened], timer
