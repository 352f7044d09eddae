// Which samples the queue shows, and in which order: the form for it, and its words.
import { get, post } from "./api.js";
import { h, keyed, number, say, settled } from "./dom.js";
import { icon } from "./icons.js";

const TYPING_MS = 350;

/** What lets everything to review through; the address and a saved view hold what differs. */
export const USUAL = {
  concept: "", view: "review", curator: "", how: "", verdict: "", low: "", reviewed: "", held: "",
  text: "", clip: "", margin: "", d: "", s: "", disagreement: "", novelty: "", order: "import",
};

export const VIEWS = [
  ["review", "to review"],
  ["all", "all states"],
  ["waiting", "needs a click"],
  ["prepared", "mask found"],
  ["new", "not prepared yet"],
  ["decided", "decided"],
  ["accepted", "accepted"],
  ["rejected", "rejected"],
  ["skipped", "skipped"],
  ["flagged", "flagged"],
  ["broken", "broken"],
  ["deleted", "deleted"],
];

const ORDERS = [
  ["import", "in order of import"],
  ["-import", "latest import first"],
  ["margin", "closest rival first"],
  ["-disagreement", "most disagreement first"],
  ["-novelty", "most novel first"],
  ["novelty", "least novel first"],
  ["clip", "lowest CLIP first"],
  ["-clip", "highest CLIP first"],
  ["d", "lowest D first"],
  ["s", "lowest S first"],
  ["-decided", "last decided first"],
  ["-updated", "last changed first"],
  ["name", "by name"],
];

const CHOICES = {
  verdict: ["Verifier", [["yes", "said yes"], ["no", "said no"], ["none", "was not asked"]]],
  low: ["Scores", [["yes", "low"], ["no", "not low"]]],
  how: ["Decided", [["human", "by a person"], ["policy", "by the policy"]]],
  reviewed: ["Review", [["approved", "approved"], ["returned", "returned"], ["none", "not reviewed"]]],
  held: ["Open now", [["free", "by nobody"], ["held", "by somebody"]]],
};

const RANGES = {
  clip: ["CLIP", "the ranker's score of the mask"],
  margin: ["CLIP margin", "best score minus that of the best other object"],
  d: ["Entangled-D", "higher: more changed inside the mask"],
  s: ["Entangled-S", "higher: brightness and contrast as around the mask"],
  disagreement: ["Disagreement", "spread of ranker, verifier and segmenter"],
  novelty: ["Novelty", "1: nothing like it came before"],
};

/** What the order shows beside each sample, in a short word. */
export const SORTED_BY = { margin: "margin", disagreement: "spread", novelty: "novel", clip: "CLIP" };

/** The whole filter from a part of one; unknown fields are dropped. */
export function whole(part) {
  const known = Object.entries(part ?? {}).filter(([name]) => name in USUAL);
  return { ...USUAL, ...Object.fromEntries(known.map(([name, value]) => [name, String(value)])) };
}

/** What of a filter differs from the usual. */
export function changed(filter) {
  return Object.fromEntries(Object.entries(filter).filter(([name, value]) => value !== USUAL[name]));
}

/** Whether a filter hides something; an order does not. */
export function isFiltered(filter) {
  const { order, ...rest } = changed(filter);
  return Object.keys(rest).some((name) => !(name === "view" && rest.view === "all"));
}

export function fromAddress() {
  return whole(Object.fromEntries(new URLSearchParams(location.search)));
}

/** The page's address with this filter and sample; what is not ours in it stays. */
export function address(filter, id) {
  const query = new URLSearchParams(location.search);
  for (const name of [...Object.keys(USUAL), "sample"]) query.delete(name);
  const values = { ...changed(filter), ...(id ? { sample: id } : {}) };
  for (const [name, value] of Object.entries(values)) query.set(name, value);
  return "?" + query;
}

/** A filter in words, one for each field that is set. */
export function words(filter) {
  const { concept, view, curator, text } = filter;
  const found = [concept, view === "review" || view === "all" ? "" : wordOf(VIEWS, view)];
  if (text) found.push(`“${text}”`);
  if (curator) found.push(`decided by ${curator}`);
  for (const [name, [title, options]] of Object.entries(CHOICES)) {
    if (filter[name]) found.push(`${title.toLowerCase()} ${wordOf(options, filter[name])}`);
  }
  for (const [name, [title]] of Object.entries(RANGES)) {
    const [low, high] = ends(filter[name]);
    if (low && high) found.push(`${title} ${low} to ${high}`);
    else if (low || high) found.push(`${title} ${low ? `≥ ${low}` : `≤ ${high}`}`);
  }
  return found.filter(Boolean).join(" · ");
}

function wordOf(options, value) {
  return options.find(([one]) => one === value)?.[1] ?? value;
}

function ends(range) {
  const [low = "", high = ""] = (range || "..").split("..");
  return [low, high];
}

/** The form behind the button in the queue's head. */
export class Filters {
  /** Tells of `onFilter(filter)`. */
  constructor({ onFilter }) {
    this.onFilter = onFilter;
    this.filter = whole({});
    this.views = [];
    this.order = select("Order", ORDERS, "order");
    this.order.addEventListener("change", () => this.#set({ order: this.order.value }));
    const soon = settled((change) => this.#set(change), TYPING_MS);
    this.text = h("input", { type: "search", maxlength: 200, "data-test": "filter-text" });
    this.text.addEventListener("input", () => soon({ text: this.text.value.trim() }));
    this.curator = select("Decided by", [["", "anybody"]], "curator");
    this.curator.addEventListener("change", () => this.#set({ curator: this.curator.value }));
    this.fields = {};
    const choices = Object.entries(CHOICES).map(([name, [title, options]]) => {
      const field = select(title, [["", "any"], ...options], name);
      field.addEventListener("change", () => this.#set({ [name]: field.value }));
      this.fields[name] = field;
      return labelled(title, field);
    });
    const ranges = Object.entries(RANGES).map(([name, about]) => this.#range(name, about, soon));
    this.saved = h("ul", { class: "fm-saved-views", "data-test": "saved-views" });
    this.element = h(
      "div",
      { class: "fm-filters", role: "group", "aria-label": "Filter", id: "fm-filters", hidden: true },
      this.#savedViews(),
      labelled("Name contains", this.text),
      h("div", { class: "fm-filter-grid" }, labelled("Decided by", this.curator), choices),
      h("div", { class: "fm-filter-ranges" }, ranges),
    );
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    this.button = h("button", {
      class: "fm-button fm-quiet fm-small fm-filter-button", "aria-expanded": "false",
      "aria-controls": "fm-filters", "data-test": "filters", onclick: () => this.toggle(),
    }, icon("filter"), h("span", {}, "filter"));
  }

  #range(name, [title, hint], soon) {
    const field = (word) => h("input", {
      type: "number", min: 0, max: 1, step: 0.01, placeholder: word, inputmode: "decimal",
      "aria-label": `${title}, ${word}`, "data-test": `${name}-${word}`,
    });
    const [low, high] = [field("from"), field("to")];
    const row = h("div", { class: "fm-filter-range", role: "group", "aria-label": title, title: hint },
      h("span", {}, title), low, h("span", { "aria-hidden": "true" }, "–"), high);
    const take = () => {
      const values = [low.value, high.value].map((value) => value && number(Number(value)));
      const wrong = values[0] && values[1] && Number(values[0]) > Number(values[1]);
      high.setCustomValidity(wrong ? "The end lies before the beginning." : "");
      row.classList.toggle("fm-wrong", Boolean(wrong));
      const given = low.validity.valid && high.validity.valid;
      if (given) soon({ [name]: values.some(Boolean) ? values.join("..") : "" });
    };
    low.addEventListener("input", take);
    high.addEventListener("input", take);
    this.fields[name] = { low, high };
    return row;
  }

  #savedViews() {
    const name = h("input", {
      type: "text", maxlength: 40, placeholder: "name of this view", "aria-label": "Name of this view",
      "data-test": "view-name", autocomplete: "off",
    });
    this.note = h("p", { class: "fm-note fm-refused", role: "alert", hidden: true });
    const form = h("form", { class: "fm-row" }, name,
      h("button", { class: "fm-button fm-small", "data-test": "save-view" }, "save"));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!name.value.trim()) return;
      const kept = await this.#send({ name: name.value.trim(), asked: changed(this.filter) });
      if (kept) name.value = "";
    });
    return h("div", { class: "fm-filter-saved" }, h("h3", { class: "fm-title" }, "Saved views"),
      this.saved, form, this.note);
  }

  async #send(body) {
    try {
      this.#showViews((await post("queue/views", body)).views);
      this.note.hidden = true;
      return true;
    } catch (error) {
      say(this.note, error.message);
      this.note.hidden = false;
      return false;
    }
  }

  #showViews(views) {
    this.views = views;
    keyed(
      this.saved, views, (one) => JSON.stringify(one),
      (one) => h("li", { class: "fm-row" },
        h("button", {
          class: "fm-link-button", "data-test": "saved-view", title: words(whole(one.asked)) || "everything to review",
          onclick: () => this.onFilter(whole(one.asked)),
        }, one.name),
        h("button", {
          class: "fm-button fm-quiet", "aria-label": `Forget the view ${one.name}`,
          onclick: () => this.#send({ name: one.name, asked: null }),
        }, icon("close"))),
      () => {},
    );
    this.saved.classList.toggle("fm-empty", views.length === 0);
  }

  #set(change) {
    this.onFilter({ ...this.filter, ...change });
  }

  async toggle() {
    if (!this.element.hidden) {
      this.close();
      return;
    }
    this.element.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.text.focus();
    try {
      this.#showViews((await get("queue/views")).views);
    } catch (error) {
      say(this.note, error.message);
      this.note.hidden = false;
    }
  }

  close() {
    if (this.element.contains(document.activeElement)) this.button.focus();
    this.element.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  /** Shows a filter that was set anywhere; a field that is being typed in stays as it is. */
  show(filter, curators) {
    this.filter = filter;
    keyed(
      this.curator, ["", ...new Set([...curators, filter.curator].filter(Boolean))], (name) => name || "*",
      (name) => h("option", { value: name }, name || "anybody"), () => {},
    );
    this.curator.value = filter.curator;
    this.order.value = filter.order;
    if (document.activeElement !== this.text) this.text.value = filter.text;
    for (const name of Object.keys(CHOICES)) this.fields[name].value = filter[name];
    for (const name of Object.keys(RANGES)) {
      const [low, high] = ends(filter[name]);
      const { low: from, high: to } = this.fields[name];
      if (document.activeElement !== from) from.value = low;
      if (document.activeElement !== to) to.value = high;
    }
    const set = Object.keys(changed(filter)).filter((one) => !["concept", "view", "order"].includes(one));
    say(this.button.lastChild, set.length ? `filter · ${set.length}` : "filter");
    this.button.classList.toggle("fm-on", set.length > 0);
  }
}

function select(title, options, name) {
  return h("select", { "aria-label": title, "data-test": `queue-${name}` },
    options.map(([value, word]) => h("option", { value }, word)));
}

function labelled(title, field) {
  return h("label", { class: "fm-filter-field" }, h("span", {}, title), field);
}
