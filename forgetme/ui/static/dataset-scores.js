// All samples' scores in the browser: filters and histograms answer within one frame.

export const BINS = 40; // over [0, 1]
export const MEASURES = ["d", "s", "clip"];
const COLUMN = { d: 5, s: 6, clip: 7 };
const [ID, CONCEPT, STATE, SPLIT, LOW] = [0, 1, 2, 3, 4];

/** What the gallery may show of the states. */
export const SHOWS = {
  accepted: { word: "accepted", states: ["accepted"] },
  open: { word: "to review", states: ["new", "prepared", "waiting"] },
  flagged: { word: "flagged", states: ["flagged"] },
  rejected: { word: "rejected or skipped", states: ["rejected", "skipped"] },
  all: { word: "all states", states: null },
};

export const ORDERS = {
  import: { word: "in order of import" },
  "d-up": { word: "lowest D first", measure: "d", sign: 1 },
  "d-down": { word: "highest D first", measure: "d", sign: -1 },
  "s-up": { word: "lowest S first", measure: "s", sign: 1 },
  "s-down": { word: "highest S first", measure: "s", sign: -1 },
  "clip-up": { word: "lowest CLIP first", measure: "clip", sign: 1 },
  "clip-down": { word: "highest CLIP first", measure: "clip", sign: -1 },
};

export const EVERYTHING = [0, BINS]; // a range of bins: from the first one, up to the last

function binOf(value) {
  return Math.min(BINS - 1, Math.max(0, Math.floor(value * BINS)));
}

export class Scores {
  constructor() {
    this.rows = []; // in the order of import
    this.place = new Map(); // id → index
    this.upto = 0;
    this.concepts = [];
    this.states = [];
    this.splits = [];
  }

  /** Takes the server's answer; returns the ids that changed, or null for all. */
  take(answer) {
    const { upto, whole, concepts, states, splits, rows } = answer;
    Object.assign(this, { upto, concepts, states, splits, shares: answer.shares });
    if (whole) {
      this.rows = [];
      this.place.clear();
    }
    for (const row of rows) {
      const at = this.place.get(row[ID]);
      if (at === undefined) {
        this.place.set(row[ID], this.rows.length);
        this.rows.push(row);
      } else this.rows[at] = row;
    }
    return whole ? null : rows.map((row) => row[ID]);
  }

  /**
   * Counts and lists what a filter lets through.
   * A histogram's `all` are those of its concept, state and split; `inside` those in all ranges.
   */
  look({ concept, show, split, low, ranges, order }) {
    const wanted = concept === "" ? -1 : this.concepts.indexOf(concept);
    const shown = SHOWS[show].states?.map((name) => this.states.indexOf(name));
    const part = split === "" ? -1 : this.splits.indexOf(split);
    const limits = MEASURES.filter((name) => isNarrow(ranges[name]));
    const splits = this.splits.map(() => 0);
    const histograms = Object.fromEntries(MEASURES.map((name) => [name, empty()]));
    const found = [];
    let inStates = 0;
    let total = 0; // of them in the concept, whatever their split
    for (const row of this.rows) {
      if (shown && !shown.includes(row[STATE])) continue;
      inStates += 1;
      if (wanted >= 0 && row[CONCEPT] !== wanted) continue;
      if (low && !row[LOW]) continue;
      splits[row[SPLIT]] += 1;
      total += 1;
      if (part >= 0 && row[SPLIT] !== part) continue;
      const inside = limits.every((name) => isInside(row[COLUMN[name]], ranges[name]));
      if (inside) found.push(row);
      for (const name of MEASURES) count(histograms[name], row[COLUMN[name]], inside);
    }
    return { ids: sorted(found, ORDERS[order]).map((row) => row[ID]), states: inStates, total, splits, histograms };
  }
}

function empty() {
  return { all: new Array(BINS).fill(0), inside: new Array(BINS).fill(0), n: 0, sum: 0, missing: 0 };
}

function count(histogram, value, inside) {
  if (value === null) {
    if (inside) histogram.missing += 1;
    return;
  }
  const bin = binOf(value);
  histogram.all[bin] += 1;
  if (!inside) return;
  histogram.inside[bin] += 1;
  histogram.n += 1;
  histogram.sum += value;
}

export function isNarrow([from, to]) {
  return from > 0 || to < BINS;
}

function isInside(value, [from, to]) {
  if (value === null) return false;
  const bin = binOf(value);
  return bin >= from && bin < to;
}

function sorted(rows, { measure, sign }) {
  if (!measure) return rows;
  const column = COLUMN[measure];
  const last = sign * Infinity; // those without a score come last
  const key = (row) => row[column] ?? last;
  return rows.sort((a, b) => sign * (key(a) - key(b)) || 0);
}
