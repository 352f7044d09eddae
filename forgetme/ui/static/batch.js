// One more try for all low fills: the prompt template, and how many it is for.
import { attr, h, number, say } from "./dom.js";
import { get, post } from "./api.js";
import { frame, open } from "./dialogs.js";
import { icon } from "./icons.js";
import { jobsChanged, progress } from "./jobs.js";

const RULE = "A new try is picked only where it is better: the object is no longer seen; else no smear and no "
  + "seam; else scores that are not low; else a higher mean of D and S. One that you picked stays. Samples that somebody else has open, and "
  + "decided ones, are left alone.";
const ENDED = ["done", "stopped", "failed", "died"];
const NAMES = 6; // of low samples that are listed

/** Opens the dialog; `form` has the first values, `onStarted(job)` is told. */
export function refineAll({ concepts, concept, form, onStarted }) {
  const dialog = new Batch({ concepts, concept, form, onStarted });
  dialog.open();
}

class Batch {
  constructor({ concepts, concept, form, onStarted }) {
    this.onStarted = onStarted;
    this.guidance = form.guidance;
    this.concept = h("select", { "data-test": "batch-concept" },
      h("option", { value: "" }, "all concepts"),
      concepts.map((value) => h("option", { value }, value)));
    this.concept.value = concepts.includes(concept) ? concept : "";
    this.concept.addEventListener("change", () => this.#count());
    this.prompt = h("input", {
      type: "text", required: true, maxlength: 500, autocomplete: "off", "data-test": "batch-prompt",
    });
    this.negative = field("text", { maxlength: 500, value: form.negative_prompt, "data-test": "batch-not" });
    this.strength = field("number", { min: 0.1, max: 1, step: 0.05, value: form.strength });
    this.steps = field("number", { min: 1, max: 100, step: 1, value: form.steps, "data-test": "batch-steps" });
    this.seed = field("number", { min: 0, max: 2 ** 31 - 1, step: 1, value: form.seed });
    this.places = h("div", { class: "fm-chips fm-places" });
    this.count = h("p", { class: "fm-note", role: "status", "data-test": "batch-count" });
    this.error = h("ul", { class: "fm-errors", role: "alert" });
    this.go = h("button", { class: "fm-button fm-main", disabled: true, "data-test": "batch-start" },
      icon("refine"), h("span", {}, "refine them"));
  }

  open() {
    const form = h("form", { class: "fm-batch" },
      label("Of which concept?", this.concept),
      label("What should be there instead?", this.prompt),
      this.places,
      h("div", { class: "fm-fields" }, label("not", this.negative), label("strength", this.strength),
        label("steps", this.steps), label("seed", this.seed)),
      this.count,
      h("p", { class: "fm-note" }, RULE),
      this.error,
      h("div", { class: "fm-row fm-end" }, this.go));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    this.dialog = open(frame("Refine all low fills", form));
    this.#count(true);
    this.prompt.focus();
  }

  async #count(first = false) {
    const asked = this.concept.value;
    try {
      const found = await get(`fills/low?${new URLSearchParams({ concept: asked })}`);
      if (this.concept.value !== asked) return; // another one was chosen meanwhile
      if (first) this.#begin(found);
      this.#tell(found);
    } catch (error) {
      this.#fail(error);
    }
  }

  #begin({ template, placeholders }) {
    if (!this.prompt.value) this.prompt.value = template;
    this.places.replaceChildren(...Object.entries(placeholders).map(([name, words]) => h("button", {
      type: "button", class: "fm-chip", title: words, onclick: () => this.#insert(`{${name}}`),
    }, `{${name}}`)));
  }

  #tell({ count, rows, job }) {
    const runs = job && !ENDED.includes(job.state);
    attr(this.go, "disabled", runs || count === 0);
    if (runs) say(this.count, `A round is under way: ${progress(job)}. Long work, at the top, shows it.`);
    else if (count === 0) say(this.count, "No undecided fill is low here. There is nothing to refine.");
    else {
      const names = rows.slice(0, NAMES).map((row) => `${row.name} (D ${number(row.d)} S ${number(row.s)})`);
      const more = count > NAMES ? ` and ${count - NAMES} more` : "";
      say(this.count, `${count} low: ${names.join(", ")}${more}.`);
    }
  }

  #insert(text) {
    const { selectionStart: from, selectionEnd: to } = this.prompt;
    this.prompt.setRangeText(text, from, to, "end");
    this.prompt.focus();
  }

  async #start() {
    this.go.disabled = true;
    this.error.replaceChildren();
    try {
      const { job } = await post("fills/refine_low", {
        prompt: this.prompt.value.trim(),
        concept: this.concept.value || null,
        negative_prompt: this.negative.value.trim(),
        strength: Number(this.strength.value),
        steps: Number(this.steps.value),
        guidance: this.guidance,
        seed: Number(this.seed.value),
      });
      jobsChanged();
      this.dialog.close();
      this.onStarted(job);
    } catch (error) {
      this.#fail(error);
      this.go.disabled = false;
    }
  }

  #fail(error) {
    this.error.replaceChildren(h("li", {}, error.message));
  }
}

function label(words, input) {
  return h("label", { class: "fm-field" }, h("span", {}, words), input);
}

function field(type, props) {
  return h("input", { type, autocomplete: "off", ...props });
}
