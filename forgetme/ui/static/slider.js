// Before and after in one frame, parted by a line that is dragged or moved with the arrow keys.
import { attr, h, say } from "./dom.js";
import { icon } from "./icons.js";
import { picture } from "./api.js";

const STEP = 2;
const BIG_STEP = 20;

/** The line between two pictures; `--at` of its frame says where it stands, in percent. */
export class Line {
  /** A drag that begins on `grip` moves it. */
  constructor(frame, { grip, label }) {
    this.frame = frame;
    this.at = 50;
    this.left = "";
    this.handle = h("div", {
      class: "fm-slider-handle",
      role: "slider",
      tabindex: 0,
      "data-own-keys": true,
      "data-test": "slider",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    }, icon("compare"));
    this.#wire(grip ?? this.handle);
    this.move(50);
  }

  #wire(grip) {
    const follow = (event) => {
      const box = this.frame.getBoundingClientRect();
      this.move(((event.clientX - box.left) / box.width) * 100);
    };
    grip.addEventListener("pointerdown", (event) => {
      event.stopPropagation(); // what lies below is not dragged with it
      grip.setPointerCapture(event.pointerId);
      follow(event);
      grip.onpointermove = follow;
    });
    const stop = () => (grip.onpointermove = null);
    grip.addEventListener("pointerup", stop);
    grip.addEventListener("pointercancel", stop);
    this.handle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? BIG_STEP : STEP;
      const to = {
        ArrowLeft: this.at - step, ArrowRight: this.at + step, Home: 0, End: 100,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.move(to);
    });
  }

  /** Names the two sides. */
  name(left, right) {
    attr(this.handle, "aria-label", `${left} and ${right}`);
    this.left = left;
    this.move(this.at);
  }

  move(percent) {
    this.at = Math.min(100, Math.max(0, percent));
    this.frame.style.setProperty("--at", `${this.at}%`);
    attr(this.handle, "aria-valuenow", Math.round(this.at));
    attr(this.handle, "aria-valuetext", `${Math.round(this.at)} % ${this.left}`);
  }
}

export class Slider {
  constructor() {
    this.before = h("img", { alt: "", draggable: "false" });
    this.after = h("img", { alt: "", draggable: "false" });
    this.clip = h("div", { class: "fm-slider-after" }, this.after);
    this.tags = [
      h("span", { class: "fm-tag fm-tag-left" }, "before"),
      h("span", { class: "fm-tag fm-tag-right" }, "after"),
    ];
    this.empty = h("div", { class: "fm-slider-empty" });
    this.frame = h("div", { class: "fm-slider-frame" }, this.before, this.clip, ...this.tags);
    this.line = new Line(this.frame, { grip: this.frame, label: "Before and after" });
    this.line.name("before", "after");
    this.frame.append(this.line.handle);
    this.element = h("div", { class: "fm-slider" }, this.frame, this.empty);
  }

  /** Shows the original and a filled background, or `words` while there is none. */
  show(sample, attempt, words) {
    this.#ready(Boolean(sample && attempt), words);
    if (sample && attempt) this.#set(sample, [sample.image_sha, "before"], [attempt.image_sha, "after"]);
  }

  /** Shows any two pictures of a sample's size; each is [sha, name]. */
  compare(sample, left, right) {
    this.#ready(true, "");
    this.#set(sample, left, right);
  }

  #ready(ready, words) {
    this.frame.hidden = !ready;
    this.empty.hidden = ready;
    this.empty.textContent = words;
  }

  #set({ width, height }, [leftSha, leftName], [rightSha, rightName]) {
    this.frame.style.aspectRatio = `${width} / ${height}`;
    this.frame.style.setProperty("--ratio", width / height);
    attr(this.before, "src", picture(leftSha));
    attr(this.after, "src", picture(rightSha));
    const [left, right] = this.tags;
    say(left, leftName);
    say(right, rightName);
    this.line.name(leftName, rightName);
  }
}
