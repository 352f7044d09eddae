// The bar at the bottom: the decisions, each with its key.
import { attr, h } from "./dom.js";
import { icon } from "./icons.js";
import { hint, keycap } from "./keymap.js";
import { STATE_OF } from "./worklist.js";

const WORDS = { reject: "reject", skip: "skip", flag: "flag", comment: "comment", undo: "undo last", accept: "accept" };
const TITLES = {
  reject: "Reject: this image is of no use",
  skip: "Skip: not sure; it can be opened again",
  flag: "Flag: somebody else should look",
  comment: "Write a comment",
  undo: "Undo the last decision",
  accept: "Accept: mask and background are good",
};

export class Decisions {
  /** Tells of `onAct(name)`: reject, skip, flag, comment, undo or accept. */
  constructor({ onAct }) {
    this.buttons = Object.fromEntries(Object.keys(WORDS).map((name) => [name, button(name, onAct)]));
    const { accept, undo, ...others } = this.buttons;
    this.element = h(
      "footer",
      { class: "fm-decisions", "aria-label": "Decisions" },
      ...Object.values(others), h("span", { class: "fm-spring" }), undo, accept,
    );
    this.show(null); // nothing can be decided yet
  }

  show(sample) {
    const ready = Boolean(sample) && !sample.loading;
    for (const [name, element] of Object.entries(this.buttons)) {
      if (name === "undo") continue; // also when nothing is shown
      element.disabled = !ready;
      const state = STATE_OF[name];
      if (!state) continue;
      element.classList.toggle("fm-is-so", sample?.state === state);
      attr(element, "aria-pressed", sample?.state === state);
    }
    this.buttons.accept.disabled = !ready || !sample.mask || sample.picked_try === null;
  }
}

function button(name, onAct) {
  const element = h(
    "button",
    { class: `fm-button fm-decision fm-${name}`, "data-test": name, onclick: () => onAct(name) },
    icon(name), h("span", { class: "fm-word" }, WORDS[name]), keycap(name),
  );
  return hint(element, TITLES[name], name);
}
