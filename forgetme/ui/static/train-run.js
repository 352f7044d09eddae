// One run: how it stands, its loss, what it forgets and keeps, its pictures, and what can be done with it.
import { attr, h, keyed, say } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { get, post } from "./api.js";
import { span } from "./jobs.js";
import { openTab } from "./tabs.js";
import { Chart, brief, smoothed } from "./train-chart.js";
import { OPEN, SIGNS, beforeAfter, percent } from "./train-list.js";
import { Pictures } from "./train-pictures.js";

const API = new URL("forgetme/api/", document.baseURI).href;
const SURE_MS = 4000; // a second press within it deletes
const SMOOTHING = 0.9;

export class RunPanel {
  constructor({ onChanged, onError }) {
    Object.assign(this, { onChanged, onError });
    this.name = "";
    this.#buildHead();
    this.#buildCharts();
    this.pictures = new Pictures();
    this.log = h("pre", { class: "fm-run-log", tabindex: 0, "aria-label": "Last lines", "data-test": "run-log" });
    this.lines = h("details", { class: "fm-run-more", "data-test": "run-lines" }, h("summary", {}, "Last lines"), this.log);
    this.lines.addEventListener("toggle", () => this.#readLog());
    this.settings = h("dl", { class: "fm-run-settings" });
    this.element = h("section", { class: "fm-run", "aria-label": "The chosen run", hidden: true, "data-test": "run" },
      this.head, this.advice, this.charts, this.pictures.element, this.lines,
      h("details", { class: "fm-run-more" }, h("summary", {}, "Settings"), this.settings));
  }

  begin({ role, form }) {
    this.lead = role === "lead";
    this.lines.hidden = role === "viewer"; // they may name files
    this.words = form.words;
  }

  /** Looks at another run. */
  choose(name) {
    if (this.name === name) return;
    Object.assign(this, { name, next: "", rows: [], run: null });
    this.lines.open = false;
    this.element.hidden = true;
  }

  /** Reads what its log has gained. */
  async refresh() {
    const { name } = this;
    if (!name) return;
    for (let more = true; more;) {
      const answer = await get(`train/runs/${name}?after=${this.next}`);
      if (this.name !== name) return;
      if (answer.whole) this.rows = [];
      this.rows.push(...answer.rows);
      Object.assign(this, { next: answer.next, run: answer });
      more = answer.more;
    }
    this.element.hidden = false;
    this.#show();
    if (this.lines.open) await this.#readLog();
  }

  // ------------------------------------------------------------------ what there is
  #buildHead() {
    const button = (test, sign, word, act) =>
      h("button", { class: "fm-button", type: "button", "data-test": test, onclick: act }, icon(sign), h("span", {}, word));
    this.title = h("h2", {});
    this.state = h("span", { class: "fm-run-state", "data-test": "run-state" }, icon("waiting"), h("span", {}));
    this.about = h("p", { class: "fm-small fm-muted" });
    this.stop = button("run-stop", "pause", "stop and save", () => this.#act("stop"));
    this.resume = button("run-resume", "play", "go on", () => this.#act("resume", {}));
    this.longer = h("input", { type: "number", min: 1, step: 1, "aria-label": "Steps in all", "data-test": "run-steps" });
    this.extend = h("form", { class: "fm-run-extend" }, this.longer, h("button", { class: "fm-button", "data-test": "run-longer" }, "train on"));
    this.extend.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#act("resume", { steps: Number(this.longer.value) });
    });
    this.patch = h("a", { class: "fm-button", download: "", title: "Weights, record and model card", "data-test": "run-patch" }, icon("download"), "patch .zip");
    this.compare = button("run-compare", "tiles", "compare", () => openTab("compare"));
    this.compare.title = "See this run beside other fills";
    this.remove = button("run-delete", "close", "delete", () => this.#delete());
    this.bar = h("div", { class: "fm-bar", role: "progressbar", "aria-label": "Steps", "aria-valuemin": 0 }, h("div", { class: "fm-bar-fill" }));
    this.progress = h("p", { class: "fm-small", role: "status", "data-test": "run-progress" });
    this.head = h("header", { class: "fm-run-head" },
      h("div", { class: "fm-run-title" }, this.title, this.state, h("span", { class: "fm-spring" }),
        this.stop, this.resume, this.extend, this.patch, this.compare, this.remove),
      this.about, this.bar, this.progress);
    this.adviceWords = h("p", {});
    this.adviceAct = h("button", { class: "fm-button", type: "button", "data-test": "run-advice", onclick: () => this.#act("resume", this.run.advice.changes) });
    this.advice = h("div", { class: "fm-run-advice", role: "alert", hidden: true }, icon("warning"), this.adviceWords, this.adviceAct);
  }

  #buildCharts() {
    this.loss = new Chart({ label: "Loss over steps" });
    this.scores = new Chart({ label: "Share of pictures in which concepts are recognised, over steps", range: [0, 1], say: percent });
    this.smoothing = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: SMOOTHING, "aria-label": "Smoothing", "data-test": "smoothing" });
    this.smoothing.addEventListener("input", () => this.#drawLoss());
    this.logScale = h("button", { class: "fm-button fm-small", type: "button", "aria-pressed": false, "data-test": "log-scale", title: "Logarithmic scale" }, "log");
    this.logScale.addEventListener("click", () => {
      attr(this.logScale, "aria-pressed", this.logScale.getAttribute("aria-pressed") !== "true");
      this.#drawLoss();
    });
    this.term = h("select", { "aria-label": "Which part of the loss", "data-test": "loss-term" });
    this.term.addEventListener("change", () => this.#drawLoss());
    const card = (title, tools, chart, note) => h("section", { class: "fm-chart-card" },
      h("header", {}, h("h3", { class: "fm-title" }, title), ...tools), chart, note);
    this.lossNote = h("p", { class: "fm-small fm-muted" });
    this.scoreNote = h("p", { class: "fm-small fm-muted", "data-test": "score-note" });
    const key = (kind, word) => h("span", { class: `fm-chart-key fm-chart-${kind}` }, word);
    this.charts = h("div", { class: "fm-charts" },
      card("Loss", [this.term, h("label", { class: "fm-smooth fm-small" }, "smooth", this.smoothing), this.logScale], this.loss.element, this.lossNote),
      card("Still recognised", [key("strong", "forget: low is good"), key("dashed", "keep: high is good"), key("dotted", "not held: high is good")], this.scores.element, this.scoreNote));
  }

  // ------------------------------------------------------------------ showing
  #show() {
    const { run } = this;
    const open = OPEN.includes(run.state);
    const [sign, word] = SIGNS[run.state];
    this.element.dataset.state = run.state;
    say(this.title, run.name);
    redraw(this.state.querySelector("svg"), sign);
    say(this.state.lastChild, word);
    say(this.about, about(run));
    attr(this.bar, "aria-valuemax", run.steps);
    attr(this.bar, "aria-valuenow", run.done);
    this.bar.firstChild.style.width = `${Math.min(100, (100 * run.done) / run.steps)}%`;
    say(this.progress, progress(run));
    this.#showActs(run, open);
    this.#showAdvice(run);
    this.#drawLoss();
    this.#drawScores();
    this.pictures.show(run, this.#probes());
    this.#showSettings(run);
  }

  #showActs(run, open) {
    const mine = this.lead && Boolean(run.by); // what a command made goes on by command
    this.stop.hidden = !this.lead || !open || run.state === "stopping";
    this.resume.hidden = !mine || run.state !== "stopped";
    this.extend.hidden = !mine || run.state !== "done";
    if (document.activeElement !== this.longer && this.extended !== run.steps) {
      this.extended = run.steps;
      this.longer.min = run.steps + 1;
      this.longer.value = run.steps * 2;
    }
    this.patch.hidden = !this.lead || open || run.patch === null;
    attr(this.patch, "href", `${API}train/runs/${run.name}/patch.zip`);
    this.compare.hidden = open || run.patch === null || !document.querySelector("#fm-tab-compare-button");
    this.remove.hidden = !this.lead || open;
  }

  #showAdvice({ advice }) {
    this.advice.hidden = !advice;
    if (!advice) return;
    say(this.adviceWords, advice.words);
    this.adviceAct.hidden = !this.lead || advice.changes === null;
    say(this.adviceAct, advice.act);
    const told = `${this.run.name} ${this.run.done} ${advice.words}`;
    if (this.told !== told && !this.lines.hidden) this.lines.open = true;
    this.told = told;
  }

  #drawLoss() {
    const steps = this.rows.filter((row) => "loss" in row);
    const terms = Object.keys(steps.at(-1) ?? { loss: 0 }).filter((name) => !["step", "seconds"].includes(name));
    keyed(this.term, terms, (name) => name, (name) => h("option", { value: name }, name), () => {});
    this.term.hidden = terms.length < 2;
    const term = terms.includes(this.term.value) ? this.term.value : terms[0];
    const points = steps.map((row) => [row.step, row[term]]).filter(([, y]) => Number.isFinite(y));
    const weight = Number(this.smoothing.value);
    const lines = [{ name: term, points, kind: weight ? "raw" : "strong" }];
    if (weight) lines.push({ name: "smoothed", points: smoothed(points, weight), kind: "strong" });
    this.loss.show(lines, { xMax: this.run.steps, log: this.logScale.getAttribute("aria-pressed") === "true" });
    const pace = points.length > 1 && this.run.seconds ? `, ${brief(this.run.done / this.run.seconds)} steps a second` : "";
    say(this.lossNote, points.length ? `step ${points.at(-1)[0]}: ${brief(points.at(-1)[1])}${pace}` : "No step yet.");
  }

  #probes() {
    return this.rows.filter((row) => "probe" in row).map((row) => row.probe);
  }

  #drawScores() {
    const probes = this.#probes();
    const forget = probes.map(({ step, forget: share }) => [step, share]);
    this.scores.show([
      { name: "forget", points: forget, kind: "strong", marks: "circle" },
      { name: "keep", points: ofTheSame(probes, this.run.keep), kind: "dashed", marks: "square" },
      { name: "not held", points: ofTheSame(probes, this.run.watch), kind: "dotted", marks: "circle" },
    ].filter(({ points }) => points.length), { xMax: this.run.steps });
    const { first, last } = this.run;
    say(this.scoreNote, probes.length
      ? `${this.run.concept}: ${beforeAfter(first, last, "forget")}; held: ${beforeAfter(first, last, "retain")}${last?.apart == null ? "" : `; not held: ${beforeAfter(first, last, "apart")}`}${secondly(this.run.concept, last)}. ${probes.at(-1).n} pictures of each, from prompts that no training sees.`
      : "No probe yet; the first one is drawn before the first step.");
  }

  #showSettings({ settings }) {
    const hidden = ["base_notes", "options", "lr_before", "diverged"];
    const all = { ...settings, ...settings.options };
    const rows = Object.entries(all).filter(([name, value]) => !hidden.includes(name) && value !== "");
    keyed(this.settings, rows, ([name]) => name,
      ([name]) => h("div", {}, h("dt", { title: this.words[name] ?? "" }, name.replaceAll("_", " ")), h("dd", {})),
      (element, [, value]) => say(element.lastChild, Array.isArray(value) ? value.join(", ") : String(value)));
  }

  // ------------------------------------------------------------------ acting
  async #act(what, body = {}) {
    try {
      await post(`train/runs/${this.name}/${what}`, body);
    } catch (error) {
      this.onError(error.message);
      return;
    }
    this.onChanged();
  }

  #delete() {
    const sure = Date.now() - (this.asked ?? 0) < SURE_MS;
    this.asked = sure ? 0 : Date.now();
    say(this.remove.lastChild, sure ? "delete" : "delete it for good?");
    if (sure) this.#act("delete");
    else setTimeout(() => say(this.remove.lastChild, "delete"), SURE_MS);
  }

  async #readLog() {
    if (!this.lines.open) return;
    const { log } = await get(`train/runs/${this.name}/lines`).catch((error) => ({ log: error.message }));
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 8;
    say(this.log, log || "It has not written anything.");
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }
}

function about(run) {
  const learns = run.pictures ? `${run.pictures} pictures` : "no pictures";
  const when = run.at ? new Date(run.at).toLocaleString("sv-SE").slice(0, 16) : "";
  return [`${run.method} forgets ${run.concept}`, `trains ${run.trains}`, learns, run.by ? `by ${run.by}` : "by a command", when].filter(Boolean).join(" · ");
}

function progress(run) {
  const parts = [`step ${run.done} of ${run.steps}`];
  if (run.words) parts.push(run.words);
  if (run.seconds_left !== null) parts.push(`${span(run.seconds_left)} left`);
  else if (run.seconds) parts.push(`took ${span(run.seconds)}`);
  return parts.join(" · ");
}

/** The mean share of some concepts at each probe, over those that every probe drew. */
function ofTheSame(probes, names) {
  const common = names.filter((name) => probes.every(({ by_concept: shares }) => name in shares));
  if (!common.length) return [];
  return probes.map(({ step, by_concept: shares }) => [step, common.reduce((sum, name) => sum + shares[name], 0) / common.length]);
}

/** What the second recogniser says of the concept, and what paraphrases bring back. */
function secondly(concept, probe) {
  const parts = [[probe?.second?.[concept], "by a second recogniser"], [probe?.otherwise, "asked for otherwise"]]
    .filter(([share]) => share != null).map(([share, words]) => `${words} ${Math.round(100 * share)} %`);
  return parts.length ? ` (${parts.join(", ")})` : "";
}
