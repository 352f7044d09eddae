// What must stay: concepts to switch on and off; which is the neighbour and which is unrelated.
import { attr, h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { field } from "./train-fields.js";

export class Keep {
  constructor({ onChange }) {
    this.onChange = onChange;
    this.kept = [];
    this.known = [];
    this.chips = h("div", { class: "fm-chips", role: "group", "aria-label": "What must stay" });
    this.more = h("input", { type: "text", maxlength: 80, placeholder: "another", "aria-label": "Another concept that must stay", "data-test": "keep-more" });
    const add = h("button", { class: "fm-button", type: "button", "data-test": "keep-add", onclick: () => this.#add() }, icon("add"), "add");
    this.more.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#add();
    });
    this.near = h("select", { "data-test": "keep-near", onchange: () => this.#place(this.near.value, 0) });
    this.far = h("select", { "data-test": "keep-far", onchange: () => this.#place(this.far.value, Infinity) });
    this.ends = h("div", { class: "fm-two" }, field("A neighbour", this.near, "The concept that is most like it; probes watch it"),
      field("Unrelated", this.far, "The concept that is least like it; probes watch it"));
    this.note = h("p", { class: "fm-note" });
    this.element = h("div", { class: "fm-keep", "data-test": "keep" }, this.chips, h("div", { class: "fm-row" }, this.more, add), this.ends, this.note);
  }

  /** Concepts to keep, the neighbour first. */
  get value() {
    return this.kept.filter((name) => name !== this.concept);
  }

  /** Offers what the preset's models know; another preset's choice begins with most of it. */
  offer({ keep, apart }, concept) {
    const fresh = JSON.stringify(keep);
    this.concept = concept;
    if (this.fresh !== fresh) {
      this.fresh = fresh;
      this.known = [...keep];
      this.kept = keep.filter((name) => !apart.includes(name));
    }
    this.#show();
  }

  #show() {
    const known = this.known.filter((name) => name !== this.concept);
    keyed(this.chips, known, (name) => name,
      (name) => h("button", { class: "fm-chip", type: "button", "data-test": `keep-${name}`, onclick: () => this.#toggle(name) }, name),
      (chip, name) => attr(chip, "aria-pressed", this.kept.includes(name)));
    const names = this.value;
    for (const select of [this.near, this.far]) {
      select.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
    }
    this.near.value = names[0] ?? "";
    this.far.value = names.at(-1) ?? "";
    this.ends.hidden = names.length < 2;
    const apart = known.filter((name) => !names.includes(name));
    say(this.note, !names.length ? "Nothing is held: all else may be lost."
      : apart.length ? `Not held, and watched apart: ${apart.join(", ")}. How these fare is how anything else will.`
        : "All is held, so nobody will know what else is lost: leave some out.");
  }

  #toggle(name) {
    this.kept = this.kept.includes(name) ? this.kept.filter((one) => one !== name) : [...this.kept, name];
    this.#changed();
  }

  #add() {
    const name = this.more.value.trim();
    if (!name) return;
    this.more.value = "";
    if (!this.known.includes(name)) this.known.push(name);
    if (!this.kept.includes(name)) this.kept.push(name);
    this.#changed();
  }

  #place(name, at) {
    const rest = this.value.filter((one) => one !== name);
    this.kept = at ? [...rest, name] : [name, ...rest];
    this.#changed();
  }

  #changed() {
    this.#show();
    this.onChange();
  }
}
