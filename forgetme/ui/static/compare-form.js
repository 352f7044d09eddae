// A new comparison: what, with which runs, by which methods; it becomes a job.
import { h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { get, post } from "./api.js";
import { frame, open } from "./compare-dialog.js";
import { openTab } from "./tabs.js";

const SAMPLES = 50;
const MAX_SAMPLES = 10000;

/** Opens the form over `host`; `onStarted(name)` is told when the job is written down. */
export async function newComparison(host, { taken, onStarted, onError }) {
  let offer;
  try {
    offer = await get("compare/form");
  } catch (error) {
    onError(error.message);
    return;
  }
  open(new Form(offer, { taken, onStarted }).dialog, host);
}

class Form {
  constructor(offer, { taken, onStarted }) {
    Object.assign(this, { offer, taken, onStarted });
    this.concept = h("select", { "data-test": "new-concept" }, Object.entries(offer.concepts)
      .map(([name, accepted]) => h("option", { value: name, disabled: accepted === 0 }, `${name}: ${accepted} accepted`)));
    this.name = h("input", {
      type: "text", required: true, maxlength: 80, pattern: "[a-z0-9][a-z0-9\\-]*", autocomplete: "off",
      title: "Lower-case letters, digits, dashes", "data-test": "new-name",
    });
    this.samples = h("input", { type: "number", required: true, min: 1, max: MAX_SAMPLES, value: SAMPLES, "data-test": "new-limit" });
    this.seed = h("input", { type: "number", required: true, min: 0, max: 2 ** 31 - 1, value: 0, "data-test": "new-seed" });
    this.runs = this.#runs();
    this.columns = this.#columns();
    this.sweep = h("input", { type: "checkbox", disabled: true, "data-test": "new-sweep" });
    this.error = h("p", { class: "fm-form-error", role: "alert", hidden: true });
    this.button = h("button", { class: "fm-button fm-main", "data-test": "new-start" }, icon("play"), "start");
    this.concept.addEventListener("change", () => this.#chosen());
    const first = Object.entries(offer.concepts).find(([, accepted]) => accepted > 0);
    if (first) [this.concept.value] = first;
    this.dialog = frame("New comparison", first ? this.#form() : nothing(() => this.dialog.close()));
    this.dialog.dataset.test = "new-comparison";
    if (first) this.#chosen();
  }

  #form() {
    const form = h("form", { class: "fm-new-comparison" },
      h("div", { class: "fm-two" }, field("Concept", this.concept), field("Name", this.name)),
      group("Methods", this.columns.map(({ row }) => row)),
      group("Runs", this.offer.runs.length ? this.runs.map(({ row }) => row) : [h("p", { class: "fm-note" }, "No run has made a patch yet. Train one on the Train tab, then its LoRA can be compared too.")]),
      h("div", { class: "fm-two" }, field("Samples at most", this.samples), field("Seed", this.seed)),
      tick(this.sweep, "Scale sweep", "Draws some samples at every scale of the first run, 0.1 to 1.0."),
      h("p", { class: "fm-note fm-small" }, `Made with the preset ${this.offer.preset}. What was computed before is not computed again.`),
      this.error,
      h("div", { class: "fm-row fm-end" }, this.button));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    form.addEventListener("change", () => this.#able());
    return form;
  }

  #runs() {
    return this.offer.runs.map(({ name, method, concept, steps_done: steps }) => {
      const box = h("input", { type: "checkbox", value: name, "data-test": `new-run-${name}` });
      const words = [method, concept && `forgets ${concept}`, steps && `${steps} steps`].filter(Boolean).join(", ");
      return { box, row: tick(box, name, words) };
    });
  }

  #columns() {
    return Object.entries(this.offer.columns).map(([key, { title, words }]) => {
      const box = h("input", { type: "checkbox", value: key, "data-test": `new-column-${key}` });
      box.disabled = this.offer.need_a_run.includes(key);
      box.checked = !box.disabled;
      return { box, key, row: tick(box, title, words) };
    });
  }

  /** Another concept: a run that forgets it is ticked, the one looked at on the Train tab if it does. */
  #chosen() {
    const looked = new URLSearchParams(location.search).get("run");
    const names = this.offer.runs.filter(({ concept }) => concept === this.concept.value).map(({ name }) => name);
    const one = names.includes(looked) ? looked : names.at(-1);
    for (const { box } of this.runs) box.checked = box.value === one;
    this.#suggest();
    this.#able();
  }

  /** What needs a run can be ticked when there is one. */
  #able() {
    const chosen = this.runs.some(({ box }) => box.checked);
    const needs = [...this.columns.filter(({ key }) => this.offer.need_a_run.includes(key)).map(({ box }) => box), this.sweep];
    for (const box of needs) {
      if (chosen && box.disabled) box.checked = true;
      if (!chosen) box.checked = false;
      box.disabled = !chosen;
      box.closest("label").title = chosen ? "" : "Choose a run first";
    }
    this.button.disabled = !this.columns.some(({ box }) => box.checked);
  }

  /** A name that is free: cat-1, cat-2 … */
  #suggest() {
    const base = this.concept.value.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "") || "comparison";
    let number = 1;
    while (this.taken.includes(`${base}-${number}`)) number += 1;
    this.name.value = `${base}-${number}`;
  }

  async #send() {
    const ticked = (boxes) => boxes.filter(({ box }) => box.checked).map(({ box }) => box.value);
    this.button.disabled = true;
    try {
      await post("comparisons", {
        name: this.name.value, concept: this.concept.value, runs: ticked(this.runs), columns: ticked(this.columns),
        limit: this.samples.valueAsNumber, seed: this.seed.valueAsNumber, sweep: this.sweep.checked,
      });
      this.dialog.close();
      this.onStarted(this.name.value);
    } catch (error) {
      say(this.error, error.message);
      this.error.hidden = false;
    } finally {
      this.button.disabled = false;
    }
  }
}

function nothing(close) {
  return h("div", { class: "fm-cmp-empty" }, h("strong", {}, "There is nothing to compare yet."),
    h("span", {}, "A comparison needs accepted samples of a concept. Accept some on the Curate tab, then come back."),
    h("button", { class: "fm-button fm-main", onclick: () => {
      close();
      openTab("curate");
    } }, "go to Curate"));
}

function field(word, control) {
  return h("label", { class: "fm-field" }, h("span", {}, word), control);
}

function group(word, rows) {
  return h("fieldset", { class: "fm-new-group" }, h("legend", { class: "fm-title" }, word), ...rows);
}

function tick(box, word, more) {
  return h("label", { class: "fm-check" }, box, h("span", {}, h("span", { class: "fm-strong" }, word), h("span", { class: "fm-caption" }, more)));
}

/** The comparisons that are being made, each with how far it is. */
export function jobStrip(box, jobs, { onStop, words }) {
  keyed(box, jobs, ({ id }) => id, (job) => h("div", { class: "fm-cmp-job", role: "status", "data-test": `making-${job.name}` },
    icon("waiting"), h("span", { class: "fm-strong" }), h("span", { class: "fm-muted fm-name" }),
    h("div", { class: "fm-bar", role: "presentation" }, h("div", { class: "fm-bar-fill" })),
    h("button", { class: "fm-button fm-quiet fm-small", onclick: () => onStop(job) }, "stop")),
  (element, job) => {
    const [, name, line, bar, stop] = element.children;
    say(name, job.name ?? "comparison");
    say(line, job.trouble ?? words(job));
    element.classList.toggle("fm-bad", Boolean(job.trouble));
    bar.hidden = Boolean(job.trouble);
    bar.firstChild.style.width = job.total ? `${(100 * job.step) / job.total}%` : "0";
    say(stop, job.trouble ? "hide" : "stop");
  });
}
