// What leads look at once more: accepted samples, each to be approved, or returned with a word why.
import { get, post, thumbnail } from "./api.js";
import { h, keyed, number, say } from "./dom.js";
import { icon } from "./icons.js";
import { ago } from "./team-work.js";

export class Reviews {
  constructor({ onError, onChanged }) {
    Object.assign(this, { onError, onChanged });
    this.by = "";
    this.count = h("span", { class: "fm-muted", "data-test": "review-count" });
    this.filter = h("button", {
      class: "fm-team-filter", hidden: true, "data-test": "review-filter", onclick: () => this.only(""),
    });
    this.grid = h("div", { class: "fm-team-grid", "data-test": "reviews" });
    this.empty = h("p", { class: "fm-team-empty" });
    this.element = h("section", { class: "fm-team-section" },
      h("div", { class: "fm-team-head" }, h("h2", {}, "To review"), this.count, this.filter),
      this.grid, this.empty);
  }

  /** Shows only one person's; "" shows all. */
  only(name) {
    this.by = name;
    this.refresh().catch((error) => this.onError(error.message));
    if (name) this.element.scrollIntoView({ block: "nearest" });
  }

  async refresh() {
    const { rows, total } = await get("team/reviews?" + new URLSearchParams({ by: this.by }));
    this.filter.hidden = !this.by;
    this.filter.replaceChildren(icon("warning"), `only ${this.by}'s`, h("span", { class: "fm-link" }, "show all"));
    say(this.count, total ? `${total} accepted, not reviewed yet` : "");
    say(this.empty, this.by ? `Nothing of ${this.by} is left to review.` : "All accepted images are reviewed.");
    this.empty.hidden = total > 0;
    keyed(this.grid, rows, (row) => `${row.id} ${row.version}`, (row) => this.#card(row), () => {});
  }

  #card(row) {
    const small = (src, words) => h("img", { src, alt: words, title: words, loading: "lazy" });
    const cut = small(thumbnail(row.image_sha, 256), "foreground");
    cut.style.maskImage = `url("${thumbnail(row.mask_sha, 256)}")`;
    const scores = h("span", { class: row.low ? "fm-low" : "" },
      row.low ? "low: " : "", `D ${number(row.d)} S ${number(row.s)}`);
    const text = h("input", {
      type: "text", maxlength: 2000, placeholder: "What should be different?", hidden: true,
      "aria-label": `Why ${row.name} is returned`, "data-test": "return-text",
    });
    const card = h("article", { class: "fm-team-card", "data-test": "review-card" });
    const act = async (name, body) => {
      card.inert = true;
      try {
        await post(`samples/${row.id}/${name}`, { seen: row.version, ...body });
        this.onChanged();
        await this.refresh();
      } catch (error) {
        card.inert = false;
        this.onError(error.message);
        await this.refresh();
      }
    };
    const giveBack = () => {
      if (text.hidden || !text.value.trim()) {
        text.hidden = false;
        text.focus();
      } else act("return", { text: text.value });
    };
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) giveBack();
    });
    card.append(
      h("a", {
        class: "fm-team-pictures", href: `?view=all&sample=${row.id}`, title: `Open ${row.name}`,
        "aria-label": `Open ${row.name}`,
      },
      small(thumbnail(row.image_sha, 256), "original"),
      h("span", { class: "fm-checks" }, cut),
      small(thumbnail(row.background_sha, 256), "background")),
      h("div", { class: "fm-row fm-small" },
        h("span", { class: "fm-name fm-strong" }, row.name), h("span", { class: "fm-concept" }, row.concept)),
      h("div", { class: "fm-row fm-small fm-muted" },
        h("span", { class: "fm-name" }, `${row.decided_by}, ${ago(row.decided_at)}`), scores),
      ...(row.comment ? [h("p", { class: "fm-note fm-name", title: row.comment }, row.comment)] : []),
      text,
      h("div", { class: "fm-row" },
        h("button", { class: "fm-button", "data-test": "return", onclick: giveBack }, icon("undo"), "return"),
        h("button", { class: "fm-button", "data-test": "approve", onclick: () => act("approve", {}) },
          icon("accept"), "approve")),
    );
    return card;
  }
}
