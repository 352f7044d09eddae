// The samples that the filter lets through, in order; fetched in pages, decided ones stay in place.
import { get } from "./api.js";

const PAGE = 200; // rows a request
const NEAR = 3;
const PREPARING = 24;

export const STATE_OF = { accept: "accepted", reject: "rejected", skip: "skipped", flag: "flagged" };
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
    this.total = 0;
    this.counts = {};
    this.concepts = [];
    this.filter = { concept: "", view: "review" };
    this.index = -1; // of the shown sample
  }

  async load(filter) {
    this.filter = filter;
    const { rows, total, counts, concepts } = await get("queue?" + this.#query(0));
    Object.assign(this, { rows, total, counts, concepts, index: -1 });
  }

  /** Fetches the next page; returns whether there was one. */
  async more() {
    if (this.fetching) return false;
    this.fetching = true;
    // Decided rows stay in our list but have left the server's, so they do not count.
    const still = this.rows.filter((row) => this.#belongs(row)).length;
    const page = await get("queue?" + this.#query(still)).catch(() => ({ rows: [] }));
    const known = new Set(this.rows.map((row) => row.id));
    const fresh = page.rows.filter((row) => !known.has(row.id));
    this.rows.push(...fresh);
    this.total = fresh.length ? page.total + (this.rows.length - fresh.length - still) : this.rows.length;
    this.fetching = false;
    return fresh.length > 0;
  }

  #belongs(row) {
    if (this.filter.view === "all") return true;
    return this.filter.view === "review" ? !isDecided(row) : row.state === this.filter.view;
  }

  #query(offset) {
    return new URLSearchParams({ ...this.filter, offset, limit: PAGE });
  }

  at(id) {
    return this.rows.findIndex((row) => row.id === id);
  }

  put(row) {
    const at = this.at(row.id);
    if (at >= 0) this.rows[at] = row;
  }

  /** Puts a sample that the filter hides where we are. */
  insert(row) {
    const at = Math.max(0, this.index);
    this.rows.splice(at, 0, row);
    this.total += 1;
    return at;
  }

  /** The shown sample, those after it, and those still to be prepared: what may change soon. */
  near() {
    const shown = this.rows.slice(Math.max(0, this.index), this.index + 1 + NEAR);
    const pending = this.rows.filter((row) => row.state === "new" || isUnfilled(row)).slice(0, PREPARING);
    return [...new Set([...shown, ...pending].map((row) => row.id))];
  }

  /** The next one to decide after `index`, from the start again at the end; -1 when all is done. */
  nextAfter(index) {
    if (this.filter.view !== "review") return index + 1 < this.rows.length ? index + 1 : -1;
    const after = this.rows.findIndex((row, at) => at > index && !isDecided(row));
    return after >= 0 ? after : this.rows.findIndex((row, at) => at !== index && !isDecided(row));
  }

  left() {
    return PENDING.reduce((sum, state) => sum + (this.counts[state] ?? 0), 0);
  }

  all() {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }
}
