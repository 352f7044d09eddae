// The bar at the foot of the picture: what the tool can be set to, and how the picture is shown.
import { attr, h, say } from "./dom.js";
import { icon } from "./icons.js";
import { hint } from "./keymap.js";

const ZOOM_STEP = 1.4;
const SLIDER_STEPS = 100;
const LEAST = 0.002; // the slider's ends, of the longest side
const LARGEST = 0.25;
const TIPS = {
  pick: "Click an outline to pick it; elsewhere, the object there is looked for.",
  box: "Drag around the object.",
  polygon: "Click corners or draw around. Enter closes, Esc gives up.",
};

export class CanvasBar {
  constructor(stage) {
    this.stage = stage;
    this.yes = this.#label(1, "add", "this is it", "A click marks the object");
    this.no = this.#label(0, "less", "this is not", "A click marks what is not the object");
    this.size = h("input", {
      type: "range", min: 0, max: SLIDER_STEPS, class: "fm-brush-size", "aria-label": "Brush size",
      "data-own-keys": true, "data-test": "brush-size",
    });
    this.size.addEventListener("input", () => {
      stage.kept.brush = LEAST * (LARGEST / LEAST) ** (this.size.value / SLIDER_STEPS);
      this.show();
    });
    this.pixels = h("output", { class: "fm-caption fm-brush-px" });
    this.tip = h("span", { class: "fm-caption fm-tip" });
    this.points = h("span", { class: "fm-group" }, this.yes, this.no);
    this.brush = h("label", { class: "fm-row fm-brush" }, h("span", { class: "fm-caption" }, "size"), this.size, this.pixels);
    this.zoomed = h("button", {
      class: "fm-button fm-quiet fm-small fm-zoom", "data-test": "zoom", onclick: () => stage.toggleZoom(),
    });
    hint(this.zoomed, "Fit the picture, or 100 %", "zoom");
    this.tint = this.#tool("tint", "Tint the object", "tint", () => this.toggleTint());
    this.all = this.#tool("outlines", "Outline all proposals", "outlines", () => this.toggleAll());
    this.colour = this.#tool("colour", "Another colour", "colour", () => this.nextColour());
    this.colour.replaceChildren(h("span", { class: "fm-swatch" }));
    this.bare = this.#tool("eye", "Hold to see the original only", "original", () => {});
    for (const [event, on] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false]]) {
      this.bare.addEventListener(event, () => stage.bare(on));
    }
    this.element = h(
      "div", { class: "fm-canvas-bar" },
      h("div", { class: "fm-set" }, this.points, this.brush, this.tip),
      h("span", { class: "fm-spring" }),
      h("div", { class: "fm-set" },
        this.all, this.tint, this.colour, this.bare,
        this.#plain("less", "Zoom out", () => stage.zoomBy(1 / ZOOM_STEP)),
        this.zoomed,
        this.#plain("add", "Zoom in", () => stage.zoomBy(ZOOM_STEP))),
    );
    stage.onView = () => this.#showZoom();
    attr(this.tint, "aria-pressed", stage.tint);
    attr(this.all, "aria-pressed", stage.kept.all);
    this.#paintSwatch();
    this.choose(1);
    this.show();
  }

  #tool(name, words, act, onclick) {
    const button = h("button", { class: "fm-button fm-quiet", "data-test": name, onclick }, icon(name));
    return hint(button, words, act);
  }

  #plain(name, words, onclick) {
    return h("button", {
      class: "fm-button fm-quiet fm-wide", title: words, "aria-label": words, onclick,
    }, icon(name));
  }

  #label(label, name, word, title) {
    return h("button", {
      class: "fm-button fm-quiet fm-small", title, "data-test": `label-${label}`,
      onclick: () => this.choose(label),
    }, icon(name), word);
  }

  choose(label) {
    this.stage.label = label;
    attr(this.yes, "aria-pressed", label === 1);
    attr(this.no, "aria-pressed", label === 0);
  }

  toggleTint() {
    const { stage } = this;
    stage.kept.tint = !stage.tint;
    stage.setTint(stage.kept.tint);
    attr(this.tint, "aria-pressed", stage.tint);
  }

  toggleAll() {
    const { stage } = this;
    stage.setAll(!stage.kept.all);
    attr(this.all, "aria-pressed", stage.kept.all);
  }

  nextColour() {
    this.stage.kept.colour = this.stage.nextColour().name;
    this.#paintSwatch();
  }

  #paintSwatch() {
    const { name, deep } = this.stage.layers.colour;
    this.colour.firstChild.style.background = deep;
    this.colour.dataset.colour = name;
  }

  /** The tool, its size or the sample changed. */
  show() {
    const { stage } = this;
    const { tool } = stage.kept;
    this.element.hidden = !stage.sample?.image_sha;
    const brushes = tool === "brush" || tool === "erase";
    this.points.hidden = tool !== "point";
    this.brush.hidden = !brushes;
    say(this.tip, TIPS[tool] ?? "");
    if (brushes) {
      const at = Math.log(stage.kept.brush / LEAST) / Math.log(LARGEST / LEAST);
      this.size.value = Math.round(at * SLIDER_STEPS);
      say(this.pixels, `${Math.round(2 * stage.radius + 1)} px`);
    }
    this.#showZoom();
  }

  #showZoom() {
    const { view } = this.stage;
    const percent = Math.round(view.scale * (window.devicePixelRatio || 1) * 100);
    say(this.zoomed, `${percent} %`);
    attr(this.zoomed, "aria-pressed", !view.fits);
  }
}
