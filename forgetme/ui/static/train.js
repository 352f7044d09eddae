// The Train tab: what to forget and how on the left; runs, their curves and pictures on the right.
import { h, say } from "./dom.js";
import { get } from "./api.js";
import { TrainForm } from "./train-form.js";
import { OPEN, RunList } from "./train-list.js";
import { RunPanel } from "./train-run.js";

const BUSY_MS = 1500;
const QUIET_MS = 6000;
const PARAMETER = "run"; // of the address: which run is looked at

export function mount(element) {
  const root = element.querySelector(".fm-train");
  if (root && !root.trainTab) root.trainTab = new Train(root);
}

class Train {
  constructor(root) {
    this.root = root;
    this.runs = [];
    this.chosen = new URLSearchParams(location.search).get(PARAMETER) ?? "";
    this.trouble = h("p", { class: "fm-train-trouble", role: "alert", hidden: true });
    this.form = new TrainForm({ onStart: (run) => this.#started(run) });
    this.list = new RunList({ onChoose: (name) => this.#choose(name) });
    this.panel = new RunPanel({ onChanged: () => this.#refresh(), onError: (words) => this.#say(words) });
    this.main = h("div", { class: "fm-train-main" }, this.trouble, this.list.element, this.panel.element);
    const refresh = () => this.#refresh();
    new IntersectionObserver(([entry]) => entry.isIntersecting && refresh()).observe(root);
    document.addEventListener("visibilitychange", refresh);
    refresh();
  }

  get #visible() {
    return !document.hidden && this.root.getClientRects().length > 0;
  }

  async #refresh() {
    clearTimeout(this.timer);
    if (!this.#visible || this.asking) return;
    this.asking = true;
    try {
      if (!this.begun) await this.#begin();
      const { runs, concepts } = await get("train/runs");
      this.runs = runs;
      this.form.offer({ concepts, names: runs.map(({ name }) => name) });
      this.#show();
      await this.panel.refresh();
      this.#say("");
    } catch (error) {
      this.#fill();
      this.#say(error.message);
    } finally {
      this.asking = false;
    }
    const busy = this.runs.some(({ state }) => OPEN.includes(state));
    this.timer = setTimeout(() => this.#refresh(), busy ? BUSY_MS : QUIET_MS);
  }

  async #begin() {
    const [session, form] = await Promise.all([get("session"), get("train/form")]);
    const role = session.role ?? "lead";
    this.form.begin(form, { lead: role === "lead" });
    this.list.begin({ lead: role === "lead" });
    this.panel.begin({ role, form });
    this.begun = true;
    this.#fill();
  }

  /** The first answer may take seconds while the server loads its libraries; until then the page says so. */
  #fill() {
    if (this.main.isConnected) return;
    this.root.replaceChildren(this.form.element, this.main);
    this.root.removeAttribute("aria-busy");
  }

  #show() {
    const there = this.runs.some(({ name }) => name === this.chosen);
    if (!there) {
      const busy = this.runs.find(({ state }) => OPEN.includes(state) && state !== "queued");
      this.chosen = (busy ?? this.runs[0])?.name ?? "";
    }
    this.list.show(this.runs, this.chosen, this.form.accepted);
    this.panel.choose(this.chosen);
  }

  #choose(name) {
    this.chosen = name;
    const url = new URL(location.href);
    url.searchParams.set(PARAMETER, name);
    history.replaceState(null, "", url);
    this.#show();
    this.#refresh();
  }

  #started(run) {
    this.runs = [run, ...this.runs];
    this.#choose(run.name);
  }

  #say(words) {
    say(this.trouble, words);
    this.trouble.hidden = !words;
  }
}
