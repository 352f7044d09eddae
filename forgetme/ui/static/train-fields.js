// One field of a form for each kind of value: a number, a word, a choice, a yes or no.
import { h } from "./dom.js";

const LABELS = {
  steps: "Steps", lr: "Learning rate", batch: "Pictures a step", rank: "LoRA rank", clip: "Gradient clip",
  accumulate: "Batches added up", any_prompt: "the prompt need not name the concept", save_every: "Steps between saves",
  gradient_checkpointing: "gradient checkpointing: less memory, more time", probe_every: "Steps between probes",
  probe_pictures: "Pictures in a probe", retain_pictures: "Pictures drawn to keep",
};
const FRACTIONS = ["lr", "clip"]; // all other numbers are whole

export function heading(words) {
  return h("h2", { class: "fm-title" }, words);
}

export function field(word, control, title) {
  return h("label", { class: "fm-field", title }, h("span", {}, word), control);
}

/** A field that fits a setting's value; `element` to show, `value` to send. */
export function numberField(name, value, words, choices = null, fraction = FRACTIONS.includes(name)) {
  const label = LABELS[name] ?? sentence(name);
  const test = { "data-test": `set-${name}` };
  if (choices) {
    const select = h("select", test, choices.map((one) => h("option", { value: one }, one)));
    select.value = value;
    return made(field(label, select, words), () => select.value);
  }
  if (typeof value === "boolean") {
    const box = h("input", { type: "checkbox", ...test });
    box.checked = value;
    return made(h("label", { class: "fm-check", title: words }, box, h("span", {}, label)), () => box.checked);
  }
  if (typeof value === "string") {
    const input = h("input", { type: "text", maxlength: 500, value, placeholder: "as the method has it", ...test });
    return made(field(label, input, words), () => input.value.trim());
  }
  const input = h("input", { type: "number", required: true, step: fraction ? "any" : 1, min: 0, value, inputmode: "decimal", ...test });
  return made(field(label, input, words), () => Number(input.value));
}

function made(element, read) {
  return { element, get value() { return read(); } };
}

function sentence(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}
