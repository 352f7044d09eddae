"""The Team tab of leads: who did what, reviews, how well people agree, accounts, comments."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import gradio as gr
from markupsafe import Markup
from pydantic import Field

from forgetme.curate import team
from forgetme.curate.review import Review
from forgetme.store import Event, SampleRow, Store
from forgetme.store.passwords import MAX_PASSWORD
from forgetme.ui import accounts, markup, pictures, views
from forgetme.ui.acts import Acts
from forgetme.ui.guard import MAX_NUMBER
from forgetme.ui.markup import ago, number
from forgetme.ui.news import clicked, news
from forgetme.ui.who import Person, Refusal

Json = dict[str, Any]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(max_length=MAX_PASSWORD)]
SampleId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Version = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Words = Annotated[str, Field(max_length=2000)]
COMMENTS = 100  # shown
REVIEW_PAGE = 24
REFRESH_SECONDS = 15
WORK = ["Who", "Accepted", "Rejected", "Skipped", "Flagged", "A minute", "Low", "Approved",
        "Returned", "Same", "Last"]  # fmt: skip
WORK_WORDS = (
    "Press a line to review only theirs. *A minute*: decisions while at work, without pauses above "
    "5 minutes. *Low*: of the accepted ones, with low scores. *Same*: the same decision as others."
)
# Landis and Koch (1977)
LEVELS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"),
          (0.0, "slight"), (-1.0, "worse than chance"))  # fmt: skip
CLOSED = "Leads see here who did what, and review it. Your role is {}; ask a lead for more."
NOBODY = "Nobody has decided anything yet. Open the Curate tab and press A or X on the first image."


# ------------------------------ acts


def approve(review: Review, sample_id: SampleId, seen: Version) -> Json:
    """Approves an accepted sample that was looked at in the version `seen`."""
    team.approve(review, sample_id, seen=seen)
    return views.summary(review.store.sample(sample_id))


def return_sample(review: Review, sample_id: SampleId, text: Words, seen: Version) -> Json:
    """Returns an accepted sample to its curator, with what should be different."""
    if not text.strip():
        raise Refusal(400, "bad", "Say what should be different, then return it.")
    team.give_back(review, sample_id, text, seen=seen)
    return views.summary(review.store.sample(sample_id))


def ask_for_opinions(
    review: Review,
    share: Annotated[float, Field(gt=0, le=1)],
    copies: Annotated[int, Field(ge=2, le=team.MAX_COPIES)],
) -> Json:
    """Lets a share of the images be decided by `copies` people each, blind."""
    return asdict(team.overlap(review.store, share=share, copies=copies, by=review.by))


def team_report(review: Review) -> Json:
    """Tells who did what and how far they agree."""
    found = team.agreement(review.store)
    agreement = {key: getattr(found, key) for key in ("copied", "compared", "kappa", "mask_iou")}
    return {"shares": [asdict(one) for one in team.shares(review.store, found)],
            "agreement": agreement | {"pairs": [asdict(one) for one in found.pairs]}}  # fmt: skip


# ------------------------------ the tab


def build(acts: Acts) -> tuple[list[Json], gr.Timer]:
    """Builds the tab; returns the events that open it, and the timer that runs meanwhile."""
    timer = gr.Timer(REFRESH_SECONDS, active=False)
    closed = markup.html(elem_id="fm-team-closed", visible=False)
    waiting, chosen, only = gr.State([]), gr.State(None), gr.State("")
    marks = gr.State({})
    with gr.Row(elem_classes="fm-columns", visible=False) as body:
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("## Who did what")
            work = gr.Dataframe(headers=WORK, interactive=False, elem_id="fm-team-work",
                                show_label=False, buttons=[])  # fmt: skip
            work_note = gr.Markdown(WORK_WORDS, elem_classes="fm-note")
            with gr.Row(elem_classes="fm-heading"):
                count = markup.html(elem_id="fm-team-count")
                everybody = gr.Button("show all", size="sm", visible=False, scale=0)
            with gr.Row(elem_classes="fm-review") as reviewing:
                gallery = gr.Gallery(
                    elem_id="fm-team-gallery", columns=4, show_label=False, allow_preview=False,
                    buttons=[], object_fit="cover", height="auto", scale=1, min_width=320,
                )  # fmt: skip
                with gr.Column(scale=1, min_width=320):
                    shown = markup.html(elem_id="fm-team-sample")
                    text = gr.Textbox(label="What should be different?", lines=2,
                                      max_length=2000, elem_id="fm-return-text")  # fmt: skip
                    with gr.Row():
                        back = gr.Button("return", elem_id="fm-return")
                        good = gr.Button("approve", variant="primary", elem_id="fm-approve")
            gr.Markdown("## Do they agree?")
            figures = markup.html(elem_id="fm-team-figures")
            pairs = gr.Dataframe(headers=["Who", "Images", "Same", "Kappa", "Mask IoU"],
                                 interactive=False, show_label=False, buttons=[])  # fmt: skip
            disputed = markup.html(elem_id="fm-team-disputed", visible=False)
            with gr.Row(elem_classes="fm-line"):
                share = gr.Slider(1, 100, 10, step=1, label="Share of the images, %", buttons=[],
                                  elem_id="fm-overlap-share")  # fmt: skip
                copies = gr.Dropdown([2, 3, 4, 5], value=2, label="People who decide each")
                ask = gr.Button("ask for opinions", elem_id="fm-overlap", scale=0, min_width=160)
        with gr.Column(scale=1, min_width=300):
            people, show_people, changed = accounts.build(acts)
            gr.Markdown("## Comments and reviews")
            comments = markup.html(elem_id="fm-team-comments")
    seen = [closed, body, work, work_note, count, everybody, reviewing, gallery, waiting, chosen,
            shown, figures, pairs, disputed, *people, comments]  # fmt: skip

    def look(
        review: Review, person: Person, request: gr.Request, held: dict[Any, Any]
    ) -> dict[Any, Any]:
        all_of_it = look_at(review, person, request, held[chosen], held[only])
        told = news(all_of_it, held, marks)
        if marks in held and waiting not in told:
            told.pop(gallery, None)  # only which one is chosen differs, by a click on it
        return told

    def look_at(
        review: Review, person: Person, request: gr.Request, picked: Json | None, only: str
    ) -> dict[Any, Any]:
        if person.role != "lead":
            hidden = gr.HTML(markup.note(CLOSED.format(person.role)), visible=True)
            return {closed: hidden, body: gr.Row(visible=False)}
        store = review.store
        found = team.agreement(store)
        shares = team.shares(store, found)
        rows, total = store.queries.to_review(by=only or None, limit=REVIEW_PAGE)
        kept = [one for one in rows if picked and one.id == picked.get("id")]
        row = (kept or rows or [None])[0]
        thumbnails = f"{pictures.base(request)}thumbnail/256/"
        return {
            closed: gr.HTML(visible=False),
            body: gr.Row(visible=True),
            work: gr.Dataframe([_work(one) for one in shares], visible=bool(shares)),
            work_note: WORK_WORDS if shares else NOBODY,
            count: _count(total, only),
            everybody: gr.Button(visible=bool(only)),
            reviewing: gr.Row(visible=bool(rows)),
            gallery: gr.Gallery([(f"{thumbnails}{one.image_sha}.png", one.name) for one in rows],
                                selected_index=rows.index(row) if row else None),
            waiting: [[one.id, one.name] for one in rows],
            chosen: {"id": row.id, "version": row.version} if row else None,
            shown: _sample(row) if row else "",
            figures: _agreement(found),
            pairs: gr.Dataframe([_pair(one) for one in found.pairs], visible=bool(found.pairs)),
            disputed: gr.HTML(_disputed(found), visible=bool(found.disputed)),
            **show_people(store),
            comments: _comments(store),
        }  # fmt: skip

    def only_theirs(line: gr.SelectData) -> str:
        return clicked(line)

    def pick(waits: list[list[str]], line: gr.SelectData) -> Json | None:
        named = line.value.get("caption") if isinstance(line.value, dict) else None
        # the list may be a newer one than the gallery that was clicked: the name decides
        found = [(at != line.index, one) for at, (one, name) in enumerate(waits) if name == named]
        return {"id": min(found)[1]} if found else None

    def approve_chosen(review: Review, chosen: Json | None) -> None:
        approve(review, *_version(chosen))

    def return_chosen(review: Review, chosen: Json | None, text: Words) -> str:
        sample_id, seen = _version(chosen)
        return_sample(review, sample_id, text, seen)
        return ""

    def overlap(review: Review, percent: float, copies: int) -> None:
        made = ask_for_opinions(review, percent / 100, copies)
        words = f"{made['images']} images have {copies} copies each; {made['added']} were added."
        gr.Info(words, title="Asked")

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    opening = {"fn": acts.by("viewer", look, reads=True), "inputs": {chosen, only, waiting},
               "outputs": [*seen, marks], **quiet}  # fmt: skip
    looking = opening | {"inputs": {chosen, only, waiting, marks}}
    timer.tick(**looking)
    for event, act, inputs, outputs in (
        (work.select, only_theirs, None, only),
        (everybody.click, lambda: "", None, only),
        (gallery.select, pick, waiting, chosen),
        (good.click, approve_chosen, chosen, None),
        (back.click, return_chosen, [chosen, text], text),
        (text.submit, return_chosen, [chosen, text], text),
        (ask.click, overlap, [share, copies], None),
    ):
        event(acts.by("lead", act), inputs, outputs, **quiet).then(**looking)
    for event in changed:
        event.then(**looking)
    for act in (approve, return_sample, ask_for_opinions):
        gr.api(acts.by("lead", act), api_name=act.__name__)
    gr.api(acts.by("lead", team_report, reads=True), api_name="team_report")
    return [opening], timer


def _version(chosen: Json | None) -> tuple[str, int]:
    """Returns which sample was looked at, and in which version."""
    if not chosen or "version" not in chosen:
        raise Refusal(400, "bad", "Choose an image to review first.")
    return chosen["id"], chosen["version"]


def _work(one: team.Share) -> list[object]:
    return [one.by, one.accepted, one.rejected, one.skipped, one.flagged,
            number(one.per_minute, 1), number(one.low_percent, 0, " %"), one.approved,
            one.returned, number(one.same_percent, 0, " %"), ago(one.last)]  # fmt: skip


def _count(total: int, only: str) -> Markup:
    whose = f" of {only}" if only else ""
    words = f"{total}{whose} accepted, not reviewed yet"
    if not total:
        words = f"Nothing{whose} is left to review."
    return Markup("<h2>To review</h2><p>{}</p>").format(words)


def _sample(row: SampleRow) -> Markup:
    low = Markup('<span class="fm-low">low:</span> ') if row.low else ""
    return Markup(
        '<div class="fm-trio">{}{}{}</div><p><strong>{}</strong> <span class="fm-concept">{}</span>'
        '<br><span class="fm-muted">{}, {} · {}D {} S {}</span></p>{}'
    ).format(
        markup.picture(row.image_sha, "original"),
        markup.picture(row.image_sha, "foreground", cut_by=row.mask_sha),
        markup.picture(row.tries[row.picked_try]["image_sha"], "background"),
        markup.sample_link(row.id, row.name), row.concept, row.decided_by, ago(row.decided_at),
        low, number(row.score_d), number(row.score_s),
        markup.note(row.comment) if row.comment else "",
    )  # fmt: skip


def _agreement(found: team.Agreement) -> Markup:
    level = next((word for least, word in LEVELS if (found.kappa or 0) >= least), LEVELS[-1][1])
    shown = markup.figures(
        [
            ("Kappa of decisions", number(found.kappa), "" if found.kappa is None else level,
             "How far decisions agree beyond chance (Fleiss). 1: always."),
            ("Overlap of masks", number(found.mask_iou), "",
             "Mean IoU of masks that two people accepted. 1: the same pixels."),
            ("Compared", f"{found.compared} of {found.copied}", "images with copies",
             "Images with two opinions or more, of those that have copies."),
        ]
    )  # fmt: skip
    nothing = "No image has two opinions yet. Ask for some below; each copy goes to somebody else."
    return shown if found.compared else shown + markup.note(nothing)


def _pair(one: team.Pair) -> list[object]:
    return [f"{one.first}, {one.second}", one.images, one.same, number(one.kappa),
            number(one.mask_iou)]  # fmt: skip


def _disputed(found: team.Agreement) -> Markup:
    lines = [
        Markup("{} <span class='fm-muted'>{}</span>").format(
            markup.sample_link(group[0].id, group[0].name),
            " · ".join(f"{one.decided_by}: {one.state}" for one in group),
        )
        for group in found.disputed[:50]
    ]
    more = len(found.disputed) - len(lines)
    return markup.items([*lines, *([Markup(f"and {more} more")] if more else [])])


def _comments(store: Store) -> Markup:
    found = store.queries.comments(COMMENTS)
    shown = markup.items(_comment(*one) for one in found)
    return shown or markup.note("No comments yet. C writes one on the shown image.")


def _comment(event: Event, name: str, concept: str) -> Markup:
    kind = event.payload.get("verdict") or "commented"
    return Markup("{} <span class='fm-muted'>{} · {}</span><br><strong>{}</strong> {}").format(
        markup.sample_link(event.sample_id, name), concept, ago(event.at), event.by,
        event.payload.get("text") or kind,
    )  # fmt: skip
