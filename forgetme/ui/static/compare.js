// The Compare tab: pictures above, scores below, both linked; summary, scale sweep and blind votes.
import { attr, h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { get, post } from "./api.js";
import { progress, jobsChanged } from "./jobs.js";
import { openTab } from "./tabs.js";
import { Comparison } from "./compare-data.js";
import { jobStrip, newComparison } from "./compare-form.js";
import { bind, help } from "./compare-keys.js";
import { Samples } from "./compare-samples.js";
import { summary } from "./compare-summary.js";
import { Sweep } from "./compare-sweep.js";
import { Vote } from "./compare-vote.js";

const REFRESH_MS = 4000;
const BUSY_MS = 1500;
const KEPT = "forgetme-compare";
const OPEN = ["queued", "running", "stopping"];
const BAD = ["failed", "died"];
const VIEWS = [["pictures", "Pictures", "image"], ["summary", "Summary", "list"], ["sweep", "Scale sweep", "curve"], ["vote", "Blind vote", "ask"]];
const REPORTS = { html: "the whole report in one file", csv: "all values as CSV", tex: "the table for LaTeX" };

export function mount(element) {
  const root = element.querySelector(".fm-cmp");
  if (root && !root.compare) root.compare = new Compare(root);
}

class Compare {
  constructor(root) {
    this.root = root;
    this.list = [];
    this.view = "pictures";
    this.hiddenJobs = new Set();
    this.kept = { outline: true, hidden: [], scores: [], ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
    this.#build();
    this.#bind();
    const refresh = () => this.#refresh();
    new IntersectionObserver(([entry]) => entry.isIntersecting && refresh()).observe(root);
    document.addEventListener("visibilitychange", refresh);
    refresh();
  }

  #build() {
    const common = {
      kept: this.kept,
      onKept: () => localStorage.setItem(KEPT, JSON.stringify(this.kept)),
      onError: (words) => this.#trouble(words),
      onSaved: () => this.#trouble(""),
    };
    this.samples = new Samples({ ...common, onOpen: openInCurate });
    this.sweep = new Sweep(common);
    this.vote = new Vote(common);
    this.choice = h("select", { "aria-label": "Comparison", "data-test": "comparison" });
    this.choice.addEventListener("change", () => this.#open(this.choice.value));
    this.facts = h("span", { class: "fm-muted fm-small fm-name" });
    this.buttons = VIEWS.map(([view, word, sign]) => h("button", {
      class: "fm-segment", "data-test": `view-${view}`, onclick: () => this.use(view),
    }, icon(sign), h("span", {}, word)));
    this.segments = h("div", { class: "fm-segments", role: "group", "aria-label": "What to show" }, this.buttons);
    this.reports = h("div", { class: "fm-cmp-reports" });
    this.start = h("button", { class: "fm-button", "data-test": "new", hidden: true, onclick: () => this.#new() }, icon("add"), "new comparison");
    const keys = h("button", { class: "fm-button fm-quiet", "aria-label": "Keys of this tab", title: "Keys of this tab (?)", onclick: () => help(this.root) }, icon("ask"));
    this.bar = h("header", { class: "fm-cmp-bar" }, this.choice, this.segments, this.facts, h("span", { class: "fm-spring" }), this.reports, this.start, keys);
    this.jobs = h("div", { class: "fm-cmp-jobs" });
    this.trouble = h("p", { class: "fm-data-trouble", role: "alert", hidden: true });
    this.body = h("div", { class: "fm-cmp-body" });
    this.root.replaceChildren(this.bar, this.jobs, this.trouble, this.body);
    this.root.removeAttribute("aria-busy");
  }

  #bind() {
    const { samples, sweep, vote } = this;
    const here = () => ({ pictures: samples, sweep, vote }[this.view]);
    const zoom = (steps) => {
      (here()?.linked ?? here()?.stage?.linked)?.zoom(steps);
    };
    const mode = (name) => () => samples.stage.use(name);
    const flicker = () => samples.stage.views.flicker;
    const flickers = () => samples.stage.mode === "flicker";
    bind(this.root, {
      view: () => (this.comparison ? this.view : "summary"),
      acts: {
        previous: () => here().move(-1),
        next: () => here().move(1),
        left: () => here().step(-1),
        right: () => here().step(1),
        all: mode("all"), slider: mode("slider"), difference: mode("difference"), flicker: mode("flicker"),
        play: () => (flickers() ? flicker().play(!flicker().playing) : samples.stage.use("flicker")),
        other: { run: () => flickers() && flicker().hold(true), stop: () => flickers() && flicker().hold(false) },
        swap: () => samples.stage.swap(),
        back: () => samples.sendBack(),
        undo: () => (this.view === "vote" ? vote.takeBack() : samples.undo()),
        a: () => vote.cast("a"), b: () => vote.cast("b"), tie: () => vote.cast("tie"), skip: () => vote.cast("skip"),
        outline: () => here()?.toggleOutline(),
        fit: () => here()?.fit(),
        closer: () => zoom(1),
        farther: () => zoom(-1),
        help: () => help(this.root),
      },
    });
  }

  use(view) {
    this.view = view;
    this.samples.stage.rest(view !== "pictures");
    for (const [at, [name]] of VIEWS.entries()) attr(this.buttons[at], "aria-pressed", String(name === view));
    this.root.dataset.view = view;
    if (!this.comparison) return;
    const element = view === "summary" ? summary(this.comparison) : { pictures: this.samples, sweep: this.sweep, vote: this.vote }[view].element;
    this.body.replaceChildren(element);
    if (view === "vote") this.vote.load();
  }

  // ------------------------------------------------------------------ what the server says
  async #refresh() {
    clearTimeout(this.timer);
    if (document.hidden || !this.root.getClientRects().length || this.asking) return;
    this.asking = true;
    let busy = false;
    try {
      if (!this.role) this.#begin(await get("session"));
      const { comparisons, jobs } = await get("comparisons");
      busy = jobs.some(({ state }) => OPEN.includes(state));
      this.list = comparisons;
      this.#showJobs(jobs);
      await this.#follow(busy);
      if (this.lost) this.#trouble("");
      this.lost = false;
    } catch (error) {
      this.#trouble(error.message);
      this.lost = true;
    } finally {
      this.asking = false;
      this.timer = setTimeout(() => this.#refresh(), busy ? BUSY_MS : REFRESH_MS);
    }
  }

  #begin({ role = "lead" }) {
    this.role = role;
    this.start.hidden = role !== "lead";
    this.may = { mayVote: role !== "viewer", mayJudge: role !== "viewer" };
  }

  /** Opens what was asked for, what was just made, or the latest; again when it was made anew. */
  async #follow(making) {
    const good = this.list.filter(({ trouble }) => !trouble);
    keyed(this.choice, this.list, ({ name }) => name, ({ name }) => h("option", { value: name }), (option, { title, name, trouble }) => {
      say(option, trouble ? `${name} (cannot be read)` : `${name}: ${title}`);
    });
    const wanted = this.awaited && good.some(({ name }) => name === this.awaited) ? this.awaited : null;
    if (wanted) this.awaited = null;
    const asked = new URLSearchParams(location.search).get("comparison");
    const now = wanted ?? this.name ?? (this.list.some(({ name }) => name === asked) ? asked : good[0]?.name);
    const line = this.list.find(({ name }) => name === now);
    this.#empty(!line, making);
    if (line && (now !== this.name || line.made !== this.made)) await this.#open(now);
  }

  async #open(name) {
    this.name = name;
    this.choice.value = name;
    const line = this.list.find((one) => one.name === name);
    this.made = line?.made;
    remember(name);
    if (line?.trouble) {
      this.comparison = null;
      this.body.replaceChildren(h("div", { class: "fm-cmp-empty" }, h("strong", {}, `${name} cannot be read.`), h("span", {}, line.trouble)));
      return;
    }
    try {
      const answer = await get(`comparisons/${name}`);
      if (this.name === name) this.#take(new Comparison(answer));
    } catch (error) {
      this.#trouble(error.message);
    }
  }

  #take(comparison) {
    const { table, rows, columns, reports } = comparison;
    this.comparison = rows.length && columns.length ? comparison : null;
    say(this.facts, `${rows.length} samples, ${columns.length} methods, preset ${table.preset}, seed ${table.seed}, made ${new Date(table.made).toLocaleString("sv-SE").slice(0, 16)}`);
    this.facts.title = this.facts.textContent;
    this.reports.replaceChildren(...reports.map((kind) => h("a", {
      class: "fm-button fm-quiet", href: comparison.report(kind), download: "", title: `Download ${REPORTS[kind]}`, "data-test": `report-${kind}`,
    }, icon("download"), kind.toUpperCase())));
    if (!this.comparison) {
      this.body.replaceChildren(h("div", { class: "fm-cmp-empty" }, h("strong", {}, "This comparison is empty."), h("span", {}, "It has no sample or no method. Start a new one.")));
      return;
    }
    this.samples.take(comparison, this.may);
    this.sweep.take(comparison);
    this.vote.take(comparison, this.may);
    this.use(this.view);
  }

  #empty(on, making) {
    for (const part of [this.choice, this.segments, this.facts, this.reports]) part.hidden = on;
    if (!on) return;
    this.comparison = null;
    if (this.body.firstElementChild?.dataset.making === String(making)) return;
    const lead = this.role === "lead";
    this.body.replaceChildren(h("div", { class: "fm-cmp-empty", "data-test": "compare-empty", "data-making": String(making) }, making ? [
      h("strong", {}, "The first comparison is being made."),
      h("span", {}, "It opens here when it is done."),
    ] : [
      h("strong", {}, "There is no comparison yet."),
      h("span", {}, "A comparison fills the same accepted samples by several methods and trained runs, side by side, with their scores."),
      lead ? h("button", { class: "fm-button fm-main", onclick: () => this.#new() }, icon("add"), "new comparison")
        : h("span", {}, "A lead can start one here, or with: python -m forgetme compare"),
    ]));
  }

  #showJobs(jobs) {
    const shown = jobs.filter(({ id, state, name }, at) => OPEN.includes(state)
      || (BAD.includes(state) && at === jobs.findIndex((one) => one.name === name) && !this.hiddenJobs.has(id) && !this.list.some((one) => one.name === name)));
    jobStrip(this.jobs, shown, {
      words: (job) => (job.state === "queued" ? "waits for its turn" : progress(job) || "starting"),
      onStop: (job) => this.#stop(job),
    });
  }

  async #stop(job) {
    if (job.trouble) {
      this.hiddenJobs.add(job.id);
      this.jobs.querySelector(`[data-key="${job.id}"]`)?.remove();
      return;
    }
    try {
      await post(`jobs/${job.id}/stop`);
      this.#refresh();
    } catch (error) {
      this.#trouble(error.message);
    }
  }

  #new() {
    newComparison(this.root, {
      taken: this.list.map(({ name }) => name),
      onError: (words) => this.#trouble(words),
      onStarted: (name) => {
        this.awaited = name;
        jobsChanged();
        this.#refresh();
      },
    });
  }

  #trouble(words) {
    say(this.trouble, words);
    this.trouble.hidden = !words;
  }
}

function remember(name) {
  const url = new URL(location.href);
  url.searchParams.set("comparison", name);
  history.replaceState(null, "", url);
}

/** Shows a sample on the Curate tab. */
function openInCurate(id) {
  openTab("curate");
  document.querySelector(".fm").curate.reopen(id);
}
