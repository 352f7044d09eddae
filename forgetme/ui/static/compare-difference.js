// How far two pictures differ, pixel by pixel: a map that can be amplified, its scale, and sums.
import { h, say, whole } from "./dom.js";
import { icon } from "./icons.js";
import { Pane, pixelsOf } from "./compare-pane.js";

export const GAINS = [1, 2, 4, 8, 16];
const FULL = 255;
// Dark to light, in steps that look equal.
const STOPS = [[8, 6, 20], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const RAMP = Uint8ClampedArray.from({ length: 256 * 3 }, (_, at) => {
  const place = (Math.floor(at / 3) / FULL) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(place));
  const [from, to] = [STOPS[low][at % 3], STOPS[low + 1][at % 3]];
  return from + (to - from) * (place - low);
});

/** The largest difference of a pixel's three channels, and what it is inside and outside the mask. */
export function differ(left, right, mask) {
  const levels = new Uint8Array(left.width * left.height);
  const sums = { inside: { n: 0, sum: 0, changed: 0, most: 0 }, outside: { n: 0, sum: 0, changed: 0, most: 0 } };
  for (let at = 0; at < levels.length; at += 1) {
    const k = 4 * at;
    const level = Math.max(
      Math.abs(left.data[k] - right.data[k]),
      Math.abs(left.data[k + 1] - right.data[k + 1]),
      Math.abs(left.data[k + 2] - right.data[k + 2]),
    );
    levels[at] = level;
    const part = mask && mask.data[k] > 127 ? sums.inside : sums.outside;
    part.n += 1;
    part.sum += level;
    part.changed += level > 0;
    part.most = Math.max(part.most, level);
  }
  return { width: left.width, height: left.height, levels, ...sums };
}

export class Difference {
  constructor(linked) {
    this.gain = 4;
    this.pane = new Pane(linked, { alt: "Difference" });
    this.canvas = h("canvas", { class: "fm-difference", role: "img", "aria-label": "Difference map", "data-test": "difference" });
    this.pane.sheet.prepend(this.canvas);
    this.pane.image.remove();
    this.ends = [h("span", {}, "0"), h("span", {}), h("span", {})];
    this.bar = h("canvas", { width: 256, height: 1, class: "fm-ramp", "aria-hidden": "true" });
    this.legend = h("div", { class: "fm-legend", "data-test": "difference-scale" },
      h("span", {}, "levels of 255"), h("div", {}, this.bar, h("div", { class: "fm-row" }, this.ends)));
    this.words = h("p", { class: "fm-difference-words", role: "status", "data-test": "difference-words" });
    this.choice = h("select", { "aria-label": "Amplified", "data-test": "gain" },
      GAINS.map((gain) => h("option", { value: gain }, `× ${gain}`)));
    this.choice.value = this.gain;
    this.choice.addEventListener("change", () => {
      this.gain = Number(this.choice.value);
      this.#paint();
    });
    this.tools = h("label", { class: "fm-tool" }, h("span", {}, "amplified"), this.choice);
    this.#paintRamp();
  }

  /** Compares two pictures by address; `mask` may be null. */
  async show(left, right, mask) {
    const asked = (this.asked = `${left} ${right}`);
    if (!left || !right) {
      this.#none("One of the two pictures is missing.");
      return;
    }
    try {
      const [one, other, hole] = await Promise.all([left, right, mask].map((src) => src && pixelsOf(src)));
      if (this.asked !== asked) return;
      if (one.width !== other.width || one.height !== other.height) {
        this.#none(`The pictures have different sizes, ${one.width} × ${one.height} and ${other.width} × ${other.height}; choose two of one size.`);
        return;
      }
      this.found = differ(one, other, hole);
    } catch {
      this.#none("One of the two pictures cannot be read.");
      return;
    }
    this.pane.words.hidden = true;
    this.pane.sheet.hidden = false;
    this.pane.linked.size(this.found.width, this.found.height);
    this.#paint();
    this.#tell();
  }

  #none(words) {
    this.found = null;
    this.pane.tell(words);
    this.words.replaceChildren();
  }

  #paint() {
    const { found, gain, canvas } = this;
    say(this.ends[1], String(Math.round(FULL / gain / 2)));
    say(this.ends[2], `${gain > 1 ? "≥ " : ""}${Math.round(FULL / gain)}`);
    if (!found) return;
    canvas.width = found.width;
    canvas.height = found.height;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(found.width, found.height);
    found.levels.forEach((level, at) => colour(picture.data, at, Math.min(FULL, level * gain)));
    context.putImageData(picture, 0, 0);
    canvas.dataset.gain = gain;
  }

  #paintRamp() {
    const context = this.bar.getContext("2d");
    const picture = context.createImageData(256, 1);
    for (let at = 0; at < 256; at += 1) colour(picture.data, at, at);
    context.putImageData(picture, 0, 0);
  }

  #tell() {
    const { inside, outside } = this.found;
    const mean = ({ sum, n }) => (n ? sum / n : 0).toFixed(1);
    const kept = outside.changed === 0;
    const rest = kept
      ? `outside the mask none of ${whole(outside.n)} pixels differs`
      : `outside the mask ${whole(outside.changed)} of ${whole(outside.n)} pixels differ, by up to ${outside.most} (mean ${mean(outside)})`;
    this.words.replaceChildren(
      h("span", {}, `Inside the mask: mean ${mean(inside)}, up to ${inside.most} of 255 levels;`),
      h("span", { class: kept ? "fm-kept-words" : "fm-warn-words" }, icon(kept ? "accept" : "warning"), rest));
  }
}

function colour(data, at, level) {
  data.set([RAMP[3 * level], RAMP[3 * level + 1], RAMP[3 * level + 2], FULL], 4 * at);
}
