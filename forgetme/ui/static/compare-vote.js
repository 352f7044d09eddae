// Blind votes: two columns hidden behind A and B; whose they were is said after the vote.
import { h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { get, post } from "./api.js";
import { Linked, Pane } from "./compare-pane.js";

const CHOICES = [["a", "A is better", "A"], ["tie", "Both alike", "T"], ["b", "B is better", "B"], ["skip", "Skip", "S"]];
const WORDS = { a: "A won", b: "B won", tie: "alike", skip: "skipped" };
const ANY = "";

export class Vote {
  /** Tells of `onError(words)` and `onSaved()`. */
  constructor({ kept, onError, onSaved }) {
    Object.assign(this, { kept, onError, onSaved });
    this.linked = new Linked();
    this.panes = Object.fromEntries(["original", "a", "b"].map((name) => [name, new Pane(this.linked, { alt: name === "original" ? "Original" : name.toUpperCase() })]));
    this.linked.hold(Object.values(this.panes));
    this.pair = h("select", { "aria-label": "Which two", "data-test": "vote-pair" });
    this.pair.addEventListener("change", () => this.load());
    this.left = h("span", { class: "fm-muted fm-small", role: "status", "data-test": "vote-left" });
    this.buttons = CHOICES.map(([choice, word, key]) => h("button", {
      class: `fm-button ${choice === "a" || choice === "b" ? "fm-main" : ""}`, "data-test": `vote-${choice}`, onclick: () => this.cast(choice),
    }, word, h("kbd", {}, key)));
    this.over = h("div", { class: "fm-cmp-empty", hidden: true, "data-test": "vote-over" });
    const tile = (name, word) => h("figure", { class: `fm-tile fm-vote-${name}` }, h("figcaption", {}, h("span", { class: "fm-strong" }, word)), this.panes[name].element);
    this.ballot = h("div", { class: "fm-vote-ballot" },
      h("div", { class: "fm-vote-panes" }, tile("original", "Original"), tile("a", "A"), tile("b", "B")),
      h("div", { class: "fm-vote-buttons" }, this.buttons));
    this.last = h("ol", { class: "fm-vote-last", "data-test": "vote-last" });
    this.tally = h("ul", { class: "fm-vote-tally", "data-test": "tally" });
    this.back = h("button", { class: "fm-button fm-quiet", "data-test": "vote-back", onclick: () => this.takeBack() }, icon("undo"), "take back", h("kbd", {}, "⌫"));
    this.element = h("section", { class: "fm-cmp-view fm-vote", "aria-label": "Blind vote" },
      h("div", { class: "fm-vote-main" },
        h("div", { class: "fm-cmp-tools" }, h("span", {}, "Which background would you rather have?"), h("span", { class: "fm-spring" }), this.left, this.pair), this.ballot, this.over),
      h("aside", { class: "fm-vote-side" },
        h("div", { class: "fm-row" }, h("h3", { class: "fm-title" }, "Your last votes"), this.back), this.last,
        h("h3", { class: "fm-title" }, "All votes"), this.tally));
  }

  take(comparison, { mayVote }) {
    this.comparison = comparison;
    this.mayVote = mayVote;
    const { columns } = comparison;
    const pairs = columns.flatMap((one, k) => columns.slice(k + 1).map((other) => [`${one.key} ${other.key}`, `${one.title} – ${other.title}`]));
    keyed(this.pair, [[ANY, "any two, mixed"], ...pairs], ([key]) => key || "*", ([key]) => h("option", { value: key }), (option, [, words]) => say(option, words));
    this.pair.value = ANY;
    this.now = null;
  }

  /** Asks for the next ballot; a slow answer to an earlier question is left aside. */
  async load() {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const [left, right] = this.pair.value.split(" ");
    const query = right ? `?${new URLSearchParams({ left, right })}` : "";
    try {
      const answer = await get(`comparisons/${this.comparison.name}/votes${query}`);
      if (turn === this.turn) this.#show(answer);
    } catch (error) {
      this.onError(error.message);
    }
  }

  async cast(choice) {
    const { now, comparison } = this;
    if (!now || !this.mayVote || this.sending) return;
    if (!this.panes.a.ready || !this.panes.b.ready) return; // never vote on what was not seen
    await this.#send({ row: now.row, left: now.a, right: now.b, choice }, comparison);
  }

  async takeBack() {
    const [latest] = this.mine ?? [];
    if (!latest || !this.mayVote || this.sending) return;
    await this.#send({ row: latest.row, left: latest.a, right: latest.b, choice: "back" }, this.comparison);
  }

  async #send(body, comparison) {
    this.sending = true;
    try {
      await post(`comparisons/${comparison.name}/votes`, body);
      this.onSaved();
      await this.load();
    } catch (error) {
      this.onError(error.message);
    } finally {
      this.sending = false;
    }
  }

  fit() {
    this.linked.fit();
  }

  toggleOutline() {
    this.kept.outline = !this.kept.outline;
    this.#outline();
  }

  // ------------------------------------------------------------------ showing
  #show({ ballot, remaining, mine, tally }) {
    this.now = ballot;
    this.mine = mine.toReversed();
    say(this.left, ballot ? `${remaining} left` : "");
    this.ballot.hidden = !ballot;
    this.over.hidden = Boolean(ballot);
    if (ballot) this.#showBallot(ballot);
    else this.#showOver();
    for (const button of this.buttons) button.disabled = !this.mayVote;
    this.back.disabled = !this.mine.length || !this.mayVote;
    this.last.replaceChildren(...(this.mine.length ? this.mine.slice(0, 6).map((one) => this.#cast(one)) : [h("li", { class: "fm-muted" }, "None yet. The names show here after each vote.")]));
    this.tally.replaceChildren(...(tally.length ? tally.map((one) => this.#pair(one)) : [h("li", { class: "fm-muted" }, "Nobody has voted yet.")]));
  }

  #showBallot({ row, a, b }) {
    const { comparison } = this;
    this.panes.original.show(comparison.address(comparison.rows[row].original));
    this.panes.a.show(comparison.address(comparison.cell(a, row).picture));
    this.panes.b.show(comparison.address(comparison.cell(b, row).picture));
    this.#outline();
  }

  #showOver() {
    const two = this.comparison.columns.length > 1;
    this.over.replaceChildren(h("strong", {}, two ? "You have voted on all of these." : "A vote needs two methods."),
      h("span", {}, two ? "Choose another pair above, or read the tally." : "Make a comparison with more columns."));
  }

  #outline() {
    if (this.now) this.linked.trace(this.kept.outline ? this.comparison.mask(this.now.row) : null);
  }

  #title(key) {
    return this.comparison.column(key)?.title ?? key;
  }

  #cast({ row, a, b, choice }) {
    const side = (key, name) => h("span", { class: choice === name ? "fm-strong" : "" },
      h("img", { src: this.comparison.address(this.comparison.cell(key, row)?.picture), alt: "" }),
      h("span", {}, `${name.toUpperCase()} `, h("span", { class: "fm-muted" }, "was "), this.#title(key)));
    return h("li", {}, side(a, "a"), side(b, "b"), h("span", { class: "fm-vote-word" }, WORDS[choice]));
  }

  #pair({ left, right, won, lost, ties, skips, people, rate, low, high }) {
    const percent = (value) => `${Math.round(100 * value)} %`;
    const words = rate === null ? "no vote for either yet" : `${percent(rate)} of ${won + lost} for the first, 95 % interval ${percent(low)} – ${percent(high)}`;
    const more = [ties && `${ties} alike`, skips && `${skips} skipped`, people === 1 ? "1 person" : `${people} people`].filter(Boolean).join(", ");
    const bar = h("div", { class: "fm-vote-bar", role: "img", "aria-label": words },
      h("span", { class: "fm-vote-half" }), ...(rate === null ? [] : [h("span", { class: "fm-vote-range" }), h("span", { class: "fm-vote-dot" })]));
    bar.style.setProperty("--low", low ?? 0);
    bar.style.setProperty("--high", high ?? 0);
    bar.style.setProperty("--rate", rate ?? 0);
    return h("li", { "data-test": `tally-${left}-${right}` },
      h("div", { class: "fm-row" }, h("span", { class: won > lost ? "fm-strong" : "" }, this.#title(left)),
        h("span", { class: "fm-vote-count" }, `${won} : ${lost}`), h("span", { class: lost > won ? "fm-strong" : "" }, this.#title(right))),
      bar, h("p", { class: "fm-caption" }, `${words}; ${more}`));
  }
}
