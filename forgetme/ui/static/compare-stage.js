// The pictures of one row: side by side with linked zoom, or two of them against each other.
import { attr, h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { ORIGINAL, figure } from "./compare-data.js";
import { DifferenceView, FlickerView, SliderView } from "./compare-pair.js";
import { Linked, Pane } from "./compare-pane.js";

const HEAD_PX = 24; // of a tile
const GAP_PX = 8;
export const MODES = [
  ["all", "Side by side", "tiles", "1"], ["slider", "Slider", "compare", "2"],
  ["difference", "Difference", "difference", "3"], ["flicker", "Flicker", "flicker", "4"],
];

export class Stage {
  /** `kept` is what is remembered from visit to visit; tells of `onChoose(key)` and `onKept()`. */
  constructor({ kept, onChoose, onKept }) {
    Object.assign(this, { kept, onChoose, onKept });
    this.mode = "all";
    this.hidden = new Set(kept.hidden);
    this.linked = new Linked();
    this.linked.onChange = () => this.#zoomed();
    this.tiles = new Map();
    this.views = { slider: new SliderView(this.linked), difference: new DifferenceView(this.linked), flicker: new FlickerView(this.linked) };
    this.grid = h("div", { class: "fm-tiles", "data-test": "tiles" });
    this.room = h("div", { class: "fm-cmp-room" }, this.grid);
    this.facts = h("div", { class: "fm-cmp-facts" });
    this.#buildTools();
    this.element = h("section", { class: "fm-cmp-stage", "aria-label": "Pictures" }, this.tools, this.room, this.facts);
    new ResizeObserver(() => this.#arrange()).observe(this.room);
  }

  #buildTools() {
    this.buttons = MODES.map(([mode, word, sign, key]) => h("button", {
      class: "fm-segment", "data-test": `mode-${mode}`, title: `${word} (${key})`, onclick: () => this.use(mode),
    }, icon(sign), h("span", {}, word)));
    this.chips = h("div", { class: "fm-chips", role: "group", "aria-label": "Pictures shown" });
    this.picks = ["left", "right"].map((side) => {
      const select = h("select", { "aria-label": `Picture on the ${side}`, "data-test": `pick-${side}` });
      select.addEventListener("change", () => this.pair({ [side]: select.value }));
      return select;
    });
    const swap = h("button", {
      class: "fm-button fm-quiet", "aria-label": "Swap the two", title: "Swap the two (S)", "data-test": "swap",
      onclick: () => this.swap(),
    }, icon("swap"));
    this.pairTools = h("div", { class: "fm-cmp-pair" }, this.picks[0], swap, this.picks[1]);
    this.own = h("div", { class: "fm-cmp-own" });
    this.outlineButton = h("button", {
      class: "fm-button fm-quiet", title: "Outline of the mask (M)", "aria-label": "Outline of the mask",
      "data-test": "outline", onclick: () => this.toggleOutline(),
    }, icon("eye"), h("span", {}, "mask"));
    this.zoomWords = h("span", { class: "fm-small fm-muted fm-cmp-zoom", "data-test": "zoom" });
    this.fitButton = h("button", {
      class: "fm-button fm-quiet", title: "Show all of it (0, or double click)", "data-test": "fit",
      onclick: () => this.linked.fit(),
    }, "fit");
    this.tools = h("div", { class: "fm-cmp-tools" },
      h("div", { class: "fm-segments", role: "group", "aria-label": "View" }, this.buttons),
      this.chips, this.pairTools, this.own, h("span", { class: "fm-spring" }),
      this.outlineButton, this.zoomWords, this.fitButton);
  }

  // ------------------------------------------------------------------ what is shown
  take(comparison) {
    this.comparison = comparison;
    const keys = comparison.pictures(0).map(({ key }) => key);
    this.left = keys.includes(this.left) ? this.left : ORIGINAL;
    this.right = keys.includes(this.right) ? this.right : comparison.columns[0].key;
    for (const select of this.picks) {
      keyed(select, comparison.pictures(0), ({ key }) => key, ({ key }) => h("option", { value: key }), (option, { title }) => say(option, title));
    }
    this.use(this.mode);
  }

  /** Shows a row; `chosen` is the column that keys act on, `score` what stands beside the names. */
  show(row, chosen, score) {
    Object.assign(this, { row, chosen, score });
    this.pictures = this.comparison.pictures(row);
    this.#draw();
    this.#trace();
  }

  use(mode) {
    this.views[this.mode]?.leave();
    this.mode = mode;
    const view = this.views[mode];
    for (const [at, [name]] of MODES.entries()) attr(this.buttons[at], "aria-pressed", String(name === mode));
    this.chips.hidden = Boolean(view);
    this.pairTools.hidden = !view;
    this.own.replaceChildren(...(view?.tools ?? []));
    this.room.replaceChildren(view ? view.element : this.grid);
    this.element.dataset.mode = mode;
    if (this.pictures) this.#draw();
    this.#trace();
  }

  /** Nothing moves while another view is shown. */
  rest(on) {
    if (on) this.views[this.mode]?.leave();
    else if (this.pictures) this.#draw();
  }

  pair(sides) {
    Object.assign(this, sides);
    this.#draw();
  }

  swap() {
    this.pair({ left: this.right, right: this.left });
  }

  toggleOutline() {
    this.kept.outline = !this.kept.outline;
    this.onKept();
    this.#trace();
  }

  // ------------------------------------------------------------------ drawing
  #draw() {
    const view = this.views[this.mode];
    this.#drawFacts(view);
    if (!view) {
      this.#drawTiles();
      return;
    }
    const [left, right] = [this.left, this.right].map((key) => this.pictures.find((one) => one.key === key));
    [this.picks[0].value, this.picks[1].value] = [left.key, right.key];
    this.linked.hold(view.panes);
    view.show(left, right, this.comparison.mask(this.row));
  }

  #drawTiles() {
    keyed(this.chips, this.pictures, ({ key }) => key, ({ key }) => h("button", {
      class: "fm-chip", "data-test": `show-${key}`, onclick: () => this.#toggle(key),
    }), (chip, { key, title }) => {
      say(chip, title);
      chip.title = `${title}: show or hide`;
      attr(chip, "aria-pressed", String(!this.hidden.has(key)));
    });
    const shown = this.pictures.filter(({ key }) => !this.hidden.has(key));
    keyed(this.grid, shown, ({ key }) => key, (one) => this.#tile(one), (element, one) => this.#fill(element, one));
    this.linked.hold(shown.map(({ key }) => this.tiles.get(key)));
    this.#arrange();
  }

  #tile({ key, title }) {
    const pane = new Pane(this.linked, { alt: title, onTap: () => this.onChoose(key) });
    this.tiles.set(key, pane);
    const name = h("button", { class: "fm-name fm-tile-name", onclick: () => this.onChoose(key) });
    return h("figure", { class: "fm-tile", "data-test": `tile-${key}` },
      h("figcaption", {}, name, h("span", { class: "fm-tile-warning", hidden: true }, icon("warning")), h("span", { class: "fm-tile-score" })), pane.element);
  }

  #fill(element, { key, title, src, error, warnings }) {
    const [name, warning, value] = element.firstChild.children;
    say(name, title);
    attr(element, "aria-current", key === this.chosen ? "true" : null);
    warning.hidden = !warnings?.length;
    warning.title = warnings?.join("\n") ?? "";
    const number = this.score && this.comparison.column(key) ? this.comparison.value(key, this.row, this.score) : null;
    say(value, number === null ? "" : figure(number, this.comparison.score(this.score)));
    value.title = number === null ? "" : this.comparison.score(this.score).label;
    this.tiles.get(key).show(src, error);
  }

  #toggle(key) {
    if (!this.hidden.delete(key)) this.hidden.add(key);
    if (this.pictures.every((one) => this.hidden.has(one.key))) this.hidden.delete(key); // never none
    this.kept.hidden = [...this.hidden];
    this.onKept();
    this.#drawTiles();
    this.#trace();
  }

  /** As many tiles in a line as make them largest. */
  #arrange() {
    const n = this.grid.children.length;
    const { clientWidth: width, clientHeight: height } = this.room;
    const { image } = this.linked.view;
    const ratio = image.width / image.height || 1;
    this.room.style.setProperty("--ratio", ratio);
    if (!n || !width) return;
    const size = (across) => {
      const down = Math.ceil(n / across);
      return Math.min((width - GAP_PX * (across - 1)) / across, ((height - GAP_PX * (down - 1)) / down - HEAD_PX) * ratio);
    };
    let best = 1;
    for (let across = 2; across <= n; across += 1) if (size(across) > size(best) + 1) best = across;
    this.grid.style.setProperty("--across", best);
    this.grid.style.setProperty("--down", Math.ceil(n / best));
  }

  #trace() {
    attr(this.outlineButton, "aria-pressed", String(Boolean(this.kept.outline)));
    if (this.row !== undefined) this.linked.trace(this.kept.outline ? this.comparison.mask(this.row) : null);
  }

  #zoomed() {
    say(this.zoomWords, `${this.linked.percent} %`);
    this.fitButton.disabled = this.linked.view.fits;
    const { width, height } = this.linked.view.image;
    if (this.ratio !== width / height) {
      this.ratio = width / height;
      this.#arrange();
    }
  }

  /** What is known of the chosen picture, or what the difference sums up to. */
  #drawFacts(view) {
    if (view?.words) {
      this.facts.replaceChildren(view.words);
      return;
    }
    const column = this.comparison.column(this.chosen);
    if (!column) {
      this.facts.replaceChildren(h("span", { class: "fm-muted" }, "Click a picture of a method to see how it was made."));
      return;
    }
    const cell = this.comparison.cell(column.key, this.row);
    const used = [
      cell.words,
      column.made_by && `by ${column.made_by}`,
      Number.isFinite(cell.seconds) && `${figure(cell.seconds)} s`,
      Number.isFinite(cell.memory_mb) && `${figure(cell.memory_mb)} MiB`,
      ...Object.entries(column.settings ?? {}).filter(([, value]) => typeof value !== "object" && value !== "").map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`),
    ].filter(Boolean).join(" · ");
    const warnings = cell.warnings ?? [];
    this.facts.replaceChildren(
      h("span", { class: "fm-strong" }, column.title), h("span", { class: "fm-muted fm-name", title: used }, used),
      ...warnings.map((words) => h("span", { class: "fm-warn-words" }, icon("warning"), words)),
      ...(cell.error ? [h("span", { class: "fm-low" }, icon("warning"), cell.error)] : []));
  }
}
