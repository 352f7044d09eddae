// What the model draws from the same prompts and seeds, before and at a step: the concept, a neighbour, something unrelated.
import { attr, h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { percent } from "./train-list.js";

const API = new URL("forgetme/api/", document.baseURI).href;

export class Pictures {
  constructor() {
    this.all = false;
    this.at = null; // step; null = the latest
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Step of the pictures", "data-test": "probe-step" });
    this.slider.addEventListener("input", () => {
      this.at = Number(this.slider.value) === this.steps.length - 1 ? null : this.steps[Number(this.slider.value)];
      this.#draw();
    });
    this.step = h("output", { class: "fm-small" });
    this.more = h("button", { class: "fm-button fm-small", type: "button", "aria-pressed": false, "data-test": "probe-all" });
    this.more.addEventListener("click", () => {
      this.all = !this.all;
      this.#draw();
    });
    this.rows = h("div", { class: "fm-probe-rows" });
    this.empty = h("p", { class: "fm-small fm-muted" }, "No picture yet; the first ones are drawn before the first step.");
    this.element = h("section", { class: "fm-probes", "aria-label": "Pictures", "data-test": "probes" },
      h("header", {}, h("h3", { class: "fm-title" }, "Same prompts, same seeds"), h("span", { class: "fm-spring" }),
        h("label", { class: "fm-smooth fm-small" }, "step", this.slider, this.step), this.more),
      this.empty, this.rows);
  }

  show(run, scores) {
    if (this.run?.name !== run.name) Object.assign(this, { at: null, all: false });
    Object.assign(this, { run, scores });
    this.steps = [...new Set(Object.values(run.probes).flat())].filter((step) => step > 0).sort((a, b) => a - b);
    this.#draw();
  }

  #draw() {
    const { run, steps } = this;
    const concepts = [run.concept, ...run.keep, ...run.watch];
    const places = concepts.map((_, place) => place).filter((place) => run.probes[place]?.length);
    const near = [0, 1, concepts.length - 1];
    const shown = this.all ? places : places.filter((place) => near.includes(place));
    const at = this.at !== null && steps.includes(this.at) ? this.at : steps.at(-1) ?? 0;
    this.empty.hidden = places.length > 0;
    this.slider.parentElement.hidden = steps.length < 2;
    this.slider.max = Math.max(0, steps.length - 1);
    this.slider.value = Math.max(0, steps.indexOf(at));
    say(this.step, String(at));
    this.more.hidden = places.length <= new Set(near).size;
    attr(this.more, "aria-pressed", this.all);
    say(this.more, this.all ? "only three" : `all ${places.length} concepts`);
    keyed(this.rows, shown, (place) => `${run.name} ${place}`, (place) => this.#row(concepts, place),
      (row, place) => this.#fill(row, place, concepts[place], at));
  }

  #row(concepts, place) {
    const role = place === 0 ? "to forget" : place > this.run.keep.length ? "not held" : place === 1 ? "a neighbour" : place === this.run.keep.length ? "unrelated" : "to keep";
    const strip = () => h("figure", {}, h("img", { loading: "lazy", decoding: "async", alt: "" }), h("figcaption", { class: "fm-small fm-muted" }));
    return h("div", { class: "fm-probe-row", "data-test": `probe-${place}` },
      h("div", { class: "fm-probe-name" }, h("strong", {}, concepts[place]), h("span", { class: "fm-small fm-muted" }, role)),
      strip(), strip());
  }

  #fill(row, place, name, at) {
    const there = this.run.probes[place];
    const later = there.filter((step) => step > 0 && step <= at).at(-1);
    const [, before, after] = row.children;
    this.#strip(before, place, name, there.includes(0) ? 0 : there[0], "before");
    after.hidden = later === undefined;
    if (later !== undefined) this.#strip(after, place, name, later, `step ${later}`);
  }

  #strip(figure, place, name, step, word) {
    const [image, caption] = figure.children;
    const source = `${API}train/runs/${this.run.name}/probes/${step}-${place}.png?${encodeURIComponent(this.run.at ?? "")}`;
    attr(image, "src", source);
    image.alt = `Four pictures drawn for ${name}, ${word}`;
    const share = this.scores.find((probe) => probe.step === step)?.by_concept[name];
    const good = share === undefined ? null : place === 0 ? share <= 0.1 : share >= 0.9;
    const words = share === undefined ? word : `${word}: recognised in ${percent(share)}`;
    if (caption.dataset.words === words) return;
    caption.dataset.words = words;
    caption.replaceChildren(...(step > 0 && good !== null ? [icon(good ? "accept" : "warning")] : []), words);
    attr(caption, "data-good", step > 0 ? good : null);
  }
}
