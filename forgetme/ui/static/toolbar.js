// The tools above the picture: what a click means, growing and shrinking, undo, and how it is shown.
import { attr, h } from "./dom.js";
import { icon } from "./icons.js";

const GROW_PX = 0.01; // of the longest side, at least one pixel

export class Toolbar {
  constructor(page) {
    this.page = page;
    this.yes = this.#kind(1, "add", "this is it", "A click marks the object");
    this.no = this.#kind(0, "less", "this is not", "A click marks what is not the object (also right click)");
    this.grow = this.#tool("grow", "Grow the mask (+)", () => this.resize(1));
    this.shrink = this.#tool("shrink", "Shrink the mask (−)", () => this.resize(-1));
    this.undo = this.#tool("undo", "Undo the last change of the mask (Z)", () => this.step("undo_mask"));
    this.clear = h("button", {
      class: "fm-button fm-quiet fm-small fm-wide", title: "Back to the proposed mask", "data-test": "clear",
      onclick: () => this.step("clear_mask"),
    }, "reset");
    this.tint = this.#tool("tint", "Tint the object (T)", () => this.toggleTint());
    this.bare = this.#tool("eye", "Hold to see the original only (O)", () => {});
    this.bare.classList.add("fm-wide");
    for (const [event, on] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false]]) {
      this.bare.addEventListener(event, () => page.stage.bare(on));
    }
    this.concept = h("span", {
      class: "fm-concept", title: "What is to be forgotten in this image", "data-test": "sample-concept",
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
      h("div", { class: "fm-group" }, this.yes, this.no),
      h("div", { class: "fm-group" }, this.grow, this.shrink, this.undo, this.clear),
      h("div", { class: "fm-group" }, this.tint, this.bare),
      h("span", { class: "fm-spring" }),
      this.name,
      this.concept,
      h("div", { class: "fm-group" },
        this.#tool("previous", "Previous image (←)", () => page.move(-1)),
        this.#tool("next", "Next image (→)", () => page.move(1))),
    );
    this.#choose(1);
    attr(this.tint, "aria-pressed", true);
  }

  #tool(name, title, onclick) {
    return h("button", {
      class: "fm-button fm-quiet", title, "aria-label": title, "data-test": name, onclick,
    }, icon(name));
  }

  #kind(label, name, word, title) {
    return h("button", {
      class: "fm-button fm-quiet fm-small", title, "data-test": `label-${label}`,
      onclick: () => this.#choose(label),
    }, icon(name), h("span", { class: "fm-word" }, word));
  }

  #choose(label) {
    this.page.stage.label = label;
    attr(this.yes, "aria-pressed", label === 1);
    attr(this.no, "aria-pressed", label === 0);
  }

  resize(sign) {
    const { sample } = this.page;
    if (!sample?.mask) return;
    const px = Math.max(1, Math.round(GROW_PX * Math.max(sample.width, sample.height)));
    this.page.acts.send("grow", { px: sign * Math.min(px, 64) });
  }

  step(name) {
    const can = { undo_mask: "can_undo_mask", redo_mask: "can_redo_mask", clear_mask: "can_undo_mask" }[name];
    if (this.page.sample?.[can]) this.page.acts.send(name);
  }

  toggleTint() {
    const on = !this.page.stage.tint;
    this.page.stage.setTint(on);
    attr(this.tint, "aria-pressed", on);
  }

  show(sample) {
    this.name.textContent = sample ? sample.name : "";
    this.concept.textContent = sample ? sample.concept : "";
    this.concept.hidden = !sample;
    this.name.title = sample?.source ?? "";
    for (const tool of [this.grow, this.shrink]) tool.disabled = !sample?.mask;
    this.undo.disabled = !sample?.can_undo_mask;
    this.clear.disabled = !(sample?.mask?.edited && sample.can_undo_mask);
  }
}
