// A comparison as the tab uses it: its pictures, its numbers, which of them are best, in what order.
import { h } from "./dom.js";
import { icon } from "./icons.js";

const BASE = new URL("forgetme/", document.baseURI).href;
const MEASURED = [
  { key: "seconds", title: "Seconds", words: "time of one picture" },
  { key: "memory_mb", title: "Memory, MiB", words: "peak while it was made" },
].map((one) => ({ ...one, higher_is_better: false, per_picture: true, variant: "" }));
export const ORIGINAL = "original";
export const TRUTH = "truth";

export class Comparison {
  constructor({ name, table, states, reports }) {
    Object.assign(this, { name, table, states, reports });
    this.columns = table.columns;
    this.rows = table.rows;
    const measured = MEASURED.filter(({ key }) => !table.scores.some((one) => one.key === key)
      && this.columns.some((column) => table.cells[column.key].some((cell) => Number.isFinite(cell[key]))));
    const all = [...table.scores, ...measured];
    const isAlone = ({ title }) => all.filter((one) => one.title === title).length === 1;
    this.scores = all.map((one) => ({ ...one, label: isAlone(one) ? one.title : `${one.title}, ${one.variant}` }));
    this.perPicture = this.scores.filter((one) => one.per_picture);
    this.ranges = new Map(this.perPicture.map(({ key }) => [key, this.#range(key)]));
  }

  /** The address of one of its pictures. */
  address(path) {
    const [, sha] = /([0-9a-f]{16})\.png$/.exec(path ?? "") ?? [];
    return sha ? `${BASE}comparison/${this.name}/${sha}.png` : null;
  }

  report(kind) {
    return `${BASE}comparison/${this.name}/report.${kind}`;
  }

  score(key) {
    return this.scores.find((one) => one.key === key);
  }

  column(key) {
    return this.columns.find((one) => one.key === key);
  }

  cell(column, row) {
    return this.table.cells[column]?.[row];
  }

  value(column, row, score) {
    const cell = this.cell(column, row);
    const value = cell?.scores?.[score] ?? (MEASURED.some(({ key }) => key === score) ? cell?.[score] : null);
    return Number.isFinite(value) ? value : null;
  }

  /** All values of a column, without the missing ones. */
  values(column, score) {
    return this.rows.map((_, row) => this.value(column, row, score)).filter((value) => value !== null);
  }

  #range(score) {
    const all = this.columns.flatMap(({ key }) => this.values(key, score));
    return { low: Math.min(...all), high: Math.max(...all) };
  }

  /** Mean, interval, number and warning of a column's score. */
  summary(column, score) {
    const known = this.table.summary[column]?.[score];
    if (known) return known;
    const values = this.values(column, score);
    if (!values.length) return null;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return { mean, low: null, high: null, n: values.length, warning: null };
  }

  /** Which column's mean is surely best, as in the reports: its interval lies apart, and it is not Entangled's. */
  best(score, pairs) {
    const up = this.score(score)?.higher_is_better;
    const known = pairs.filter(([, one]) => Number.isFinite(one?.mean));
    if (typeof up !== "boolean" || score.startsWith("entangled") || known.length < 2) return new Set();
    if (known.some(([, { low }]) => !Number.isFinite(low))) return new Set();
    const [[column, first], ...others] = known.sort(([, one], [, other]) => (up ? other.mean - one.mean : one.mean - other.mean));
    return new Set(others.every(([, { low, high }]) => (up ? first.low > high : first.high < low)) ? [column] : []);
  }

  /** What can be shown of a row: [{key, title, src, error, warnings}]. */
  pictures(row) {
    const { original, truth } = this.rows[row];
    const fixed = [{ key: ORIGINAL, title: "Original", src: this.address(original) }];
    if (this.hasTruth) fixed.push({ key: TRUTH, title: "True background", src: this.address(truth), error: truth ? null : "The truth is not known here." });
    return [...fixed, ...this.columns.map(({ key, title }) => {
      const { picture, error, warnings } = this.cell(key, row);
      return { key, title, src: this.address(picture), error: picture ? null : error ?? "There is no picture.", warnings };
    })];
  }

  get hasTruth() {
    return this.rows.some(({ truth }) => truth);
  }

  mask(row) {
    return this.address(this.rows[row].mask);
  }

  /** Indices of the rows, sorted; null is the order in which they were made. Missing values go last. */
  order(sort) {
    const rows = this.rows.map((_, row) => row);
    if (!sort) return rows;
    const sign = sort.descending ? -1 : 1;
    if (sort.column === "name") return rows.sort((a, b) => sign * this.rows[a].name.localeCompare(this.rows[b].name, "en", { numeric: true }));
    const value = (row) => this.value(sort.column, row, sort.score);
    return rows.sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === null || other === null) return (one === null) - (other === null);
      return sign * (one - other) || a - b;
    });
  }
}

/** A number with the digits that its score asks for, or as many as its size deserves. */
export function figure(value, score) {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(score?.digits)) return value.toFixed(score.digits);
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 2 ? 2 : 3;
  return value.toFixed(digits);
}

/** The arrow and the words of a score's direction. */
export function direction({ higher_is_better: up }) {
  if (typeof up !== "boolean") return { sign: "", words: "neither high nor low is better by itself" };
  return up ? { sign: "↑", words: "higher is better" } : { sign: "↓", words: "lower is better" };
}

/** What hovers over a score's name. */
export function about(score) {
  const variant = score.variant ? ` Variant: ${score.variant}.` : "";
  return `${score.words}; ${direction(score).words}.${variant}`;
}

/** "0.71 [0.66, 0.75]" */
export function withInterval({ mean, low, high }, score) {
  const known = Number.isFinite(low) && Number.isFinite(high);
  return known ? `${figure(mean, score)} [${figure(low, score)}, ${figure(high, score)}]` : figure(mean, score);
}

/** The number with its warning's sign, and below it the interval or how many it is of. */
export function meanParts(one, score) {
  const known = Number.isFinite(one.low) && Number.isFinite(one.high);
  return [
    h("div", {}, one.warning ? h("span", { class: "fm-warn-words" }, icon("warning")) : null, figure(one.mean, score)),
    h("div", { class: "fm-caption" }, known ? `${figure(one.low, score)} – ${figure(one.high, score)}` : `n = ${one.n}`),
  ];
}

/** What hovers over a mean. */
export function meanWords(one, score) {
  return one ? [`${withInterval(one, score)}, n = ${one.n}`, one.warning].filter(Boolean).join("\n") : "not measured";
}
