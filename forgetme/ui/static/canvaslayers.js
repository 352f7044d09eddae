// What lies over the picture: the tint of the mask, outlines, the highlighted proposal.
// Each layer is a canvas of the screen's resolution, so a photo of any size costs the same.

export const COLOURS = [
  { name: "blue", light: "#8db0fb", deep: "#3b6fe0" },
  { name: "green", light: "#7fe6a2", deep: "#12b150" },
  { name: "magenta", light: "#ff9bf0", deep: "#e02bc0" },
  { name: "yellow", light: "#fff27a", deep: "#f0c800" },
];
const DARK = "rgb(10 12 16 / 80%)";
const FAINT_DARK = "rgb(10 12 16 / 45%)";
const FAINT_LIGHT = "rgb(255 255 255 / 75%)";
const LARGER = 2; // drawn layers may be stretched so far, or shrunk, or moved by such a part of the stage
const SMALLER = 0.6;
const ASIDE = 0.4;
const MAX_DENSITY = 2; // device pixels for one of CSS; more cannot be seen on a line

function layer(name) {
  const element = document.createElement("canvas");
  element.className = `fm-layer fm-layer-${name}`;
  element.setAttribute("aria-hidden", "true");
  return { element, context: element.getContext("2d") };
}

export class Layers {
  constructor(view) {
    this.view = view;
    this.at = { x: 0, y: 0, scale: 1 }; // of the view when the layers were drawn
    this.tint = layer("tint");
    this.lines = layer("lines");
    this.hint = layer("hint");
    this.all = [this.tint, this.lines, this.hint];
    this.elements = this.all.map((one) => one.element);
    this.colour = COLOURS[0];
  }

  resize() {
    this.density = Math.min(MAX_DENSITY, window.devicePixelRatio || 1);
    const { width, height } = this.view.box;
    for (const { element } of this.all) {
      element.width = Math.round(width * this.density);
      element.height = Math.round(height * this.density);
    }
  }

  /** How the layers lie over the view now: the stretch, and how far they were moved. */
  get #carry() {
    const { view, at } = this;
    const k = view.scale / at.scale;
    return { k, x: view.x - k * at.x, y: view.y - k * at.y };
  }

  /** The CSS transform that lays what is drawn where the view is now. */
  get carried() {
    const { k, x, y } = this.#carry;
    return `translate(${x}px, ${y}px) scale(${k})`;
  }

  /** Whether what is drawn has left the view too far to stand for it. */
  get drifted() {
    const { k, x, y } = this.#carry;
    const { width, height } = this.view.box;
    const beside = (start, side) => Math.abs(start + (k * side) / 2 - side / 2) > ASIDE * side;
    return k > LARGER || k < SMALLER || beside(x, width) || beside(y, height);
  }

  /** Lets a context draw in pixels of the image, after wiping it. */
  #begin({ element, context }) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, element.width, element.height);
    const { scale, x, y } = this.at;
    const k = scale * this.density;
    context.setTransform(k, 0, 0, k, x * this.density, y * this.density);
    context.lineJoin = "round";
    context.lineCap = "round";
  }

  /** Outlines run through the middle of the pixels on the edge. */
  #inPixels(context, draw) {
    context.translate(0.5, 0.5);
    draw();
    context.translate(-0.5, -0.5);
  }

  /**
   * Draws all but the hint: `mask` is an Outline or null, `drawn` what the server has not seen yet;
   * `quick` leaves the dark stroke under the proposals out, while the picture moves.
   */
  draw({ mask, proposals, drawn, quick }) {
    const { x, y, scale } = this.view;
    this.at = { x, y, scale };
    this.#drawTint(mask, drawn);
    this.#drawLines(mask, proposals, drawn, quick);
  }

  #drawTint(mask, drawn) {
    const { context } = this.tint;
    this.#begin(this.tint);
    context.fillStyle = this.colour.deep;
    context.strokeStyle = this.colour.deep;
    if (mask) {
      this.#inPixels(context, () => {
        const path = mask.at(this.at.scale);
        context.fill(path, "evenodd");
        context.lineWidth = 1; // the outer half of the pixels on the edge
        context.stroke(path);
      });
    }
    for (const one of drawn) this.#apply(context, one);
  }

  #drawLines(mask, proposals, drawn, quick) {
    const { context } = this.lines;
    this.#begin(this.lines);
    const shown = proposals.filter((one) => one !== mask && one.inWindow(this.view.window));
    this.#inPixels(context, () => {
      if (!quick) for (const one of shown) this.#line(context, one, FAINT_DARK, 3);
      for (const one of shown) this.#line(context, one, FAINT_LIGHT, 1.25);
      if (mask) {
        this.#line(context, mask, DARK, 4);
        this.#line(context, mask, this.colour === COLOURS[0] ? "#fff" : this.colour.light, 1.75);
      }
    });
    for (const one of drawn) if (one.mode === "erase") this.#apply(context, one);
  }

  #line(context, outline, style, px) {
    context.strokeStyle = style;
    context.lineWidth = px / this.at.scale;
    context.stroke(outline.at(this.at.scale));
  }

  /** Highlights one outline, such as the proposal under the pointer. */
  drawHint(outline) {
    const { context } = this.hint;
    this.#begin(this.hint);
    if (!outline) return;
    this.#inPixels(context, () => {
      context.globalAlpha = 0.22;
      context.fillStyle = this.colour.deep;
      context.fill(outline.at(this.at.scale), "evenodd");
      context.globalAlpha = 1;
      this.#line(context, outline, DARK, 4);
      this.#line(context, outline, this.colour.light, 2);
    });
  }

  /** Draws the newest part of a stroke at once, without drawing the rest again. */
  extend(stroke, from) {
    const part = { ...stroke, points: stroke.points.slice(Math.max(0, from - 1)) };
    this.#apply(this.tint.context, part);
    if (stroke.mode === "erase") this.#apply(this.lines.context, part);
  }

  /** Adds or takes away what a hand drew: a stroke with a radius, or a polygon. */
  #apply(context, { mode, radius, points }) {
    context.globalCompositeOperation = mode === "erase" ? "destination-out" : "source-over";
    context.fillStyle = context.strokeStyle = this.colour.deep;
    context.beginPath();
    const centre = radius === undefined ? (value) => value : (value) => Math.floor(value) + 0.5;
    points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](centre(x), centre(y)));
    if (radius === undefined) context.fill("nonzero");
    else {
      if (points.length === 1) context.lineTo(centre(points[0][0]), centre(points[0][1]));
      context.lineWidth = 2 * radius + 1;
      context.stroke();
    }
    context.globalCompositeOperation = "source-over";
  }
}
