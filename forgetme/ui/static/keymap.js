// The one table of keys (keymap.json) with what this person changed in it, and how keys are written.
import { attr, h, say } from "./dom.js";
import { get, post } from "./api.js";

const table = await (await fetch(new URL("keymap.json", import.meta.url))).json();
const ACTS = new Map(table.flatMap(({ acts }) => acts).map((act) => [act.id, act]));
const RETRY_MS = 3000;
const isMac = /^(Mac|iP)/.test(navigator.platform);
const SIGNS = {
  backspace: "⌫", delete: "del", insert: "ins", enter: "↵", pageup: "page ↑", pagedown: "page ↓",
  arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓", "-": "−",
};
const ARIA = {
  ctrl: isMac ? "Meta" : "Control", alt: "Alt", shift: "Shift", space: "Space", backspace: "Backspace",
  delete: "Delete", insert: "Insert", enter: "Enter", home: "Home", end: "End", pageup: "PageUp",
  pagedown: "PageDown", arrowleft: "ArrowLeft", arrowright: "ArrowRight", arrowup: "ArrowUp",
  arrowdown: "ArrowDown", "+": "Plus",
};

/** "ctrl+shift+z" → ["ctrl", "shift", "z"]; the last part may be "+" itself. */
function partsOf(key) {
  return key.split(/\+(?=.)/);
}

/** A key as it is written on the page: "shift Z", "⌫", "space". */
export function written(key) {
  return partsOf(key).map((part) => {
    if (part === "ctrl" && isMac) return "⌘";
    return SIGNS[part] ?? (part.length === 1 || /^f\d+$/.test(part) ? part.toUpperCase() : part);
  }).join(" ");
}

class Keymap {
  /** Silent until it is known what this person changed: an usual key may mean something else. */
  constructor() {
    this.ready = false;
    this.#take({ keys: Object.fromEntries([...ACTS].map(([id, act]) => [id, act.keys])), own: [] });
  }

  async load() {
    try {
      this.#take(await get("keys"));
      this.ready = true;
    } catch {
      setTimeout(() => this.load(), RETRY_MS); // what keeps it from us is said elsewhere
    }
  }

  /** The groups of the help and the dialog: [{group, acts: [{id, words, keys, …}]}]. */
  groups() {
    return table.map(({ group, acts }) => ({
      group, acts: acts.map((act) => ({ ...act, keys: this.keys[act.id], changed: this.own.has(act.id) })),
    }));
  }

  /** The acts that a key stands for: at most one that is started by a press and one by a drag. */
  acts(name) {
    return this.byKey.get(name) ?? [];
  }

  /** Gives an act other keys; throws what the server refuses, in plain words. */
  async change(id, keys) {
    this.#take(await post("keys", { changes: { [id]: keys } }));
  }

  usual(id) {
    return ACTS.get(id).keys;
  }

  async reset() {
    this.#take(await post("keys/reset"));
  }

  #take({ keys, own }) {
    this.keys = keys;
    this.own = new Set(own);
    this.byKey = new Map();
    for (const [id, names] of Object.entries(keys)) {
      for (const name of names) this.byKey.set(name, [...(this.byKey.get(name) ?? []), ACTS.get(id)]);
    }
    document.querySelectorAll("kbd[data-act]").forEach(write);
    document.querySelectorAll("[data-hint]").forEach(writeHint);
  }

  /** The first key of an act as it is written; "" when it has none. */
  written(id) {
    const [first] = this.keys[id];
    return first === undefined ? "" : written(first);
  }
}

/** What this person's keys are; one for the whole page. */
export const keymap = new Keymap();

function write(cap) {
  say(cap, keymap.written(cap.dataset.act));
}

function writeHint(element) {
  const { hint, hintAct } = element.dataset;
  const key = keymap.written(hintAct);
  attr(element, "title", key ? `${hint} (${key})` : hint);
  attr(element, "aria-label", hint);
  attr(element, "aria-keyshortcuts", keymap.keys[hintAct].map(aria).join(" ") || null);
}

function aria(key) {
  return partsOf(key).map((part) => ARIA[part] ?? part.toUpperCase()).join("+");
}

/** A small key to put beside a word; it follows what the person changes. */
export function keycap(id) {
  const cap = h("kbd", { "data-act": id, "aria-hidden": "true" });
  write(cap);
  return cap;
}

/** Gives a small key another act, or none. */
export function fillCap(cap, id) {
  if (cap.dataset.act === (id ?? undefined)) return;
  attr(cap, "data-act", id);
  attr(cap, "aria-hidden", "true");
  if (id) write(cap);
  else say(cap, "");
}

/** Names a control, with its key in the title; the title follows what the person changes. */
export function hint(element, words, id) {
  Object.assign(element.dataset, { hint: words, hintAct: id });
  writeHint(element);
  return element;
}

/** "press X to reject", or without a key "click reject". */
export function pressTo(id, word) {
  const key = keymap.written(id);
  return key ? `press ${key} to ${word}` : `click “${word}”`;
}
