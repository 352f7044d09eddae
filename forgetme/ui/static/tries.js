// The backgrounds made so far for this mask, side by side with their scores and proofs.
import { attr, h, keyed, number, say } from "./dom.js";
import { thumbnail } from "./api.js";
import { Compare } from "./trycompare.js";
import { icon, redraw } from "./icons.js";
import { ORDERS, gone, looks, nameOf, outside, sorted, tellAll } from "./trywords.js";

const KEPT = "forgetme-tries-order";

export class Tries {
  /** Tells of `onPick(try index)`. */
  constructor({ onPick }) {
    this.onPick = onPick;
    this.shown = []; // as the strip has them
    this.stays = "";
    this.compare = new Compare({ onPick, onOrder: (by) => this.#sort(by) });
    this.strip = h("div", { class: "fm-try-strip", role: "radiogroup", "aria-label": "Tries" });
    this.count = h("span", { class: "fm-spring" });
    this.order = h("select", { "aria-label": "Order of the tries", "data-test": "order" },
      ORDERS.map(({ id, word }) => h("option", { value: id }, word)));
    const kept = localStorage.getItem(KEPT);
    this.order.value = ORDERS.some(({ id }) => id === kept) ? kept : "made";
    this.order.addEventListener("change", () => this.#sort(this.order.value));
    this.sort = h("label", { class: "fm-try-order" }, h("span", {}, "sort"), this.order);
    this.beside = h("button", {
      class: "fm-button fm-quiet fm-small", "data-test": "compare", "data-act": "compare",
      title: "All scores and proofs; any two tries side by side",
      onclick: () => this.openCompare(),
    }, icon("compare"), h("span", {}, "compare"));
    this.foot = h("div", { class: "fm-try-foot fm-caption" }, this.count, this.sort, this.beside);
    this.element = h("div", { class: "fm-tries" }, this.strip, this.foot);
  }

  openCompare() {
    if (this.sample?.tries.length) this.compare.open(this.sample, this.order.value);
  }

  #sort(by) {
    localStorage.setItem(KEPT, by);
    this.order.value = by;
    if (this.sample) this.show(this.sample);
  }

  show(sample) {
    const tries = sorted(sample?.tries ?? [], this.order.value);
    const grown = this.sample?.id === sample?.id && tries.length > this.shown.length;
    if (this.sample?.id !== sample?.id) this.stays = "";
    if (grown) this.stays = staying(sample);
    this.sample = sample;
    this.shown = tries;
    keyed(
      this.strip, tries, (one) => `${sample.id} ${one.index} ${one.image_sha}`,
      (one) => this.#make(one),
      (element, one) => this.#fill(element, one, sample),
    );
    if (grown) this.strip.querySelector("[aria-checked]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    const count = tries.length === 1 ? "1 try; refine makes another" : `${tries.length} tries`;
    say(this.count, this.stays || count);
    attr(this.count, "title", this.stays || null);
    this.sort.hidden = tries.length < 2;
    attr(this.element, "hidden", tries.length === 0);
    this.compare.refresh(sample);
  }

  #make(one) {
    const element = h(
      "button",
      { class: "fm-try", role: "radio" },
      h("img", { src: thumbnail(one.image_sha, 256), alt: "" }),
      h("span", { class: "fm-try-scores" }),
      h("span", { class: "fm-try-name" }),
      h("span", { class: "fm-try-signs" }, icon("accept"), icon("accept"), icon("accept")),
    );
    element.addEventListener("click", () => this.onPick(Number(element.dataset.index)));
    return element;
  }

  #fill(element, one, sample) {
    element.dataset.index = one.index;
    element.dataset.test = `try-${one.index + 1}`;
    attr(element, "aria-checked", one.index === sample.picked_try);
    const { d, s, low } = one.scores;
    const [, scores, name, signs] = element.children;
    say(scores, `D ${number(d.score)}  S ${number(s.score)}`);
    scores.classList.toggle("fm-low", Boolean(low));
    say(name, nameOf(one));
    sign(signs.children[0], gone(one, sample.concept));
    sign(signs.children[1], looks(one));
    sign(signs.children[2], outside(one));
    attr(element, "title", tellAll(one, sample.concept));
    const said = [`Try ${one.index + 1}: D ${number(d.score)}, S ${number(s.score)}`, nameOf(one),
      gone(one, sample.concept).short, looks(one).short, outside(one).short];
    attr(element, "aria-label", said.join(". "));
  }
}

/** What a new try that was not picked leaves to say; "" where it was picked. */
function staying({ tries, picked_try: picked }) {
  const newest = Math.max(...tries.map(({ index }) => index));
  return newest === picked || picked === null ? "" : `try ${newest + 1} is not better; try ${picked + 1} stays`;
}

/** A tick, a warning, or a question where nobody looked. */
export function sign(svg, { ok, short }) {
  redraw(svg, ok === null ? "ask" : ok ? "accept" : "warning", short);
  attr(svg, "data-ok", ok === null ? "unknown" : String(ok));
}
