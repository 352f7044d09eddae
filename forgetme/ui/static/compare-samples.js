// Pictures above and scores below, linked: the shown row, the chosen method, the order; and sending back.
import { attr, h, say } from "./dom.js";
import { STATES, icon } from "./icons.js";
import { post } from "./api.js";
import { Stage } from "./compare-stage.js";
import { ScoreTable } from "./compare-table.js";

const LEAST_PX = 160; // of the pictures, and of the table
const STEP_PX = 24;

export class Samples {
  /** `kept` is remembered from visit to visit; `onOpen(id)` shows a sample on the Curate tab. */
  constructor({ kept, onKept, onError, onSaved, onOpen }) {
    Object.assign(this, { kept, onKept, onError, onSaved, onOpen });
    this.sent = []; // what was sent back in this visit, the latest last
    this.stage = new Stage({ kept, onKept, onChoose: (key) => this.choose(key) });
    this.table = new ScoreTable({
      onRow: (row) => this.show(row),
      onChoose: (key) => this.choose(key),
      onSort: (sort) => this.#sort(sort),
      onScores: (keys) => {
        this.kept.scores = keys;
        this.onKept();
        this.#draw();
      },
    });
    this.#build();
  }

  #build() {
    const arrow = (sign, by, word, key) => h("button", {
      class: "fm-button fm-quiet", "aria-label": word, title: `${word} (${key})`, "data-test": sign, onclick: () => this.move(by),
    }, icon(sign));
    this.place = h("span", { class: "fm-muted fm-small", "data-test": "place" });
    this.name = h("span", { class: "fm-strong fm-name", "data-test": "sample" });
    this.state = h("span", { class: "fm-cmp-state", role: "status", "data-test": "state" });
    this.open = h("button", { class: "fm-button fm-quiet", "data-test": "open-in-curate", onclick: () => this.onOpen(this.sample) }, icon("todo"), h("span", {}, "open in Curate"));
    this.backWords = h("span", {});
    this.back = h("button", { class: "fm-button", "data-test": "back", onclick: () => this.sendBack() }, icon("back"), this.backWords, h("kbd", {}, "B"));
    this.undoButton = h("button", { class: "fm-button fm-quiet", "data-test": "undo-back", hidden: true, onclick: () => this.undo() }, icon("undo"), "undo", h("kbd", {}, "⌫"));
    this.line = h("div", { class: "fm-cmp-tools fm-cmp-line" },
      arrow("previous", -1, "Previous sample", "↑"), this.place, arrow("next", 1, "Next sample", "↓"),
      this.name, this.state, h("span", { class: "fm-spring" }), this.undoButton, this.open, this.back);
    this.element = h("div", { class: "fm-cmp-samples" }, this.line, this.stage.element, this.#divider(), this.table.element);
    if (this.kept.height) this.#height(this.kept.height);
  }

  /** The line between pictures and scores, moved by mouse or keys. */
  #divider() {
    const divider = h("div", {
      class: "fm-cmp-divider", role: "separator", tabindex: 0, "aria-orientation": "horizontal", "data-own-keys": true,
      "aria-label": "Height of the pictures", title: "Drag to give the pictures more or less room", "data-test": "divider",
    });
    const now = () => this.stage.element.offsetHeight;
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      const [from, height] = [event.clientY, now()];
      divider.onpointermove = (moved) => this.#height(height + moved.clientY - from);
    });
    divider.addEventListener("pointerup", () => {
      divider.onpointermove = null;
      this.onKept();
    });
    divider.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -STEP_PX, ArrowDown: STEP_PX }[event.key];
      if (!by) return;
      event.preventDefault();
      this.#height(now() + by);
      this.onKept();
    });
    return divider;
  }

  #height(px) {
    const most = (this.element?.clientHeight || innerHeight) - LEAST_PX;
    this.kept.height = Math.round(Math.max(LEAST_PX, Math.min(most, px)));
    this.element.style.setProperty("--pictures", `${this.kept.height}px`);
  }

  take(comparison, { mayJudge }) {
    this.comparison = comparison;
    this.mayJudge = mayJudge;
    this.sort = null;
    this.order = comparison.order(null);
    this.row = this.order[0];
    this.column = comparison.column(this.column)?.key ?? comparison.columns[0].key;
    this.table.take(comparison, this.kept.scores);
    this.stage.take(comparison);
    this.#draw();
  }

  // ------------------------------------------------------------------ going about
  show(row) {
    this.row = row;
    this.#drawRow();
  }

  choose(key) {
    if (this.comparison.column(key)) this.column = key;
    this.#drawRow();
  }

  /** Goes to another row, in the order of the table. */
  move(by) {
    const to = this.order[this.order.indexOf(this.row) + by];
    if (to !== undefined) this.show(to);
  }

  /** Goes to another method, in the order of the pictures; in a pair it is the one on the right. */
  step(by) {
    const { columns } = this.comparison;
    const to = columns[columns.findIndex(({ key }) => key === this.column) + by];
    if (!to) return;
    if (this.stage.mode !== "all") this.stage.pair({ right: to.key });
    this.choose(to.key);
  }

  fit() {
    this.stage.linked.fit();
  }

  toggleOutline() {
    this.stage.toggleOutline();
  }

  #sort(sort) {
    this.sort = sort;
    this.order = this.comparison.order(sort);
    this.row = this.order[0];
    if (sort && sort.column !== "name") this.column = sort.column;
    this.#draw();
  }

  // ------------------------------------------------------------------ drawing
  #draw() {
    this.table.show({ order: this.order, row: this.row, column: this.column, sort: this.sort });
    this.#drawRow();
  }

  get sample() {
    return this.comparison.rows[this.row].sample;
  }

  #drawRow() {
    const { comparison, row, column } = this;
    this.table.mark(row, column);
    this.stage.show(row, column, this.table.first);
    say(this.place, `${this.order.indexOf(row) + 1} of ${this.order.length}`);
    say(this.name, comparison.rows[row].name);
    say(this.table.sorted, this.#sorted());
    const state = comparison.states[this.sample];
    const { icon: sign, word } = STATES[state] ?? {};
    this.state.replaceChildren(...(state ? [icon(sign), h("span", {}, word)] : []));
    attr(this.state, "data-state", state);
    this.open.hidden = !state;
    say(this.backWords, `send “${comparison.column(column).title}” back`);
    this.back.disabled = !state || !this.mayJudge;
    this.back.title = state ? "Flags the sample for the queue, with a comment that names this method" : "This row is no sample of this store";
    this.undoButton.hidden = !this.sent.length;
  }

  #sorted() {
    if (!this.sort) return `${this.order.length} samples as they were made; click a head to sort`;
    const { column, score, descending } = this.sort;
    const what = column === "name" ? "name" : `${this.comparison.score(score).label} of ${this.comparison.column(column).title}`;
    return `sorted by ${what}, ${descending ? "highest" : "lowest"} first`;
  }

  // ------------------------------------------------------------------ back to the queue
  async sendBack() {
    const { sample, column, comparison } = this;
    if (!this.mayJudge || !comparison.states[sample] || this.sending) return;
    if (this.sent.some((one) => one.sample === sample && one.column === column)) return;
    await this.#act("back", { sample, column, name: comparison.name }, () => this.sent.push({ sample, column, name: comparison.name }));
  }

  async undo() {
    const last = this.sent.at(-1);
    if (!last || this.sending) return;
    await this.#act("undo", last, () => this.sent.pop());
  }

  async #act(act, { sample, column, name }, then) {
    this.sending = true;
    try {
      const answer = await post(`comparisons/${name}/samples/${sample}/${act}`, { column });
      then();
      if (sample in this.comparison.states) this.comparison.states[sample] = answer.sample.state;
      this.onSaved();
      this.#draw();
    } catch (error) {
      this.onError(error.message);
    } finally {
      this.sending = false;
    }
  }
}
