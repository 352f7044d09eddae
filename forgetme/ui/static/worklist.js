// The samples that the filter lets through, in order; fetched in pages, decided ones stay in place.
import { get } from "./api.js";
import { changed, whole } from "./filters.js";

const PAGE = 200; // rows a request
const NEAR = 3;
const PREPARING = 24;

export const STATE_OF = { accept: "accepted", reject: "rejected", skip: "skipped", flag: "flagged", delete: "deleted" };
const DECIDED = Object.values(STATE_OF);
const PENDING = ["new", "prepared", "waiting"];

/** Whether a person (or the policy) has decided on this sample. */
export function isDecided(row) {
  return DECIDED.includes(row?.state);
}

function isUnfilled(row) {
  return row.state === "prepared" && !Number.isFinite(row.d);
}

export class Worklist {
  constructor() {
    this.rows = [];
    this.places = new Map(); // id → index: a list of thousands is searched with every pulse
    this.total = 0; // more than the rows there are: the rest can be fetched
    this.matching = 0; // samples that the filter lets through
    this.hidden = 0; // samples to review that it does not
    this.counts = {};
    this.concepts = [];
    this.curators = [];
    this.times = []; // of this person's last decisions
    this.filter = whole({});
    this.index = -1; // of the shown sample
    this.loads = 0;
  }

  /** Fetches the first page of a filter; returns whether it is still the one that is wanted. */
  async load(filter) {
    this.filter = whole(filter);
    const turn = ++this.loads;
    const page = await this.#page("");
    if (turn !== this.loads) return false;
    const { rows, total, hidden, counts, concepts, curators, times, by } = page;
    Object.assign(this, { rows, hidden, counts, concepts, curators, times, by, index: -1, after: "" });
    this.matching = total;
    this.#place();
    this.#ended(page);
    return true;
  }

  /** Fetches the next page; returns whether there was one. */
  async more() {
    if (this.fetching) return false;
    this.fetching = true;
    const turn = this.loads;
    const page = await this.#page(this.after ?? "").catch(() => null);
    this.fetching = false;
    if (turn !== this.loads || !page) return false;
    const fresh = page.rows.filter((row) => !this.places.has(row.id));
    this.rows.push(...fresh);
    this.#place();
    this.#ended(page);
    return fresh.length > 0;
  }

  #page(after) {
    const asked = { ...changed(this.filter), limit: PAGE, ...(after ? { after } : {}) };
    return get("queue?" + new URLSearchParams(asked));
  }

  #ended({ after, more }) {
    this.after = after ?? this.after;
    this.asked = this.all(); // how many there were when it ended
    this.total = this.rows.length + (more ? 1 : 0);
  }

  /** Takes new counts; where samples came in, there may be another page. Returns whether they changed. */
  recount(counts) {
    const before = this.counts;
    this.counts = counts;
    if (this.all() > this.asked && this.rows.length) this.total = this.rows.length + 1;
    return Object.keys(counts).some((state) => counts[state] !== before[state]);
  }

  #place() {
    this.places = new Map(this.rows.map((row, at) => [row.id, at]));
  }

  at(id) {
    return this.places.get(id) ?? -1;
  }

  put(row) {
    const at = this.at(row.id);
    if (at >= 0) this.rows[at] = { ...this.rows[at], ...row };
  }

  /** Puts a sample that the filter hides where we are. */
  insert(row) {
    const at = Math.max(0, this.index);
    this.rows.splice(at, 0, row);
    this.#place();
    this.total += 1;
    return at;
  }

  /** The shown sample, those after it, and those still to be prepared: what may change soon. */
  near() {
    const at = Math.max(0, this.index);
    const found = new Set(this.rows.slice(at, at + 1 + NEAR).map((row) => row.id));
    const most = found.size + PREPARING;
    for (let step = 0; step < this.rows.length && found.size < most; step += 1) {
      const row = this.rows[(at + step) % this.rows.length];
      if (row.state === "new" || isUnfilled(row)) found.add(row.id);
    }
    return [...found];
  }

  /** The next one to decide after `index`, from the start again at the end; -1 when all is done. */
  nextAfter(index) {
    if (this.filter.view !== "review") return index + 1 < this.rows.length ? index + 1 : -1;
    const { length } = this.rows;
    let held = -1; // better than none: the hold may have run out
    for (let step = 1; step < length; step += 1) {
      const at = (index + step) % length;
      if (isDecided(this.rows[at])) continue;
      if (!this.isHeld(this.rows[at])) return at;
      if (held < 0) held = at;
    }
    return held;
  }

  /** Whether somebody else had it open when we last heard. */
  isHeld(row) {
    return Boolean(row.held_by) && row.held_by !== this.by;
  }

  left() {
    return PENDING.reduce((sum, state) => sum + (this.counts[state] ?? 0), 0);
  }

  all() {
    const { deleted = 0, ...others } = this.counts;
    return Object.values(others).reduce((sum, count) => sum + count, 0);
  }
}
