// All keys at a glance, and the same list with every key to click and press anew.
import { h, say } from "./dom.js";
import { icon } from "./icons.js";
import { covered, frame, open } from "./dialogs.js";
import { composing, nameOf } from "./keys.js";
import { keymap, written } from "./keymap.js";

const MAX_KEYS = 3; // of one act
const MOUSE = [
  ["wheel", "zoom at the pointer"], ["middle drag", "move the picture"],
  ["right click", "this is not the object"], ["click", "what the tool does"],
];

/** Shows all keys; from there they can be changed. */
export function help() {
  if (!covered()) new KeyHelp();
}

class KeyHelp {
  constructor() {
    this.editing = false;
    this.asked = null; // {id, at}: the key that is pressed anew
    this.list = h("div", { class: "fm-help" });
    this.words = h("p", { class: "fm-note", role: "status", "data-test": "keys-words" });
    this.foot = h("div", { class: "fm-row fm-end" });
    this.dialog = frame("Keys", this.list, h("div", { class: "fm-row fm-foot" }, this.words, this.foot));
    this.dialog.classList.add("fm-wide-dialog");
    this.dialog.addEventListener("keydown", (event) => this.#pressed(event), true);
    this.dialog.addEventListener("click", (event) => {
      if (this.asked && !event.target.closest("button")) this.#ask(null);
    });
    this.#show();
    open(this.dialog);
  }

  // ------------------------------------------------------------------ showing
  #show() {
    const focused = document.activeElement?.dataset.test;
    this.dialog.classList.toggle("fm-editing", this.editing);
    const groups = keymap.groups().map(({ group, acts }) => this.#group(group, rowsOf(acts)));
    const mouse = this.editing ? [] : [this.#group("Mouse", MOUSE.map(([key, words]) => ({ words, label: key })))];
    this.list.replaceChildren(...groups, ...mouse);
    this.foot.replaceChildren(...this.#buttons());
    if (focused) this.dialog.querySelector(`[data-test="${CSS.escape(focused)}"]`)?.focus();
  }

  #group(title, rows) {
    return h("section", {},
      h("h3", { class: "fm-title" }, title),
      h("dl", { class: "fm-keys" }, rows.map((row) => this.#row(row))));
  }

  #row({ words, label, acts = [] }) {
    const changed = acts.some((act) => act.changed);
    const short = () => (label ? [h("kbd", {}, label)] : shortKeys(acts));
    return h(
      "div",
      { class: changed ? "fm-key-row fm-changed" : "fm-key-row", "data-acts": acts.map(({ id }) => id).join(" ") },
      h("dt", {}, ...(this.editing ? acts.flatMap((act) => this.#editable(act)) : short())),
      h("dd", {}, h("span", {}, words),
        this.editing && acts.length === 1 ? this.#oneMore(acts[0]) : null,
        this.editing && changed ? this.#usual(acts) : null),
    );
  }

  #editable({ id, keys, words }) {
    const known = keys.map((key, at) => this.#key(id, at, written(key), `${words}: ${written(key)}. Change this key.`));
    const isNew = this.asked?.id === id && this.asked.at === keys.length;
    if (!keys.length || isNew) known.push(this.#key(id, keys.length, "none", `${words}: no key. Choose one.`));
    return known;
  }

  #oneMore({ id, keys, words }) {
    if (!keys.length || keys.length >= MAX_KEYS || this.asked?.id === id) return null;
    return this.#key(id, keys.length, "+", `${words}: one more key`, "fm-add-key");
  }

  #key(id, at, text, label, kind = "") {
    const isAsked = this.asked?.id === id && this.asked.at === at;
    return h("button", {
      class: `fm-key ${kind} ${isAsked ? "fm-asked" : ""}`, type: "button", "aria-label": label,
      "data-test": `key-${id}-${at + 1}`, onclick: () => this.#ask(isAsked ? null : { id, at }),
    }, isAsked ? "press a key" : text);
  }

  #usual(acts) {
    return h("button", {
      class: "fm-button fm-quiet fm-usual", type: "button", title: "The usual key again",
      "aria-label": `${acts[0].words}: the usual key again`, "data-test": `usual-${acts[0].id}`,
      onclick: () => this.#usualAgain(acts),
    }, icon("undo"));
  }

  #buttons() {
    const button = (test, word, onclick, kind = "") => h("button", {
      class: `fm-button ${kind}`, type: "button", "data-test": test, onclick,
    }, word);
    if (!this.editing) {
      say(this.words, "Keys are silent while you type in a field; Esc leaves it.");
      return [button("keys-change", "change keys", () => this.#edit(true))];
    }
    const { asked } = this;
    const removable = asked && keymap.keys[asked.id].length > asked.at;
    const reset = button("keys-reset", "all usual keys", () => this.#try(() => keymap.reset(), "All keys are the usual ones."));
    reset.disabled = !keymap.own.size;
    return [
      removable ? button("keys-remove", "remove this key", () => this.#set(null)) : null,
      reset,
      button("keys-done", "done", () => this.#edit(false), "fm-main"),
    ].filter(Boolean);
  }

  // ------------------------------------------------------------------ changing
  #edit(on) {
    this.editing = on;
    this.#ask(null);
  }

  #ask(asked) {
    this.asked = asked;
    this.#say(asked ? `Press the new key for “${wordsOf(asked.id)}”. Esc cancels.` : "Click a key to change it.");
    this.#show();
    if (asked) this.dialog.querySelector(".fm-asked").focus();
  }

  #say(words, isError = false) {
    say(this.words, words);
    this.words.classList.toggle("fm-refused", isError);
  }

  #pressed(event) {
    if (!this.asked || composing(event)) return;
    if (event.key === "Tab") {
      this.#ask(null);
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return;
    if (event.key === "Escape") this.#ask(null);
    else if (nameOf(event)) this.#set(nameOf(event));
  }

  /** Puts a key, or none, in the asked place; what the server refuses is said, and asked again. */
  #set(name) {
    const { id, at } = this.asked;
    const keys = [...keymap.keys[id]];
    keys.splice(at, 1, ...(name && !keys.includes(name) ? [name] : []));
    const done = name ? `“${wordsOf(id)}” is on ${written(name)}.` : "The key is removed.";
    this.#mark(name ? keymap.acts(name).map((act) => act.id).filter((other) => other !== id) : []);
    return this.#try(() => keymap.change(id, keys), done);
  }

  async #usualAgain(acts) {
    for (const { id } of acts) {
      await this.#try(() => keymap.change(id, keymap.usual(id)), "The usual key is back.");
    }
  }

  async #try(change, done) {
    try {
      await change();
    } catch (error) {
      this.#say(error.message, true);
      return;
    }
    this.#ask(null);
    this.#say(done);
  }

  #mark(ids) {
    for (const row of this.list.querySelectorAll(".fm-key-row")) {
      row.classList.toggle("fm-taken", ids.some((id) => row.dataset.acts.split(" ").includes(id)));
    }
  }
}

function wordsOf(id) {
  return keymap.groups().flatMap(({ acts }) => acts).find((act) => act.id === id).words;
}

/** One row an act, but one for all of a series. */
function rowsOf(acts) {
  const rows = [];
  for (const act of acts) {
    const last = rows.at(-1);
    if (act.series && last?.series === act.series) last.acts.push(act);
    else rows.push({ words: act.series ?? act.words, series: act.series, acts: [act] });
  }
  return rows;
}

/** The keys of a row; a series that nobody changed is written from its first to its last. */
function shortKeys(acts) {
  if (acts.length > 1 && !acts.some((act) => act.changed)) {
    return [h("kbd", {}, `${written(acts[0].keys[0])} – ${written(acts.at(-1).keys[0])}`)];
  }
  const keys = acts.flatMap((act) => act.keys);
  return keys.length ? keys.map((key) => h("kbd", {}, written(key))) : [h("span", { class: "fm-muted" }, "no key")];
}
