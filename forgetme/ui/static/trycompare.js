// All tries of a sample in one table, sorted by any score; any two of them parted by a line.
import { attr, h, number, say } from "./dom.js";
import { thumbnail } from "./api.js";
import { frame, open } from "./dialogs.js";
import { icon } from "./icons.js";
import { Slider } from "./slider.js";
import { ORDERS, gone, looks, nameOf, outside, sorted } from "./trywords.js";

const COLUMNS = ORDERS.filter(({ id }) => id !== "made");
const ORIGINAL = -1; // in the place of a try's index

export class Compare {
  /** Tells of `onPick(try index)` and `onOrder(by)`. */
  constructor({ onPick, onOrder }) {
    Object.assign(this, { onPick, onOrder });
  }

  /** Opens on the picked try beside another one, or beside the original where it is the only one. */
  open(sample, by) {
    this.by = by;
    this.sample = sample;
    const others = sample.tries.filter((one) => one.index !== sample.picked_try);
    this.right = sample.picked_try ?? sample.tries.at(-1).index;
    this.left = others.length ? others.at(-1).index : ORIGINAL;
    this.slider = new Slider();
    this.head = h("tr", {});
    this.body = h("tbody", {});
    this.dialog = frame(`Tries of ${sample.name}`,
      this.slider.element,
      h("div", { class: "fm-compare-table" },
        h("table", { "data-test": "tries-table" }, h("thead", {}, this.head), this.body)),
      h("p", { class: "fm-note" },
        "Low: D below ", number(sample.tries[0].scores.thresholds?.low_d), " or S below ",
        number(sample.tries[0].scores.thresholds?.low_s), ", or a check that failed. Scores alone do not say which try is best."));
    this.dialog.classList.add("fm-compare");
    this.dialog.addEventListener("close", () => (this.dialog = null));
    open(this.dialog);
    this.#show();
  }

  /** Takes news of the sample: another try, another pick. */
  refresh(sample) {
    if (!this.dialog) return;
    if (sample?.id !== this.sample.id || !sample.tries.length) this.dialog.close();
    else {
      this.sample = sample;
      this.#show();
    }
  }

  #show() {
    const tries = sorted(this.sample.tries, this.by);
    this.head.replaceChildren(
      h("th", { scope: "col" }, "left"), h("th", { scope: "col" }, "right"), h("th", { scope: "col" }, ""),
      this.#heading({ id: "made", word: "try", title: "in the order in which they were made" }),
      ...COLUMNS.map((one) => this.#heading(one)),
      h("th", { scope: "col" }, "object"), h("th", { scope: "col" }, "fill"), h("th", { scope: "col" }, "outside"), h("th", { scope: "col" }, ""),
    );
    const focused = document.activeElement?.dataset.test; // the table is built anew
    this.body.replaceChildren(this.#original(), ...tries.map((one) => this.#row(one)));
    if (focused) this.dialog.querySelector(`[data-test="${focused}"]`)?.focus();
    this.#compare();
  }

  #heading({ id, word, title }) {
    const chosen = this.by === id;
    return h("th", { scope: "col", "aria-sort": chosen ? (id === "made" ? "ascending" : "descending") : null },
      h("button", {
        type: "button", class: "fm-sort", title: title ?? "", "data-test": `sort-${id}`,
        onclick: () => {
          this.by = id;
          this.onOrder(id);
          this.#show();
        },
      }, word));
  }

  #side(name, index, words) {
    const input = h("input", {
      type: "radio", name: `fm-compare-${name}`, "aria-label": `${words} on the ${name}`,
      "data-test": `${name}-${index + 1}`,
    });
    input.checked = this[name] === index;
    input.addEventListener("change", () => {
      this[name] = index;
      this.#compare();
    });
    return h("td", {}, input);
  }

  #original() {
    return h("tr", { class: "fm-muted" },
      this.#side("left", ORIGINAL, "the original"), this.#side("right", ORIGINAL, "the original"),
      h("td", {}, h("img", { src: thumbnail(this.sample.image_sha, 128), alt: "" })),
      h("td", { colspan: COLUMNS.length + 5 }, "original"));
  }

  #row(one) {
    const { concept, picked_try: picked } = this.sample;
    const words = `try ${one.index + 1}`;
    const { prompt, seed } = one.settings ?? {};
    const isPicked = one.index === picked;
    const low = { d: one.scores.thresholds?.low_d, s: one.scores.thresholds?.low_s };
    return h("tr", { "data-test": `row-${one.index + 1}`, "aria-selected": isPicked ? "true" : "false" },
      this.#side("left", one.index, words), this.#side("right", one.index, words),
      h("td", {}, h("img", { src: thumbnail(one.image_sha, 128), alt: "" })),
      h("td", { class: "fm-compare-name" },
        h("span", { class: "fm-strong" }, `${one.index + 1} `), nameOf(one),
        h("span", { class: "fm-caption" }, prompt ? `seed ${seed}, by ${one.made_by}` : "the first fill")),
      ...COLUMNS.map(({ id, value }) => h("td", {
        class: `fm-number ${value(one) < low[id] ? "fm-low" : ""}`,
      }, number(value(one)))),
      proof(gone(one, concept)), proof(looks(one)), proof(outside(one)),
      h("td", {}, h("button", {
        type: "button", class: `fm-button fm-small ${isPicked ? "" : "fm-main"}`, disabled: isPicked,
        "data-test": `pick-${one.index + 1}`, onclick: () => this.onPick(one.index),
      }, isPicked ? "picked" : "pick")));
  }

  #compare() {
    const { sample } = this;
    const side = (index) => {
      const one = sample.tries.find((found) => found.index === index);
      return one ? [one.image_sha, `try ${index + 1}`] : [sample.image_sha, "original"];
    };
    this.slider.compare(sample, side(this.left), side(this.right));
  }
}

function proof(found) {
  const { ok, word, long } = found;
  const sign = icon(ok === null ? "ask" : ok ? "accept" : "warning");
  attr(sign, "data-ok", ok === null ? "unknown" : String(ok));
  const words = h("span", {});
  say(words, word);
  return h("td", { class: "fm-proof", title: long }, h("span", {}, sign, words));
}
