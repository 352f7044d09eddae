// All scores of all methods, and below them what the paper printed, marked as theirs.
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { about, direction, figure, meanParts, meanWords } from "./compare-data.js";

const NAMES = {
  fid: "FID", kid: "KID", cmmd: "CMMD", clip_distance: "CLIP distance",
  clip_at_1: "CLIP@1", clip_at_3: "CLIP@3", clip_at_5: "CLIP@5",
};

/** Builds the view of a comparison. */
export function summary(comparison) {
  const { table, columns } = comparison;
  const published = (table.published ?? []).filter(({ scale }) => scale === undefined); // the others stand with the sweep
  const extra = [...new Set(published.map(({ score }) => score))].filter((key) => !comparison.score(key))
    .map((key) => ({ key, title: NAMES[key] ?? key, words: "printed in the paper; not measured here", missing: true }));
  const scores = [...comparison.scores, ...extra];
  return h("section", { class: "fm-cmp-view fm-cmp-summary", "aria-label": "Summary" },
    h("div", { class: "fm-scroll-x" }, h("table", { class: "fm-table fm-means", "data-test": "summary" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "method"), ...scores.map(head))),
      ours(comparison, scores), ...theirs(published, scores))),
    h("div", { class: "fm-cmp-notes" },
      note(`Ours: ${comparison.rows.length} samples of ${table.concept}, preset ${table.preset}, seed ${table.seed}; means with their 95 % interval (shares: Wilson's; others: bootstrap).`),
      ...(table.caveat ? [note(table.caveat)] : []),
      ...warnings(comparison, scores),
      ...(published.length ? [note("Theirs: as printed in the paper, from its own pictures, models and tool. They say where the paper stands; a difference from ours is no result.")] : [])),
    columns.length ? null : note("This comparison has no method."));
}

function note(words) {
  return h("p", { class: "fm-note" }, words);
}

function head(score) {
  const { sign, words } = score.missing ? { sign: "", words: "not measured here" } : direction(score);
  return h("th", { scope: "col", class: "fm-number", title: score.missing ? score.words : about(score) },
    h("span", { class: "fm-strong" }, `${score.title} ${sign}`), h("span", { class: "fm-caption" }, score.variant || words));
}

function ours(comparison, scores) {
  const found = new Map(scores.map(({ key }) => {
    const means = comparison.columns.map((column) => [column.key, comparison.summary(column.key, key)]);
    return [key, { means: new Map(means), best: comparison.best(key, means) }];
  }));
  return h("tbody", {}, comparison.columns.map(({ key, title, made_by: by }) => h("tr", {},
    h("th", { scope: "row" }, h("span", { class: "fm-strong" }, title), h("span", { class: "fm-caption" }, by ? `ours, by ${by}` : "ours")),
    ...scores.map((score) => cell(found.get(score.key).means.get(key), found.get(score.key).best.has(key), score)))));
}

function cell(one, isBest, score) {
  if (!one || !Number.isFinite(one.mean)) return h("td", { class: "fm-number fm-muted" }, "–");
  return h("td", { class: `fm-number ${isBest ? "fm-strong" : ""}`, title: meanWords(one, score) }, ...meanParts(one, score));
}

/** One body for each source, so that a reader sees whose numbers they are. */
function theirs(published, scores) {
  const sources = Map.groupBy(published, ({ source }) => source);
  return [...sources].map(([title, entries]) => {
    const labels = Map.groupBy(entries, ({ label }) => label);
    return h("tbody", { class: "fm-theirs", "data-test": "theirs" },
      h("tr", {}, h("th", { colspan: scores.length + 1, scope: "rowgroup" }, h("span", { class: "fm-theirs-tag" }, "theirs"), title)),
      ...[...labels].map(([label, ones]) => h("tr", {},
        h("th", { scope: "row" }, h("span", {}, label === "Ours" ? "the paper’s own pictures" : label), h("span", { class: "fm-caption", title: ones[0].note }, ones[0].note)),
        ...scores.map(({ key }) => {
          const one = ones.find(({ score }) => score === key);
          if (!one) return h("td", { class: "fm-number fm-muted" }, "–");
          return h("td", { class: "fm-number", title: one.note },
            h("div", {}, figure(one.value, scores.find((score) => score.key === key))),
            h("div", { class: "fm-caption" }, `variant ${one.variant}`));
        }))));
  });
}

/** What keeps a number from being trusted, each said once. */
function warnings(comparison, scores) {
  const found = new Map();
  for (const score of scores) {
    for (const { key } of comparison.columns) {
      const words = comparison.summary(key, score.key)?.warning;
      if (words) found.set(words, (found.get(words) ?? new Set()).add(score.label));
    }
  }
  return [...found].map(([words, titles]) => h("p", { class: "fm-note fm-warn-words" }, icon("warning"), `${[...titles].join(", ")}: ${words}.`));
}
