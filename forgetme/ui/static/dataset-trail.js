// The audit trail: who did what when, newest first, and as a file.
import { attr, h, keyed, say } from "./dom.js";
import { STATES, icon } from "./icons.js";
import { get } from "./api.js";

const API = new URL("forgetme/api/", document.baseURI).href;
const KINDS = {
  imported: ["image", "imported"],
  proposed: ["list", "proposed masks"],
  chosen: ["accept", "chose"],
  mask_edited: ["point", "changed the mask"],
  filled: ["refine", "filled"],
  refined: ["refine", "refined"],
  commented: ["comment", "commented"],
  deleted: ["trash", "deleted"],
  relabelled: ["pick", "changed the concept"],
  reviewed: ["eye", "reviewed"],
  undone: ["undo", "undid"],
};

function signOf(kind) {
  if (STATES[kind]) return [STATES[kind].icon, STATES[kind].word];
  return KINDS[kind] ?? ["info", kind];
}

export class Trail {
  /** Tells of `onOpen(id)`; `onError(words)`. */
  constructor({ onOpen, onError }) {
    Object.assign(this, { onOpen, onError });
    this.events = [];
    this.by = h("select", { "aria-label": "Who", "data-test": "trail-by" });
    this.kind = h("select", { "aria-label": "What", "data-test": "trail-kind" });
    for (const select of [this.by, this.kind]) select.addEventListener("change", () => this.load());
    this.csv = this.#link("csv");
    this.jsonl = this.#link("jsonl");
    this.body = h("tbody");
    this.more = h("button", {
      class: "fm-button", "data-test": "trail-more", onclick: () => this.#older(),
    }, "show older");
    this.nothing = h("p", { class: "fm-data-empty" }, "Nothing of this kind has happened.");
    this.element = h(
      "section", { class: "fm-trail", "aria-label": "Audit trail" },
      h("div", { class: "fm-data-tools" }, this.by, this.kind, h("span", { class: "fm-spring" }), this.csv, this.jsonl),
      h("div", { class: "fm-scroll-x" }, h(
        "table", { class: "fm-table fm-trail-table", "data-test": "trail" },
        h("thead", {}, h("tr", {}, ["When", "Who", "What", "Sample", "Details"].map((word) => h("th", { scope: "col" }, word)))),
        this.body)),
      this.nothing,
      h("div", { class: "fm-data-foot" }, this.more),
    );
  }

  #link(format) {
    return h("a", {
      class: "fm-button", download: "", "data-test": `trail-${format}`,
      title: "All events of this selection, from the first to the last",
    }, icon("download"), format.toUpperCase());
  }

  #query(more = {}) {
    const { by, kind } = { by: this.by.value, kind: this.kind.value };
    return new URLSearchParams({ ...(by && { by }), ...(kind && { kind }), ...more });
  }

  /** Reads the newest events again. */
  async load() {
    this.loaded = true;
    for (const format of ["csv", "jsonl"]) {
      attr(this[format], "href", `${API}data/trail/file?${this.#query({ format })}`);
    }
    await this.#read({}, []);
  }

  #older() {
    return this.#read({ before: this.events.at(-1).id }, this.events);
  }

  async #read(more, before) {
    const asked = {};
    this.asked = asked;
    let answer;
    try {
      answer = await get("data/trail?" + this.#query(more));
    } catch (error) {
      this.onError(error.message);
      return;
    }
    if (this.asked !== asked) return; // another choice was made meanwhile
    this.events = [...before, ...answer.events];
    options(this.by, ["everybody", ...answer.people]);
    options(this.kind, ["everything", ...answer.kinds], (kind) => signOf(kind)[1]);
    this.more.hidden = !answer.more;
    this.nothing.hidden = this.events.length > 0;
    keyed(this.body, this.events, ({ id }) => id, (event) => this.#row(event), () => {});
  }

  #row({ at, by, kind, sample, name, words }) {
    const [sign, word] = signOf(kind);
    return h(
      "tr", { "data-state": kind },
      h("td", { class: "fm-nowrap", title: at }, when(new Date(at))),
      h("td", { class: "fm-nowrap" }, by),
      h("td", { class: "fm-nowrap" }, h("span", { class: "fm-trail-kind" }, icon(sign), word)),
      h("td", {}, h("button", { class: "fm-cell-button", title: name, onclick: () => this.onOpen(sample) }, name)),
      h("td", { class: "fm-trail-words" }, words),
    );
  }
}

/** "2026-11-21 14:02:11", in the reader's own time. */
function when(date) {
  return date.toLocaleString("sv-SE");
}

function options(select, [any, ...values], wordOf = (value) => value) {
  const kept = select.value;
  keyed(
    select, ["", ...values], (value) => value || "*",
    (value) => h("option", { value }), (option, value) => say(option, value ? wordOf(value) : any),
  );
  select.value = values.includes(kept) ? kept : "";
}
