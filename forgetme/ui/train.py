"""The Train tab: the form beside the runs, their curves and pictures, and what to do with them."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from forgetme.curate.review import Review
from forgetme.ui import markup, run_views, runs, train_form
from forgetme.ui.acts import Acts, validated
from forgetme.ui.news import clicked, news
from forgetme.ui.who import Person

Json = dict[str, Any]
REFRESH_SECONDS = 2
OPEN = ("queued", "running", "stopping")
NOTHING = (
    "No run yet. Choose what is to be forgotten and press start. It goes on when you close this "
    "page."
)
NOTHING_SEEN = "No run yet. A lead starts one here; you can watch it forget."
NO_SAMPLE = (
    "No run yet, and no accepted sample to learn from. Accept some quadruples on the Curate tab; "
    "or take a method that needs none, such as esd."
)
LINES = {"forget": "#3b6fe0", "keep": "#17794a", "not held": "#b07d1a"}
LOSSES = {"each step": "#b9c7e8", "smoothed": "#3b6fe0"}


def build(acts: Acts) -> tuple[list[Json], gr.Timer]:
    """Builds the tab; returns the events that open it, and the timer that runs meanwhile."""
    timer, chosen, names = gr.Timer(REFRESH_SECONDS, active=False), gr.State(""), gr.State([])
    shown, marks, doomed = gr.State(""), gr.State({}), gr.State("")
    with gr.Row(elem_classes="fm-columns fm-train"):
        with gr.Column(scale=1, min_width=320, elem_classes="fm-form"):
            opening, started = train_form.build(acts, chosen)
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("## Runs")
            table = gr.Dataframe(
                headers=["Run", "Method", "State", "Step", "Forget", "Keep"],
                interactive=False,
                show_label=False,
                buttons=[],
                visible=False,
                elem_id="fm-runs",
            )
            table_words = markup.html(value=markup.note("Loading …"), elem_id="fm-train-empty")
            with gr.Column(visible=False) as panel:
                head = markup.html(elem_id="fm-run")
                with gr.Row(elem_classes="fm-acts", visible=False) as acting:
                    stop = gr.Button("stop and save", elem_id="fm-run-stop", size="sm", scale=0)
                    resume = gr.Button("go on", elem_id="fm-run-resume", size="sm", scale=0)
                    longer = gr.Number(
                        show_label=False,
                        precision=0,
                        container=False,
                        elem_id="fm-run-steps",
                        min_width=90,
                        scale=0,
                    )
                    extend = gr.Button("train on", elem_id="fm-run-longer", size="sm", scale=0)
                    patch = gr.Button("patch .zip", elem_id="fm-run-patch", size="sm", scale=0)
                    compare = gr.Button("compare", link="?tab=compare", size="sm", scale=0)
                    remove = gr.Button(
                        "delete", variant="stop", elem_id="fm-run-delete", size="sm", scale=0
                    )
                with gr.Row(visible=False, elem_classes="fm-acts") as sure:
                    gr.Markdown("Delete this run and its patch for good?")
                    really = gr.Button(
                        "delete it", variant="stop", size="sm", scale=0, elem_id="fm-run-really"
                    )
                    not_now = gr.Button("keep it", size="sm", scale=0)
                advised = gr.Button(visible=False, variant="primary", elem_id="fm-run-advice")
                with gr.Row():
                    with gr.Column(min_width=300) as losing:
                        loss = gr.LinePlot(
                            run_views.curve([], "loss"),
                            x="step",
                            y="loss",
                            color="line",
                            color_map=LOSSES,
                            title="Loss",
                            height=240,
                            x_title="step",
                            y_title=" ",
                            color_title=" ",
                            buttons=[],
                            elem_id="fm-loss",
                        )
                        with gr.Row(elem_classes="fm-line"):
                            term = gr.Dropdown(
                                ["loss"],
                                value="loss",
                                label="Part",
                                allow_custom_value=True,  # of the run shown before: no error
                                min_width=90,
                                elem_id="fm-loss-term",
                            )
                            smooth = gr.Slider(
                                0,
                                0.99,
                                0.9,
                                step=0.01,
                                label="Smooth",
                                buttons=[],
                                elem_id="fm-smoothing",
                            )
                            log = gr.Checkbox(
                                label="log", elem_id="fm-log-scale", min_width=60, scale=0
                            )
                    with gr.Column(min_width=300):
                        scores = gr.LinePlot(
                            run_views.curve([], "share"),
                            x="step",
                            y="share",
                            color="line",
                            color_map=LINES,
                            title="Still recognised",
                            height=240,
                            y_lim=[0, 1],
                            x_title="step",
                            y_title=" ",
                            color_title=" ",
                            buttons=[],
                            elem_id="fm-scores",
                        )
                        score_words = markup.html(elem_id="fm-score-note")
                with gr.Row(elem_classes="fm-line"):
                    gr.Markdown("## Same prompts, same seeds")
                    at = gr.Dropdown(
                        [],
                        label="After step",
                        allow_custom_value=True,
                        min_width=110,
                        scale=0,
                        elem_id="fm-probe-step",
                    )
                    everything = gr.Checkbox(
                        label="all concepts", min_width=130, scale=0, elem_id="fm-probe-all"
                    )
                probes = markup.html(elem_id="fm-probes")
                with gr.Accordion("Last lines", open=False, visible=False) as lines:
                    tail = gr.Textbox(
                        lines=12,
                        max_lines=12,
                        show_label=False,
                        interactive=False,
                        autoscroll=True,
                        elem_id="fm-run-log",
                    )
                with gr.Accordion("Settings", open=False):
                    told = markup.html(elem_id="fm-run-settings")

    def look(
        review: Review,
        person: Person,
        request: gr.Request,
        held: dict[Any, Any],
    ) -> dict[Any, Any]:
        """Shows the runs, and the chosen one: how it stands, its curves and pictures."""
        found = runs.list_runs(review)
        known = [one["name"] for one in found]
        busy = [one["name"] for one in found if one["state"] in ("running", "stopping")]
        wanted = [held[chosen], request.query_params.get("run"), *busy, *known]
        run = next((one for name in wanted for one in found if one["name"] == name), None)
        looked_at = [held[one] for one in (term, smooth, log, at, everything)]
        seen = json.dumps([found, run, looked_at, held[doomed], person.role])
        if seen == held.get(shown):
            return {shown: seen}
        accepted = any(row.selected for row in review.store.table1())
        nothing = NOTHING_SEEN if person.role != "lead" else NOTHING if accepted else NO_SAMPLE
        updates: dict[Any, Any] = {
            shown: seen, names: known, chosen: run["name"] if run else "",
            table: gr.Dataframe([run_views.line(one) for one in found], visible=bool(found)),
            table_words: gr.HTML(markup.note(nothing), visible=not found),
            panel: gr.Column(visible=run is not None),
            sure: gr.Row(visible=run is not None and run["name"] == held[doomed]),
        }  # fmt: skip
        if run is not None:
            updates |= panel_of(review, person, run, *looked_at)
        return news(updates, held, marks)

    def panel_of(
        review: Review, person: Person, run: Json, part: str, weight: float, logarithm: bool,
        step: int | None, all_concepts: bool,
    ) -> dict[Any, Any]:  # fmt: skip
        from forgetme.train import curves
        from forgetme.train import runs as kept
        from forgetme.train.form import words

        on_disk = kept.run_of(review.store, run["name"])
        rows, after, more = [], "", True
        while more:
            piece = kept.rows(on_disk.folder, after)
            rows = piece["rows"] if piece["whole"] else rows + piece["rows"]
            after, more = piece["next"], piece["more"]
        parts = curves.terms(rows) or ["loss"]
        part = part if part in parts else parts[0]
        drawn = [row["probe"] for row in rows if "probe" in row]
        pictures = kept.pictures(on_disk)
        steps = sorted({one for there in pictures.values() for one in there if one > 0})
        step = step if step in steps[:-1] else (steps or [None])[-1]
        lead, open_ = person.role == "lead", run["state"] in OPEN
        mine = lead and run["by"] is not None  # what a command made goes on by command
        more_steps = mine and run["state"] == "done" and run["steps"] > 0
        advice, whole = run["advice"] or {}, [0, max(run["steps"], 1)]
        return {
            head: run_views.head(run),
            acting: gr.Row(visible=lead or run["patch"] is not None),
            stop: gr.Button(visible=lead and open_ and run["state"] != "stopping"),
            resume: gr.Button(visible=mine and run["state"] == "stopped"),
            longer: gr.Number(2 * run["steps"], visible=more_steps),
            extend: gr.Button(visible=more_steps),
            patch: gr.Button(visible=lead and not open_ and run["patch"] is not None,
                             link=f"forgetme/api/train/runs/{run['name']}/patch.zip"),
            compare: gr.Button(visible=not open_ and run["patch"] is not None),
            remove: gr.Button(visible=lead and not open_),
            advised: gr.Button(advice.get("act", ""), visible=lead and bool(advice.get("changes"))),
            term: gr.Dropdown(parts, value=part, visible=len(parts) > 1),
            losing: gr.Column(visible=run["steps"] > 0),  # a closed form has no loss
            loss: gr.LinePlot(run_views.losses(curves.loss(rows, part), weight, logarithm),
                              x_lim=whole),
            scores: gr.LinePlot(run_views.scores(drawn, run), x_lim=whole),
            score_words: markup.note(run_views.scored(drawn, run)),
            at: gr.Dropdown(steps, value=step, visible=len(steps) > 1),
            probes: run_views.strips(run, pictures, drawn, step, all_concepts),
            everything: gr.Checkbox(visible=len(pictures) > 3),
            lines: gr.Accordion(visible=person.role != "viewer"),
            tail: runs.run_log(review, run["name"]) if person.role != "viewer" else "",
            told: run_views.settings(on_disk.record, words()),
        }  # fmt: skip

    def pick(names: list[str], line: gr.SelectData) -> str:
        return clicked(line) if clicked(line) in names else ""

    def advise(review: Review, name: str) -> None:
        run = next((one for one in runs.list_runs(review) if one["name"] == name), {})
        resume_run(review, name, **(run.get("advice") or {}).get("changes") or {})

    def delete(review: Review, name: str) -> str:
        delete_run(review, name)
        return ""

    def stop_it(review: Review, name: str) -> None:
        stop_run(review, name)

    def go_on(review: Review, name: str, steps: int | None = None) -> None:
        resume_run(review, name, steps)

    acting_on = (runs.stop_run, runs.resume_run, runs.delete_run)
    stop_run, resume_run, delete_run = map(validated, acting_on)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    lead = lambda act: acts.by("lead", act)  # noqa: E731
    panels = [head, acting, stop, resume, longer, extend, patch, compare, remove, advised, term,
              losing, loss, scores, score_words, at, probes, everything, lines, tail,
              told]  # fmt: skip
    asked = {chosen, doomed, term, smooth, log, at, everything}
    opened = {
        "fn": acts.by("viewer", look, reads=True),
        "inputs": asked,
        "outputs": [shown, marks, names, chosen, table, table_words, panel, sure, *panels],
        **quiet,
    }
    looking = opened | {"inputs": asked | {shown, marks}}
    timer.tick(**looking)
    gr.on([term.input, smooth.release, log.input, at.input, everything.input], **looking)
    started.then(**looking)
    table.select(acts.by("viewer", pick, reads=True), names, chosen, **quiet).then(**looking)
    stop.click(lead(stop_it), chosen, None, **quiet).then(**looking)
    resume.click(lead(go_on), chosen, None, **quiet).then(**looking)
    extend.click(lead(go_on), [chosen, longer], None, **quiet).then(**looking)
    advised.click(lead(advise), chosen, None, **quiet).then(**looking)
    remove.click(lead(lambda name: name), chosen, doomed, **quiet).then(**looking)
    not_now.click(lead(lambda: ""), None, doomed, **quiet).then(**looking)
    really.click(lead(delete), doomed, doomed, **quiet).then(**looking)
    for act in (runs.start_run, *acting_on):
        gr.api(lead(act), api_name=act.__name__)
    gr.api(acts.by("lead", runs.check_run, reads=True), api_name="check_run")
    gr.api(acts.by("curator", runs.run_log, reads=True), api_name="run_log")
    gr.api(acts.by("viewer", runs.list_runs, reads=True), api_name="list_runs")
    return [opening, opened], timer
