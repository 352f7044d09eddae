// The tools of the canvas: what a press, a drag and a release mean. Places are pixels of the image.
import { s } from "./dom.js";

/** In the order of the toolbar; keys are in keymap.json, under "tool_" and the id. */
export const TOOLS = [
  { id: "pick", word: "pick", title: "Pick: click a proposed outline; elsewhere, the object there is looked for" },
  { id: "point", word: "point", title: "Points: click what belongs to the object; right click or shift what does not" },
  { id: "box", word: "box", title: "Box: drag around the object" },
  { id: "brush", word: "brush", title: "Brush: paint the mask; right button or shift erases" },
  { id: "erase", word: "eraser", title: "Eraser: take away from the mask; right button or shift paints" },
  { id: "polygon", word: "polygon", title: "Polygon: click corners or draw around; right button or shift cuts away" },
];

const LEAST_BOX = 4; // screen pixels
const STROKE_GAP = 0.75; // screen pixels between two points of a stroke
const LASSO_GAP = 4;
const CLOSE_TO = 9; // screen pixels from the first corner
const LONG_STROKE = 4000; // points; the server takes a few times as many
const other = (event) => event.button === 2 || (event.buttons & 2) !== 0 || event.shiftKey;
const tenth = (value) => Math.round(value * 10) / 10;
const distance = (a, [x, y]) => Math.hypot(a.x - x, a.y - y);

/** Two strokes, dark under light, so that the line shows on every picture. */
function twice(tag, props = {}) {
  const make = (kind) => s(tag, {
    ...props, class: `fm-line fm-line-${kind}`, "vector-effect": "non-scaling-stroke",
  });
  const both = [make("dark"), make("light")];
  return {
    both,
    set: (values) => both.forEach((one) => Object.entries(values).forEach(([k, v]) => one.setAttribute(k, v))),
    hide: (on) => both.forEach((one) => one.classList.toggle("fm-hidden", on)),
  };
}

/** Clicks choose a proposal; clicking again goes to the next one under the pointer. */
class Pick {
  taps = true;

  constructor(stage) {
    this.stage = stage;
  }

  hover(at) {
    if (at && this.stage.moving) return; // looking for it would hold up the next frame
    this.stage.hintAt(at ? (this.stage.proposalsAt(at)[0]?.outline ?? null) : null);
  }

  tap(at, event) {
    const { stage } = this;
    if (other(event)) {
      stage.hand.point(Math.floor(at.x), Math.floor(at.y), 0, true);
      return;
    }
    const found = stage.proposalsAt(at);
    const now = found.findIndex((one) => one.index === stage.sample.chosen);
    if (!found.length) stage.hand.point(Math.floor(at.x), Math.floor(at.y), 1, false);
    else if (found.length > 1 || now < 0) stage.hand.choose(found[(now + 1) % found.length].index);
  }
}

/** Clicks mend the mask, whoever made it. */
class Points {
  taps = true;

  constructor(stage) {
    this.stage = stage;
  }

  tap(at, event) {
    const label = other(event) ? 1 - this.stage.label : this.stage.label;
    this.stage.hand.point(Math.floor(at.x), Math.floor(at.y), label, Boolean(this.stage.sample.mask));
  }
}

class Box {
  constructor(stage) {
    this.stage = stage;
    this.rect = twice("rect");
    stage.over.append(...this.rect.both);
    this.rect.hide(true);
  }

  down(at) {
    this.from = at;
  }

  move(at) {
    const x = Math.min(at.x, this.from.x);
    const y = Math.min(at.y, this.from.y);
    this.box = [x, y, Math.abs(at.x - this.from.x), Math.abs(at.y - this.from.y)];
    const [, , width, height] = this.box;
    this.rect.set({ x, y, width, height });
    this.rect.hide(false);
  }

  up() {
    const { box } = this;
    this.cancel();
    const least = LEAST_BOX / this.stage.view.scale;
    if (box && Math.min(box[2], box[3]) >= least) this.stage.hand.box(box.map(tenth));
  }

  cancel() {
    this.box = null;
    this.rect.hide(true);
  }
}

/** Paints or erases; a ring shows how much. */
class Brush {
  constructor(stage, mode) {
    this.stage = stage;
    this.mode = mode;
    this.ring = twice("circle");
    stage.over.append(...this.ring.both);
    this.ring.hide(true);
  }

  hover(at) {
    this.at = at;
    this.resized();
  }

  resized() {
    const { at, ring, stage } = this;
    ring.hide(!at);
    if (at) ring.set({ cx: at.x, cy: at.y, r: stage.radius + 0.5 });
  }

  down(at, event) {
    const opposite = this.mode === "add" ? "erase" : "add";
    this.#begin(at, other(event) ? opposite : this.mode);
  }

  #begin(at, mode) {
    const { stage } = this;
    stage.live = { mode, radius: stage.radius, points: [[tenth(at.x), tenth(at.y)]] };
    stage.extendLive(0);
  }

  move(at) {
    const { live, view } = this.stage;
    this.hover(at);
    if (!live || distance(at, live.points.at(-1)) < STROKE_GAP / view.scale) return;
    live.points.push([tenth(at.x), tenth(at.y)]);
    this.stage.extendLive(live.points.length - 1);
    if (live.points.length >= LONG_STROKE) {
      this.up();
      this.#begin(at, live.mode);
    }
  }

  up() {
    const { stage } = this;
    const { live } = stage;
    stage.live = null;
    if (live) stage.hand.stroke(live);
  }

  cancel() {
    this.stage.live = null;
    this.stage.redraw();
  }
}

/** Corners by clicks, or a line drawn around; closes on the first corner, by Enter or a double click. */
class Polygon {
  constructor(stage) {
    this.stage = stage;
    this.path = twice("path");
    this.corner = twice("circle");
    stage.over.append(...this.path.both, ...this.corner.both);
    this.cancel();
  }

  get busy() {
    return this.points.length > 0;
  }

  down(at, event) {
    const { scale } = this.stage.view;
    this.before = this.points.length;
    this.freehand = false;
    if (!this.before) this.mode = other(event) ? "erase" : "add";
    else if (other(event) || this.#closes(at)) {
      this.close();
      return;
    } else if (distance(at, this.points.at(-1)) < 4 / scale) {
      if (this.before > 2) this.close(); // a double click
      return;
    }
    this.points.push([at.x, at.y]);
    this.#draw(at);
  }

  #closes(at) {
    return this.points.length > 2 && distance(at, this.points[0]) < CLOSE_TO / this.stage.view.scale;
  }

  move(at) {
    if (!this.busy) return;
    if (distance(at, this.points.at(-1)) >= LASSO_GAP / this.stage.view.scale) {
      this.freehand = true;
      this.points.push([at.x, at.y]);
    }
    this.#draw(at);
  }

  up() {
    if (this.freehand && !this.before) this.close(); // drawn around in one go
  }

  hover(at) {
    if (this.busy && at) this.#draw(at);
  }

  /** Keys while corners are being set; returns whether it was one of them. */
  key(name) {
    if (!this.busy) return false;
    if (name === "Enter") this.close();
    else if (name === "Escape") this.cancel();
    else if (name === "Backspace") {
      this.points.pop();
      this.#draw();
    } else return false;
    return true;
  }

  close() {
    const { points, mode } = this;
    this.cancel();
    if (points.length > 2) this.stage.hand.polygon(points.map((one) => one.map(tenth)), mode);
  }

  cancel() {
    this.points = [];
    this.#draw();
  }

  #draw(at) {
    const shown = at ? [...this.points, [at.x, at.y]] : this.points;
    this.path.set({ d: shown.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join("") });
    this.path.both.forEach((one) => one.classList.toggle("fm-cut", this.mode === "erase"));
    this.corner.hide(!this.busy);
    if (!this.busy) return;
    const [cx, cy] = this.points[0];
    this.corner.set({ cx, cy, r: 5 / this.stage.view.scale });
  }
}

/** One of each, by id. */
export function toolsOf(stage) {
  return {
    pick: new Pick(stage),
    point: new Points(stage),
    box: new Box(stage),
    brush: new Brush(stage, "add"),
    erase: new Brush(stage, "erase"),
    polygon: new Polygon(stage),
  };
}
