// What lies over the page for a moment: a large picture, a comment, new images.
import { h, say } from "./dom.js";
import { icon } from "./icons.js";
import { send } from "./api.js";
import { composing } from "./keys.js";

/** Lays a dialog over the page until it is closed; a click beside it closes it, unless it is a form. */
export function open(dialog) {
  document.querySelector(".fm").append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog && !dialog.querySelector("form")) dialog.close();
  });
  dialog.showModal();
  return dialog;
}

/** A dialog with a title and a way out. */
export function frame(title, ...content) {
  const dialog = h("dialog", { class: "fm-dialog", "aria-label": title, autofocus: true });
  const close = h("button", {
    class: "fm-button fm-quiet", type: "button", "aria-label": "Close", onclick: () => dialog.close(),
  }, icon("close"));
  dialog.append(h("header", { class: "fm-row" }, h("h2", {}, title), close), ...content);
  return dialog;
}

/** Whether a dialog lies over the page, so that its keys are silent. */
export function covered() {
  return Boolean(document.querySelector("dialog[open]"));
}

export function enlarge(title, src, transparent) {
  const image = h("img", { src, alt: title, class: transparent ? "fm-checks" : "" });
  open(frame(title, h("div", { class: "fm-large" }, image)));
}

/** Asks for a few words; what was typed stays until `onText` says that it is kept. */
export function ask(title, { value = "", word, onText }) {
  const input = h("textarea", { rows: 3, maxlength: 2000, "aria-label": title, "data-test": "text", value });
  const go = h("button", { class: "fm-button fm-main" }, word);
  const note = h("p", { class: "fm-note fm-refused", role: "alert" });
  const form = h("form", {}, input, h("div", { class: "fm-row fm-end" }, note, go));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    const isKept = await onText(input.value.trim());
    go.disabled = false;
    if (isKept) dialog.close();
    else say(note, "This is not saved. Try again in a moment.");
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !composing(event)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  const dialog = open(frame(title, form));
  input.focus();
}

/** Another concept for samples, or their deletion; which of the two, the curator says here. */
export function aboutSamples(rows, { concepts, onConcept, onDelete }) {
  const title = rows.length === 1 ? rows[0].name : `${rows.length} samples`;
  const same = rows.every(({ concept }) => concept === rows[0].concept);
  const word = h("input", {
    type: "text", required: true, maxlength: 80, list: "fm-concepts", "data-test": "other-concept",
    autocomplete: "off", value: same ? rows[0].concept : "",
  });
  const note = h("p", { class: "fm-note fm-refused", role: "alert" });
  const act = async (what) => {
    if ((await what()) === true) dialog.close();
    else say(note, "This is not saved; the reason is above the picture.");
  };
  const form = h("form", { class: "fm-add" },
    h("label", { class: "fm-field" }, h("span", {}, "What is to be forgotten here?"), word),
    h("datalist", { id: "fm-concepts" }, concepts.map((value) => h("option", { value }))),
    h("p", { class: "fm-note" }, "Another concept: masks that you drew stay; the others are looked for anew."),
    note,
    h("div", { class: "fm-row fm-end" },
      h("button", {
        type: "button", class: "fm-button", "data-test": "delete", title: "Undo brings it back",
        onclick: () => {
          dialog.close();
          onDelete();
        },
      }, icon("trash"), "delete"),
      h("button", { class: "fm-button fm-main", "data-test": "relabel" }, "change")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(() => onConcept(word.value.trim()));
  });
  const dialog = open(frame(title, form));
  word.focus();
  word.select();
}

/** Asks what is to be forgotten in new images, then sends them one by one. */
export function addImages(files, { concepts, concept, onDone }) {
  let chosen = [...files];
  const names = h("p", { class: "fm-note" });
  const picker = h("input", {
    type: "file", multiple: true, accept: "image/*", class: "fm-file", "data-test": "files",
    "aria-label": "Image files",
  });
  const word = h("input", {
    type: "text", required: true, maxlength: 80, list: "fm-concepts", "data-test": "new-concept",
    autocomplete: "off", placeholder: "cat", value: concept,
  });
  const bar = h("div", { class: "fm-bar-fill" });
  const errors = h("ul", { class: "fm-errors", role: "alert" });
  const go = h("button", { class: "fm-button fm-main", "data-test": "send" }, icon("upload"), h("span", {}, "add"));
  const list = () => {
    say(names, chosen.length ? listing(chosen) : "Choose files, or close this and drop them on the page.");
    go.disabled = chosen.length === 0;
  };
  picker.addEventListener("change", () => {
    chosen = [...picker.files];
    list();
  });
  const form = h(
    "form",
    { class: "fm-add" },
    picker,
    names,
    h("label", { class: "fm-field" }, h("span", {}, "What is to be forgotten in them?"), word),
    h("datalist", { id: "fm-concepts" }, concepts.map((value) => h("option", { value }))),
    h("div", { class: "fm-bar", role: "presentation" }, bar),
    errors,
    h("div", { class: "fm-row fm-end" }, go),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    errors.replaceChildren();
    const added = await sendAll(chosen, word.value.trim(), bar, errors);
    if (added.length) onDone(added);
    chosen = [];
    if (!errors.children.length) dialog.close();
  });
  const dialog = open(frame("Add images", form));
  list();
  (chosen.length ? word : picker).focus();
}

function listing(files) {
  const first = files.slice(0, 3).map((file) => file.name).join(", ");
  return files.length > 3 ? `${first} and ${files.length - 3} more` : first;
}

async function sendAll(files, concept, bar, errors) {
  const added = [];
  for (const [index, file] of files.entries()) {
    try {
      added.push((await send(file, concept)).sample);
    } catch (error) {
      errors.append(h("li", {}, error.message));
    }
    bar.style.width = `${(100 * (index + 1)) / files.length}%`;
  }
  return added;
}
