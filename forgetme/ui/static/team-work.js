// Who did what: one line a person.
import { h, keyed, number } from "./dom.js";

const COLUMNS = [
  ["Who", "The name beside their decisions; press it to see only theirs below."],
  ["Accepted", ""], ["Rejected", ""], ["Skipped", ""], ["Flagged", ""],
  ["A minute", "Decisions a minute while at work; gaps above 5 minutes are left out."],
  ["Low", "Share of the accepted ones whose scores are low. Lower is better."],
  ["Approved", "By a lead."], ["Returned", "Sent back by a lead, ever."],
  ["Same", "The same decision as others on images that several people decided. Higher is better."],
  ["Last", "Their last decision."],
];

export class Work {
  constructor({ onPerson }) {
    this.onPerson = onPerson;
    this.body = h("tbody", {});
    this.empty = h("p", { class: "fm-team-empty" },
      "Nobody has decided anything yet. Open the Curate tab and press A or X on the first image.");
    this.table = h("table", { class: "fm-team-table", "data-test": "team-work" },
      h("thead", {}, h("tr", {}, COLUMNS.map(([name, title]) => h("th", { scope: "col", title }, name)))),
      this.body);
    this.element = h("section", { class: "fm-team-section" },
      h("h2", {}, "Who did what"), h("div", { class: "fm-team-scroll" }, this.table), this.empty);
  }

  show(shares) {
    this.table.hidden = shares.length === 0;
    this.empty.hidden = shares.length > 0;
    const make = () => h("tr", {});
    keyed(this.body, shares, (one) => one.by, make, (row, one) => row.replaceChildren(...this.#cells(one)));
  }

  #cells(one) {
    const name = h("button", {
      class: "fm-button fm-quiet fm-team-name", onclick: () => this.onPerson(one.by),
    }, one.by);
    const values = [
      one.accepted, one.rejected, one.skipped, one.flagged, number(one.per_minute, 1),
      percent(one.low_percent), one.approved, one.returned, percent(one.same_percent), ago(one.last),
    ];
    return [h("th", { scope: "row" }, name), ...values.map((value) => h("td", {}, String(value)))];
  }
}

function percent(value) {
  return Number.isFinite(value) ? `${value.toFixed(0)} %` : "–";
}

/** "14:02" today, "20 Nov" before. */
export function ago(at) {
  if (!at) return "–";
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  return today
    ? date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}
