// Two pictures of a row against each other: parted by a line, in turns, or with their difference between.
import { attr, h, say } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { Difference } from "./compare-difference.js";
import { Pane } from "./compare-pane.js";
import { Line } from "./slider.js";

// A change is half a flash; more than three flashes a second can harm people with epilepsy.
const RATES = { least: 0.5, most: 6, usual: 2, step: 0.5 };

/** One picture over the other, in one pane. */
class Stacked {
  constructor(linked) {
    this.pane = new Pane(linked);
    this.over = h("img", { alt: "", draggable: "false" });
    this.clip = h("div", { class: "fm-pane-over" }, this.over);
    this.pane.sheet.insertBefore(this.clip, this.pane.svg);
    this.panes = [this.pane];
  }

  stack(left, right) {
    this.pane.show(left.src, left.error);
    this.over.hidden = !right.src;
    attr(this.over, "src", right.src);
    if (left.src && !right.src) this.pane.tell(`${right.title}: ${right.error}`);
    this.pane.image.alt = left.title;
    this.over.alt = right.title;
  }
}

export class SliderView extends Stacked {
  constructor(linked) {
    super(linked);
    const { element } = this.pane;
    element.classList.add("fm-parted");
    this.line = new Line(element, { label: "Left and right" });
    this.tags = [h("span", { class: "fm-tag fm-tag-left" }), h("span", { class: "fm-tag fm-tag-right" })];
    element.append(...this.tags, this.line.handle);
    this.element = h("div", { class: "fm-cmp-one" }, element);
    this.tools = [];
    const place = this.pane.place.bind(this.pane);
    this.pane.place = (view) => {
      place(view);
      this.#part(view);
    };
    const move = this.line.move.bind(this.line);
    this.line.move = (percent) => {
      move(percent);
      this.#part(linked.view);
    };
  }

  /** The line stands in the pane; the upper picture is cut in its own pixels. */
  #part(view) {
    const at = view.toImage((this.line.at / 100) * view.box.width, 0).x;
    this.clip.style.clipPath = `inset(0 0 0 ${Math.min(view.image.width, Math.max(0, at))}px)`;
  }

  show(left, right) {
    this.stack(left, right);
    say(this.tags[0], left.title);
    say(this.tags[1], right.title);
    this.line.name(left.title, right.title);
  }

  leave() {}
}

export class FlickerView extends Stacked {
  constructor(linked) {
    super(linked);
    this.tag = h("span", { class: "fm-tag fm-tag-middle", "data-test": "flicker-shown" });
    this.pane.element.append(this.tag);
    this.element = h("div", { class: "fm-cmp-one" }, this.pane.element);
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.sign = icon("pause");
    this.button = h("button", { class: "fm-button", "data-test": "flicker-play", onclick: () => this.play(!this.playing) },
      this.sign, h("span", {}), h("kbd", {}, "F"));
    this.rate = h("input", {
      type: "range", min: RATES.least, max: RATES.most, step: RATES.step, value: RATES.usual,
      "aria-label": "Changes a second", "data-test": "flicker-rate",
    });
    this.rateWords = h("output", { class: "fm-small" });
    this.rate.addEventListener("input", () => this.#tick());
    this.tools = [this.button,
      h("label", { class: "fm-tool" }, h("span", {}, "slow"), this.rate, h("span", {}, "fast"), this.rateWords),
      h("span", { class: "fm-muted fm-small fm-cmp-hint", title: "Shows the other one while held" }, "hold ", h("kbd", {}, "space"))];
  }

  show(left, right) {
    this.names = [left.title, right.title];
    this.stack(left, right);
    this.#turn(this.second ?? false);
    this.#tick();
  }

  play(on) {
    this.playing = on;
    this.#tick();
  }

  /** While held, the other picture stands still. */
  hold(on) {
    if (on) {
      this.before = this.playing;
      this.playing = false;
      this.#turn(!this.second);
    } else {
      this.playing = this.before ?? this.playing;
      this.#turn(!this.second);
    }
    this.#tick();
  }

  #turn(second) {
    this.second = second;
    this.clip.style.visibility = second ? "visible" : "hidden";
    say(this.tag, this.names?.[second ? 1 : 0] ?? "");
  }

  #tick() {
    clearInterval(this.timer);
    const rate = Number(this.rate.value);
    say(this.rateWords, `${rate} a second`);
    redraw(this.sign, this.playing ? "pause" : "play");
    say(this.button.children[1], this.playing ? "stop" : "flicker");
    attr(this.button, "aria-pressed", String(this.playing));
    if (this.playing) this.timer = setInterval(() => this.#turn(!this.second), 1000 / rate);
  }

  leave() {
    clearInterval(this.timer);
  }
}

export class DifferenceView {
  constructor(linked) {
    this.left = new Pane(linked);
    this.right = new Pane(linked);
    this.difference = new Difference(linked);
    this.heads = ["", "Difference", ""].map((word) => h("figcaption", {}, h("span", { class: "fm-name" }, word)));
    const panes = [this.left, this.difference.pane, this.right];
    this.panes = panes;
    this.element = h("div", { class: "fm-cmp-three" },
      panes.map((pane, at) => h("figure", { class: "fm-tile" }, this.heads[at], pane.element)));
    this.tools = [this.difference.tools, this.difference.legend];
    this.words = this.difference.words;
  }

  show(left, right, mask) {
    for (const [pane, one, at] of [[this.left, left, 0], [this.right, right, 2]]) {
      pane.show(one.src, one.error);
      pane.image.alt = one.title;
      say(this.heads[at].firstChild, one.title);
    }
    this.difference.show(left.src, right.src, mask);
  }

  leave() {}
}
