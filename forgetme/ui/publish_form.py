"""The Dataset tab's forms: export, push and import, and what becomes of them; for leads."""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from forgetme.curate.review import Review
from forgetme.dataset import store_folders
from forgetme.dataset.importing import recognise
from forgetme.ui import dataset_views as views
from forgetme.ui import forms, markup, publish
from forgetme.ui.acts import Acts, validated
from forgetme.ui.news import news
from forgetme.ui.publish import Export, Push
from forgetme.ui.who import Person, Refusal

Json = dict[str, Any]
LABELS = {"shares": "Train / valid. / test, %", "dry_run": "dry run", "license": "Licence",
          "repo": "Repository", "name": "Name"}  # fmt: skip
TITLE = "Export, push, import"  # what the tab calls them
EVERY = [("all concepts", "")]
NO_TOKEN = "No access token: start ForgetMe with HF_TOKEN set. A dry run works without one."
WHOSE = (
    "Goes out under the access token that ForgetMe was started with, whoever presses push; it must "
    "be allowed to write to the repository. No token of yours is kept."
)
LARGER = (
    "Larger than 4 GB: copy its folder into `{0}`. From the Hub: `hf download USER/NAME "
    "--repo-type dataset --local-dir {0}/NAME`. The page fetches nothing itself, so that nobody "
    "reads through it what only this server may."
)
# A dataset of gigabytes goes straight to the store's disk, and only a lead's: Gradio's own upload
# would take it from anybody, into a folder for passing files. The name of its folder comes back.
SEND = """
const field = element.querySelector("input"), words = element.querySelector("p");
field.addEventListener("change", async () => {
  const [file] = field.files;
  if (!file) return;
  words.textContent = `Sending and unpacking ${file.name} …`;
  field.disabled = true;
  try {
    const url = new URL("forgetme/api/data/imports/upload", document.baseURI);
    url.searchParams.set("name", file.name);
    const answer = await fetch(url, { method: "POST", body: file, headers: { "X-ForgetMe": "1" } });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.words);
    words.textContent = `It is in the list as “${told.uploaded}”. Look at its format, then import it.`;
    trigger("upload", { name: told.uploaded });
  } catch (error) {
    words.textContent = error.message;
  }
  field.disabled = false;
  field.value = "";
});
"""  # noqa: E501
SEND_HTML = (
    '<label>Upload a dataset: .zip, .tar or .parquet<input type="file" id="fm-import-file" '
    'accept=".zip,.tar,.gz,.tgz,.parquet"></label><p role="status"></p>'
)


def build(acts: Acts, mode: gr.Radio) -> tuple[Json, Json]:
    """Lays out the forms.

    Args:
        acts: binds functions to who asks.
        mode: of the tab; folders and jobs are looked at while the forms are what is shown.

    Returns:
        The event that opens them, and the one that looks again.
    """
    marks = gr.State({})
    lists, stops, opened = {}, {}, {}
    with gr.Row(elem_classes="fm-publish"):
        with gr.Column(min_width=300, elem_classes="fm-form"):
            gr.Markdown("## Export")
            export = forms.form(Export, ("format",), prefix="fm-export-")
            about = markup.html(value=markup.note(publish.EXPORT_FORMATS["folders"]))
            export["concept"] = gr.Dropdown(EVERY, value="", label="Concept",
                                            elem_id="fm-export-concept")  # fmt: skip
            with gr.Row(elem_classes="fm-fields"):
                export |= forms.form(Export, ("name", "shares"), prefix="fm-export-", labels=LABELS)
            again = markup.html(elem_id="fm-export-words")
            do_export = gr.Button("export", variant="primary", elem_id="fm-export")
            lists["export"], stops["export"], opened["export"] = _work("export")
            exports = markup.html(elem_id="fm-exports")
        with gr.Column(min_width=300, elem_classes="fm-form"):
            gr.Markdown("## Push to the Hugging Face Hub")
            push = forms.form(Push, ("repo",), prefix="fm-push-", labels=LABELS)
            push["repo"].placeholder = "user/name"
            push["license"] = gr.Dropdown(
                [("as before", ""), *publish.LICENSES], value="", label="Licence",
                elem_id="fm-push-license",
            )  # fmt: skip
            push["concept"] = gr.Dropdown(EVERY, value="", label="Concept",
                                          elem_id="fm-push-concept")  # fmt: skip
            push |= forms.form(Push, ("shares", "private", "dry_run"), prefix="fm-push-",
                               labels=LABELS)  # fmt: skip
            token = markup.html(elem_id="fm-push-token")
            do_push = gr.Button("push, private", variant="primary", elem_id="fm-push")
            lists["push"], stops["push"], opened["push"] = _work("push")
        with gr.Column(min_width=300, elem_classes="fm-form"):
            gr.Markdown("## Import")
            with gr.Column(visible=False) as waiting:
                with gr.Row(elem_classes="fm-fields"):
                    name = gr.Dropdown([], label="Folder", elem_id="fm-import-name")
                    kind = gr.Dropdown(list(publish.IMPORT_FORMATS), label="Format",
                                       value="folders", elem_id="fm-import-format")  # fmt: skip
                kind_words = markup.html()
                concept = gr.Textbox(label="Concept", placeholder="as the dataset says",
                                     max_length=publish.MAX_CONCEPT)  # fmt: skip
                do_import = gr.Button("import", elem_id="fm-import")
            lists["import"], stops["import"], opened["import"] = _work("import")
            sent = gr.HTML(SEND_HTML, js_on_load=SEND, apply_default_css=False,
                           elem_classes="fm-ui fm-send")  # fmt: skip
            larger = markup.html()

    def look(review: Review, person: Person, held: dict[Any, Any]) -> dict[Any, Any]:
        """Shows what is there, and how far the jobs are."""
        if person.role != "lead" or held[mode] != TITLE:
            return {marks: held.get(marks) or {}}
        found = publish.published(review)
        concepts = gr.Dropdown([*EVERY, *review.store.concepts()])
        updates: dict[Any, Any] = {
            export["concept"]: concepts, push["concept"]: concepts,
            again: _again(found, held[export["name"]]),
            exports: views.kept(found["exports"]),
            token: markup.note(WHOSE if found["token"] else NO_TOKEN),
            do_push: _pushes(found["token"], held[push["private"]], held[push["dry_run"]]),
            waiting: gr.Column(visible=bool(found["imports"])),
            name: gr.Dropdown(found["imports"]),
            larger: markup.lines([LARGER.format(found["imports_folder"])]),
        }  # fmt: skip
        for errand, part in lists.items():
            mine = views.shown_jobs(found["jobs"], errand)
            able = [one["id"] for one in mine if one["state"] in ("queued", "running")]
            updates |= {
                part: Markup("").join(map(views.job, mine)),
                opened[errand]: able[-1] if able else "",  # the oldest is at work
                stops[errand]: gr.Button(visible=bool(able)),
            }
        return news(updates, held, marks)

    def tell_format(format: publish.ExportFormat) -> str:  # noqa: A002 (the field's name)
        return markup.note(publish.EXPORT_FORMATS[format])

    def tell_folder(review: Review, name: str | None) -> tuple[str, str]:
        path = store_folders.import_path(review.store, name) if name else None
        found = recognise(path) if path else "folders"
        return found, markup.note(publish.IMPORT_FORMATS[found])

    def tell_import(format: publish.ImportFormat) -> str:  # noqa: A002
        return markup.note(publish.IMPORT_FORMATS[format])

    def begin_export(review: Review, held: dict[Any, Any]) -> None:
        begin(review, _asked(export, held))

    def begin_push(review: Review, held: dict[Any, Any]) -> None:
        if not held[push["repo"]]:
            raise Refusal(400, "bad", "Say which repository: user/name.")
        send(review, _asked(push, held))

    def begin_import(review: Review, held: dict[Any, Any]) -> None:
        if not held[name]:
            raise Refusal(400, "bad", "Choose a folder, or upload a dataset below.")
        asked = {"name": held[name], "format": held[kind], "concept": held[concept] or None}
        take(review, asked)

    def uploaded(review: Review, file: gr.EventData) -> tuple[Any, Any]:
        found = publish.published(review)["imports"]
        value = next((one for one in found if one == getattr(file, "name", None)), None)
        return gr.Dropdown(found, value=value), gr.Column(visible=bool(found))

    def stop_one(review: Review, job: str) -> None:
        stop(review, job)

    errands = (publish.export_dataset, publish.push_dataset, publish.import_dataset)
    begin, send, take, stop = map(validated, (*errands, publish.stop_job))
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    asked = {mode, export["name"], push["private"], push["dry_run"]}
    opening = {
        "fn": acts.by("viewer", look, reads=True),
        "inputs": asked,
        "outputs": [marks, export["concept"], push["concept"], again, exports, token,
                    do_push, waiting, name, larger, *lists.values(), *opened.values(),
                    *stops.values()],
        **quiet,
    }  # fmt: skip
    looking = opening | {"inputs": asked | {marks}}

    def lead(act: Any) -> Any:
        return acts.by("lead", act)

    reads = {"trigger_mode": "always_last", **quiet}
    gr.on([export["name"].input, push["private"].input, push["dry_run"].input], **looking | reads)
    export["format"].input(lead(tell_format), export["format"], about, **quiet)
    name.change(lead(tell_folder), name, [kind, kind_words], **quiet)
    kind.input(lead(tell_import), kind, kind_words, **quiet)
    sent.upload(lead(uploaded), None, [name, waiting], **quiet)
    for button, act, inputs in (
        (do_export, begin_export, set(export.values())),
        (do_push, begin_push, set(push.values())),
        (do_import, begin_import, {name, kind, concept}),
    ):
        button.click(lead(act), inputs, None, **quiet).then(**looking)
    for errand, button in stops.items():
        button.click(lead(stop_one), opened[errand], None, **quiet).then(**looking)
    for act in errands:
        gr.api(lead(act), api_name=act.__name__)
    gr.api(acts.by("lead", publish.published, reads=True), api_name="published")
    return opening, looking


def _work(kind: str) -> tuple[gr.HTML, gr.Button, gr.State]:
    """Returns the places of a kind's jobs, of the button that stops one, and of its id."""
    shown = markup.html(elem_id=f"fm-{kind}-jobs")
    stop = gr.Button("stop", size="sm", visible=False, elem_id=f"fm-{kind}-stop")
    return shown, stop, gr.State("")


def _asked(fields: dict[str, Any], held: dict[Any, Any]) -> Json:
    """Returns what a form holds; without a concept it is all, without a licence as before."""
    values = {name: held[part] for name, part in fields.items()}
    return values | {
        name: values[name] or None for name in ("concept", "license") if name in values
    }


def _again(found: Json, name: object) -> str:
    there = any(one["name"] == name for one in found["exports"])
    words = f"Takes the place of the export “{name}”." if there else ""
    return markup.note(words or f"in {found['exports_folder']}")


def _pushes(token: bool, private: bool, dry: bool) -> gr.Button:
    words = "try it out" if dry else "push, private" if private else "push, public"
    return gr.Button(words, interactive=bool(token or dry))
