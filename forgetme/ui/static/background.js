// Is the hole well filled? Before and after, and the two scores with words.
import { h, number, say } from "./dom.js";
import { icon } from "./icons.js";
import { Slider } from "./slider.js";
import { gone, outside, seam, smear, wasThere } from "./trywords.js";

const FORMULAS = {
  d: "Entangled-D compares with the original: ½ · similarity + ½ · consistency.\n"
    + "Similarity: changed inside the mask, unchanged outside. 0 to 1, higher is better.",
  s: "Entangled-S looks at the filled picture alone: how well mean and variance\n"
    + "inside the mask match the ring around it. 0 to 1, higher is better.",
};

// What Entangled measured: no praise, for a smear or half a cat can have it too.
const MEASURED = new Set(["what was there changed inside the mask", "brightness and contrast are as around the mask"]);
// As stores from before the checks have them.
const OLD = {
  "the object is gone": "what was there changed inside the mask",
  "the fill matches its surroundings": "brightness and contrast are as around the mask",
};
const SIGNS = { true: "accept", false: "warning", null: "ask", measured: "info" };

class Meter {
  constructor(name) {
    this.name = name;
    this.value = h("span", { class: "fm-meter-value" });
    this.fill = h("span", { class: "fm-meter-fill" });
    this.limit = h("span", { class: "fm-meter-limit" });
    this.element = h(
      "div",
      { class: "fm-meter", "data-test": `score-${name}` },
      h("abbr", { class: "fm-meter-name", title: FORMULAS[name], tabindex: 0 }, name.toUpperCase()),
      this.value,
      h("span", { class: "fm-meter-track", "aria-hidden": "true" }, this.fill, this.limit),
    );
  }

  show(part, limit) {
    const low = Boolean(part) && !(part.score >= limit);
    say(this.value, part ? number(part.score) : "–");
    this.fill.style.width = part ? `${Math.max(0, Math.min(1, part.score)) * 100}%` : "0";
    this.limit.style.left = `${limit * 100}%`;
    this.limit.title = `low below ${number(limit)}`;
    this.element.classList.toggle("fm-is-low", low);
    this.element.title = part ? partsOf(this.name, part) : "";
  }
}

function partsOf(name, part) {
  const lines = name === "d"
    ? [`similarity ${number(part.similarity, 3)} (inside ${number(part.s_inner, 3)}, outside ${number(part.s_outer, 3)})`]
    : [];
  lines.push(
    `consistency ${number(part.consistency, 3)} (mean ${number(part.mean_consistency, 3)}, `
      + `variance ${number(part.var_consistency, 3)})`,
    `variant: ${part.variant}`,
  );
  return [FORMULAS[name], ...lines].join("\n");
}

export class Background {
  constructor() {
    this.slider = new Slider();
    this.which = h("span", { class: "fm-muted fm-small", "data-test": "which" });
    this.d = new Meter("d");
    this.s = new Meter("s");
    this.words = h("ul", { class: "fm-score-words", "data-test": "words" });
    this.element = h(
      "section",
      { class: "fm-section fm-background", "aria-label": "Background" },
      h("div", { class: "fm-row" }, h("h3", { class: "fm-title" }, "Background"), this.which),
      this.slider.element,
      this.d.element,
      this.s.element,
      this.words,
    );
  }

  show(sample, thresholds) {
    const tries = sample?.tries ?? [];
    const picked = tries.find((one) => one.index === sample.picked_try);
    this.slider.show(sample, picked, emptyWords(sample));
    say(this.which, picked ? `try ${tries.indexOf(picked) + 1} of ${tries.length}` : "");
    this.d.show(picked?.scores.d, thresholds.d);
    this.s.show(picked?.scores.s, thresholds.s);
    this.#say(picked, sample);
  }

  #say(picked, sample) {
    const proofs = picked ? [gone(picked, sample.concept), ...(wasThere(picked) ? [] : [smear(picked), seam(picked)]), outside(picked)] : [];
    const lines = proofs.map(({ ok, short, long }) => [short, String(ok), long]);
    for (const words of picked?.scores.words ?? []) {
      const said = OLD[words] ?? words;
      lines.push([said, MEASURED.has(said) ? "measured" : "false", "Measured by Entangled"]);
    }
    if (sample?.lineage) lines.unshift([sample.source, "measured", "Put together from two samples"]);
    const key = lines.flat().join("|");
    if (key === this.said) return;
    this.said = key;
    this.words.replaceChildren(...lines.map(([words, ok, title]) => h(
      "li", { "data-ok": ok, title }, icon(SIGNS[ok]), h("span", {}, words),
    )));
  }
}

const WORKING = {
  prepare: "Looking for the object and filling the hole …",
  fill: "Filling the hole …",
  refine: "Refining …",
};

function emptyWords(sample) {
  if (!sample) return "";
  if (sample.state === "broken") return "Nothing to fill.";
  if (WORKING[sample.busy]) return WORKING[sample.busy];
  if (!sample.mask) return "Choose a mask; the background behind it is filled at once.";
  return "Not filled yet.";
}
