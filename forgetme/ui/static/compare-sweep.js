// The scale sweep: one sample drawn at every scale of a LoRA, and what the scores say of all of them.
import { attr, h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { Curve } from "./compare-curve.js";
import { Linked, Pane } from "./compare-pane.js";

const USUAL = ["entangled_d", "entangled_s"];
const SEEN = ["clip_at_1", "still_seen"]; // beside either variant: a smear has much of Entangled
const RELEASED = "released";
const INKS = [...USUAL, ...USUAL.map((key) => `${key}_${RELEASED}`), ...SEEN]; // of any table alike
const EITHER = "entangled"; // the paper does not say which of the two it printed

export class Sweep {
  constructor({ kept }) {
    this.kept = kept;
    this.linked = new Linked();
    this.panes = ["Original", "With the LoRA"].map((alt) => new Pane(this.linked, { alt }));
    this.linked.hold(this.panes);
    this.heads = this.panes.map(() => h("span", { class: "fm-name" }));
    this.curve = new Curve({ onPick: (at) => this.pick(at) });
    this.strip = h("div", { class: "fm-sweep-strip", role: "radiogroup", "aria-label": "Scale", "data-test": "sweep-strip" });
    this.chips = h("div", { class: "fm-chips", role: "group", "aria-label": "Curves" });
    this.place = h("span", { class: "fm-strong", "data-test": "sweep-row" });
    this.about = h("span", { class: "fm-muted fm-small fm-name" });
    const arrow = (sign, by, word) => h("button", { class: "fm-button fm-quiet", "aria-label": word, title: word, onclick: () => this.move(by) }, icon(sign));
    this.full = h("div", { class: "fm-sweep" },
      h("div", { class: "fm-cmp-tools" }, arrow("previous", -1, "Previous sample (↑)"), this.place, arrow("next", 1, "Next sample (↓)"),
        this.about, h("span", { class: "fm-spring" }), this.chips),
      this.strip,
      h("div", { class: "fm-sweep-body" }, this.curve.element,
        h("div", { class: "fm-sweep-pair" }, this.panes.map((pane, at) => h("figure", { class: "fm-tile" }, h("figcaption", {}, this.heads[at]), pane.element)))));
    this.empty = h("div", { class: "fm-cmp-empty" }, h("strong", {}, "This comparison has no scale sweep."),
      h("span", {}, "A new comparison makes one where “scale sweep” is ticked and a run is chosen."));
    this.element = h("section", { class: "fm-cmp-view", "aria-label": "Scale sweep" });
  }

  take(comparison) {
    this.comparison = comparison;
    this.sweep = comparison.table.sweep;
    const there = Boolean(this.sweep?.rows.length);
    this.element.replaceChildren(there ? this.full : this.empty);
    if (!there) return;
    const keys = Object.keys(this.sweep.curves);
    const usual = keys.filter((key) => USUAL.includes(key) || SEEN.includes(key));
    this.shown = usual.length ? usual : keys.slice(0, 1);
    this.at = this.sweep.scales.length - 1;
    this.row = 0;
    const { column, run } = this.sweep;
    say(this.about, `${comparison.column(column)?.title ?? column}, run ${run}, one seed at every scale`);
    this.#draw();
  }

  move(by) {
    const to = this.row + by;
    if (!this.sweep || to < 0 || to >= this.sweep.rows.length) return;
    this.row = to;
    this.#draw();
  }

  pick(at) {
    if (!this.sweep || at < 0 || at >= this.sweep.scales.length) return;
    this.at = at;
    this.#draw();
  }

  step(by) {
    this.pick(this.at + by);
  }

  fit() {
    this.linked.fit();
  }

  toggleOutline() {
    this.kept.outline = !this.kept.outline;
    this.#draw();
  }

  #draw() {
    const { sweep, comparison, row, at } = this;
    const index = sweep.rows[row];
    const pictures = sweep.pictures[row].map((path) => comparison.address(path));
    say(this.place, `${comparison.rows[index].name} (${row + 1} of ${sweep.rows.length})`);
    keyed(this.strip, sweep.scales, (scale) => scale, (scale) => h("button", {
      class: "fm-sweep-one", role: "radio", "data-test": `scale-${scale}`, onclick: () => this.pick(sweep.scales.indexOf(scale)),
    }, h("img", { alt: "" }), h("span", {}, `α ${scale}`)), (button, scale, k) => {
      attr(button, "aria-checked", String(k === at));
      attr(button.firstChild, "src", pictures[k]);
    });
    const [original, made] = this.panes;
    original.show(comparison.address(comparison.rows[index].original));
    made.show(pictures[at], "There is no picture at this scale.");
    say(this.heads[0], "Original");
    say(this.heads[1], `α = ${sweep.scales[at]}`);
    this.linked.trace(this.kept.outline ? comparison.mask(index) : null);
    this.#drawCurves();
  }

  #drawCurves() {
    const { sweep, comparison } = this;
    const keys = Object.keys(sweep.curves);
    const title = (key) => comparison.score(key)?.label ?? key;
    keyed(this.chips, keys, (key) => key, (key) => h("button", {
      class: "fm-chip", "data-test": `curve-${key}`, onclick: () => this.#toggle(key),
    }), (chip, key) => {
      say(chip, title(key));
      attr(chip, "aria-pressed", String(this.shown.includes(key)));
    });
    this.curve.show({
      scales: sweep.scales,
      at: this.at,
      lines: this.shown.map((key) => ({ title: title(key), points: sweep.curves[key], n: sweep.curves[key][0]?.n ?? 0, ink: INKS.includes(key) ? INKS.indexOf(key) : INKS.length })),
      theirs: this.#theirs(),
    });
  }

  /** The paper's own sweep of this concept, where a shown score has one. */
  #theirs() {
    const { concept, published } = this.comparison.table;
    const isShown = (score) => this.shown.some((key) => key === score || (score === EITHER && variantOf(key) === RELEASED));
    const ours = (published ?? []).filter((one) => one.scale !== undefined && one.concept === concept.toLowerCase() && isShown(one.score));
    return [...Map.groupBy(ours, ({ source, score, variant, note }) => {
      const name = this.comparison.score(score)?.title ?? (score === EITHER ? "Entangled" : score);
      return `theirs: ${name} as printed in ${source}; variant ${variant}; ${note}`;
    })].map(([title, ones]) => ({
      title, points: ones.map(({ scale, value }) => ({ scale, value })).sort((a, b) => a.scale - b.scale),
    }));
  }

  #toggle(key) {
    const on = this.shown.includes(key);
    if (on && this.shown.length === 1) return;
    const other = (one) => variantOf(one) && variantOf(key) && variantOf(one) !== variantOf(key);
    this.shown = Object.keys(this.sweep.curves).filter((one) => (one === key ? !on : this.shown.includes(one) && (on || !other(one))));
    this.#drawCurves();
  }
}

/** Which reading of Entangled a score is; two of them are never on one axis. "" of other scores. */
function variantOf(key) {
  if (key.endsWith(`_${RELEASED}`)) return RELEASED;
  return USUAL.includes(key) ? "paper" : "";
}
