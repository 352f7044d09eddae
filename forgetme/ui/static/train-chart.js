// A line chart of our own: one SVG, linear or logarithmic, with raw and smoothed lines and a readout.
import { h, s, say } from "./dom.js";

const LEFT = 44;
const RIGHT = 12;
const TOP = 8;
const BOTTOM = 22;
const TICKS = 5;

/** A running mean in which the past weighs `weight` (0 to 1), free of the start's bias. */
export function smoothed(points, weight) {
  let sum = 0;
  let norm = 0;
  return points.map(([x, y]) => {
    sum = weight * sum + (1 - weight) * y;
    norm = weight * norm + (1 - weight);
    return [x, sum / norm];
  });
}

/** At most two points for each of `width` columns, the lowest and the highest: no peak is lost. */
export function thinned(points, width) {
  if (points.length <= 2 * width) return points;
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const kept = [];
  let column = -1;
  for (const point of points) {
    const at = Math.floor(((point[0] - first) / (last - first || 1)) * width);
    if (at !== column) {
      kept.push([point, point]);
      column = at;
    }
    const pair = kept.at(-1);
    if (point[1] < pair[0][1]) pair[0] = point;
    if (point[1] > pair[1][1]) pair[1] = point;
  }
  return kept.flatMap(([low, high]) => (low === high ? [low] : low[0] <= high[0] ? [low, high] : [high, low]));
}

/** Round numbers that divide a range: 1, 2 or 5 times a power of ten; powers for a logarithmic one. */
export function ticks(low, high, log) {
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const part of [1, 2, 5]) found.push(part * 10 ** power);
    }
    const inside = found.filter((one) => one >= low * 0.999 && one <= high * 1.001);
    return inside.length > TICKS + 2 ? inside.filter((one) => Math.log10(one) % 1 === 0) : inside;
  }
  const rough = (high - low) / TICKS || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high * (1 + 1e-9); at += 1) found.push(at * step);
  return found;
}

export class Chart {
  /** `label` names it to screen readers; `range` fixes the values' axis; `say(value)` writes a value. */
  constructor({ label, range = null, say: words = brief }) {
    Object.assign(this, { range, words, lines: [], log: false, xMax: 1 });
    this.svg = s("svg", { class: "fm-chart-svg", role: "img", "aria-label": label });
    this.readout = h("output", { class: "fm-chart-readout fm-small" });
    this.element = h("div", { class: "fm-chart" }, this.svg, this.readout);
    new ResizeObserver(() => this.#draw()).observe(this.element);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#point(null));
  }

  /** `lines`: each {name, points: [[x, y]], kind: "raw" | "strong" | "dashed" | "dotted", marks}. */
  show(lines, { xMax, log = false }) {
    Object.assign(this, { lines, xMax: Math.max(1, xMax), log });
    this.#draw();
  }

  #draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!width || !height) return;
    this.width = width;
    this.height = height;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    [this.low, this.high] = this.range ?? this.#extent();
    this.svg.replaceChildren(...this.#axes(), ...this.lines.flatMap((line) => this.#line(line)));
    this.cursor = s("line", { class: "fm-chart-cursor", y1: TOP, y2: height - BOTTOM, x1: -9, x2: -9 });
    this.svg.append(this.cursor);
  }

  #extent() {
    const all = this.lines.flatMap(({ points }) => points.map(([, y]) => y)).filter((y) => !this.log || y > 0);
    if (!all.length) return this.log ? [0.01, 1] : [0, 1];
    const low = all.reduce((a, b) => Math.min(a, b));
    const high = all.reduce((a, b) => Math.max(a, b));
    if (this.log) return [low / 1.1, high * 1.1 || 1];
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  }

  #x(x) {
    return LEFT + (x / this.xMax) * (this.width - LEFT - RIGHT);
  }

  #y(y) {
    const part = this.log
      ? (Math.log(Math.max(y, 1e-12)) - Math.log(this.low)) / (Math.log(this.high) - Math.log(this.low))
      : (y - this.low) / (this.high - this.low);
    return this.height - BOTTOM - part * (this.height - TOP - BOTTOM);
  }

  #axes() {
    const bottom = this.height - BOTTOM;
    const rows = ticks(this.low, this.high, this.log).flatMap((value) => [
      s("line", { class: "fm-chart-grid", x1: LEFT, x2: this.width - RIGHT, y1: this.#y(value), y2: this.#y(value) }),
      s("text", { class: "fm-chart-tick", x: LEFT - 6, y: this.#y(value) + 4, "text-anchor": "end" }, this.words(value)),
    ]);
    const columns = ticks(0, this.xMax, false).map((value) =>
      s("text", { class: "fm-chart-tick", x: this.#x(value), y: bottom + 16, "text-anchor": value ? "middle" : "start" }, brief(value)));
    return [...rows, ...columns];
  }

  #line({ points, kind, marks }) {
    const shown = thinned(points.filter(([, y]) => !this.log || y > 0), Math.max(2, this.width - LEFT - RIGHT));
    const places = shown.map(([x, y]) => [this.#x(x).toFixed(1), this.#y(y).toFixed(1)]);
    const path = s("path", { class: `fm-chart-line fm-chart-${kind}`, d: places.map(([x, y], at) => `${at ? "L" : "M"}${x} ${y}`).join("") });
    if (!marks) return [path];
    const square = marks === "square";
    return [path, ...places.map(([x, y]) => (square
      ? s("rect", { class: `fm-chart-mark fm-chart-${kind}`, x: x - 3.5, y: y - 3.5, width: 7, height: 7 })
      : s("circle", { class: `fm-chart-mark fm-chart-${kind}`, cx: x, cy: y, r: 4 })))];
  }

  #point(event) {
    if (!event || !this.cursor) {
      this.cursor?.setAttribute("visibility", "hidden");
      say(this.readout, "");
      return;
    }
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * this.xMax;
    const found = this.lines.map((line) => [line, nearest(line.points, x)]).filter(([, point]) => point);
    if (!found.length) return;
    const at = this.#x(found[0][1][0]);
    this.cursor.setAttribute("x1", at);
    this.cursor.setAttribute("x2", at);
    this.cursor.setAttribute("visibility", "visible");
    say(this.readout, `step ${found[0][1][0]}: ${found.map(([{ name }, [, y]]) => `${name} ${this.words(y)}`).join(", ")}`);
  }
}

function nearest(points, x) {
  let [low, high] = [0, points.length - 1];
  if (high < 0) return null;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle;
    else high = middle;
  }
  return Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? points[low] : points[high];
}

/** 0.01234 → "0.0123", 30000 → "30k" */
export function brief(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  if (size > 0 && size < 1e-4) return value.toExponential(1);
  return String(+value.toPrecision(3));
}
