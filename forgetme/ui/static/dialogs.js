// Everything that lies over the page for a moment: help, a large picture, a comment, new images.
import { h, say } from "./dom.js";
import { icon } from "./icons.js";
import { send } from "./api.js";

const KEYS = [
  ["Decide", [
    ["A", "accept"], ["X", "reject"], ["space", "skip"], ["F", "flag"], ["C", "comment"],
    ["⌫", "undo the last decision"],
  ]],
  ["Choose the object", [
    ["1 – 9", "pick a mask"], ["click", "this is the object"],
    ["right click", "this is not (also shift + click)"], ["+  −", "grow, shrink the mask"],
    ["Z", "undo the last change of the mask"], ["shift Z", "redo it"], ["V", "ask the verifier"],
  ]],
  ["Fill the hole", [
    ["R", "go to the prompt; Enter refines"], ["shift R", "refine at once, next seed"],
    ["[  ]", "previous, next try"],
  ]],
  ["Look", [
    ["← →", "previous, next image"], ["O", "hold: the original only"], ["T", "tint on, off"],
    ["?", "this help"],
  ]],
];

function open(dialog) {
  document.querySelector(".fm").append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.showModal();
  return dialog;
}

function frame(title, ...content) {
  const dialog = h("dialog", { class: "fm-dialog", "aria-label": title });
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

export function help() {
  const groups = KEYS.map(([title, keys]) => h(
    "section", {},
    h("h3", { class: "fm-title" }, title),
    h("dl", { class: "fm-keys" }, keys.flatMap(([key, words]) => [
      h("dt", {}, ...key.split(/ {2}/).map((one) => h("kbd", {}, one))), h("dd", {}, words),
    ])),
  ));
  open(frame("Keys", h("div", { class: "fm-help" }, groups),
    h("p", { class: "fm-note" }, "Keys are silent while you type in a field; Esc leaves it.")));
}

export function enlarge(title, src, transparent) {
  const image = h("img", { src, alt: title, class: transparent ? "fm-checks" : "" });
  open(frame(title, h("div", { class: "fm-large" }, image)));
}

/** Asks for one line of text; `onText` gets it. */
export function ask(title, { value = "", word, onText }) {
  const input = h("textarea", { rows: 3, maxlength: 2000, "aria-label": title, "data-test": "text", value });
  const form = h(
    "form",
    { method: "dialog" },
    input,
    h("div", { class: "fm-row fm-end" }, h("button", { class: "fm-button fm-main" }, word)),
  );
  form.addEventListener("submit", () => onText(input.value.trim()));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  open(frame(title, form));
  input.focus();
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
