// The right end of the top bar: preset, what the worker does, what was saved when, who, theme, help.
import { attr, clock, h, say } from "./dom.js";
import { icon } from "./icons.js";
import { Jobs } from "./jobs.js";
import { hint } from "./keymap.js";
import { account } from "./signin.js";

const DOING = { prepare: "preparing", fill: "filling", refine: "refining", ask_verifier: "asking" };
const PRESETS = {
  tiny: "Small models that come with ForgetMe. They run on any CPU; use --preset full for real results.",
  full: "The published models of the paper.",
};

export class Status {
  constructor({ onHelp }) {
    this.work = h("span", { class: "fm-work fm-muted", "aria-live": "off" });
    this.preset = h("span", { class: "fm-badge", "data-test": "preset" });
    this.save = h("span", { class: "fm-saved", "data-test": "saved", role: "status" });
    this.who = h("span", { class: "fm-who fm-muted" });
    this.theme = h("button", {
      class: "fm-button fm-quiet", "aria-label": "Dark or light", title: "Dark or light",
      "data-test": "theme", onclick: () => this.#toggle(),
    }, icon("theme"));
    this.help = hint(h("button", {
      class: "fm-button fm-quiet", onclick: onHelp, "data-test": "help",
    }, icon("ask")), "Keys", "help");
    this.jobs = new Jobs();
    document.querySelector("#fm-status").replaceChildren(
      this.work, this.jobs.button, this.preset, this.save, this.who, this.theme, this.help,
    );
    const kept = localStorage.getItem("forgetme-theme");
    if (kept) this.#dark(kept === "dark");
  }

  begin({ preset, by, role, signed_in }) {
    this.jobs.begin({ role });
    say(this.preset, `preset: ${preset}`);
    this.preset.title = PRESETS[preset] ?? "";
    account(this.who, { by, role, signed_in });
  }

  saved(at) {
    this.save.replaceChildren(icon("accept"), h("span", {}, `saved ${clock(at)}`));
    attr(this.save, "data-kind", "saved");
    this.lost = false;
  }

  refused() {
    this.save.replaceChildren(icon("warning"), h("span", {}, "not saved"));
    attr(this.save, "data-kind", "refused");
  }

  offline(words) {
    this.lost = true;
    this.save.replaceChildren(icon("warning"), h("span", {}, "no connection"));
    this.save.title = words;
    attr(this.save, "data-kind", "refused");
  }

  pulse({ alive, running, seconds, queued }) {
    if (this.lost) {
      this.lost = false;
      this.save.replaceChildren();
      this.save.title = "";
    }
    if (!alive) say(this.work, "the worker stopped: restart ForgetMe");
    else if (running) {
      const more = queued ? `, ${queued} waiting` : "";
      say(this.work, `${DOING[running.kind] ?? running.kind} ${Math.round(seconds)} s${more}`);
    } else say(this.work, "");
  }

  #toggle() {
    const dark = !document.body.classList.contains("dark");
    localStorage.setItem("forgetme-theme", dark ? "dark" : "light");
    this.#dark(dark);
  }

  #dark(on) {
    document.body.classList.toggle("dark", on);
  }
}
