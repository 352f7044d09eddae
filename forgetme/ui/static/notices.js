// Sentences over the picture: what is missing, what failed, and always the next step.
import { h, sentence } from "./dom.js";
import { STATES, icon } from "./icons.js";
import { pressTo } from "./keymap.js";
import { isFiltered } from "./filters.js";
import { isDecided } from "./worklist.js";

const SIGNS = { info: "info", warn: "warning", error: "warning", done: "accept", no: "reject", later: "skip" };

export class Notices {
  constructor() {
    this.element = h("div", { class: "fm-notices", "aria-live": "polite" });
    this.urgent = null; // about an act; stays until the next sample or the next notice
    this.standing = null; // about the sample as it is
  }

  error(words, action, onAction) {
    this.#urge({ kind: "error", words, action, onAction });
  }

  warn(words) {
    this.#urge({ kind: "warn", words });
  }

  /** What is known about the sample itself: {kind, words, action} or null. */
  about(standing, onAction) {
    this.standing = standing && { ...standing, onAction };
    this.#draw();
  }

  empty(page) {
    const filtered = isFiltered(page.list.filter);
    if (filtered || page.list.all() > 0) {
      this.#urge({
        kind: "done",
        words: filtered
          ? "No sample matches this filter."
          : "All images are decided. Look at them again, or add more.",
        action: filtered ? "clear the filter" : "show all",
        onAction: () => page.setFilter(filtered ? {} : { view: "all" }),
      });
    } else {
      this.#urge({
        kind: "info",
        words: "There are no images yet. Drop some here, or start with --images FOLDER --concept NAME.",
        action: "add images",
        onAction: () => page.acts.add([]),
      });
    }
  }

  done(page) {
    this.#urge({
      kind: "done",
      words: "That was the last one in this list.",
      action: "show all",
      onAction: () => page.setFilter({ concept: "", view: "all" }),
    });
  }

  clear() {
    this.urgent = null;
    this.#draw();
  }

  current() {
    return this.urgent;
  }

  restore(notice) {
    this.#urge(notice);
  }

  #urge(notice) {
    this.urgent = notice;
    this.#draw();
  }

  #draw() {
    const notice = this.urgent ?? this.standing;
    const key = notice ? `${notice.kind} ${notice.words} ${notice.action ?? ""}` : "";
    if (key === this.drawn) return;
    this.drawn = key;
    if (!notice) {
      this.element.replaceChildren();
      return;
    }
    const { kind, words, action } = notice;
    const button = action && h("button", {
      class: "fm-button", "data-test": "notice-action",
      onclick: () => (this.urgent ?? this.standing)?.onAction?.(),
    }, action);
    this.element.replaceChildren(h(
      "div",
      { class: `fm-notice fm-${kind}`, role: kind === "error" ? "alert" : "status", "data-test": "notice" },
      icon(SIGNS[kind]), h("span", {}, sentence(words)), button || null,
    ));
  }
}

/** What to say about a sample that is not simply ready. */
export function wordsFor(sample) {
  if (sample.loading) return null;
  if (isDecided(sample)) return decided(sample);
  if (sample.reviewed === "returned") {
    return { kind: "warn", words: `Returned by ${sample.reviewed_by}: ${sample.comment}` };
  }
  if (sample.trouble) return { kind: "error", words: sample.trouble, action: "try again" };
  if (sample.state === "broken") {
    return { kind: "error", words: `It stays in the queue as broken; replace the file, or ${pressTo("reject", "reject")}.` };
  }
  if (sample.state === "new") {
    return { kind: "info", words: sample.busy ? "Looking for the object …" : "Waiting for the worker …" };
  }
  if (!sample.mask && !sample.drawn?.length) {
    const words = `No mask was confirmed as ${sample.concept}. `
      + `Click the ${sample.concept}, or ${pressTo("reject", "reject")}.`;
    return { kind: "warn", words };
  }
  if (sample.note) return { kind: "warn", words: sample.note };
  return null;
}

function decided(sample) {
  const who = sample.decided_how === "policy" ? " by the policy" : ` by ${sample.decided_by ?? "you"}`;
  const kind = { accepted: "done", rejected: "no", flagged: "warn", skipped: "later", deleted: "no" }[sample.state];
  return { kind, words: `This image is ${STATES[sample.state].word}${who}. Decide again to change that.` };
}
