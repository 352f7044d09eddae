// The paper's Table 1, live; a line is also the filter of its concept.
import { attr, h, keyed, number, say, whole } from "./dom.js";

const SUMS = ["images", "selected", "human", "policy", "open", "rejected", "aside", "broken"];
const COLUMNS = [
  ["concept", "Concept", "What is to be forgotten. Click a line to see only its pictures."],
  ["images", "Images", "All that were imported, broken files too."],
  ["selected", "Selected", "Accepted quadruples."],
  ["success", "Accepted", "Accepted samples, in percent of all images; the paper calls it success."],
  ["d", "D", "Mean Entangled-D of the selected: high means that much changed inside the mask and nothing outside; not that the fill is good."],
  ["s", "S", "Mean Entangled-S of the selected: high means that the fill fits its surroundings."],
  ["human", "By people", "Selected by a person."],
  ["policy", "By policy", "Selected by the batch policy, without a person."],
  ["open", "To review", "Not decided yet."],
  ["rejected", "Rejected", "Rejected by a person."],
  ["aside", "Set aside", "Skipped or flagged."],
  ["broken", "Broken", "Files that cannot be read."],
];

export class Table {
  /** Tells of `onConcept(name)`; "" for all. */
  constructor({ onConcept }) {
    this.onConcept = onConcept;
    this.body = h("tbody");
    this.foot = h("tfoot");
    this.element = h(
      "section", { class: "fm-data-section fm-table1", "aria-label": "Table 1" },
      h("div", { class: "fm-scroll-x" }, h(
        "table", { class: "fm-table", "data-test": "table1" },
        h("thead", {}, h("tr", {}, COLUMNS.map(([key, word, about]) =>
          h("th", { scope: "col", title: about, class: key === "concept" ? "" : "fm-number" }, word)))),
        this.body, this.foot,
      )),
    );
  }

  show(stats, chosen) {
    const lines = stats.map(lineOf);
    keyed(
      this.body, lines, (line) => line.concept, (line) => this.#row(line),
      (row, line) => {
        fill(row, line);
        attr(row, "aria-selected", line.concept === chosen);
        attr(row.querySelector("button"), "aria-pressed", line.concept === chosen);
      },
    );
    keyed(
      this.foot, lines.length > 1 ? [sum(lines)] : [], () => "sum",
      () => h("tr", {}, h("th", { scope: "row" }, "All"), cells()), fill,
    );
    this.element.hidden = lines.length === 0;
  }

  #row({ concept }) {
    const choose = () => {
      const already = row.getAttribute("aria-selected") === "true";
      this.onConcept(already ? "" : concept);
    };
    const row = h(
      "tr", { onclick: choose },
      h("th", { scope: "row" }, h("button", { class: "fm-cell-button", "data-test": `concept-${concept}` }, concept)),
      cells(),
    );
    return row;
  }
}

function cells() {
  return COLUMNS.slice(1).map(() => h("td", { class: "fm-number" }));
}

function fill(row, line) {
  COLUMNS.slice(1).forEach(([key], index) => {
    const cell = row.children[index + 1];
    say(cell, written(key, line[key]));
    cell.classList.toggle("fm-muted", !line[key]);
  });
}

function written(key, value) {
  if (key === "success") return value === null ? "–" : `${value.toFixed(1)} %`;
  if (key === "d" || key === "s") return number(value ?? NaN);
  return whole(value);
}

function lineOf(stats) {
  return {
    ...stats,
    success: stats.images ? stats.success_percent : null,
    d: stats.mean_d,
    s: stats.mean_s,
    open: stats.new + stats.prepared + stats.waiting,
    aside: stats.skipped + stats.flagged,
  };
}

/** The means of all are weighted by what was selected; unlike variants have no common mean. */
function sum(lines) {
  const total = Object.fromEntries(SUMS.map((key) => [key, lines.reduce((n, line) => n + line[key], 0)]));
  const selected = lines.filter((line) => line.selected);
  const alike = new Set(selected.map((line) => line.variant)).size === 1;
  const mean = (key) => {
    if (!alike || selected.some((line) => line[key] === null)) return null;
    return selected.reduce((n, line) => n + line[key] * line.selected, 0) / total.selected;
  };
  const success = total.images ? (100 * total.selected) / total.images : null;
  return { ...total, success, d: mean("d"), s: mean("s") };
}
