// The bar at the bottom: the decisions, each with its key.
import { h } from "./dom.js";
import { icon } from "./icons.js";

const ACTS = [
  ["reject", "X", "reject"],
  ["skip", "space", "skip"],
  ["flag", "F", "flag"],
  ["comment", "C", "comment"],
];

function button(name, key, word, act, kind = "") {
  return h(
    "button",
    { class: `fm-button fm-decision ${kind}`, "data-test": name, onclick: () => act(name) },
    icon(name), h("span", { class: "fm-word" }, word), h("kbd", {}, key),
  );
}

export class Decisions {
  /** Tells of `onAct(name)`: reject, skip, flag, comment, undo or accept. */
  constructor({ onAct }) {
    this.accept = button("accept", "A", "accept", onAct, "fm-accept");
    this.buttons = ACTS.map(([name, key, word]) => button(name, key, word, onAct, `fm-${name}`));
    this.undo = button("undo", "⌫", "undo last", onAct, "fm-undo");
    this.element = h(
      "footer",
      { class: "fm-decisions", "aria-label": "Decisions" },
      ...this.buttons,
      h("span", { class: "fm-spring" }),
      this.undo,
      this.accept,
    );
  }

  show(sample) {
    const ready = Boolean(sample) && !sample.loading;
    for (const one of this.buttons) one.disabled = !ready;
    this.accept.disabled = !ready || !sample.mask || sample.picked_try === null;
    for (const [name, state] of Object.entries({
      accept: "accepted", reject: "rejected", skip: "skipped", flag: "flagged",
    })) {
      this.element.querySelector(`.fm-${name}`).classList.toggle("fm-is-so", sample?.state === state);
    }
  }
}
