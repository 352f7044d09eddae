// The picture, what lies over it, and the tools on it. All coordinates are pixels of the image.
import { attr, h, s } from "./dom.js";
import { picture } from "./api.js";
import { COLOURS, Layers } from "./canvaslayers.js";
import { Gestures } from "./canvasgestures.js";
import { outlineOf, pathOf } from "./canvasoutlines.js";
import { toolsOf } from "./canvastools.js";
import { View } from "./canvasview.js";

export { pathOf };

const SKELETON_AFTER_MS = 150;
const SHARP_AFTER_MS = 160; // after the last move the layers are drawn anew, not only carried along
const PIXELS_FROM = 4; // from this zoom on, pixels are squares
const BRUSH_STEP = 1.25;
const LEAST_BRUSH = 0.002; // of the longest side
const LARGEST_BRUSH = 0.25;
const MAX_RADIUS = 1000; // px, what the server takes

export class Stage {
  /** `hand` takes what is meant: choose, point, box, stroke, polygon. `kept` outlives the page. */
  constructor(hand, kept) {
    this.hand = hand;
    this.kept = kept;
    this.sample = null;
    this.shownSha = "";
    this.label = 1;
    this.live = null; // the stroke under way
    this.outlines = new Map();
    this.view = new View();
    this.layers = new Layers(this.view);
    this.layers.colour = COLOURS.find((one) => one.name === kept.colour) ?? COLOURS[0];
    this.#build();
    this.tools = toolsOf(this);
    this.setTool(this.tools[kept.tool] ? kept.tool : "pick");
    this.gestures = new Gestures(this, this.element);
    this.setTint(kept.tint);
    window.addEventListener("keydown", (event) => this.#key(event), true);
    new ResizeObserver(() => this.#resized()).observe(this.element);
  }

  #build() {
    this.world = h("div", { class: "fm-world" });
    this.over = s("g", {});
    this.points = s("g", { class: "fm-points" });
    this.svg = s(
      "svg",
      { class: "fm-svg", preserveAspectRatio: "none", role: "img", viewBox: "0 0 1 1" },
      this.over, this.points,
    );
    this.veil = h("div", { class: "fm-veil" }, ...this.layers.elements, this.svg);
    this.broken = h("div", { class: "fm-broken", hidden: true });
    this.element = h(
      "div", { class: "fm-stage", "data-test": "stage" },
      this.world, this.veil, this.broken,
    );
  }

  // ------------------------------------------------------------------ what is shown
  /** Shows a sample; the picture is only exchanged when it is another one. */
  show(sample, points) {
    const another = sample?.id !== this.sample?.id;
    this.sample = sample;
    const broken = !sample?.image_sha;
    this.element.classList.toggle("fm-no-picture", broken);
    this.broken.hidden = !broken;
    this.broken.textContent = sample?.error ?? "";
    if (another) {
      this.tool.cancel?.();
      this.hint = null;
    }
    if (broken) {
      this.shownSha = "";
      this.ready = false;
      this.world.replaceChildren();
      return;
    }
    if (this.shownSha !== sample.image_sha) this.#exchange(sample);
    this.shownPoints = points;
    this.redraw();
    this.svg.setAttribute("aria-label", describe(sample));
  }

  #exchange(sample) {
    const sha = sample.image_sha;
    this.shownSha = sha;
    this.outlines.clear();
    this.ready = false;
    const image = this.pictureOf?.(sha) ?? new Image();
    Object.assign(image, { alt: "", draggable: false, width: sample.width, height: sample.height });
    image.dataset.test = "picture";
    if (!image.src) image.src = picture(sha);
    this.world.replaceChildren(image);
    this.view.take(sample.width, sample.height);
    this.viewChanged(false);
    this.#whenDecoded(image, sha);
  }

  #whenDecoded(image, sha) {
    const seen = () => {
      if (this.shownSha !== sha || this.ready) return;
      this.ready = true;
      this.element.classList.remove("fm-loading");
    };
    if (image.complete && image.naturalWidth && image.dataset.decoded) {
      seen();
      return;
    }
    setTimeout(() => this.element.classList.toggle("fm-loading", !this.ready), SKELETON_AFTER_MS);
    const missing = () => {
      if (this.shownSha !== sha) return;
      this.broken.hidden = false;
      this.broken.textContent = "The picture did not arrive. Reload the page; nothing is lost.";
    };
    image.decode().then(seen, () => {
      if (image.complete) (image.naturalWidth ? seen : missing)();
      else {
        image.addEventListener("load", seen, { once: true });
        image.addEventListener("error", missing, { once: true });
      }
    });
  }

  /** The proposals under a place, the smallest first. */
  proposalsAt(at) {
    const { scale } = this.view;
    return this.#proposals()
      .filter(({ outline }) => outline?.holds(at.x - 0.5, at.y - 0.5, scale))
      .sort((a, b) => a.outline.area - b.outline.area);
  }

  #proposals() {
    return (this.sample?.proposals ?? []).map((one) => {
      if (!this.outlines.has(one.key)) this.outlines.set(one.key, outlineOf(one.outline));
      return { index: one.index, outline: this.outlines.get(one.key) };
    });
  }

  #mask() {
    const { sample } = this;
    if (Number.isInteger(sample?.chosen)) {
      return this.#proposals().find((one) => one.index === sample.chosen)?.outline ?? null;
    }
    return outlineOf(sample?.mask?.outline);
  }

  /** Draws all layers before the next frame, once however often it is asked for. */
  redraw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.#draw();
    });
  }

  #draw() {
    if (!this.sample?.image_sha) return;
    const drawn = [...(this.sample.drawn ?? []), ...(this.live ? [this.live] : [])];
    const offered = this.kept.all && this.tool === this.tools.pick
      ? this.#proposals().map((one) => one.outline) : [];
    const proposals = offered.filter(Boolean);
    const { x, y, width, height } = this.view.window;
    attr(this.svg, "viewBox", `${x} ${y} ${width} ${height}`);
    this.#placePoints();
    this.veil.style.transform = "";
    this.layers.draw({ mask: this.#mask(), proposals, drawn, quick: Boolean(this.moving) });
    this.layers.drawHint(this.hint ?? null);
    this.element.classList.toggle("fm-drawing", drawn.length > 0);
  }

  /** A stroke grew: only the new part is drawn. */
  extendLive(from) {
    this.element.classList.add("fm-drawing");
    this.layers.extend(this.live, from);
  }

  #placePoints() {
    const size = 1 / this.view.scale;
    this.points.replaceChildren(...(this.shownPoints ?? []).map(([x, y, label]) => s(
      "g",
      {
        class: label ? "fm-point fm-point-yes" : "fm-point fm-point-no",
        transform: `translate(${x + 0.5} ${y + 0.5}) scale(${size})`,
      },
      s("circle", { r: 7 }),
      s("path", { d: label ? "M-3 0h6M0-3v6" : "M-3 0h6" }),
    )));
  }

  // ------------------------------------------------------------------ where and how large
  /**
   * The picture was moved or zoomed; `going` says that more of it may follow. Then what lies over
   * it is only carried along, which costs no drawing however many outlines there are.
   */
  viewChanged(going = true) {
    const { x, y, scale } = this.view;
    this.world.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.world.classList.toggle("fm-pixels", scale >= PIXELS_FROM);
    this.element.classList.toggle("fm-zoomed", !this.view.fits);
    this.onView?.(scale);
    clearTimeout(this.sharpen);
    this.#setMoving(going);
    if (going) this.sharpen = setTimeout(() => this.#sharpen(), SHARP_AFTER_MS);
    if (going && !this.layers.drifted) this.veil.style.transform = this.layers.carried;
    else this.redraw();
  }

  #sharpen() {
    this.#setMoving(false);
    this.redraw();
  }

  /** While the picture moves, the browser keeps it and what lies over it as they were painted. */
  #setMoving(on) {
    if (on === Boolean(this.moving)) return;
    this.moving = on;
    this.world.style.willChange = this.veil.style.willChange = on ? "transform" : "";
  }

  #resized() {
    const { width, height } = this.element.getBoundingClientRect();
    if (!width || !height) return;
    this.view.resize(width, height);
    this.layers.resize();
    this.viewChanged(false);
    this.#draw(); // a canvas of another size is empty until then
  }

  /** Fits the whole picture, or shows one pixel of it as one of the screen. */
  toggleZoom() {
    if (!this.sample?.image_sha) return;
    if (this.view.fits) this.view.zoomTo(1);
    else this.view.fit();
    this.viewChanged();
  }

  zoomBy(factor) {
    if (!this.sample?.image_sha) return;
    this.view.zoomBy(factor);
    this.viewChanged();
  }

  holds({ x, y }) {
    return x >= 0 && y >= 0 && x < this.sample.width && y < this.sample.height;
  }

  /** Whether there is a picture that may be worked on. */
  get usable() {
    return Boolean(this.sample?.image_sha) && !this.sample.loading && this.sample.state !== "broken";
  }

  // ------------------------------------------------------------------ tools
  setTool(id) {
    if (!this.tools[id]) return;
    this.tool?.cancel?.();
    this.tool?.hover?.(null);
    this.tool = this.tools[id];
    this.element.dataset.tool = id;
    this.redraw();
  }

  /** The brush's radius in pixels; it is kept as a part of the longest side. */
  get radius() {
    const { width = 0, height = 0 } = this.sample ?? {};
    return Math.min(MAX_RADIUS, Math.max(0, Math.round(this.kept.brush * Math.max(width, height) * 2) / 2));
  }

  resizeBrush(step) {
    const wanted = this.kept.brush * BRUSH_STEP ** step;
    this.kept.brush = Math.min(LARGEST_BRUSH, Math.max(LEAST_BRUSH, wanted));
    this.tool.resized?.();
  }

  #key(event) {
    if (!this.tool.busy || event.isComposing || !this.tool.key?.(event.key)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /** While on, a drag moves the picture whatever the tool. */
  pan(on) {
    this.gestures.setPan(on);
  }

  /** Whether a stroke is under way, so that nothing may change below it. */
  get busy() {
    return this.gestures.busy || Boolean(this.tool.busy);
  }

  // ------------------------------------------------------------------ how it is shown
  /** Shows an outline for a moment: rings such as those of the card under the pointer, or an Outline. */
  hintAt(outline) {
    const hint = Array.isArray(outline) ? outlineOf(outline) : outline;
    if (hint === this.hint) return;
    this.hint = hint;
    this.layers.drawHint(hint);
  }

  setTint(on) {
    this.tint = on;
    this.element.classList.toggle("fm-no-tint", !on);
  }

  /** Whether all proposals are outlined, or only the chosen one and the one under the pointer. */
  setAll(on) {
    this.kept.all = on;
    this.redraw();
  }

  nextColour() {
    const at = COLOURS.indexOf(this.layers.colour);
    this.layers.colour = COLOURS[(at + 1) % COLOURS.length];
    this.redraw();
    return this.layers.colour;
  }

  /** While held, only the original is to be seen. */
  bare(on) {
    this.element.classList.toggle("fm-bare", on);
  }
}

function describe(sample) {
  const mask = sample.mask ? "the chosen mask is outlined" : "no mask is chosen";
  return `${sample.name}: ${sample.width} by ${sample.height} pixels; ${mask}. Click to add a point.`;
}
