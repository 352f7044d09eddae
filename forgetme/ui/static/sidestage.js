// Where the foreground lies on the background: dragged, scaled, moved by keys; in pixels of the background.
import { attr, h } from "./dom.js";

const STEP = 1;
const BIG_STEP = 10;
const WHEEL = 0.0015; // of the scale, a pixel of the wheel
const KEY_SCALE = 1.05;

export class SideStage {
  /** Tells of `onMove()` after each change of `place` {x, y, scale}. */
  constructor({ subject, sprite, onMove }) {
    this.subject = subject;
    this.onMove = onMove;
    this.place = { x: 0, y: 0, scale: 1 };
    this.back = h("img", { alt: "", draggable: "false" });
    this.sprite = h("img", { alt: "", draggable: "false", class: "fm-side-sprite", src: sprite });
    this.made = h("img", { alt: "", draggable: "false", hidden: true, "data-test": "side-made" });
    this.rim = h("img", { alt: "", draggable: "false", hidden: true, class: "fm-side-rim", "data-test": "side-rim" });
    this.frame = h("div", {
      class: "fm-side-frame", tabindex: 0, role: "application", "data-test": "side-stage",
      "aria-label": `The ${subject.concept} on its background. Arrow keys move it, plus and minus scale it.`,
    }, this.back, this.sprite, this.made, this.rim);
    this.empty = h("p", { class: "fm-note" }, "Choose a background.");
    this.element = h("div", { class: "fm-side-stage" }, this.frame, this.empty);
    this.#wire();
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  /** Puts another picture behind: {src, width, height}, or null. */
  behind(backdrop) {
    this.backdrop = backdrop;
    this.frame.hidden = !backdrop;
    this.empty.hidden = Boolean(backdrop);
    if (!backdrop) return;
    attr(this.back, "src", backdrop.src);
    this.#draw();
  }

  reset() {
    this.#go({ x: 0, y: 0, scale: 1 });
  }

  scaleTo(scale) {
    const { least, most } = this.subject.scales;
    this.#go({ ...this.place, scale: Math.min(most, Math.max(least, scale)) });
  }

  /** Shows the merge that the server made, once it is decoded; any move hides it again. */
  async show({ picture, seam }) {
    const place = this.place;
    const next = [[this.made, picture], [this.rim, seam]];
    await Promise.all(next.map(([image, src]) => {
      image.src = src;
      return image.decode().catch(() => {}); // replaced by a later one
    }));
    if (place !== this.place) return;
    this.made.hidden = false;
    this.sprite.hidden = true;
    this.rim.hidden = !this.seamOn;
  }

  seam(on) {
    this.seamOn = on;
    this.rim.hidden = !on || this.made.hidden;
  }

  #go(place) {
    this.place = place;
    this.made.hidden = true;
    this.rim.hidden = true;
    this.sprite.hidden = false;
    this.#draw();
    this.onMove();
  }

  /** The middle of the object stays where its frame has it, then moves by x and y: as merge.py places it. */
  #draw() {
    if (!this.backdrop) return;
    const { width, height } = this.backdrop;
    const { subject, place } = this;
    const room = this.element.getBoundingClientRect();
    if (!room.width) return;
    const zoom = Math.min(room.width / width, room.height / height);
    Object.assign(this.frame.style, { width: `${width * zoom}px`, height: `${height * zoom}px` });
    this.zoom = zoom;
    const same = width === subject.width && height === subject.height;
    const fit = same ? 1 : Math.min(width / subject.width, height / subject.height);
    const { box } = subject;
    const middle = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    const factor = fit * place.scale;
    const left = (middle.x - subject.width / 2) * fit + width / 2 + place.x - middle.x * factor;
    const top = (middle.y - subject.height / 2) * fit + height / 2 + place.y - middle.y * factor;
    Object.assign(this.sprite.style, {
      width: `${subject.width * factor * zoom}px`, left: `${left * zoom}px`, top: `${top * zoom}px`,
    });
  }

  #wire() {
    this.frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.backdrop) return;
      this.frame.setPointerCapture(event.pointerId);
      this.from = { x: event.clientX, y: event.clientY, place: this.place };
    });
    this.frame.addEventListener("pointermove", (event) => {
      if (!this.from) return;
      const { x, y, place } = this.from;
      const by = (now, before) => Math.round((now - before) / this.zoom);
      const to = { ...place, x: place.x + by(event.clientX, x), y: place.y + by(event.clientY, y) };
      if (to.x !== this.place.x || to.y !== this.place.y) this.#go(to);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.frame.addEventListener(end, () => (this.from = null));
    }
    this.frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scaleTo(this.place.scale * Math.exp(-event.deltaY * WHEEL));
    }, { passive: false });
    this.frame.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = event.shiftKey ? BIG_STEP : STEP;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    const grow = { "+": KEY_SCALE, "=": KEY_SCALE, "-": 1 / KEY_SCALE }[event.key];
    if (!move && !grow) return;
    event.preventDefault();
    const { x, y, scale } = this.place;
    if (move) this.#go({ x: x + move[0], y: y + move[1], scale });
    else this.scaleTo(scale * grow);
  }
}
