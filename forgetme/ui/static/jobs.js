// Long work in the top bar: how much runs, and a panel with each job's step, its last lines, and a stop.
import { attr, clock, h, keyed, say } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { get, post } from "./api.js";

const BUSY_MS = 2000;
const QUIET_MS = 15_000;
const HIDDEN_MS = 60_000;
const FORCE_AFTER_S = 10; // a job that was asked to stop and goes on may be ended by force
const SEEN = "forgetme-jobs-seen"; // when the panel was last looked at, seconds since 1970
const ENDED = ["done", "stopped", "failed", "died"];
const SIGNS = {
  queued: ["waiting", "waits for its turn"],
  running: ["reload", "at work"],
  stopping: ["waiting", "finishing its step"],
  done: ["accept", "done"],
  stopped: ["skip", "stopped"],
  failed: ["warning", "failed"],
  died: ["warning", "ended without a word"],
};

/** Tells the panel that a job was just asked for. */
export function jobsChanged() {
  document.dispatchEvent(new CustomEvent("fm-jobs"));
}

/** A preparing process that ended with its page: nobody has to know. */
function isOver({ standing, state, stopped_by: by }) {
  return standing && (state === "done" || (state === "stopped" && by === "page"));
}

/** "2 min" */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** One line on how far a job is. */
export function progress(job) {
  const parts = [];
  if (job.total) parts.push(`${job.step} of ${job.total}`);
  if (job.words) parts.push(job.words);
  if (job.state === "running" && job.seconds_left !== null) parts.push(`${span(job.seconds_left)} left`);
  return parts.join(" · ");
}

export class Jobs {
  constructor() {
    this.jobs = [];
    this.sign = icon("list");
    this.words = h("span", {});
    this.button = h("button", {
      class: "fm-button fm-quiet fm-jobs-button", title: "Long work", "aria-label": "Long work",
      "data-test": "jobs", onclick: () => this.open(),
    }, this.sign, this.words);
    this.rows = h("ul", { class: "fm-job-rows" });
    this.empty = h("p", { class: "fm-muted" },
      "No long work yet. An export, a push or a batch of refines shows here, with a stop.");
    const close = h("button", {
      class: "fm-button fm-quiet", "aria-label": "Close", onclick: () => this.dialog.close(),
    }, icon("close"));
    this.dialog = h("dialog", { class: "fm-ui fm-jobs", "aria-label": "Long work", "data-test": "jobs-panel" },
      h("header", { class: "fm-row" }, h("h2", {}, "Long work"), close), this.empty, this.rows);
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    document.querySelector("#fm-frame .fm-top").append(this.dialog);
    document.addEventListener("fm-jobs", () => this.#ask());
    document.addEventListener("visibilitychange", () => document.hidden || this.#ask());
  }

  /** Begins to ask; `role` says what the person may do. */
  begin({ role = "lead" }) {
    this.mayStop = role !== "viewer";
    this.mayStart = role === "lead";
    this.#ask();
  }

  open() {
    this.dialog.showModal();
    localStorage.setItem(SEEN, String(Date.now() / 1000));
    this.#ask();
  }

  async #ask() {
    clearTimeout(this.timer);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const { jobs } = await get("jobs");
      if (turn !== this.turn) return; // a later question is under way
      this.jobs = jobs.filter((job) => !isOver(job));
      this.#show();
    } catch {
      // the top bar says that there is no connection
    }
    const busy = this.dialog.open || this.#open().length > 0;
    const wait = document.hidden ? HIDDEN_MS : busy ? BUSY_MS : QUIET_MS;
    this.timer = setTimeout(() => this.#ask(), wait);
  }

  #open() {
    return this.jobs.filter((job) => !job.standing && !ENDED.includes(job.state));
  }

  #show() {
    const open = this.#open();
    const seen = Number(localStorage.getItem(SEEN) ?? 0);
    const failed = this.jobs.filter((job) => job.trouble && job.state !== "stopped" && (job.ended ?? job.created) > seen);
    const bad = failed.length > 0 && !this.dialog.open;
    redraw(this.sign, bad ? "warning" : "list");
    say(this.words, bad ? `${failed.length} failed` : open.length ? this.#running(open) : "");
    this.button.classList.toggle("fm-low", bad);
    this.empty.hidden = this.jobs.length > 0;
    keyed(
      this.rows, this.jobs, (job) => job.id,
      (job) => this.#row(job),
      (element, job) => this.#fill(element, job),
    );
    if (this.dialog.open) localStorage.setItem(SEEN, String(Date.now() / 1000));
  }

  #running(open) {
    const [first] = open;
    if (open.length === 1 && first.total) return `${first.kind} ${Math.floor((100 * first.step) / first.total)} %`;
    return open.length === 1 ? first.kind : `${open.length} jobs`;
  }

  #row({ id }) {
    const part = (name, tag = "span") => h(tag, { class: `fm-job-${name}` });
    const button = (name, word, act) =>
      h("button", { class: "fm-button fm-small", "data-test": `job-${name}`, onclick: act }, word);
    const log = h("pre", { class: "fm-job-log", hidden: true, tabindex: 0, "aria-label": "Last lines" });
    const element = h("li", { class: "fm-job", "data-test": `job-${id}` },
      h("div", { class: "fm-row" }, icon("list"), part("what"), part("state")),
      h("div", { class: "fm-bar", role: "progressbar", "aria-valuemin": 0 }, h("div", { class: "fm-bar-fill" })),
      part("words", "p"), part("trouble", "p"),
      h("div", { class: "fm-row fm-small" }, part("by"),
        h("span", { class: "fm-spring" }),
        button("stop", "stop", () => this.#stop(id)),
        button("again", "start again", () => this.#act(`jobs/${id}/again`)),
        button("log", "last lines", () => this.#log(id, log))),
      log);
    return element;
  }

  #fill(element, job) {
    const find = (name) => element.querySelector(`.fm-job-${name}`);
    const [sign, word] = SIGNS[job.state];
    element.dataset.state = job.state;
    redraw(element.querySelector("svg"), sign);
    say(find("what"), job.what);
    say(find("state"), word);
    say(find("words"), progress(job));
    say(find("trouble"), job.trouble ?? "");
    find("trouble").hidden = !job.trouble;
    const bar = element.querySelector(".fm-bar");
    bar.hidden = !job.total || ENDED.includes(job.state);
    attr(bar, "aria-valuemax", job.total);
    attr(bar, "aria-valuenow", job.total ? job.step : null);
    bar.firstChild.style.width = job.total ? `${Math.min(100, (100 * job.step) / job.total)}%` : "0";
    say(find("by"), `${job.by}, ${clock(new Date(job.created * 1000))}, ${span(job.seconds)} on ${job.host}`);
    const ended = ENDED.includes(job.state);
    const stop = element.querySelector("[data-test=job-stop]");
    const again = element.querySelector("[data-test=job-again]");
    const force = job.state === "stopping" && this.#stoppingFor(job) > FORCE_AFTER_S;
    stop.hidden = ended || !this.mayStop || (job.state === "stopping" && !force);
    say(stop, force ? "end it at once" : "stop");
    const replaced = job.standing && this.jobs.some((one) => one.standing && !ENDED.includes(one.state));
    again.hidden = !ended || job.state === "done" || replaced || !this.mayStart;
    element.querySelector("[data-test=job-log]").hidden = !this.mayStop;
  }

  /** Seconds since this page first saw the job stopping. */
  #stoppingFor({ id }) {
    this.stopping ??= new Map();
    if (!this.stopping.has(id)) this.stopping.set(id, Date.now());
    return (Date.now() - this.stopping.get(id)) / 1000;
  }

  #stop(id) {
    const job = this.jobs.find((one) => one.id === id);
    return this.#act(`jobs/${id}/stop`, { at_once: job?.state === "stopping" });
  }

  async #act(path, body = {}) {
    try {
      await post(path, body);
      say(this.empty, "");
    } catch (error) {
      say(this.empty, error.message);
      this.empty.hidden = false;
      return;
    }
    this.#ask();
  }

  async #log(id, box) {
    box.hidden = !box.hidden;
    if (box.hidden) return;
    const { log } = await get(`jobs/${id}`).catch((error) => ({ log: error.message }));
    say(box, log || "It has not written anything.");
    box.scrollTop = box.scrollHeight;
  }
}
