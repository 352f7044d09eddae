// Which part of the picture is shown, and how large: pixels of the image to pixels of the stage.

const MAX_SCALE = 32; // screen pixels for one pixel of the image
const NEAR_FIT = 1.02;

const within = (value, low, high) => Math.min(high, Math.max(low, value));

export class View {
  constructor() {
    this.box = { width: 1, height: 1 };
    this.image = { width: 1, height: 1 };
    this.fit();
  }

  get fitScale() {
    const { box, image } = this;
    return Math.min(box.width / image.width, box.height / image.height);
  }

  /** Whether the whole picture is shown. */
  get fits() {
    return this.scale <= this.fitScale * NEAR_FIT;
  }

  fit() {
    this.scale = this.fitScale;
    this.#settle();
  }

  /** The stage has another size; what was in its middle stays there. */
  resize(width, height) {
    const fitted = this.fits;
    const middle = this.toImage(this.box.width / 2, this.box.height / 2);
    this.box = { width: Math.max(1, width), height: Math.max(1, height) };
    if (fitted) this.fit();
    else {
      this.x = this.box.width / 2 - middle.x * this.scale;
      this.y = this.box.height / 2 - middle.y * this.scale;
      this.#settle();
    }
  }

  /** Another picture is shown: all of it. */
  take(width, height) {
    this.image = { width, height };
    this.fit();
  }

  /** Zooms so that the image stays where it is under (x, y) of the stage. */
  zoomTo(scale, x = this.box.width / 2, y = this.box.height / 2) {
    const at = this.toImage(x, y);
    this.scale = within(scale, this.fitScale, Math.max(MAX_SCALE, this.fitScale));
    this.x = x - at.x * this.scale;
    this.y = y - at.y * this.scale;
    this.#settle();
  }

  zoomBy(factor, x, y) {
    this.zoomTo(this.scale * factor, x, y);
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#settle();
  }

  toImage(x, y) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  /** What is shown, in pixels of the image. */
  get window() {
    const { x, y } = this.toImage(0, 0);
    return { x, y, width: this.box.width / this.scale, height: this.box.height / this.scale };
  }

  /** A side that fits is centred; one that does not may be moved until half the stage is empty. */
  #settle() {
    for (const [place, side] of [["x", "width"], ["y", "height"]]) {
      const room = this.box[side];
      const size = this.image[side] * this.scale;
      if (size <= room * NEAR_FIT) this[place] = (room - size) / 2;
      else this[place] = within(this[place], room / 2 - size, room / 2);
    }
  }
}
