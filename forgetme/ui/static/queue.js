// The left panel: what there is, what is left, and the last ten decisions.
import { attr, h, keyed, number, say } from "./dom.js";
import { STATES, icon, redraw } from "./icons.js";
import { thumbnail } from "./api.js";
import { Filters, SORTED_BY, VIEWS, USUAL, isFiltered, words } from "./filters.js";

const ROW = 56; // px, as in queue.css
const SPARE = 8; // rows drawn above and below what is visible
const PARTS = ["accepted", "rejected", "flagged", "skipped"]; // of the bar, in this order

/** One line on how a sample stands. */
export function summary(row, limits) {
  if (row.error) return "cannot be read";
  if (row.state === "new") return row.busy ? "preparing …" : "in line";
  if (row.low) {
    const s = !(row.s >= limits.s);
    if (!s && row.d >= limits.d) return "low: see its checks";
    return `low: ${s ? "S" : "D"} ${number(s ? row.s : row.d)}`;
  }
  if (Number.isFinite(row.d)) return `D ${number(row.d)}  S ${number(row.s)}`;
  return row.state === "prepared" ? "no background yet" : STATES[row.state].word;
}

export class Queue {
  /** Tells of `onOpen(index)`, `onFilter(filter)`, `onReopen(id)`, `onAdd()` and `onMore()`. */
  constructor({ onOpen, onFilter, onReopen, onAdd, onMore, onTicked }) {
    Object.assign(this, { onOpen, onFilter, onReopen, onMore, onTicked });
    this.ticked = new Map(); // id → row
    this.rows = [];
    this.total = 0;
    this.index = -1;
    this.limits = { d: 0, s: 0 };
    this.filter = USUAL;
    this.filters = new Filters({ onFilter });
    this.last = h("ol", { class: "fm-last", "data-test": "last" });
    this.list = this.#list();
    this.element = h(
      "aside",
      { class: "fm-panel fm-queue", "aria-label": "Queue" },
      this.#head(),
      this.#banner(),
      h("div", { class: "fm-queue-body" }, this.list, this.nothing, this.filters.element),
      this.#foot(onAdd),
    );
    new ResizeObserver(() => this.#draw()).observe(this.list);
  }

  #head() {
    this.concept = h("select", { "aria-label": "Concept", "data-test": "concept" });
    this.view = h("select", { "aria-label": "State", "data-test": "view" },
      VIEWS.map(([value, word]) => h("option", { value }, word)));
    const change = () => this.onFilter({
      ...this.filter, concept: this.concept.value, view: this.view.value,
    });
    this.concept.addEventListener("change", change);
    this.view.addEventListener("change", change);
    this.parts = PARTS.map((state) => h("div", { class: "fm-bar-fill", "data-state": state }));
    this.bar = h("div", { class: "fm-bar", role: "img" }, this.parts);
    this.done = h("span", { class: "fm-strong", "data-test": "progress" });
    this.pace = h("span", { class: "fm-muted", "data-test": "pace" });
    return h(
      "div",
      { class: "fm-queue-head" },
      h("div", { class: "fm-row" }, this.concept, this.view),
      this.bar,
      h("div", { class: "fm-row fm-small" }, this.done, this.pace),
      h("div", { class: "fm-row fm-queue-order" }, this.filters.order, this.filters.button),
    );
  }

  #banner() {
    this.bannerWords = h("span", {});
    this.hiddenWords = h("span", { class: "fm-hidden-count" });
    this.banner = h(
      "div",
      { class: "fm-banner", role: "status", hidden: true, "data-test": "banner" },
      icon("filter"),
      h("p", {}, h("strong", {}, "Filtered: "), this.bannerWords, this.hiddenWords),
      h("button", {
        class: "fm-button fm-small", "data-test": "clear-filter",
        onclick: () => this.onFilter({ ...USUAL, order: this.filter.order }),
      }, "clear"),
    );
    return this.banner;
  }

  #list() {
    this.space = h("div", { class: "fm-rows-space" });
    this.nothing = h("p", { class: "fm-note fm-queue-nothing", hidden: true });
    const list = h("div", {
      class: "fm-rows", role: "listbox", "aria-label": "Samples", "aria-multiselectable": true,
      title: "Ctrl or shift and a click tick several, to change or delete them together",
    }, this.space);
    list.addEventListener("scroll", () => this.#draw(), { passive: true });
    return list;
  }

  #foot(onAdd) {
    this.ticksWord = h("span", {});
    this.ticks = h("button", {
      class: "fm-button fm-main fm-small", hidden: true, "data-test": "ticked",
      onclick: () => this.onTicked([...this.ticked.values()]),
    }, this.ticksWord);
    return h(
      "div",
      { class: "fm-queue-foot" },
      this.ticks,
      h("div", { class: "fm-row" },
        h("h3", { class: "fm-title" }, "Last ten"),
        h("button", { class: "fm-button fm-quiet fm-small", onclick: onAdd, "data-test": "add" },
          icon("upload"), "add images"),
      ),
      this.last,
    );
  }

  /** Shows the counts, the choice of concepts, the filter and the pace. */
  showCounts({ counts, concepts, curators = [], filter, pace, matching = 0, hidden = 0 }) {
    this.filter = filter;
    keyed(
      this.concept, ["", ...new Set([...concepts, filter.concept].filter(Boolean))], (name) => name || "*",
      (name) => h("option", { value: name }),
      (option, name) => say(option, name || "all concepts"),
    );
    this.concept.value = filter.concept;
    this.view.value = filter.view;
    this.filters.show(filter, curators);
    this.#showProgress(counts, filter.concept);
    say(this.pace, pace);
    this.banner.hidden = !isFiltered(filter);
    say(this.bannerWords, words(filter));
    const count = hidden.toLocaleString("en");
    say(this.hiddenWords, hidden ? `${count} to review ${hidden === 1 ? "is" : "are"} hidden` : "");
    this.list.setAttribute("aria-label", `Samples: ${matching.toLocaleString("en")}`);
  }

  #showProgress(counts, concept) {
    const { deleted = 0, ...others } = counts;
    const all = Object.values(others).reduce((sum, n) => sum + n, 0);
    const decided = PARTS.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
    const told = [];
    for (const [at, state] of PARTS.entries()) {
      const n = counts[state] ?? 0;
      this.parts[at].style.width = all ? `${(100 * n) / all}%` : "0";
      if (n) told.push(`${n.toLocaleString("en")} ${state}`);
    }
    const whole = `${decided.toLocaleString("en")} of ${all.toLocaleString("en")}`;
    say(this.done, whole);
    const about = `${whole} decided${concept ? ` of ${concept}` : ""}${told.length ? `: ${told.join(", ")}` : ""}`;
    attr(this.bar, "aria-label", about);
    attr(this.bar, "title", about);
  }

  showRows(rows, total, index) {
    Object.assign(this, { rows, total });
    const moved = this.index !== index;
    this.index = index;
    this.space.style.height = `${rows.length * ROW}px`;
    this.nothing.hidden = rows.length > 0;
    say(this.nothing, isFiltered(this.filter)
      ? "Nothing matches this filter. Clear it above, or change it."
      : "Nothing to review. Add images, or look at all states.");
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
    this.#showTicked();
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
    element.addEventListener("click", (event) => this.#press(event, Number(element.dataset.at)));
    return element;
  }

  /** A click opens; with ctrl it ticks one more, with shift all from the last one to here. */
  #press(event, at) {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
      this.onOpen(at);
      return;
    }
    const from = event.shiftKey ? (this.tickedAt ?? this.index) : at;
    const some = this.rows.slice(Math.min(from, at), Math.max(from, at) + 1);
    const off = !event.shiftKey && this.ticked.has(some[0].id);
    for (const row of some) off ? this.ticked.delete(row.id) : this.ticked.set(row.id, row);
    this.tickedAt = at;
    this.#draw();
  }

  #showTicked() {
    const known = new Set(this.rows.map(({ id }) => id));
    for (const id of this.ticked.keys()) if (!known.has(id)) this.ticked.delete(id);
    this.ticks.hidden = this.ticked.size === 0;
    say(this.ticksWord, `${this.ticked.size} ticked: change, delete`);
  }

  #fill(element, row, at) {
    attr(element, "data-ticked", this.ticked.has(row.id) || null);
    const [thumb, text, sign] = element.children;
    element.dataset.at = at;
    element.dataset.state = row.state;
    element.dataset.test = `row-${row.name}`;
    element.style.top = `${at * ROW}px`;
    attr(element, "aria-selected", at === this.index);
    attr(element, "aria-setsize", this.rows.length);
    attr(element, "aria-posinset", at + 1);
    attr(thumb.firstChild, "src", row.image_sha ? thumbnail(row.image_sha) : null);
    thumb.firstChild.hidden = !row.image_sha;
    say(text.firstChild, row.name);
    const held = row.held_by && row.held_by !== this.me;
    say(text.lastChild, held ? `held by ${row.held_by}` : this.#sub(row));
    text.lastChild.classList.toggle("fm-low", !held && Boolean(row.low));
    element.classList.toggle("fm-held", Boolean(held));
    const state = STATES[row.state];
    if (held) redraw(sign, "held", `held by ${row.held_by}`);
    else if (row.reviewed === "returned") redraw(sign, "undo", `returned by ${row.reviewed_by}`);
    else redraw(sign, state.icon, state.word);
  }

  /** What the order goes by comes first, then how the sample stands. */
  #sub(row) {
    const by = SORTED_BY[this.filter.order.replace("-", "")];
    const value = row[this.filter.order.replace("-", "")];
    const parts = [
      by && (Number.isFinite(value) ? `${by} ${number(value)}` : `no ${by}`),
      row.reviewed === "returned" && `returned by ${row.reviewed_by}`,
      !this.filter.concept && !by && row.concept,
      summary(row, this.limits),
    ];
    return parts.filter(Boolean).join(" · ");
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
