// Scores over the scale of a LoRA: a curve each, its interval as a band, and points to click.
import { h, s } from "./dom.js";
import { figure } from "./compare-data.js";

const EDGE = { left: 44, right: 12, top: 12, bottom: 32 };
const TICKS = 5;
const STEPS = [1, 2, 2.5, 5, 10];
const MARKS = [
  (x, y) => `M${x - 4} ${y}a4 4 0 108 0a4 4 0 10-8 0z`,
  (x, y) => `M${x - 4} ${y - 4}h8v8h-8z`,
  (x, y) => `M${x} ${y - 5}l5 9h-10z`,
];

export class Curve {
  /** Tells of `onPick(index of the scale)`. */
  constructor({ onPick }) {
    this.onPick = onPick;
    this.svg = s("svg", { class: "fm-curve", role: "group", "aria-label": "Scores by scale", "data-test": "curve" });
    this.legend = h("ul", { class: "fm-curve-legend" });
    this.element = h("figure", { class: "fm-curve-box" }, this.svg, this.legend);
    new ResizeObserver(() => this.#draw()).observe(this.svg);
  }

  /**
   * Draws lines [{title, points: [{mean, low, high, n}], ink}] over `scales`;
   * `theirs` are lines [{title, points: [{scale, value}]}] of others, and `at` the chosen scale.
   */
  show(shown) {
    this.shown = shown;
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.svg;
    if (!this.shown || !width || !height) return;
    const { scales, lines, theirs, at } = this.shown;
    const values = [
      ...lines.flatMap(({ points }) => points.flatMap(({ mean, low, high }) => [mean, low, high])),
      ...theirs.flatMap(({ points }) => points.map(({ value }) => value)),
    ].filter(Number.isFinite);
    const ticks = nice(Math.min(...values), Math.max(...values));
    const [low, high] = [ticks[0], ticks.at(-1)];
    const [first, last] = [Math.min(0, ...scales), Math.max(...scales)];
    const x = (scale) => EDGE.left + ((scale - first) / (last - first || 1)) * (width - EDGE.left - EDGE.right);
    const y = (value) => height - EDGE.bottom - ((value - low) / (high - low || 1)) * (height - EDGE.top - EDGE.bottom);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(
      ...this.#axes({ x, y, ticks, scales, width, height }),
      s("line", { class: "fm-curve-at", x1: x(scales[at]), x2: x(scales[at]), y1: EDGE.top, y2: height - EDGE.bottom }),
      ...lines.flatMap((line) => this.#band(line, line.ink, scales, x, y)),
      ...theirs.map(({ points }) => s("path", {
        class: "fm-curve-theirs", d: points.map(({ scale, value }, k) => `${k ? "L" : "M"}${x(scale)} ${y(value)}`).join(""),
      })),
      ...theirs.flatMap((line) => line.points.map((point) => this.#their(line, point, x, y))),
      ...lines.flatMap((line) => line.points.map((point, i) => this.#point(line, line.ink, point, i, x, y))),
    );
    this.legend.replaceChildren(
      ...lines.map(({ title, n, ink }) => h("li", {}, sample(`fm-curve-${ink}`, MARKS[ink % MARKS.length](12, 6)), `${title}: mean and 95 % interval, n = ${n}`)),
      ...theirs.map(({ title }) => h("li", {}, sample("fm-curve-theirs", "M8 2l8 8M16 2l-8 8"), title)));
  }

  #axes({ x, y, ticks, scales, width, height }) {
    return [
      ...ticks.flatMap((value) => [
        s("line", { class: "fm-curve-grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
        label(EDGE.left - 8, y(value) + 4, figureOf(value, ticks), "end"),
      ]),
      ...scales.map((scale) => label(x(scale), height - EDGE.bottom + 18, String(scale), "middle")),
      label(EDGE.left - 8, height - 2, "scale α", "start"),
    ];
  }

  #band({ points }, k, scales, x, y) {
    const known = points.map((point, i) => ({ ...point, scale: scales[i] })).filter(({ mean }) => Number.isFinite(mean));
    const wide = known.filter(({ low, high }) => Number.isFinite(low) && Number.isFinite(high));
    const up = wide.map(({ scale, high }, i) => `${i ? "L" : "M"}${x(scale)} ${y(high)}`).join("");
    const down = wide.toReversed().map(({ scale, low }) => `L${x(scale)} ${y(low)}`).join("");
    return [
      s("path", { class: `fm-curve-band fm-curve-${k}`, d: up && `${up}${down}Z` }),
      s("path", { class: `fm-curve-line fm-curve-${k}`, d: known.map(({ scale, mean }, i) => `${i ? "L" : "M"}${x(scale)} ${y(mean)}`).join("") }),
    ];
  }

  #point({ title }, k, { mean, low, high, n }, i, x, y) {
    const { scales, at } = this.shown;
    if (!Number.isFinite(mean)) return s("g");
    const words = `α = ${scales[i]}: ${title} ${figure(mean)} [${figure(low)}, ${figure(high)}], n = ${n}`;
    const point = s("g", {
      class: `fm-curve-point fm-curve-${k}`, role: "button", tabindex: 0, "aria-label": words,
      "aria-pressed": String(i === at), "data-test": `point-${k}-${i}`,
    }, s("title", {}, words), s("circle", { cx: x(scales[i]), cy: y(mean), r: 12, class: "fm-curve-hit" }), s("path", { d: MARKS[k % MARKS.length](x(scales[i]), y(mean)) }));
    point.addEventListener("click", () => this.onPick(i));
    point.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.onPick(i);
      this.svg.querySelector(`[data-test="point-${k}-${i}"]`)?.focus();
    });
    return point;
  }

  #their({ title }, { scale, value }, x, y) {
    const [px, py] = [x(scale), y(value)];
    return s("g", {}, s("title", {}, `${title}: α = ${scale}, ${figure(value)}`), s("path", {
      class: "fm-curve-theirs", d: `M${px - 4} ${py - 4}l8 8M${px + 4} ${py - 4}l-8 8`,
    }));
  }
}

/** Round numbers from below the least to above the largest. */
function nice(least, most) {
  const span = most - least || Math.abs(most) || 1;
  const power = 10 ** Math.floor(Math.log10(span / TICKS));
  const step = power * STEPS.find((one) => one * power * TICKS >= span);
  const first = Math.floor(least / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

function figureOf(value, ticks) {
  const step = ticks[1] - ticks[0];
  return value.toFixed(Math.max(0, Math.min(4, Math.ceil(-Math.log10(step) - 1e-9))));
}

function label(x, y, words, anchor) {
  return s("text", { x, y, "text-anchor": anchor, class: "fm-curve-label" }, words);
}

function sample(kind, mark) {
  return s("svg", { viewBox: "0 0 24 12", width: 24, height: 12, class: "fm-curve-sample", "aria-hidden": "true" },
    s("path", { class: kind.endsWith("theirs") ? kind : `fm-curve-line ${kind}`, d: "M0 6H24" }),
    s("g", { class: kind.endsWith("theirs") ? "" : `fm-curve-point ${kind}` }, s("path", { class: kind.endsWith("theirs") ? kind : "", d: mark })));
}
