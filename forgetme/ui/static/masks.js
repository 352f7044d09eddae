// Which object? The ranked proposals as cards.
import { attr, h, keyed, number, s, say } from "./dom.js";
import { icon } from "./icons.js";
import { fillCap } from "./keymap.js";
import { pathOf } from "./stage.js";
import { picture } from "./api.js";
import { wasThere } from "./trywords.js";

const FIRST = 4; // cards shown before "more"
const MARGIN = 0.15; // of the box's longer side, shown around it

/** A square window of the picture around a proposal's box. */
function windowOf([x, y, w, height]) {
  const side = Math.max(w, height) * (1 + 2 * MARGIN);
  return [x + w / 2 - side / 2, y + height / 2 - side / 2, side, side].map((v) => v.toFixed(1)).join(" ");
}

export class Masks {
  /** Tells of `onChoose(index)`, `onHint(outline | null)` and `onAsk(index)`. */
  constructor({ onChoose, onHint, onAsk }) {
    Object.assign(this, { onChoose, onHint, onAsk });
    this.open = false;
    this.cards = h("div", { class: "fm-cards", role: "radiogroup", "aria-label": "Proposed masks" });
    this.note = h("p", { class: "fm-note" });
    this.more = h("button", { class: "fm-button fm-quiet fm-small", "data-test": "more" });
    this.more.addEventListener("click", () => {
      this.open = !this.open;
      this.show(this.sample);
    });
    this.ask = h("button", { class: "fm-button fm-quiet fm-small", "data-test": "ask" }, icon("ask"), "ask verifier");
    this.ask.addEventListener("click", () => this.onAsk(this.asked));
    this.comment = h("p", { class: "fm-note fm-comment", "data-test": "comment-shown", hidden: true });
    this.source = h("span", { class: "fm-muted fm-small" });
    this.element = h(
      "section",
      { class: "fm-section", "aria-label": "Mask" },
      this.comment,
      h("div", { class: "fm-row fm-head" },
        h("h3", { class: "fm-title" }, "Mask"), this.source, h("span", { class: "fm-spring" }), this.more, this.ask),
      this.cards,
      this.note,
    );
  }

  show(sample) {
    if (sample?.id !== this.sample?.id) this.open = false;
    this.sample = sample;
    this.comment.hidden = !sample?.comment;
    say(this.comment, sample?.comment ? `Comment: ${sample.comment}` : "");
    const proposals = sample?.proposals ?? [];
    const last = this.open ? proposals.length : Math.max(FIRST, (sample?.chosen ?? -1) + 1);
    keyed(
      this.cards, proposals.slice(0, last), (one) => `${sample.id} ${one.key}`,
      (one) => this.#card(one, sample),
      (card, one) => this.#fill(card, one, sample),
    );
    const hidden = proposals.length - Math.min(last, proposals.length);
    this.more.hidden = proposals.length <= FIRST;
    say(this.more, hidden ? `${hidden} more` : "fewer");
    this.note.hidden = proposals.length > 0;
    say(this.note, sample ? wordsFor(sample) : "");
    say(this.source, sample?.mask?.edited ? (isPlaced(sample) ? "where it was put" : "drawn by you") : "");
    const at = sample?.chosen ?? proposals.findIndex((one) => !one.verdict);
    this.asked = at;
    this.ask.hidden = !(at >= 0 && proposals[at] && !proposals[at].verdict);
  }

  #card(one, sample) {
    const path = pathOf(one.outline);
    const view = s(
      "svg", { viewBox: windowOf(one.box_xywh), class: "fm-card-picture", "aria-hidden": "true" },
      s("image", { href: picture(sample.image_sha), width: sample.width, height: sample.height }),
      s("path", { d: path, class: "fm-line fm-line-dark", "vector-effect": "non-scaling-stroke" }),
      s("path", { d: path, class: "fm-line fm-line-light", "vector-effect": "non-scaling-stroke" }),
    );
    const card = h(
      "button",
      { class: "fm-card", role: "radio" },
      h("kbd", {}), view,
      h("span", { class: "fm-card-score", title: "How sure CLIP is that this is the concept, from 0 to 1" }),
      h("span", { class: "fm-card-verdict" }),
    );
    card.addEventListener("click", () => this.onChoose(Number(card.dataset.index)));
    card.addEventListener("pointerenter", () => this.onHint(one.outline));
    card.addEventListener("pointerleave", () => this.onHint(null));
    card.addEventListener("focus", () => this.onHint(one.outline));
    card.addEventListener("blur", () => this.onHint(null));
    return card;
  }

  #fill(card, one, sample) {
    const [key, , score, verdict] = card.children;
    card.dataset.index = one.index;
    card.dataset.test = `card-${one.index + 1}`;
    const chosen = sample.chosen === one.index;
    attr(card, "aria-checked", chosen);
    fillCap(key, one.index < 9 ? `pick_${one.index + 1}` : null);
    say(score, number(one.score));
    const unknown = one.verdict?.reason.startsWith("not checked");
    const answer = one.verdict?.yes ? "yes" : "no";
    const kind = one.verdict ? (unknown ? "unknown" : answer) : "open";
    if (verdict.dataset.kind === kind && kind === "open") return;
    verdict.dataset.kind = kind;
    if (!one.verdict) {
      verdict.replaceChildren(h("span", {}, "not asked"));
      return;
    }
    const { yes, reason, confidence, made_by: by } = one.verdict;
    if (unknown) {
      verdict.title = `${by}: ${reason}`;
      verdict.replaceChildren(h("span", { class: "fm-reason" }, reason));
      return;
    }
    verdict.title = `${by}: ${answer}, ${Math.round(confidence * 100)} % sure. ${reason}`;
    verdict.replaceChildren(
      icon(yes ? "accept" : "reject"),
      h("span", { class: "fm-strong" }, answer),
      h("span", { class: "fm-reason" }, reason),
    );
  }
}

/** Whether the mask is where the side story put the object; a mask drawn since has other tries. */
function isPlaced(sample) {
  return Boolean(sample.lineage) && sample.tries.some(wasThere);
}

function wordsFor(sample) {
  if (isPlaced(sample)) return "This was merged from two pictures, so the mask is known and nobody was asked.";
  if (sample.state === "broken") return "This file has no picture that we can read.";
  if (sample.state === "new") return "Looking for objects …";
  return `No object was proposed. Click the ${sample.concept} in the picture.`;
}
