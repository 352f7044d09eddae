// How well people agree on images that several of them decided, and how to have more of these.
import { post } from "./api.js";
import { h, number, say } from "./dom.js";
import { STATES } from "./icons.js";

// Landis and Koch (1977)
const LEVELS = [[0.8, "almost perfect"], [0.6, "substantial"], [0.4, "moderate"], [0.2, "fair"],
  [0, "slight"], [-1, "worse than chance"]];

export class Agreement {
  constructor({ onError, onChanged }) {
    Object.assign(this, { onError, onChanged });
    this.kappa = figure("Kappa of decisions", "How far decisions agree beyond chance (Fleiss). 1: always.");
    this.iou = figure("Overlap of masks", "Mean IoU of masks that two people accepted. 1: the same pixels.");
    this.compared = figure("Compared", "Images with two opinions or more, of those that have copies.");
    this.body = h("tbody", {});
    this.pairs = h("table", { class: "fm-team-table", "data-test": "team-pairs" },
      h("thead", {}, h("tr", {}, ["Who", "Images", "Same", "Kappa", "Mask IoU"].map((word) => h("th", { scope: "col" }, word)))),
      this.body);
    this.disputed = h("ul", { class: "fm-team-disputed", "data-test": "team-disputed" });
    this.empty = h("p", { class: "fm-team-empty" },
      "No image has two opinions yet. Ask for some below; each copy goes to somebody else.");
    this.element = h("section", { class: "fm-team-section" },
      h("h2", {}, "Do they agree?"),
      h("div", { class: "fm-team-figures" }, this.kappa.element, this.iou.element, this.compared.element),
      this.empty, h("div", { class: "fm-team-scroll" }, this.pairs), this.disputed, this.#form());
  }

  show(found) {
    this.kappa.show(number(found.kappa), level(found.kappa));
    this.iou.show(number(found.mask_iou), "");
    this.compared.show(`${found.compared} of ${found.copied}`, "images with copies");
    this.empty.hidden = found.compared > 0;
    this.pairs.hidden = found.pairs.length === 0;
    this.body.replaceChildren(...found.pairs.map((one) => h("tr", {},
      h("th", { scope: "row" }, `${one.first}, ${one.second}`),
      [one.images, one.same, number(one.kappa), number(one.mask_iou)].map((value) => h("td", {}, String(value))))));
    this.disputed.replaceChildren(...found.disputed.map(dispute));
    if (found.disputes > found.disputed.length) {
      this.disputed.append(h("li", { class: "fm-muted" }, `and ${found.disputes - found.disputed.length} more`));
    }
  }

  #form() {
    const share = h("input", {
      type: "number", min: 1, max: 100, step: 1, value: 10, required: true, "data-test": "overlap-share",
    });
    const copies = h("select", { "data-test": "overlap-copies" },
      [2, 3, 4, 5].map((count) => h("option", { value: count }, String(count))));
    const go = h("button", { class: "fm-button", "data-test": "overlap-go" }, "ask for opinions");
    const said = h("span", { class: "fm-muted", role: "status" });
    const form = h("form", { class: "fm-team-form" },
      h("label", {}, "On", share, "% of the images"),
      h("label", {}, copies, "people decide each"), go, said);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        const { images, added } = await post("team/overlap", {
          share: Number(share.value) / 100, copies: Number(copies.value),
        });
        say(said, `${images} images have ${copies.value} copies each; ${added} were added.`);
        this.onChanged();
      } catch (error) {
        this.onError(error.message);
      } finally {
        go.disabled = false;
      }
    });
    return form;
  }
}

function figure(name, title) {
  const value = h("span", { class: "fm-team-value" });
  const words = h("span", { class: "fm-muted fm-small" });
  return {
    element: h("div", { class: "fm-team-figure", title }, h("span", { class: "fm-title" }, name), value, words),
    show(text, more) {
      say(value, text);
      say(words, more);
    },
  };
}

function level(kappa) {
  if (!Number.isFinite(kappa)) return "";
  return LEVELS.find(([from]) => kappa >= from)?.[1] ?? "worse than chance";
}

function dispute(copies) {
  return h("li", {},
    h("a", { href: `?view=all&sample=${copies[0].id}`, class: "fm-strong" }, copies[0].name),
    h("span", { class: "fm-muted" },
      copies.map((one) => ` ${one.decided_by}: ${STATES[one.state].word}`).join(" ·")));
}
