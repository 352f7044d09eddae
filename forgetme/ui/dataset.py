"""The Dataset tab: Table 1, histograms that filter the gallery, a sample; trail and exports."""

from __future__ import annotations

import re
from typing import Any, get_args

import gradio as gr

from forgetme.curate.review import Review
from forgetme.ui import data, markup, pictures, publish_form, trail
from forgetme.ui import dataset_views as views
from forgetme.ui.acts import Acts
from forgetme.ui.data import MEASURES, Filter
from forgetme.ui.news import clicked, news
from forgetme.ui.views import detail
from forgetme.ui.who import Person, told

Json = dict[str, Any]
REFRESH_SECONDS = 2
MODES = ("Pictures", trail.TITLE, publish_form.TITLE)
FOR_LEADS = "Export, push and the audit trail need the role lead. Ask one of them."
PICK_ONE = "Press a picture, or an event of the trail, to see it large and what made it."
LETTERS = {"d": "D", "s": "S", "clip": "CLIP"}
COLOURS = {data.SHOWN: "#3b6fe0", data.LEFT_OUT: "#b4bac4"}
ENDS = {"least": ("from", 0.0), "below": ("to", 1.0)}


def build(acts: Acts) -> tuple[list[Json], gr.Timer]:
    """Builds the tab; returns the events that open it, and the timer that runs meanwhile."""
    timer, known = gr.Timer(REFRESH_SECONDS, active=False), data.Known(acts.review.store)
    page, picked, marks, shown = gr.State(0), gr.State(""), gr.State({}), gr.State("")
    with gr.Column(elem_classes="fm-columns fm-dataset"):
        table = gr.Dataframe(headers=views.TABLE, interactive=False, show_label=False, buttons=[],
                             visible=False, max_height=330, elem_id="fm-table1")  # fmt: skip
        table_words = gr.Markdown(views.TABLE_WORDS, elem_classes="fm-note", visible=False)
        mode = gr.Radio(list(MODES), value=MODES[0], show_label=False, container=False,
                        visible=False, elem_id="fm-dataset-mode")  # fmt: skip
        for_leads = markup.html(elem_id="fm-dataset-words", visible=False)
        with gr.Row(elem_classes="fm-look-beside") as looking_at:
            with gr.Column(scale=3, min_width=320) as gallery_side:
                charts, ranges = _charts()
                with gr.Row(elem_classes="fm-line fm-filters-row"):
                    concept = gr.Dropdown([("all concepts", "")], value="", label="Concept",
                                          allow_custom_value=True,  # one that is gone: no error
                                          min_width=140, elem_id="fm-data-concept")  # fmt: skip
                    show = gr.Dropdown(list(data.SHOWS), value="accepted", label="State",
                                       min_width=140, elem_id="fm-data-show")  # fmt: skip
                    order = gr.Dropdown(list(get_args(data.Order)), value="in order of import",
                                        label="Order", min_width=140,
                                        elem_id="fm-data-order")  # fmt: skip
                    low = gr.Checkbox(label="low only", min_width=90, scale=0,
                                      elem_id="fm-data-low")  # fmt: skip
                split = gr.Radio([("all", "")], value="", label="Split", container=False,
                                 elem_id="fm-data-split")  # fmt: skip
                with gr.Row(elem_classes="fm-line"):
                    count = markup.html(elem_id="fm-data-count")
                    clear = gr.Button("clear", size="sm", scale=0, visible=False, min_width=80,
                                      elem_id="fm-data-clear")  # fmt: skip
                gallery = gr.Gallery(
                    elem_id="fm-gallery", columns=5, show_label=False, allow_preview=False,
                    buttons=[], object_fit="contain", height="auto", min_width=300,
                )  # fmt: skip
                nothing = markup.html(elem_id="fm-data-empty")
                with gr.Row(elem_classes="fm-acts", visible=False) as pager:
                    before = gr.Button(
                        "previous", size="sm", scale=0, min_width=80, elem_id="fm-page-before"
                    )
                    after = gr.Button(
                        "next", size="sm", scale=0, min_width=80, elem_id="fm-page-after"
                    )
                    where = markup.html()
            with gr.Column(scale=3, min_width=320, visible=False) as trail_side:
                trail_parts = trail.Parts()
            with gr.Column(scale=1, min_width=320, elem_id="fm-look"):
                one = markup.html(value=markup.note(PICK_ONE), elem_id="fm-sample")
                with gr.Row(elem_classes="fm-acts", visible=False) as steps:
                    back = gr.Button(
                        "previous", size="sm", scale=0, min_width=80, elem_id="fm-sample-before"
                    )
                    on = gr.Button(
                        "next", size="sm", scale=0, min_width=80, elem_id="fm-sample-after"
                    )
        with gr.Column(visible=False, elem_id="fm-publish-side") as publish_side:
            publish_opening, publish_looking = publish_form.build(acts, mode)
    limits = acts.review.settings.thresholds
    limit = {"d": limits.low_d, "s": limits.low_s, "clip": None}
    choices = {"concept": concept, "show": show, "split": split, "low": low, "order": order}
    asked = {*choices.values(), *ranges.values(), page, picked, mode}
    sides = [looking_at, gallery_side, trail_side, publish_side]
    plots = [part for pair in charts.values() for part in pair]

    def wanted(held: dict[Any, Any]) -> Filter:
        """Returns what the page asks for."""
        given: dict[str, Any] = {name: held[part] for name, part in choices.items()}
        for name in MEASURES:
            given[name] = {end: held[ranges[name, end]] for end in ENDS}
        return Filter(**{key: "" if one is None else one for key, one in given.items()})

    def look(
        review: Review, person: Person, request: gr.Request, held: dict[Any, Any]
    ) -> dict[Any, Any]:
        """Shows Table 1, and what the filter lets through."""
        upto, lines = known.now()
        what = wanted(held)
        seen = f"{upto} {what} {held[page]} {held[picked]} {held[mode]} {person.role}"
        if held.get(shown) == seen:
            return {shown: seen}
        found, lead = data.filtered(lines, what), person.role == "lead"
        at = min(held[page], max(0, (len(found.ids) - 1) // data.PAGE))
        ids = found.ids[at * data.PAGE : (at + 1) * data.PAGE]
        cards = told(person, data.cards(review.store, ids))  # no act looks into a component
        base, stats = pictures.base(request), review.store.table1()
        updates: dict[Any, Any] = {
            shown: seen,
            table: gr.Dataframe(views.table(stats), visible=bool(stats)),
            table_words: gr.Markdown(visible=bool(stats)),
            mode: gr.Radio(visible=lead),
            for_leads: gr.HTML("" if lead else markup.note(FOR_LEADS), visible=not lead),
            concept: gr.Dropdown([("all concepts", ""), *review.store.concepts()]),
            split: gr.Radio(views.split_choices(found)),
            count: views.count_words(found, what),
            clear: gr.Button(visible=bool(what.words)),
            gallery: gr.Gallery([(views.address(base, one), views.caption(one)) for one in cards],
                                visible=bool(cards), selected_index=next(
                                    (n for n, one in enumerate(cards) if one["id"] == held[picked]),
                                    None)),
            nothing: "" if cards else markup.note(views.nothing(len(lines) > 0, what)),
            pager: gr.Row(visible=len(found.ids) > data.PAGE),
            before: gr.Button(interactive=at > 0),
            after: gr.Button(interactive=(at + 1) * data.PAGE < len(found.ids)),
            where: views.page_words(at, len(found.ids)),
            **sample_of(review, held[picked], found.ids),
            **show_mode(person, held[mode]),  # also where the answer to a press was lost
        }  # fmt: skip
        for name, (plot, words) in charts.items():
            updates |= {plot: found.bars[name], words: views.chart_words(name, found, limit[name])}
        return news(updates, held, marks)

    def sample_of(review: Review, sample_id: str, ids: list[str]) -> dict[Any, Any]:
        if not sample_id:
            return {one: markup.note(PICK_ONE), steps: gr.Row(visible=False)}
        place = ids.index(sample_id) + 1 if sample_id in ids else None
        where_it_is = f"{place:,} of {len(ids):,}" if place else "not among those shown"
        made = detail(review, review.store.sample(sample_id))
        return {one: views.sample(made, where_it_is), steps: gr.Row(visible=True),
                back: gr.Button(interactive=bool(place) and place > 1),
                on: gr.Button(interactive=bool(place) and place < len(ids))}  # fmt: skip

    def look_large(review: Review, held: dict[Any, Any]) -> dict[Any, Any]:
        """Shows the chosen sample alone: the gallery stays as it is scrolled."""
        return sample_of(review, held[picked], data.filtered(known.now()[1], wanted(held)).ids)

    def pick(line: gr.SelectData) -> str:
        # the picture's address says which sample it is: the list may be a newer one by now
        image = (line.value or {}).get("image") if isinstance(line.value, dict) else None
        found = re.search(r"\?sample=([0-9a-f]{16})$", str((image or {}).get("url") or ""))
        return found.group(1) if found else ""

    def step_by(count: int) -> Any:
        def step(held: dict[Any, Any]) -> dict[Any, Any]:
            ids = data.filtered(known.now()[1], wanted(held)).ids
            at = ids.index(held[picked]) + count if held[picked] in ids else 0
            found = ids[min(max(at, 0), len(ids) - 1)] if ids else ""
            return {picked: found, page: max(0, ids.index(found) // data.PAGE) if found else 0}

        return step

    def turn_by(count: int) -> Any:
        def turn(at: int) -> int:
            return max(0, at + count)

        return turn

    def pick_concept(before: str | None, line: gr.SelectData) -> str:
        return "" if clicked(line) in (before, views.ALL) else clicked(line)

    def brush(line: gr.SelectData) -> tuple[float, float]:
        start, end = line.index
        found = data.snapped(float(start), float(end))
        return found.least or 0, found.below or 1

    def show_mode(person: Person, chosen: str) -> dict[Any, Any]:
        chosen = chosen if person.role == "lead" else MODES[0]
        return {
            looking_at: gr.Row(visible=chosen != MODES[2]),
            gallery_side: gr.Column(visible=chosen == MODES[0]),
            trail_side: gr.Column(visible=chosen == MODES[1]),
            publish_side: gr.Column(visible=chosen == MODES[2]),
        }

    quiet = {"show_progress": "hidden", "api_visibility": "private"}

    def viewer(act: Any) -> Any:
        return acts.by("viewer", act, reads=True)

    opening = {
        "fn": viewer(look),
        "inputs": asked,
        "outputs": [shown, marks, table, table_words, mode, for_leads, concept, split, count,
                    clear, gallery, nothing, pager, before, after, where, one, steps, back, on,
                    *sides, *plots],
        **quiet,
    }  # fmt: skip
    looking = opening | {"inputs": asked | {marks, shown}}
    large = {"fn": viewer(look_large), "inputs": asked, "outputs": [one, steps, back, on], **quiet}
    changed = {"fn": viewer(lambda: 0), "inputs": None, "outputs": page, **quiet}
    timer.tick(**looking)
    timer.tick(**publish_looking)
    gr.on([part.input for part in (*choices.values(), *ranges.values())],
          **changed | {"trigger_mode": "always_last"}).then(**opening)  # fmt: skip
    table.select(viewer(pick_concept), concept, concept, **quiet).then(**changed).then(**opening)
    for name, (plot, _) in charts.items():
        ends = [ranges[name, end] for end in ENDS]
        plot.select(viewer(brush), None, ends, **quiet).then(**changed).then(**opening)
        plot.double_click(viewer(lambda: (0, 1)), None, ends, **quiet).then(
            **changed).then(**opening)  # fmt: skip
    clear.click(
        viewer(lambda: ["", "", False, *[0, 1] * len(MEASURES), 0]), None,
        [concept, split, low, *ranges.values(), page], **quiet,
    ).then(**opening)  # fmt: skip
    for button, count_of in ((before, -1), (after, 1)):
        button.click(viewer(turn_by(count_of)), page, page, **quiet).then(**opening)
    for button, count_of in ((back, -1), (on, 1)):
        button.click(viewer(step_by(count_of)), asked, [picked, page], **quiet).then(**opening)
    gallery.select(viewer(pick), None, picked, **quiet).then(**large)
    trail_opening, trail_looking = trail_parts.bind(acts, mode, picked, large)
    turned = mode.input(viewer(show_mode), mode, sides, **quiet)
    turned.then(**trail_opening).then(**publish_opening)
    timer.tick(**trail_looking)

    def find_samples(review: Review, samples: Filter, page: data.Page = 0) -> Json:
        """Finds samples by state, split, scores; a page of them with their scores."""
        found = data.filtered(known.now()[1], samples)
        ids = found.ids[page * data.PAGE : (page + 1) * data.PAGE]
        return {"total": len(found.ids), "samples": data.cards(review.store, ids)}

    gr.api(viewer(data.table1), api_name="table1")
    gr.api(viewer(find_samples), api_name="find_samples")
    return [opening, trail_opening, publish_opening], timer


def _charts() -> tuple[dict[str, tuple], dict[tuple[str, str], gr.Number]]:
    """Lays out a histogram a measure, with the two ends of its range below."""
    charts, ranges = {}, {}
    empty = data.histogram(*data.EMPTY)
    with gr.Row(elem_classes="fm-charts"):
        for name in MEASURES:
            with gr.Column(min_width=200):
                words = markup.html(elem_id=f"fm-words-{name}")
                plot = gr.BarPlot(
                    empty, x="score", y="pictures", color="part", color_map=COLOURS,
                    x_bin=1 / data.BINS, y_aggregate="sum", x_lim=[0, 1], height=110, x_title=" ",
                    y_title=" ", color_title=" ", colors_in_legend=[], buttons=[],
                    elem_id=f"fm-chart-{name}",
                )  # fmt: skip
                with gr.Row(elem_classes="fm-fields fm-range"):
                    for end, (word, value) in ENDS.items():
                        ranges[name, end] = gr.Number(
                            value, label=f"{LETTERS[name]} {word}", step=0.05, min_width=60,
                            elem_id=f"fm-{name}-{word}",
                        )  # fmt: skip
                charts[name] = (plot, words)
    return charts, ranges
