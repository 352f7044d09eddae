// The side story: a sample's foreground on any other background, dragged and scaled, kept as a new sample.
import { attr, h, say, settled } from "./dom.js";
import { get, layer, picture, post } from "./api.js";
import { frame, open } from "./dialogs.js";
import { icon } from "./icons.js";
import { Backdrops } from "./sidebackdrops.js";
import { SideStage } from "./sidestage.js";

const PREVIEW_AFTER_MS = 250; // at rest
const GOOD = 0.95; // share of the edge where no seam shows

export class Side {
  /** Tells of `onSaved(answer)` and `onRefused(words)`. */
  constructor({ onSaved, onRefused }) {
    Object.assign(this, { onSaved, onRefused });
    this.previewSoon = settled(() => this.#preview(), PREVIEW_AFTER_MS);
  }

  async open(sample) {
    if (!sample || this.dialog) return;
    if (!sample.mask) {
      this.onRefused(`There is no mask yet. Choose one; then the ${sample.concept} can be put elsewhere.`);
      return;
    }
    let subject;
    try {
      subject = await get(`side/${sample.id}`);
    } catch (error) {
      this.onRefused(error.message);
      return;
    }
    if (this.dialog) return; // asked twice
    this.#build(subject);
    open(this.dialog);
    this.backdrops.begin();
  }

  #build(subject) {
    this.subject = subject;
    this.question = 0;
    this.stage = new SideStage({
      subject,
      sprite: layer(subject.id, subject.layers, "foreground"),
      onMove: () => this.#moved(),
    });
    this.backdrops = new Backdrops({ own: subject.own, onChoose: (behind) => this.#put(behind) });
    this.#controls(subject);
    const body = h("div", { class: "fm-side-body" }, this.stage.element, this.panel);
    this.dialog = frame(`Put the ${subject.concept} elsewhere`, body);
    this.dialog.classList.add("fm-side");
    this.dialog.addEventListener("close", () => {
      this.question += 1; // what is under way has nowhere to go
      this.dialog = null;
    });
  }

  #controls({ scales }) {
    // The slider is logarithmic: as far to half the size as to double it.
    this.size = h("input", {
      type: "range", min: Math.log2(scales.least), max: Math.log2(scales.most), step: 0.01, value: 0,
      "data-test": "side-size", "aria-label": "Size",
    });
    this.sizeWords = h("output", { class: "fm-muted" }, "100 %");
    this.size.addEventListener("input", () => this.stage.scaleTo(2 ** Number(this.size.value)));
    this.feather = h("input", { type: "range", min: 0, max: 24, step: 1, value: 2, "data-test": "side-feather",
      "aria-label": "Soft edge" });
    this.featherWords = h("output", { class: "fm-muted" }, "2 px");
    this.feather.addEventListener("input", () => {
      say(this.featherWords, `${this.feather.value} px`);
      this.#moved();
    });
    this.poisson = h("input", { type: "checkbox", "data-test": "side-poisson" });
    this.poisson.addEventListener("change", () => this.#moved());
    this.showSeam = h("input", { type: "checkbox", "data-test": "side-seam" });
    this.showSeam.addEventListener("change", () => this.stage.seam(this.showSeam.checked));
    this.words = h("p", { class: "fm-side-words", role: "status", "data-test": "side-words" });
    this.error = h("ul", { class: "fm-errors", role: "alert" });
    this.reset = h("button", { type: "button", class: "fm-button", "data-test": "side-reset",
      onclick: () => this.stage.reset() }, icon("undo"), h("span", {}, "back to its place"));
    this.save = h("button", { type: "button", class: "fm-button fm-main", "data-test": "side-save",
      disabled: true, onclick: () => this.#save() }, icon("accept"), h("span", {}, "save as a new sample"));
    this.panel = h("div", { class: "fm-side-panel" },
      this.backdrops.element,
      h("section", { class: "fm-side-part", "aria-label": "Place" },
        h("h3", { class: "fm-title" }, "Place"),
        row("size", this.size, this.sizeWords),
        h("p", { class: "fm-note fm-small" },
          "Drag the object, or move it with the arrow keys; + and − or the wheel change its size."),
        this.reset),
      h("section", { class: "fm-side-part", "aria-label": "Edge" },
        h("h3", { class: "fm-title" }, "Edge"),
        row("soft", this.feather, this.featherWords),
        tick(this.poisson, "match the colours (Poisson)",
          "Shifts the object's colours smoothly, so that its old surroundings would match the new ones"),
        tick(this.showSeam, "show the seam", "Red where the old surroundings show along the edge, green elsewhere"),
        this.words),
      this.error,
      h("div", { class: "fm-row fm-end" }, this.save));
  }

  #put(behind) {
    this.behind = behind;
    this.stage.behind(behind ? { ...behind, src: picture(behind.sha) } : null);
    this.#moved();
  }

  #moved() {
    const { scale } = this.stage.place;
    const at = String(Math.log2(scale));
    if (this.size.value !== at) this.size.value = at;
    say(this.sizeWords, `${Math.round(100 * scale)} %`);
    attr(this.save, "disabled", true);
    this.error.replaceChildren();
    this.question += 1;
    if (!this.behind) {
      say(this.words, this.subject.own
        ? "Choose a background."
        : "This sample has no background of its own yet; choose another one, or upload one.");
    } else this.previewSoon();
  }

  #asked() {
    const { x, y, scale } = this.stage.place;
    const { source, name } = this.behind;
    return {
      behind: { source, name }, x, y, scale,
      feather_px: Number(this.feather.value), method: this.poisson.checked ? "poisson" : "feather",
    };
  }

  /** Shows the real merge, unless the object has been moved on meanwhile. */
  async #preview() {
    if (!this.dialog || !this.behind) return;
    const question = this.question;
    try {
      const made = await post(`side/${this.subject.id}/preview`, this.#asked());
      if (question !== this.question) return;
      await this.stage.show(made);
      if (question !== this.question) return;
      say(this.words, made.words);
      this.words.classList.toggle("fm-bad", made.score < GOOD);
      attr(this.save, "disabled", null);
    } catch (error) {
      if (question === this.question) this.#fail(error);
    }
  }

  async #save() {
    this.save.disabled = true;
    this.error.replaceChildren();
    try {
      const answer = await post(`side/${this.subject.id}/save`, this.#asked());
      this.dialog?.close();
      this.onSaved(answer);
    } catch (error) {
      this.#fail(error);
      attr(this.save, "disabled", null);
    }
  }

  #fail(error) {
    say(this.words, "");
    this.error.replaceChildren(h("li", {}, error.message));
  }
}

function row(word, input, output) {
  return h("label", { class: "fm-side-row" }, h("span", {}, word), input, output);
}

function tick(input, words, title) {
  return h("label", { class: "fm-check", title }, input, h("span", {}, words));
}
