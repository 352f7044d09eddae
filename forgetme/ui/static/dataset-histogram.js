// One histogram with a brush: drag over it, or move its two ends by keyboard.
import { attr, h, number, s, say } from "./dom.js";
import { icon } from "./icons.js";
import { BINS, EVERYTHING, isNarrow } from "./dataset-scores.js";

const HIGH = 64; // units of the drawing; it is stretched to the width there is
const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 };

export class Histogram {
  /** `name` is the measure, `limit` where "low" begins (or null); `onBrush(range)` is told. */
  constructor({ name, title, about, onBrush }) {
    Object.assign(this, { name, title, onBrush });
    this.range = [...EVERYTHING];
    this.value = h("span", { class: "fm-strong" });
    this.clear = h("button", {
      class: "fm-button fm-quiet fm-small fm-invisible", "data-test": `clear-${name}`,
      "aria-label": `Clear the range of ${title}`, onclick: () => this.#set(EVERYTHING),
    }, h("span", {}), icon("close"));
    this.light = s("path", { class: "fm-histogram-all" });
    this.strong = s("path", { class: "fm-histogram-inside" });
    this.plot = s(
      "svg", { viewBox: `0 0 ${BINS} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      this.light, this.strong,
    );
    this.limit = h("span", { class: "fm-histogram-limit", hidden: true });
    this.window = h("span", { class: "fm-brush", hidden: true });
    this.ends = ["from", "to"].map((end, index) => this.#end(end, index));
    this.area = h("div", { class: "fm-histogram-plot" },
      this.plot, this.limit, this.window, ...this.ends);
    this.element = h(
      "section", { class: "fm-histogram", "data-test": `histogram-${name}` },
      h("div", { class: "fm-row" },
        h("h3", { class: "fm-title", title: about }, title), h("span", { class: "fm-spring" }),
        this.clear, this.value),
      this.area,
      h("div", { class: "fm-row fm-axis" }, h("span", {}, "0"), h("span", {}, "0.5"), h("span", {}, "1")),
    );
    this.#takePointer();
  }

  #end(end, index) {
    const element = h("span", {
      class: "fm-brush-end", role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": 1,
      "aria-label": `${this.title}, ${end}`,
    });
    element.addEventListener("keydown", (event) => {
      const step = KEYS[event.key];
      if (step) this.#move(index, this.range[index] + step);
      else if (event.key === "Home") this.#move(index, 0);
      else if (event.key === "End") this.#move(index, BINS);
      else return;
      event.preventDefault();
    });
    return element;
  }

  #move(index, bin) {
    const range = [...this.range];
    const [least, most] = index === 0 ? [0, range[1] - 1] : [range[0] + 1, BINS];
    range[index] = Math.min(most, Math.max(least, bin));
    this.#set(range);
  }

  /** Dragging draws a range; inside one it moves it; a click clears it. */
  #takePointer() {
    const binAt = (event) => {
      const { left, width } = this.area.getBoundingClientRect();
      return Math.min(BINS, Math.max(0, ((event.clientX - left) / width) * BINS));
    };
    let drag = null;
    this.area.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.area.setPointerCapture(event.pointerId);
      const at = binAt(event);
      drag = { at, x: event.clientX, moved: false, ...this.#grip(event.target, at) };
      event.preventDefault();
    });
    this.area.addEventListener("pointermove", (event) => {
      if (!drag) return;
      drag.moved ||= Math.abs(event.clientX - drag.x) > 3;
      if (drag.moved) this.#set(this.#dragged(drag, binAt(event)));
    });
    const end = () => {
      if (drag && !drag.moved && drag.kind !== "end") this.#set(EVERYTHING);
      drag = null;
    };
    this.area.addEventListener("pointerup", end);
    this.area.addEventListener("pointercancel", () => { drag = null; });
  }

  /** What a drag that begins here does. */
  #grip(target, at) {
    const narrow = isNarrow(this.range);
    const end = this.ends.indexOf(target);
    if (narrow && end >= 0) return { kind: "end", end };
    const [from, to] = this.range;
    if (narrow && at > from && at < to) return { kind: "shift", from, to };
    return { kind: "draw" };
  }

  #dragged(drag, at) {
    if (drag.kind === "end") {
      const range = [...this.range];
      const bin = Math.round(at);
      range[drag.end] = drag.end === 0 ? Math.min(bin, range[1] - 1) : Math.max(bin, range[0] + 1);
      return range;
    }
    if (drag.kind === "shift") {
      const by = Math.min(BINS - drag.to, Math.max(-drag.from, Math.round(at - drag.at)));
      return [drag.from + by, drag.to + by];
    }
    const [low, high] = [Math.min(drag.at, at), Math.max(drag.at, at)];
    const from = Math.min(BINS - 1, Math.floor(low));
    return [from, Math.max(from + 1, Math.ceil(high))];
  }

  #set(range) {
    if (range[0] === this.range[0] && range[1] === this.range[1]) return;
    this.range = [...range];
    this.onBrush(this.range);
  }

  /** Shows the counts; the bars keep the scale of the whole, so that brushing never rescales. */
  show(counts, range, limit) {
    this.range = [...range];
    const top = Math.max(1, ...counts.all);
    this.light.setAttribute("d", bars(counts.all, top));
    this.strong.setAttribute("d", bars(counts.inside, top));
    say(this.value, counts.n ? `mean ${number(counts.sum / counts.n)}` : "no scores");
    this.value.title = counts.missing ? `${counts.missing} without a score` : "";
    const narrow = isNarrow(range);
    const [from, to] = range.map((bin) => bin / BINS);
    this.clear.classList.toggle("fm-invisible", !narrow);
    say(this.clear.firstChild, `${number(from)} – ${number(to)}`);
    this.window.hidden = !narrow;
    this.window.style.left = `${100 * from}%`;
    this.window.style.width = `${100 * (to - from)}%`;
    [from, to].forEach((value, index) => {
      this.ends[index].style.left = `${100 * value}%`;
      attr(this.ends[index], "aria-valuenow", number(value, 3));
    });
    this.limit.hidden = !limit;
    if (limit) {
      this.limit.style.left = `${100 * limit}%`;
      this.limit.title = `below ${number(limit)}: low`;
    }
  }
}

function bars(counts, top) {
  return counts
    .map((n, bin) => {
      if (!n) return "";
      const high = Math.max(2, (HIGH * n) / top);
      return `M${bin + 0.08} ${HIGH}v${-high}h.84v${high}z`;
    })
    .join("");
}
