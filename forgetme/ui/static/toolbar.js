// The tools above the picture: what a press means, what is done to the whole mask, undo and redo.
import { attr, h } from "./dom.js";
import { TOOLS } from "./canvastools.js";
import { icon } from "./icons.js";
import { hint } from "./keymap.js";

const GROW_PX = 0.01; // of the longest side, at least one pixel
const SMOOTH_PX = 0.004;
const MOST_PX = 64; // what the server takes
const WHOLE = [
  ["grow", "Grow the mask", (bar) => bar.resize(1)],
  ["shrink", "Shrink the mask", (bar) => bar.resize(-1)],
  ["fill_holes", "Fill the holes in the mask", (bar) => bar.mend("fill_holes")],
  ["largest", "Keep only the largest part of the mask", (bar) => bar.mend("largest")],
  ["smooth", "Smooth the edge of the mask", (bar) => bar.mend("smooth")],
];

export class Toolbar {
  /** `bar` is the one at the foot of the picture. */
  constructor(page, bar) {
    this.page = page;
    this.bar = bar;
    this.tools = Object.fromEntries(TOOLS.map(({ id, title }) => {
      const button = this.#button(id, title, `tool_${id}`, () => this.use(id));
      button.dataset.test = `tool-${id}`;
      return [id, button];
    }));
    this.whole = WHOLE.map(([id, title, act]) => this.#button(id, title, id, () => act(this)));
    this.undo = this.#button("undo", "Undo the last change of the mask", "undo_mask", () => this.step("undo_mask"));
    this.redo = this.#button("redo", "Redo it", "redo_mask", () => this.step("redo_mask"));
    this.clear = h("button", {
      class: "fm-button fm-quiet fm-small fm-wide", title: "Back to the proposed mask", "data-test": "clear",
      onclick: () => this.step("clear_mask"),
    }, "reset");
    this.concept = h("button", {
      class: "fm-concept", "data-test": "sample-concept", onclick: () => page.acts.about(),
      title: "What is to be forgotten in this image; click to change it, or to delete the sample",
    });
    this.name = h("span", { class: "fm-name fm-muted", "data-test": "name" });
    this.queue = h("button", {
      class: "fm-button fm-quiet fm-narrow", "aria-label": "Queue",
      onclick: () => page.root.classList.toggle("fm-show-queue"),
    }, icon("list"));
    this.element = h(
      "div",
      { class: "fm-toolbar", role: "toolbar", "aria-label": "Mask tools" },
      this.queue,
      h("div", { class: "fm-group fm-tools", role: "radiogroup", "aria-label": "Tool" }, Object.values(this.tools)),
      h("div", { class: "fm-group" }, this.whole),
      h("div", { class: "fm-group fm-history" }, this.undo, this.redo, this.clear),
      h("span", { class: "fm-spring" }),
      this.name,
      this.concept,
      h("div", { class: "fm-group" },
        this.#button("previous", "Previous image", "previous", () => page.move(-1)),
        this.#button("next", "Next image", "next", () => page.move(1))),
    );
    this.use(page.stage.tools[page.stage.kept.tool] ? page.stage.kept.tool : "pick");
  }

  #button(name, words, act, onclick) {
    const button = h("button", { class: "fm-button fm-quiet", "data-test": name, onclick }, icon(name));
    return hint(button, words, act);
  }

  /** Takes a tool into the hand; it stays there for the next images. */
  use(id) {
    const { stage } = this.page;
    stage.kept.tool = id;
    stage.setTool(id);
    for (const [name, button] of Object.entries(this.tools)) {
      attr(button, "role", "radio");
      attr(button, "aria-checked", name === id);
    }
    this.bar.show();
  }

  brush(step) {
    this.page.stage.resizeBrush(step);
    this.bar.show();
  }

  resize(sign) {
    this.#whole("grow", { px: sign * this.#pixels(GROW_PX) });
  }

  /** "fill_holes", "largest" or "smooth". */
  mend(name) {
    this.#whole(name, name === "smooth" ? { sigma: this.#pixels(SMOOTH_PX) } : {});
  }

  #whole(name, body) {
    if (!this.page.stage.busy) this.page.hand.whole(name, body);
  }

  #pixels(part) {
    const { width = 0, height = 0 } = this.page.sample ?? {};
    return Math.min(MOST_PX, Math.max(1, Math.round(part * Math.max(width, height))));
  }

  step(name) {
    const { hand, sample, stage } = this.page;
    if (stage.busy) return;
    if (name === "undo_mask") hand.undo();
    else if (name === "redo_mask") hand.redo();
    else if (sample?.can_undo_mask) hand.whole(name);
  }

  zoom() {
    this.page.stage.toggleZoom();
  }

  toggleTint() {
    this.bar.toggleTint();
  }

  toggleAll() {
    this.bar.toggleAll();
  }

  nextColour() {
    this.bar.nextColour();
  }

  show(sample) {
    this.name.textContent = sample ? sample.name : "";
    this.concept.textContent = sample ? sample.concept : "";
    this.concept.hidden = !sample;
    this.name.title = sample?.source ?? "";
    for (const button of this.whole) button.disabled = !sample?.mask;
    this.undo.disabled = !sample?.can_undo_mask;
    this.redo.disabled = !sample?.can_redo_mask;
    this.clear.disabled = !(sample?.mask?.edited && sample.can_undo_mask);
    this.bar.show();
  }
}
