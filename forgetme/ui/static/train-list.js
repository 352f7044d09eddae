// The runs of the store: which are at work, how far, and how well each forgets.
import { attr, h, keyed, say } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { openTab } from "./tabs.js";

export const OPEN = ["queued", "running", "stopping"];
export const SIGNS = {
  queued: ["waiting", "waits for its turn"],
  running: ["reload", "at work"],
  stopping: ["waiting", "finishing its step"],
  done: ["accept", "done"],
  stopped: ["pause", "stopped, saved"],
  failed: ["warning", "failed"],
  died: ["warning", "died"],
};

/** 0.125 → "13 %"; nothing known is a dash. */
export function percent(value) {
  return Number.isFinite(value) ? `${Math.round(100 * value)}\u202f%` : "–";
}

/** "100 % → 0 %" */
export function beforeAfter(first, last, key) {
  if (!last && !first) return "–";
  const before = percent(first?.[key]);
  return last && last.step > 0 ? `${before} → ${percent(last[key])}` : before;
}

export class RunList {
  constructor({ onChoose }) {
    this.onChoose = onChoose;
    this.rows = h("tbody", {});
    this.table = h("div", { class: "fm-run-scroll", tabindex: 0, role: "group", "aria-label": "Runs" },
      h("table", { class: "fm-run-table" },
        h("thead", {}, h("tr", {}, ["Run", "State", "Step"].map((word) => h("th", { scope: "col" }, word)),
          h("th", { scope: "col", title: "Share of the concept's pictures in which it is still recognised: before, and last. Low is good." }, "Forget"),
          h("th", { scope: "col", title: "Share of the other concepts' pictures that are still recognised. High is good." }, "Keep"))),
        this.rows));
    this.empty = h("div", { class: "fm-run-empty", hidden: true, "data-test": "train-empty" });
    this.element = h("section", { class: "fm-run-list", "aria-label": "Runs" }, this.table, this.empty);
  }

  begin({ lead }) {
    this.lead = lead;
  }

  show(runs, chosen, accepted) {
    this.table.hidden = runs.length === 0;
    this.empty.hidden = runs.length > 0;
    if (runs.length === 0) this.#nothing(accepted);
    keyed(this.rows, runs, ({ name }) => name, (run) => this.#row(run), (row, run) => this.#fill(row, run, chosen));
  }

  #nothing(accepted) {
    const words = !this.lead
      ? ["No run yet.", "A lead starts one here; you can watch it forget."]
      : accepted
        ? ["No run yet.", "Choose what is to be forgotten and press start. It goes on when you close this page."]
        : ["No run yet, and no accepted sample to learn from.", "Accept some quadruples on the Curate tab; or take the method esd, which needs none."];
    const key = words.join(" ");
    if (this.empty.dataset.words === key) return;
    this.empty.dataset.words = key;
    this.empty.replaceChildren(h("strong", {}, words[0]), h("span", {}, words[1]),
      ...(this.lead && !accepted ? [h("button", { class: "fm-button", onclick: () => openTab("curate") }, icon("image"), "to Curate")] : []));
  }

  #row({ name }) {
    const button = h("button", { class: "fm-cell-button", "data-test": `run-${name}`, onclick: () => this.onChoose(name) });
    const row = h("tr", { onclick: (event) => event.target.closest("button") || this.onChoose(name) },
      h("th", { scope: "row" }, button, h("span", { class: "fm-small fm-muted" })),
      h("td", {}, h("span", { class: "fm-run-state" }, icon("waiting"), h("span", {}))),
      h("td", {}, h("span", {}), h("div", { class: "fm-bar", "aria-hidden": "true" }, h("div", { class: "fm-bar-fill" }))),
      h("td", {}), h("td", {}));
    return row;
  }

  #fill(row, run, chosen) {
    const [head, state, step, forget, keep] = row.children;
    const [sign, word] = SIGNS[run.state];
    attr(row, "aria-selected", run.name === chosen);
    row.dataset.state = run.state;
    say(head.firstChild, run.name);
    attr(head.firstChild, "aria-pressed", run.name === chosen);
    say(head.lastChild, `${run.method} · ${run.concept}`);
    redraw(state.querySelector("svg"), sign);
    say(state.querySelector("span > span"), word);
    say(step.firstChild, `${run.done} of ${run.steps}`);
    step.lastChild.firstChild.style.width = `${Math.min(100, (100 * run.done) / run.steps)}%`;
    say(forget, beforeAfter(run.first, run.last, "forget"));
    say(keep, beforeAfter(run.first, run.last, "retain"));
  }
}
