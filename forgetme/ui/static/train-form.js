// What is asked of a run: a form made from the method's own settings; what cannot be is not offered, and why.
import { attr, h, say, sentence, settled } from "./dom.js";
import { icon } from "./icons.js";
import { post } from "./api.js";
import { span } from "./jobs.js";
import { field, heading, numberField } from "./train-fields.js";
import { Keep } from "./train-keep.js";

const CHECK_MS = 300;
const OTHER = "\u0000other"; // a concept that the store does not have
const MAIN = ["steps", "lr", "batch", "rank"];
const APART = ["method", "concept", "also", "trains", "keep", "watch", "options", "preset", ...MAIN]; // have places of their own
const HOW = {
  measured: "measured on this machine", scaled: "from other runs on this machine",
  estimated: "an estimate; the first run measures it",
};

export class TrainForm {
  /** Tells `onStart(run)` of a run that was asked for. */
  constructor({ onStart }) {
    this.onStart = onStart;
    this.concepts = [];
    this.names = [];
    this.element = h("aside", { class: "fm-train-side", "aria-label": "A run to start" });
    this.check = settled(() => this.#check(), CHECK_MS);
  }

  /** How many accepted samples there are in all. */
  get accepted() {
    return this.concepts.reduce((sum, { accepted }) => sum + accepted, 0);
  }

  begin(answer, { lead }) {
    Object.assign(this, { answer, lead });
    if (!lead) {
      this.element.replaceChildren(heading("Start a run"), h("p", { class: "fm-note" },
        "Runs are started by people with the role lead. You can watch them, and see what they draw."));
      return;
    }
    this.#build();
    this.#method();
  }

  /** Takes what the store has: concepts with their accepted samples, and the names that are taken. */
  offer({ concepts, names }) {
    const changed = JSON.stringify([concepts, names]) !== this.offered;
    this.offered = JSON.stringify([concepts, names]);
    Object.assign(this, { concepts, names });
    if (!changed || !this.form) return;
    this.#offerConcepts();
    this.#concept();
  }

  // ------------------------------------------------------------------ the parts
  #build() {
    const { methods, presets, preset } = this.answer;
    this.preset = h("div", { class: "fm-segments", role: "group", "aria-label": "Preset" }, presets.map(({ name, title, problem, words }) =>
      h("button", { class: "fm-segment", type: "button", "data-name": name, "data-test": `preset-${name}`, disabled: Boolean(problem),
        title: problem?.replaceAll("`", "") ?? words, onclick: () => this.#preset(name) }, title)));
    this.presetName = presets.find(({ name, problem }) => name === preset && !problem)?.name ?? presets[0].name;
    this.presetWords = h("p", { class: "fm-note" });
    const closed = presets.filter(({ problem }) => problem);
    this.closed = h("p", { class: "fm-note fm-small" }, closed.flatMap(({ title, problem }) => sentence(`${title}: ${problem}. `)));
    this.method = h("select", { "data-test": "train-method", onchange: () => this.#method() },
      methods.map(({ name }) => h("option", { value: name }, name)));
    this.methodWords = h("p", { class: "fm-note" });
    this.concept = h("select", { "data-test": "train-concept", onchange: () => this.#concept() });
    this.other = h("input", { type: "text", maxlength: 80, placeholder: "a word, such as cat", "aria-label": "Another concept", "data-test": "train-other", oninput: () => this.#concept() });
    this.conceptWords = h("p", { class: "fm-note", "data-test": "train-concept-words" });
    this.keep = new Keep({ onChange: () => this.check() });
    this.trains = h("select", { "data-test": "train-trains", onchange: () => this.#relevant() });
    this.trainsWords = h("p", { class: "fm-note" });
    this.main = h("div", { class: "fm-two" });
    this.options = h("div", { class: "fm-train-fields" });
    this.rest = h("div", { class: "fm-train-fields" });
    this.name = h("input", { type: "text", required: true, maxlength: 80, pattern: "[a-z0-9][a-z0-9\\-]*", autocomplete: "off",
      title: "Small letters, digits and dashes", "data-test": "train-name" });
    this.name.addEventListener("input", () => (this.named = this.name.value !== ""));
    this.cost = h("p", { class: "fm-train-cost", role: "status", "data-test": "train-cost" });
    this.problem = h("p", { class: "fm-train-problem", role: "alert", hidden: true, "data-test": "train-problem" });
    this.start = h("button", { class: "fm-button fm-main", disabled: true, "data-test": "train-start" }, icon("play"), "start");
    this.form = h("form", { class: "fm-train-form", "aria-label": "Start a run" },
      h("div", { class: "fm-train-parts" },
        heading("What to forget"), field("Concept", this.concept), this.other, this.conceptWords,
        heading("How"), this.preset, this.presetWords, closed.length ? this.closed : null,
        field("Method", this.method), this.methodWords,
        field("What is trained", this.trains), this.trainsWords, this.main, this.options,
        heading("What must stay"), this.keep.element,
        h("details", { class: "fm-train-more" }, h("summary", {}, "More settings"), this.rest)),
      h("div", { class: "fm-train-go" }, this.problem, this.cost,
        h("div", { class: "fm-row" }, field("Name of the run", this.name), this.start)));
    this.form.addEventListener("input", () => this.check());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    this.element.replaceChildren(this.form);
    this.#offerConcepts();
  }

  get #chosen() {
    return this.answer.methods.find(({ name }) => name === this.method.value);
  }

  get #plan() {
    return this.answer.presets.find(({ name }) => name === this.presetName);
  }

  get #word() {
    return this.concept.value === OTHER ? this.other.value.trim() : this.concept.value;
  }

  #preset(name) {
    this.presetName = name;
    this.#method();
  }

  /** Another method or preset: its own settings take the place of what was there. */
  #method() {
    const chosen = this.#chosen;
    const defaults = chosen.defaults[this.presetName];
    for (const button of this.preset.children) attr(button, "aria-pressed", button.dataset.name === this.presetName);
    say(this.presetWords, `${this.#plan.words} Runs on ${this.answer.machine.words}.`);
    say(this.methodWords, `${chosen.words} Source: ${chosen.source}.`);
    this.trains.replaceChildren(...Object.entries(this.answer.trains).map(([name, words]) => {
      const able = chosen.trains.includes(name);
      return h("option", { value: name, disabled: !able, title: words }, able ? name : `${name} (not with ${chosen.name})`);
    }));
    this.trains.value = defaults.trains;
    this.fields = {};
    const make = (name, value, words) => (this.fields[name] = numberField(name, value, words ?? this.answer.words[name], this.answer.choices[name]));
    this.main.replaceChildren(...MAIN.map((name) => make(name, defaults[name]).element));
    this.own = Object.entries(chosen.options).map(([name, one]) => [
      name, numberField(name, defaults.options[name] ?? one.default, one.words, one.choices.length ? one.choices : null, true),
    ]);
    this.options.replaceChildren(...this.own.map(([, one]) => one.element));
    const rest = Object.keys(defaults).filter((name) => !APART.includes(name));
    this.probes = numberField("probe_pictures", 8, "pictures of each concept in a probe; 0 = no probes");
    this.rest.replaceChildren(...rest.map((name) => make(name, defaults[name]).element), this.probes.element);
    this.#offerConcepts();
    this.keep.offer(this.#plan, this.#word);
    this.#relevant();
    this.#concept();
  }

  /** Fields that mean nothing with what is trained, or to this method, are not there. */
  #relevant() {
    const chosen = this.#chosen;
    this.fields.rank.element.hidden = this.trains.value !== "lora";
    this.fields.anchor.element.hidden = !chosen.anchor;
    const closed = Object.keys(this.answer.trains).filter((name) => !chosen.trains.includes(name));
    const not = closed.length ? ` ${chosen.name} is not defined for ${closed.join(", ")} (${chosen.source}).` : "";
    say(this.trainsWords, `${this.answer.trains[this.trains.value]}.${not}`);
    this.check();
  }

  #offerConcepts() {
    if (!this.form) return;
    const pictures = this.#chosen.pictures;
    const known = this.concepts.map(({ name }) => name);
    const more = pictures ? [] : this.#plan.keep.filter((name) => !known.includes(name)).map((name) => ({ name, accepted: 0 }));
    const before = this.concept.value;
    this.concept.replaceChildren(
      ...[...this.concepts, ...more].map(({ name, accepted }) =>
        h("option", { value: name, disabled: pictures && !accepted }, `${name}, ${accepted || "none"} accepted`)),
      ...(pictures ? [] : [h("option", { value: OTHER }, "another word …")]));
    const able = [...this.concept.options].filter(({ disabled }) => !disabled).map(({ value }) => value);
    this.concept.value = [before, this.#plan.demo].find((one) => able.includes(one)) ?? able[0] ?? "";
  }

  #concept() {
    const word = this.#word;
    const { pictures, name } = this.#chosen;
    const found = this.concepts.find((one) => one.name === word)?.accepted ?? 0;
    this.other.hidden = this.concept.value !== OTHER;
    say(this.conceptWords, !pictures ? `${name} learns from no pictures: the word is enough.`
      : found ? `Learns from ${found} accepted ${found === 1 ? "sample" : "samples"}, as they are when you start.`
        : "No accepted sample to learn from. Accept some on the Curate tab, or take a method that needs none.");
    this.keep.offer(this.#plan, word);
    if (!this.named || !this.name.value) this.name.value = free(`${word} ${name}`, this.names);
    this.check();
  }

  // ------------------------------------------------------------------ sending
  get #body() {
    const read = (fields) => Object.fromEntries(fields.map(([name, one]) => [name, one.value]));
    return {
      preset: this.presetName,
      probe_pictures: this.probes.value,
      settings: {
        ...read(Object.entries(this.fields)), method: this.#chosen.name, concept: this.#word,
        trains: this.trains.value, keep: this.keep.value, options: read(this.own),
      },
    };
  }

  async #check() {
    const body = this.#body;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    if (!body.settings.concept) {
      this.#tell("Choose what is to be forgotten.", null);
      return;
    }
    try {
      const { problem, cost } = await post("train/check", body);
      if (turn === this.turn) this.#tell(problem, cost);
    } catch (error) {
      if (turn === this.turn) this.#tell(error.message, null);
    }
  }

  #tell(problem, cost) {
    say(this.problem, problem ?? "");
    this.problem.hidden = !problem;
    this.start.disabled = Boolean(problem);
    say(this.cost, cost ? `About ${span(cost.seconds)} and ${memory(cost.memory_mb)}: ${HOW[cost.how]}.` : "");
  }

  async #start() {
    this.start.disabled = true;
    try {
      const run = await post("train/runs", { ...this.#body, name: this.name.value });
      this.named = false;
      this.names = [run.name, ...this.names];
      this.#concept();
      this.onStart(run);
    } catch (error) {
      this.#tell(error.message, null);
    }
  }
}

/** "golden retriever lora" → "golden-retriever-lora", with a number where that is taken. */
function free(words, taken) {
  const name = words.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 70) || "run";
  if (!taken.includes(name)) return name;
  let number = 2;
  while (taken.includes(`${name}-${number}`)) number += 1;
  return `${name}-${number}`;
}

function memory(mb) {
  return mb < 1000 ? `${Math.round(mb / 50) * 50} MB` : `${(mb / 1024).toFixed(1)} GB`;
}
