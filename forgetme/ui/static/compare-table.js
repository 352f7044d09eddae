// One line a sample, one column for each method and chosen score; a click on a head sorts the pictures.
import { attr, h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { about, direction, figure, meanParts, meanWords } from "./compare-data.js";

const USUAL = ["entangled_d", "clip_distance", "still_seen"];

export class ScoreTable {
  /** Tells of `onRow(row)`, `onSort(sort)`, `onChoose(column)` and `onScores(keys)`. */
  constructor({ onRow, onSort, onChoose, onScores }) {
    Object.assign(this, { onRow, onSort, onChoose, onScores });
    this.chips = h("div", { class: "fm-chips", role: "group", "aria-label": "Scores" });
    this.sorted = h("span", { class: "fm-muted fm-small", role: "status", "data-test": "sorted" });
    this.groups = h("tr", { class: "fm-score-groups" });
    this.heads = h("tr", {});
    this.body = h("tbody", {});
    this.foot = h("tfoot", {});
    this.table = h("table", { class: "fm-table fm-scores", "data-test": "scores" },
      h("thead", {}, this.groups, this.heads), this.body, this.foot);
    this.scroll = h("div", { class: "fm-scroll-x" }, this.table);
    this.element = h("section", { class: "fm-cmp-table", "aria-label": "Scores" },
      h("div", { class: "fm-cmp-tools" }, h("span", { class: "fm-title" }, "Scores"), this.chips,
        h("span", { class: "fm-spring" }), this.sorted), this.scroll);
  }

  take(comparison, kept) {
    this.comparison = comparison;
    const known = comparison.perPicture.map(({ key }) => key);
    const wanted = [...(kept ?? []), ...(kept?.length ? [] : USUAL)].filter((key) => known.includes(key));
    this.chosen = wanted.length ? wanted : known.slice(0, 2);
    this.body.replaceChildren();
  }

  /** The score that stands beside the pictures' names. */
  get first() {
    return this.chosen[0];
  }

  show({ order, row, column, sort }) {
    Object.assign(this, { order, sort });
    this.#drawChips();
    this.#drawHead(sort);
    keyed(this.body, order, (index) => index, (index) => this.#line(index), (line, index) => this.#fill(line, index));
    this.#drawFoot();
    this.mark(row, column);
  }

  /** Marks the shown row and the chosen column. */
  mark(row, column) {
    for (const line of this.body.children) {
      const shown = Number(line.dataset.key) === row;
      attr(line, "aria-selected", String(shown));
      if (shown && this.row !== row) this.#reveal(line);
    }
    this.row = row;
    for (const cell of this.table.querySelectorAll("[data-column]")) {
      cell.classList.toggle("fm-chosen", cell.dataset.column === column);
    }
  }

  /** Scrolls the table, never the page. */
  #reveal(line) {
    const box = this.scroll;
    const head = this.table.tHead.offsetHeight;
    const foot = this.foot.offsetHeight;
    const [top, bottom] = [line.offsetTop - head, line.offsetTop + line.offsetHeight + foot];
    if (top < box.scrollTop) box.scrollTop = top;
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  }

  #drawChips() {
    keyed(this.chips, this.comparison.perPicture, ({ key }) => key, (score) => h("button", {
      class: "fm-chip", "data-test": `score-${score.key}`, title: about(score), onclick: () => this.#toggle(score.key),
    }), (chip, { key, label }) => {
      say(chip, label);
      attr(chip, "aria-pressed", String(this.chosen.includes(key)));
    });
  }

  #toggle(key) {
    const on = this.chosen.includes(key);
    if (on && this.chosen.length === 1) return;
    const all = this.comparison.perPicture.map((one) => one.key);
    this.chosen = all.filter((one) => (one === key ? !on : this.chosen.includes(one)));
    this.body.replaceChildren();
    this.onScores(this.chosen);
  }

  #drawHead(sort) {
    const { columns } = this.comparison;
    this.groups.replaceChildren(h("td", {}), ...this.chosen.map((key) => {
      const score = this.comparison.score(key);
      const { sign, words } = direction(score);
      return h("th", { scope: "colgroup", colspan: columns.length, title: about(score) },
        h("span", { class: "fm-strong" }, `${score.label} `), h("span", { class: "fm-muted" }, `${sign} ${words}`));
    }));
    this.heads.replaceChildren(
      this.#head("sample", { column: "name" }, sort),
      ...this.chosen.flatMap((score) => columns.map(({ key, title }, at) => this.#head(title, { column: key, score }, sort, at === 0))));
  }

  #head(word, asked, sort, first = false) {
    const on = sort?.column === asked.column && sort.score === asked.score;
    const isName = asked.column === "name";
    const test = isName ? "sort-name" : `sort-${asked.column}-${asked.score}`;
    return h("th", {
      scope: "col", class: `${isName ? "" : "fm-number"} ${first ? "fm-first" : ""}`, "data-column": isName ? null : asked.column,
      "aria-sort": on ? (sort.descending ? "descending" : "ascending") : null,
    }, h("button", { class: "fm-sort", title: word, "data-test": test, onclick: () => this.#sort(asked, on) }, word));
  }

  /** First the best on top, then the worst, then as they were made. */
  #sort(asked, on) {
    const first = asked.column !== "name" && this.comparison.score(asked.score).higher_is_better !== false;
    if (!on) this.onSort({ ...asked, descending: first });
    else if (this.sort.descending === first) this.onSort({ ...asked, descending: !first });
    else this.onSort(null);
  }

  #line(index) {
    const { rows, columns } = this.comparison;
    const line = h("tr", { "data-test": `row-${index}` },
      h("th", { scope: "row" }, h("button", { class: "fm-score-name", onclick: () => this.onRow(index) },
        h("img", { src: this.comparison.address(rows[index].original), alt: "", loading: "lazy" }),
        h("span", { class: "fm-name" }, rows[index].name), h("span", { class: "fm-score-state" }))),
      ...this.chosen.flatMap((score) => columns.map(({ key }, at) => h("td", {
        class: `fm-number ${at === 0 ? "fm-first" : ""}`, "data-column": key, "data-score": score,
      }))));
    line.addEventListener("click", (event) => {
      const column = event.target.closest("[data-column]")?.dataset.column;
      if (column) this.onChoose(column);
      if (!event.target.closest("button")) this.onRow(index);
    });
    return line;
  }

  #fill(line, index) {
    const { comparison } = this;
    const state = comparison.states[comparison.rows[index].sample];
    const sign = line.querySelector(".fm-score-state");
    sign.replaceChildren(...(state === "flagged" ? [icon("flag", "flagged")] : []));
    sign.title = state === "flagged" ? "Back in the queue: flagged" : "";
    if (line.dataset.filled) return;
    line.dataset.filled = "1";
    for (const cell of line.querySelectorAll("td")) {
      const { column, score } = cell.dataset;
      this.#write(cell, comparison.value(column, index, score), comparison.cell(column, index), comparison.ranges.get(score));
    }
  }

  #write(cell, value, { error, warnings }, { low, high }) {
    if (value === null) {
      cell.append(error ? h("span", { class: "fm-low", title: error }, icon("warning"), "failed") : h("span", { class: "fm-muted" }, "–"));
      return;
    }
    if (warnings?.length) cell.append(h("span", { class: "fm-warn-words", title: warnings.join("\n") }, icon("warning")));
    cell.append(figure(value, this.comparison.score(cell.dataset.score)));
    cell.style.setProperty("--share", high > low ? (value - low) / (high - low) : 1);
    cell.classList.add("fm-bar-under");
  }

  #drawFoot() {
    const { columns } = this.comparison;
    const line = h("tr", { "data-test": "summary-row" }, h("th", { scope: "row" }, "mean ", h("span", { class: "fm-muted" }, "95 % interval")));
    for (const score of this.chosen) {
      const found = columns.map(({ key }) => [key, this.comparison.summary(key, score)]);
      const best = this.comparison.best(score, found);
      found.forEach(([key, one], at) => line.append(h("td", {
        class: `fm-number ${at === 0 ? "fm-first" : ""} ${best.has(key) ? "fm-strong" : ""}`, "data-column": key,
        title: meanWords(one, this.comparison.score(score)),
      }, ...(one ? meanParts(one, this.comparison.score(score)) : [h("span", { class: "fm-muted" }, "–")]))));
    }
    this.foot.replaceChildren(line);
  }
}
