// The left panel: what there is, what is left, and the last ten decisions.
import { attr, h, keyed, number, say } from "./dom.js";
import { STATES, icon, redraw } from "./icons.js";
import { thumbnail } from "./api.js";

const ROW = 56; // px, as in curate.css
const SPARE = 8; // rows drawn above and below what is visible
const VIEWS = [
  ["review", "to review"],
  ["all", "all states"],
  ["waiting", "needs a click"],
  ["accepted", "accepted"],
  ["rejected", "rejected"],
  ["skipped", "skipped"],
  ["flagged", "flagged"],
  ["broken", "broken"],
];

const UNFILTERED = ["review", "all"];

function wordOf(view) {
  return VIEWS.find(([name]) => name === view)?.[1] ?? view;
}

/** One line on how a sample stands. */
export function summary(row, limits) {
  if (row.error) return "cannot be read";
  if (row.state === "new") return row.busy ? "preparing …" : "in line";
  if (row.low) {
    const s = !(row.s >= limits.s);
    return `low: ${s ? "S" : "D"} ${number(s ? row.s : row.d)}`;
  }
  if (Number.isFinite(row.d)) return `D ${number(row.d)}  S ${number(row.s)}`;
  return row.state === "prepared" ? "no background yet" : STATES[row.state].word;
}

export class Queue {
  /** Tells of `onOpen(index)`, `onFilter(filter)`, `onReopen(id)`, `onAdd()` and `onMore()`. */
  constructor({ onOpen, onFilter, onReopen, onAdd, onMore }) {
    Object.assign(this, { onOpen, onReopen, onMore });
    this.rows = [];
    this.total = 0;
    this.index = -1;
    this.limits = { d: 0, s: 0 };
    this.concept = h("select", { "aria-label": "Concept", "data-test": "concept" });
    this.view = h(
      "select",
      { "aria-label": "State", "data-test": "view" },
      VIEWS.map(([value, word]) => h("option", { value }, word)),
    );
    const filter = () => onFilter({ concept: this.concept.value, view: this.view.value });
    this.concept.addEventListener("change", filter);
    this.view.addEventListener("change", filter);
    this.bar = h("div", { class: "fm-bar-fill" });
    this.done = h("span", { class: "fm-strong" });
    this.pace = h("span", { class: "fm-muted" });
    this.banner = h(
      "button",
      { class: "fm-banner", onclick: () => onFilter({ concept: "", view: "review" }), hidden: true },
      icon("warning"), h("span", {}), h("span", { class: "fm-link" }, "clear"),
    );
    this.space = h("div", { class: "fm-rows-space" });
    this.list = h("div", { class: "fm-rows", role: "listbox", "aria-label": "Samples" }, this.space);
    this.list.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.last = h("ol", { class: "fm-last", "data-test": "last" });
    this.element = h(
      "aside",
      { class: "fm-panel fm-queue", "aria-label": "Queue" },
      h(
        "div",
        { class: "fm-queue-head" },
        h("div", { class: "fm-row" }, this.concept, this.view),
        h("div", { class: "fm-bar", role: "presentation" }, this.bar),
        h("div", { class: "fm-row fm-small" }, this.done, this.pace),
      ),
      this.banner,
      this.list,
      h(
        "div",
        { class: "fm-queue-foot" },
        h("div", { class: "fm-row" },
          h("h3", { class: "fm-title" }, "Last ten"),
          h("button", { class: "fm-button fm-quiet fm-small", onclick: onAdd, "data-test": "add" },
            icon("upload"), "add images"),
        ),
        this.last,
      ),
    );
    new ResizeObserver(() => this.#draw()).observe(this.list);
  }

  /** Shows the counts, the choice of concepts and the pace. */
  showCounts({ counts, concepts, filter, pace }) {
    keyed(
      this.concept, ["", ...concepts], (name) => name || "*",
      (name) => h("option", { value: name }),
      (option, name) => say(option, name || "all concepts"),
    );
    this.concept.value = filter.concept;
    this.view.value = filter.view;
    const all = Object.values(counts).reduce((sum, n) => sum + n, 0);
    const decided = ["accepted", "rejected", "skipped", "flagged"].reduce((sum, k) => sum + (counts[k] ?? 0), 0);
    this.bar.style.width = all ? `${(100 * decided) / all}%` : "0";
    say(this.done, `${decided} of ${all}`);
    say(this.pace, pace);
    const shown = [filter.concept, UNFILTERED.includes(filter.view) ? "" : wordOf(filter.view)];
    this.banner.hidden = !shown.some(Boolean);
    say(this.banner.children[1], "filtered: " + shown.filter(Boolean).join(", "));
  }

  showRows(rows, total, index) {
    Object.assign(this, { rows, total });
    const moved = this.index !== index;
    this.index = index;
    this.space.style.height = `${rows.length * ROW}px`;
    if (moved && index >= 0) this.#reveal(index);
    this.#draw();
  }

  #reveal(index) {
    const top = index * ROW;
    const { scrollTop, clientHeight } = this.list;
    if (top < scrollTop + ROW || top + 2 * ROW > scrollTop + clientHeight) {
      this.list.scrollTop = top - clientHeight / 3;
    }
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - SPARE);
    const count = Math.ceil(this.list.clientHeight / ROW) + 2 * SPARE;
    const visible = this.rows.slice(first, first + count).map((row, i) => ({ row, at: first + i }));
    keyed(
      this.space, visible, ({ row }) => row.id,
      () => this.#row(),
      (element, { row, at }) => this.#fill(element, row, at),
    );
    if (first + count >= this.rows.length && this.rows.length < this.total) this.onMore();
  }

  #row() {
    const element = h(
      "button",
      { class: "fm-item", role: "option", tabindex: -1 },
      h("span", { class: "fm-thumb" }, h("img", { alt: "", loading: "lazy" })),
      h("span", { class: "fm-item-text" }, h("span", { class: "fm-name" }), h("span", { class: "fm-sub" })),
      icon("todo"),
    );
    element.addEventListener("click", () => this.onOpen(Number(element.dataset.at)));
    return element;
  }

  #fill(element, row, at) {
    const [thumb, text, sign] = element.children;
    element.dataset.at = at;
    element.dataset.state = row.state;
    element.dataset.test = `row-${row.name}`;
    element.style.top = `${at * ROW}px`;
    attr(element, "aria-selected", at === this.index);
    attr(thumb.firstChild, "src", row.image_sha ? thumbnail(row.image_sha) : null);
    thumb.firstChild.hidden = !row.image_sha;
    say(text.firstChild, row.name);
    const words = summary(row, this.limits);
    say(text.lastChild, this.concept.value ? words : `${row.concept} · ${words}`);
    text.lastChild.classList.toggle("fm-low", Boolean(row.low));
    redraw(sign, STATES[row.state].icon, STATES[row.state].word);
  }

  /** The strip of the last ten decisions, the latest on the right. */
  showLast(decisions) {
    const latest = decisions.slice(0, 10).reverse();
    keyed(
      this.last, latest, (one) => one.event,
      (one) => h("li", {}, h("button", {
        class: "fm-last-one",
        "data-state": one.state,
        title: `${one.name}: ${STATES[one.state].word}. Click to open.`,
        "aria-label": `${one.name}: ${STATES[one.state].word}. Open.`,
        onclick: () => this.onReopen(one.id),
      }, icon(STATES[one.state].icon))),
      () => {},
    );
    this.last.classList.toggle("fm-empty", latest.length === 0);
  }
}
