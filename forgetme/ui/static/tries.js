// The backgrounds made so far for this mask, side by side with their scores.
import { attr, h, keyed, number, say } from "./dom.js";
import { thumbnail } from "./api.js";

export class Tries {
  /** Tells of `onPick(try index)`. */
  constructor({ onPick }) {
    this.onPick = onPick;
    this.strip = h("div", { class: "fm-try-strip", role: "radiogroup", "aria-label": "Tries" });
    this.count = h("span", {});
    this.title = h("span", { class: "fm-caption" }, this.count, " ", h("kbd", {}, "["), " ", h("kbd", {}, "]"));
    this.element = h("div", { class: "fm-tries" }, this.strip, this.title);
  }

  show(sample) {
    const tries = sample?.tries ?? [];
    const before = this.strip.children.length;
    keyed(
      this.strip, tries, (one) => `${sample.id} ${one.index} ${one.image_sha}`,
      (one) => this.#make(one),
      (element, one, at) => this.#fill(element, one, at, sample),
    );
    if (tries.length > before) this.strip.scrollLeft = this.strip.scrollWidth;
    say(this.count, tries.length === 1 ? "1 try; refine makes another" : `${tries.length} tries`);
    for (const key of this.title.querySelectorAll("kbd")) key.hidden = tries.length < 2;
    attr(this.element, "hidden", tries.length === 0);
  }

  #make(one) {
    const element = h(
      "button",
      { class: "fm-try", role: "radio" },
      h("img", { src: thumbnail(one.image_sha, 256), alt: "" }),
      h("span", { class: "fm-try-scores" }),
      h("span", { class: "fm-try-name" }),
    );
    element.addEventListener("click", () => this.onPick(Number(element.dataset.index)));
    return element;
  }

  #fill(element, one, at, sample) {
    element.dataset.index = one.index;
    element.dataset.test = `try-${at + 1}`;
    const { prompt, seed, steps } = one.settings ?? {};
    attr(element, "aria-checked", one.index === sample.picked_try);
    const { d, s, low } = one.scores;
    const [, scores, name] = element.children;
    say(scores, `D ${number(d.score)}  S ${number(s.score)}`);
    scores.classList.toggle("fm-low", Boolean(low));
    say(name, prompt || one.made_by);
    element.title = prompt ? `“${prompt}”, ${steps} steps, seed ${seed}, by ${one.made_by}` : `by ${one.made_by}`;
    attr(element, "aria-label", `Try ${at + 1}: D ${number(d.score)}, S ${number(s.score)}. ${prompt || one.made_by}`);
  }
}
