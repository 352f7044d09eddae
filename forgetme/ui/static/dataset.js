// The Dataset tab: Table 1, histograms that filter the gallery, the audit trail, export and push.
import { attr, h, keyed, say, whole } from "./dom.js";
import { icon } from "./icons.js";
import { get } from "./api.js";
import { Gallery } from "./dataset-gallery.js";
import { Histogram } from "./dataset-histogram.js";
import { Publish } from "./dataset-publish.js";
import { EVERYTHING, MEASURES, ORDERS, SHOWS, Scores, isNarrow } from "./dataset-scores.js";
import { Table } from "./dataset-table.js";
import { Trail } from "./dataset-trail.js";
import { look } from "./dataset-look.js";
import { openTab } from "./tabs.js";

const REFRESH_MS = 4000;
const TITLES = {
  d: ["Entangled-D", "How much changed inside the mask, and did nothing outside? Low: too little changed inside the mask."],
  s: ["Entangled-S", "Does the fill fit? High: it fits its surroundings. Low: it is smoother, darker or brighter."],
  clip: ["CLIP", "How well the mask's content fits the concept's name, by the ranker."],
};

export function mount(element) {
  const root = element.querySelector(".fm-data");
  if (root && !root.dataTab) root.dataTab = new Dataset(root);
}

class Dataset {
  constructor(root) {
    this.root = root;
    this.scores = new Scores();
    this.filter = fresh();
    this.stats = [];
    this.limits = {};
    this.mode = "gallery";
    this.#build();
    const refresh = () => this.#refresh();
    new IntersectionObserver(([entry]) => entry.isIntersecting && refresh()).observe(root);
    document.addEventListener("visibilitychange", refresh);
    setInterval(refresh, REFRESH_MS);
    refresh();
  }

  #build() {
    const onError = (words) => this.#trouble(words);
    this.trouble = h("p", { class: "fm-data-trouble", role: "alert", hidden: true });
    this.table = new Table({ onConcept: (concept) => this.#change({ concept }) });
    this.histograms = Object.fromEntries(MEASURES.map((name) => [name, new Histogram({
      name, title: TITLES[name][0], about: TITLES[name][1],
      onBrush: (range) => this.#change({ ranges: { ...this.filter.ranges, [name]: range } }),
    })]));
    this.gallery = new Gallery({ onOpen: (index) => this.#look(this.ids, index), onError });
    this.trail = new Trail({ onOpen: (id) => this.#look([id], 0), onError });
    this.publish = new Publish({ onError, onChanged: () => this.#refresh() });
    this.#buildTools();
    const charts = h("div", { class: "fm-histograms" }, MEASURES.map((name) => this.histograms[name].element));
    this.pictures = h("div", { class: "fm-pictures" }, charts, h("div", { class: "fm-data-filters" }, this.tools, this.banner), this.gallery.element);
    this.main = h("div", { class: "fm-data-main" }, this.trouble, this.table.element, this.modes, this.pictures, this.trail.element);
    this.root.replaceChildren(this.main, this.publish.element);
    this.root.removeAttribute("aria-busy");
    this.#show(this.mode);
  }

  #buildTools() {
    const select = (label, choices, key) => {
      const element = h("select", { "aria-label": label, "data-test": `data-${key}` },
        Object.entries(choices).map(([value, { word }]) => h("option", { value }, word)));
      element.addEventListener("change", () => this.#change({ [key]: element.value }));
      return element;
    };
    this.count = h("span", { class: "fm-strong", role: "status", "data-test": "data-count" });
    this.show = select("State", SHOWS, "show");
    this.order = select("Order", ORDERS, "order");
    this.splits = h("div", { class: "fm-segments", role: "group", "aria-label": "Split" });
    this.low = h("button", {
      class: "fm-button", "aria-pressed": false, "data-test": "data-low",
      title: "Only those whose scores are low", onclick: () => this.#change({ low: !this.filter.low }),
    }, icon("warning"), "low only");
    this.tools = h("div", { class: "fm-data-tools" }, this.show, this.splits, this.low,
      h("span", { class: "fm-spring" }), this.order);
    this.banner = h("button", { class: "fm-data-banner", hidden: true, "data-test": "data-clear",
      onclick: () => this.#change({ ...fresh(), show: this.filter.show, order: this.filter.order }) },
    icon("warning"), h("span", {}), h("span", { class: "fm-link" }, "clear"));
    const modes = [["gallery", "Pictures", "image"], ["trail", "Audit trail", "list"], ["publish", "Export", "download"]];
    this.modeButtons = modes.map(
      ([mode, word, sign]) => h("button", {
        class: "fm-segment", "data-test": `mode-${mode}`, "data-mode": mode, onclick: () => this.#show(mode),
      }, icon(sign), word));
    this.modes = h("div", { class: "fm-data-modes" },
      h("div", { class: "fm-segments", role: "group", "aria-label": "What to show" }, this.modeButtons), this.count);
  }

  #show(mode) {
    this.mode = mode;
    for (const button of this.modeButtons) attr(button, "aria-pressed", button.dataset.mode === mode);
    this.root.dataset.mode = mode; // the style sheets show what belongs to it
    if (mode === "trail") this.trail.load();
    else this.gallery.draw();
  }

  #change(part) {
    this.filter = { ...this.filter, ...part };
    if (this.planned) return; // once a frame is enough while a range is drawn
    this.planned = requestAnimationFrame(() => {
      this.planned = 0;
      this.render();
    });
  }

  // ------------------------------------------------------------------ what the server says
  get visible() {
    return !document.hidden && this.root.getClientRects().length > 0;
  }

  async #refresh() {
    if (!this.visible || this.asking) return;
    this.asking = true;
    try {
      const answer = await get("data/scores?after=" + this.scores.upto);
      if (!this.begun) await this.#begin();
      if (answer.whole || answer.upto !== this.scores.upto) {
        this.gallery.forget(this.scores.take(answer));
        this.publish.concepts(this.scores.concepts);
        this.stats = await get("data/table");
        this.render();
        if (this.mode === "trail" && this.trail.events.length <= 100) this.trail.load();
      }
      await this.publish.refresh();
      this.#trouble("");
    } catch (error) {
      this.#trouble(error.message);
    } finally {
      this.asking = false;
    }
  }

  async #begin() {
    const session = await get("session");
    this.limits = session.thresholds;
    const lead = (session.role ?? "lead") === "lead";
    for (const button of this.modeButtons) button.hidden = button.dataset.mode === "trail" && !lead;
    this.publish.begin({ lead });
    this.begun = true;
  }

  #trouble(words) {
    say(this.trouble, words);
    this.trouble.hidden = !words;
  }

  // ------------------------------------------------------------------ showing
  render() {
    const { filter, scores } = this;
    if (filter.concept && !scores.concepts.includes(filter.concept)) filter.concept = "";
    const seen = scores.look(filter);
    this.ids = seen.ids;
    this.table.show(this.stats, filter.concept);
    for (const name of MEASURES) {
      this.histograms[name].show(seen.histograms[name], filter.ranges[name], this.limits[name]);
    }
    this.show.value = filter.show;
    this.order.value = filter.order;
    attr(this.low, "aria-pressed", String(filter.low));
    this.#showSplits(seen);
    this.#showFilter(seen);
    this.gallery.show(seen.ids, this.#nothing());
  }

  #showSplits({ total, splits }) {
    const parts = [["", "all", total], ...this.scores.splits.map((name, at) => [name, name, splits[at]])];
    keyed(
      this.splits, parts, ([name]) => name || "*",
      ([name, word]) => h("button", {
        class: "fm-segment", "data-test": `split-${word}`, onclick: () => this.#change({ split: name }),
      }, word, h("span", { class: "fm-muted" })),
      (button, [name, , n]) => {
        attr(button, "aria-pressed", String(this.filter.split === name));
        say(button.lastChild, whole(n));
        const share = this.scores.shares?.[name];
        if (name) button.title = `${Math.round(100 * share)} % by a hash of each sample's id; it never changes`;
      },
    );
  }

  #showFilter({ ids, states }) {
    const { concept, split, low, show, ranges } = this.filter;
    const words = [
      concept, split && `${split} split`, low && "low only",
      ...MEASURES.filter((name) => isNarrow(ranges[name])).map((name) => `a range of ${TITLES[name][0]}`),
    ].filter(Boolean);
    const of = show === "all" ? "" : ` ${SHOWS[show].word}`;
    this.banner.hidden = words.length === 0;
    say(this.banner.children[1], `filtered: ${words.join(", ")}; ${whole(ids.length)} of ${whole(states)}${of} shown`);
    say(this.count, `${whole(ids.length)} ${ids.length === 1 ? "picture" : "pictures"}`);
  }

  /** What an empty gallery says. */
  #nothing() {
    if (!this.scores.rows.length) {
      return [h("strong", {}, "There are no images yet."), h("span", {}, "Add some on the Curate tab; they appear here.")];
    }
    if (!this.banner.hidden) {
      return [h("strong", {}, "No picture passes this filter."), h("span", {}, "Clear it above, or widen the ranges.")];
    }
    if (this.filter.show === "accepted") {
      return [h("strong", {}, "Nothing is accepted yet."), h("span", {}, "Press A on a good quadruple on the Curate tab; it appears here at once.")];
    }
    return [h("strong", {}, `Nothing is ${SHOWS[this.filter.show].word}.`), h("span", {}, "Choose another state above.")];
  }

  #look(ids, index) {
    look(ids, index, { onCurate: openInCurate });
  }
}

function fresh() {
  return {
    concept: "", show: "accepted", split: "", low: false, order: "import",
    ranges: Object.fromEntries(MEASURES.map((name) => [name, [...EVERYTHING]])),
  };
}

/** Shows a sample on the Curate tab. */
function openInCurate(id) {
  openTab("curate");
  document.querySelector(".fm").curate.reopen(id);
}
