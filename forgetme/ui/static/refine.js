// If the hole is not well filled: what should be there instead?
import { h, say } from "./dom.js";
import { icon } from "./icons.js";
import { keycap } from "./keymap.js";

const PLACEHOLDER = "What should be there instead?";
const MAX_SEED = 2 ** 31 - 1;

function field(label, input, title) {
  return h("label", { class: "fm-field", title }, h("span", {}, label), input);
}

function numberInput(name, min, max, step) {
  return h("input", { type: "number", min, max, step, "data-test": name, inputmode: "decimal" });
}

export class Refine {
  /** Tells of `onRefine(form)`, `onNeedSuggestions()` and `onBatch()`. */
  constructor({ onRefine, onNeedSuggestions, onBatch }) {
    this.onRefine = onRefine;
    this.prompt = h("input", {
      type: "text", maxlength: 500, "data-test": "prompt", "aria-label": "Prompt", autocomplete: "off",
      placeholder: PLACEHOLDER,
    });
    this.negative = h("input", {
      type: "text", maxlength: 500, "data-test": "negative", autocomplete: "off",
    });
    this.negative.addEventListener("input", () => (this.negativeEdited = true));
    this.strength = numberInput("strength", 0.1, 1, 0.05);
    this.steps = numberInput("steps", 1, 100, 1);
    this.seed = numberInput("seed", 0, MAX_SEED, 1);
    this.label = h("span", {}, "refine");
    this.go = h("button", { type: "submit", class: "fm-button fm-main", "data-test": "refine" },
      icon("refine"), this.label);
    this.chips = h("div", { class: "fm-chips" });
    this.note = h("p", { class: "fm-note fm-small", role: "status", hidden: true });
    this.batch = h("button", {
      type: "button", class: "fm-button fm-quiet fm-small", "data-test": "batch",
      title: "One more try for all low fills, with one prompt", onclick: onBatch,
    }, "all low ones …");
    this.form = h(
      "form",
      { class: "fm-refine-form" },
      h("div", { class: "fm-row fm-prompt" }, this.prompt, this.go),
      this.chips,
      this.note,
      h(
        "div",
        { class: "fm-fields" },
        field("not", this.negative, "Negative prompt: what must not appear"),
        field("strength", this.strength, "1 forgets what was under the hole; lower keeps some of the picked try"),
        field("steps", this.steps, "More steps are finer and slower"),
        field("seed", this.seed, "The same seed gives the same picture"),
      ),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") document.activeElement.blur();
      const typed = event.key === "Enter" && !event.isComposing && event.target.matches("input");
      if (!typed || !this.go.disabled) return;
      event.preventDefault(); // the browser submits no form whose button is off, and says nothing
      this.submit();
    });
    this.prompt.addEventListener("focus", onNeedSuggestions);
    this.element = h(
      "section",
      { class: "fm-section", "aria-label": "Refine" },
      h("div", { class: "fm-row" },
        h("h3", { class: "fm-title" }, "Refine"), h("span", { class: "fm-spring" }), this.batch,
        keycap("prompt")),
      this.form,
    );
  }

  /** Fills the form for another sample. */
  start(defaults) {
    this.prompt.value = defaults.prompt;
    this.prompt.placeholder = PLACEHOLDER;
    this.negative.value = defaults.negative_prompt;
    this.negativeEdited = false;
    this.strength.value = defaults.strength;
    this.steps.value = defaults.steps;
    this.guidance = defaults.guidance;
    this.seed.value = defaults.seed;
    this.chips.replaceChildren();
    this.#tell("");
    this.waiting = null; // the form of a try that waits for its mask
    this.touched = false;
  }

  /** Offers prompts, as the server made them from what surrounds the hole. */
  suggest({ prompts, defaults, made_by: maker, note }) {
    if (defaults.prompt) this.prompt.placeholder = defaults.prompt; // what an empty prompt stands for
    const untouched = !this.negativeEdited && document.activeElement !== this.negative;
    if (!this.negative.value && untouched) this.negative.value = defaults.negative_prompt;
    this.chips.replaceChildren(
      ...prompts.map((prompt) => h("button", {
        type: "button", class: "fm-chip", title: `by ${maker}, from what surrounds the hole`,
        onclick: () => {
          this.prompt.value = prompt;
          this.prompt.focus();
        },
      }, prompt)),
    );
    if (!this.waiting) this.#tell(note);
  }

  focus() {
    this.prompt.focus();
    this.prompt.select();
  }

  values() {
    return {
      prompt: this.prompt.value.trim(),
      negative_prompt: this.negative.value.trim(),
      strength: Number(this.strength.value),
      steps: Number(this.steps.value),
      guidance: this.guidance,
      seed: Number(this.seed.value),
    };
  }

  /** Refines with what the form says, at once or when it can; the next try gets the next seed. */
  submit() {
    if (!this.form.reportValidity()) return;
    if (this.go.disabled) this.#wait();
    else this.onRefine(this.values());
    this.seed.value = (Number(this.seed.value) + 1) % MAX_SEED;
    document.activeElement.blur();
  }

  /** What is asked for too early is not lost: it says what it waits for, and goes out then. */
  #wait() {
    this.waiting = this.values();
    this.#tell(this.busy
      ? "Your next try starts when this one is done."
      : "There is no mask yet; your try starts when there is one.");
  }

  #tell(words) {
    say(this.note, words);
    this.note.hidden = !words;
  }

  show({ possible, busy, seconds }) {
    this.busy = busy;
    this.go.disabled = !possible || busy;
    if (this.waiting && !this.go.disabled) {
      const form = this.waiting;
      this.waiting = null;
      this.#tell("");
      this.onRefine(form);
    }
    say(this.label, busy ? `${Math.round(seconds)} s` : "refine");
    this.form.classList.toggle("fm-busy", busy);
  }
}
