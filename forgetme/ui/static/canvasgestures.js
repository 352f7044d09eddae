// Pointers on the stage: the tool's strokes, panning with space or the middle button, wheel and pinch.

const TAP_PX = 5; // a press that moves further is a drag
const WHEEL = 0.0016; // of the scale, a pixel of the wheel
const PINCH_WHEEL = 0.01; // a trackpad's pinch comes as small steps of the wheel with ctrl
const LINE_PX = 18;

export class Gestures {
  constructor(stage, element) {
    this.stage = stage;
    this.element = element;
    this.touches = new Map();
    this.panning = false;
    const on = (name, action, options) => element.addEventListener(name, action, options);
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#cancel(event));
    on("pointerleave", () => this.#leave());
    on("pointerenter", () => (this.inside = true));
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Whether a stroke or a drag is under way. */
  get busy() {
    return Boolean(this.doing);
  }

  /** While on, such as while space is held, a drag moves the picture. */
  setPan(on) {
    this.panning = on;
    this.#cursor();
  }

  #at(event) {
    const box = this.element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    const { stage } = this;
    if (!stage.usable || event.target.closest("button, input")) return;
    if (event.pointerType === "touch") {
      this.touches.set(event.pointerId, this.#at(event));
      if (this.touches.size === 2) this.#startPinch();
      if (this.touches.size > 1) return;
    }
    if (this.doing) return;
    const at = this.#at(event);
    this.element.setPointerCapture(event.pointerId);
    if (event.button === 1 || this.panning) this.doing = { kind: "pan", last: at };
    else if (event.button !== 0 && event.button !== 2) return;
    else if (stage.tool.taps) this.doing = { kind: "tap", last: at, from: at };
    else {
      this.doing = { kind: "tool" };
      stage.tool.down(stage.view.toImage(at.x, at.y), event);
    }
    if (event.pointerType === "mouse") event.preventDefault(); // no text selection, no autoscroll
    this.#cursor();
  }

  #move(event) {
    const { stage, doing } = this;
    const at = this.#at(event);
    if (this.touches.has(event.pointerId)) this.touches.set(event.pointerId, at);
    if (doing?.kind === "pinch") this.#pinch();
    else if (doing?.kind === "tool") {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length ? events : [event]) {
        const place = this.#at(one);
        stage.tool.move(stage.view.toImage(place.x, place.y), one);
      }
    } else if (doing) this.#drag(at);
    else if (event.pointerType !== "touch") {
      this.inside = true;
      stage.tool.hover?.(stage.usable ? stage.view.toImage(at.x, at.y) : null, event);
    }
  }

  #drag(at) {
    const { stage, doing } = this;
    if (doing.kind === "tap" && Math.hypot(at.x - doing.from.x, at.y - doing.from.y) > TAP_PX) {
      doing.kind = "pan";
      stage.tool.hover?.(null);
    }
    if (doing.kind !== "pan") return;
    stage.view.pan(at.x - doing.last.x, at.y - doing.last.y);
    doing.last = at;
    stage.viewChanged();
  }

  #up(event) {
    const { stage, doing } = this;
    this.touches.delete(event.pointerId);
    if (!doing || this.touches.size) return;
    this.doing = null;
    const at = this.#at(event);
    const place = stage.view.toImage(at.x, at.y);
    if (doing.kind === "tap" && stage.holds(place)) stage.tool.tap(place, event);
    if (doing.kind === "tool") stage.tool.up(place, event);
    if (event.pointerType === "touch") stage.tool.hover?.(null);
    this.#cursor();
  }

  #cancel(event) {
    this.touches.delete(event.pointerId);
    if (this.doing?.kind === "tool") this.stage.tool.cancel?.();
    if (!this.touches.size) this.doing = null;
    this.#cursor();
  }

  #leave() {
    this.inside = false;
    if (!this.doing) this.stage.tool.hover?.(null);
  }

  // ------------------------------------------------------------------ zoom
  #wheel(event) {
    const { stage } = this;
    if (!stage.usable) return;
    event.preventDefault();
    const at = this.#at(event);
    const pixels = event.deltaY * (event.deltaMode === 1 ? LINE_PX : 1);
    stage.view.zoomBy(Math.exp(-pixels * (event.ctrlKey ? PINCH_WHEEL : WHEEL)), at.x, at.y);
    stage.viewChanged();
    stage.tool.hover?.(stage.view.toImage(at.x, at.y), event);
  }

  /** Two fingers: what the first one began is not meant. */
  #startPinch() {
    if (this.doing?.kind === "tool") this.stage.tool.cancel?.();
    this.doing = { kind: "pinch", ...this.#fingers() };
  }

  #fingers() {
    const [a, b] = [...this.touches.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
  }

  #pinch() {
    if (this.touches.size < 2) return;
    const { stage, doing } = this;
    const now = this.#fingers();
    stage.view.pan(now.x - doing.x, now.y - doing.y);
    stage.view.zoomBy(now.apart / doing.apart, now.x, now.y);
    this.doing = { kind: "pinch", ...now };
    stage.viewChanged();
  }

  #cursor() {
    const moving = this.doing?.kind === "pan";
    this.element.classList.toggle("fm-grab", this.panning && !moving);
    this.element.classList.toggle("fm-grabbing", moving);
  }
}
