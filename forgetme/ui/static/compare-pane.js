// Panes that show the same place of their pictures at the same scale: what one does, all do.
import { attr, h, s, say } from "./dom.js";
import { Gestures } from "./canvasgestures.js";
import { View } from "./canvasview.js";

const CLOSE = 4; // times the fitting scale, what a double click shows
const CRISP = 3; // screen pixels of one pixel of the picture from which on pixels are seen as squares
const NOTCH = 1.4; // of the scale, one press of a key

export class Linked {
  constructor() {
    this.view = new View();
    this.panes = new Set();
    this.resized = new ResizeObserver(([{ target }]) => {
      const { clientWidth: width, clientHeight: height } = target;
      if (width && height) this.view.resize(width, height);
      this.changed();
    });
  }

  /** Takes panes of equal size, in place of those before. */
  hold(panes) {
    this.resized.disconnect();
    this.panes = new Set(panes);
    if (panes.length) this.resized.observe(panes[0].element);
  }

  /** The pictures have this size; another size shows them whole. */
  size(width, height) {
    const { image } = this.view;
    if (image.width !== width || image.height !== height) this.view.take(width, height);
    this.changed();
  }

  changed() {
    for (const pane of this.panes) pane.place(this.view);
    this.onChange?.();
  }

  fit() {
    this.view.fit();
    this.changed();
  }

  /** All of it, or a close look at this place. */
  toggle(x, y) {
    if (this.view.fits) this.view.zoomBy(CLOSE, x, y);
    else this.view.fit();
    this.changed();
  }

  zoom(steps) {
    this.view.zoomBy(NOTCH ** steps);
    this.changed();
  }

  /** 100: one pixel of the picture is one of the screen. */
  get percent() {
    return Math.round(this.view.scale * devicePixelRatio * 100);
  }

  /** Draws the outline of a mask by address, or none; never that of another picture. */
  async trace(src) {
    if (this.traced !== src) this.#outline("");
    this.traced = src;
    const path = await outlineOf(src);
    if (this.traced === src) this.#outline(path);
  }

  #outline(path) {
    for (const pane of this.panes) pane.outline(path);
  }
}

export class Pane {
  /** `onTap` is told when it is clicked; `alt` names it. */
  constructor(linked, { alt = "", onTap } = {}) {
    this.linked = linked;
    this.image = h("img", { alt, draggable: "false" });
    this.path = s("path", {});
    this.rim = s("path", {});
    this.svg = s("svg", { "aria-hidden": "true", class: "fm-pane-outline" }, this.rim, this.path);
    this.sheet = h("div", { class: "fm-pane-sheet" }, this.image, this.svg);
    this.words = h("p", { class: "fm-pane-words", hidden: true });
    this.element = h("div", { class: "fm-pane" }, this.sheet, this.words);
    this.image.addEventListener("load", () => {
      this.element.classList.remove("fm-loading");
      linked.size(this.image.naturalWidth, this.image.naturalHeight);
    });
    this.image.addEventListener("error", () => this.tell("This picture cannot be read. Make the comparison again."));
    this.#listen(onTap);
  }

  #listen(onTap) {
    const { linked, element } = this;
    new Gestures({
      usable: true,
      view: linked.view,
      tool: { taps: true, tap: () => onTap?.() },
      holds: () => true,
      viewChanged: () => linked.changed(),
    }, element);
    element.addEventListener("dblclick", (event) => {
      const box = element.getBoundingClientRect();
      linked.toggle(event.clientX - box.left, event.clientY - box.top);
    });
  }

  /** Shows a picture, or `words` where there is none. */
  show(src, words = "") {
    if (!src) {
      this.tell(words);
      return;
    }
    this.words.hidden = true;
    this.sheet.hidden = false;
    if (this.image.getAttribute("src") === src) return;
    this.element.classList.add("fm-loading");
    this.image.src = src;
  }

  tell(words) {
    say(this.words, words);
    this.words.hidden = false;
    this.sheet.hidden = true;
    this.image.removeAttribute("src");
    this.element.classList.remove("fm-loading");
  }

  outline(path) {
    attr(this.path, "d", path);
    attr(this.rim, "d", path);
  }

  /** Whether the picture that was asked for is seen. */
  get ready() {
    return !this.element.classList.contains("fm-loading");
  }

  place({ x, y, scale, image }) {
    const { style } = this.sheet;
    style.width = `${image.width}px`;
    style.height = `${image.height}px`;
    style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    style.setProperty("--px", 1 / scale);
    attr(this.svg, "viewBox", `0 0 ${image.width} ${image.height}`);
    this.sheet.classList.toggle("fm-crisp", scale >= CRISP);
    this.element.classList.toggle("fm-zoomed", !this.linked.view.fits);
  }
}

const traced = new Map(); // by address: the outline of a mask, as it was asked for last

/** The border of a mask picture as the path of an SVG. */
function outlineOf(src) {
  if (!src) return Promise.resolve("");
  if (!traced.has(src)) {
    if (traced.size > 200) traced.delete(traced.keys().next().value);
    traced.set(src, pixelsOf(src).then(border).catch(() => ""));
  }
  return traced.get(src);
}

/** The pixels of a picture of this server. */
export async function pixelsOf(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// Marching squares: of a cell between four pixels, which of its sides' middles are joined. The four
// bits are the pixels at the upper left, upper right, lower left and lower right.
const [UP, LEFT, RIGHT, DOWN] = [[0.5, 0], [0, 0.5], [1, 0.5], [0.5, 1]];
const JOINS = {
  1: [[UP, LEFT]], 2: [[UP, RIGHT]], 4: [[LEFT, DOWN]], 8: [[DOWN, RIGHT]],
  3: [[LEFT, RIGHT]], 12: [[LEFT, RIGHT]], 5: [[UP, DOWN]], 10: [[UP, DOWN]],
  6: [[UP, LEFT], [DOWN, RIGHT]], 9: [[UP, RIGHT], [LEFT, DOWN]],
  7: [[DOWN, RIGHT]], 11: [[LEFT, DOWN]], 13: [[UP, RIGHT]], 14: [[UP, LEFT]],
};

function border({ width, height, data }) {
  const on = (x, y) => Number(x >= 0 && y >= 0 && x < width && y < height && data[4 * (y * width + x)] > 127);
  let path = "";
  for (let y = -1; y < height; y += 1) {
    for (let x = -1; x < width; x += 1) {
      const cell = on(x, y) + 2 * on(x + 1, y) + 4 * on(x, y + 1) + 8 * on(x + 1, y + 1);
      for (const [[fromX, fromY], [toX, toY]] of JOINS[cell] ?? []) {
        path += `M${x + 0.5 + fromX} ${y + 0.5 + fromY}L${x + 0.5 + toX} ${y + 0.5 + toY}`;
      }
    }
  }
  return path;
}
