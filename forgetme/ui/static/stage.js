// The picture with its outlines and points. All coordinates are pixels of the original image.
import { attr, h, s } from "./dom.js";
import { picture } from "./api.js";

const SKELETON_AFTER_MS = 150;

/** Polygons [[x, y, x, y, …], …] as one SVG path. */
export function pathOf(outline) {
  return (outline ?? [])
    .map((ring) => {
      let path = "";
      for (let i = 0; i < ring.length; i += 2) path += `${i ? "L" : "M"}${ring[i]} ${ring[i + 1]}`;
      return path + "Z";
    })
    .join("");
}

/** Two strokes, dark under light, so that the line shows on every picture. */
function line(kind) {
  const dark = s("path", { class: `fm-line fm-line-dark ${kind}`, "vector-effect": "non-scaling-stroke" });
  const light = s("path", { class: `fm-line fm-line-light ${kind}`, "vector-effect": "non-scaling-stroke" });
  return { dark, light, set: (d) => [dark, light].forEach((path) => path.setAttribute("d", d)) };
}

export class Stage {
  /** `onPoint(x, y, label)` is told of clicks: label 1 is the object, 0 is not the object. */
  constructor({ onPoint }) {
    this.onPoint = onPoint;
    this.sample = null;
    this.shownSha = "";
    this.label = 1;
    this.tint = true;
    this.image = s("image", { x: 0, y: 0, "data-test": "picture" });
    this.fill = s("path", { class: "fm-tint", "fill-rule": "evenodd" });
    this.mask = line("fm-mask");
    this.hint = line("fm-hint");
    this.points = s("g", { class: "fm-points" });
    this.svg = s(
      "svg",
      { class: "fm-svg", preserveAspectRatio: "xMidYMid meet", role: "img", viewBox: "0 0 1 1" },
      this.image, this.fill, this.mask.dark, this.mask.light, this.hint.dark, this.hint.light,
      this.points,
    );
    this.broken = h("div", { class: "fm-broken", hidden: true });
    this.element = h("div", { class: "fm-stage", "data-test": "stage" }, this.svg, this.broken);
    this.svg.addEventListener("click", (event) => this.#clicked(event, event.shiftKey ? 0 : this.label));
    this.svg.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      this.#clicked(event, 0);
    });
    this.image.addEventListener("load", () => this.element.classList.remove("fm-loading"));
  }

  #clicked(event, label) {
    if (!this.sample || this.sample.state === "broken") return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
      this.svg.getScreenCTM().inverse(),
    );
    const inside = at.x >= 0 && at.y >= 0 && at.x < this.sample.width && at.y < this.sample.height;
    if (inside) this.onPoint(Math.floor(at.x), Math.floor(at.y), label);
  }

  /** Shows a sample; the picture is only exchanged when it is another one. */
  show(sample, points) {
    this.sample = sample;
    const broken = !sample?.image_sha;
    attr(this.svg, "hidden", broken);
    this.svg.classList.toggle("fm-hidden", broken);
    this.broken.hidden = !broken;
    this.broken.textContent = sample?.error ?? "";
    if (broken) return;
    if (this.shownSha !== sample.image_sha) this.#exchange(sample);
    this.#outline(sample.mask?.outline);
    this.#points(points);
    this.svg.setAttribute("aria-label", describe(sample));
  }

  #exchange(sample) {
    this.shownSha = sample.image_sha;
    attr(this.svg, "viewBox", `0 0 ${sample.width} ${sample.height}`);
    attr(this.image, "width", sample.width);
    attr(this.image, "height", sample.height);
    const sha = sample.image_sha;
    setTimeout(() => {
      if (this.shownSha === sha && !this.ready) this.element.classList.add("fm-loading");
    }, SKELETON_AFTER_MS);
    this.ready = false;
    this.image.addEventListener("load", () => (this.ready = true), { once: true });
    this.image.setAttribute("href", picture(sha));
  }

  #outline(outline) {
    const path = pathOf(outline);
    this.mask.set(path);
    this.fill.setAttribute("d", this.tint ? path : "");
  }

  #points(points) {
    this.points.replaceChildren(
      ...points.map(([x, y, label]) => {
        const mark = label ? "M-3 0h6M0-3v6" : "M-3 0h6";
        return s(
          "g",
          { class: label ? "fm-point fm-point-yes" : "fm-point fm-point-no", transform: this.#place(x, y) },
          s("circle", { r: 7 }),
          s("path", { d: mark }),
        );
      }),
    );
  }

  /** Points keep their size on the screen whatever the size of the image. */
  #place(x, y) {
    const scale = this.svg.getScreenCTM()?.a || 1;
    return `translate(${x + 0.5} ${y + 0.5}) scale(${1 / scale})`;
  }

  /** Shows another outline for a moment, such as the card under the pointer. */
  hintAt(outline) {
    this.hint.set(pathOf(outline));
  }

  setTint(on) {
    this.tint = on;
    this.#outline(this.sample?.mask?.outline);
  }

  /** While held, only the original is to be seen. */
  bare(on) {
    this.element.classList.toggle("fm-bare", on);
  }

  resized(points) {
    if (this.sample?.image_sha) this.#points(points);
  }
}

function describe(sample) {
  const mask = sample.mask ? "the chosen mask is outlined" : "no mask is chosen";
  return `${sample.name}: ${sample.width} by ${sample.height} pixels; ${mask}. Click to add a point.`;
}
