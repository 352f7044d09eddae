// What is known of one try at the background: what it can be sorted by, and what its proofs say.
import { number } from "./dom.js";

/** Everything that tries can be sorted by: the best first, except in the order in which they were made. */
export const ORDERS = [
  { id: "made", word: "made", value: (one) => one.index },
  { id: "d", word: "D", title: "Entangled-D: compared with the original", value: (one) => one.scores.d.score },
  { id: "s", word: "S", title: "Entangled-S: the filled picture alone", value: (one) => one.scores.s.score },
  { id: "similarity", word: "similarity", title: "changed inside the hole, unchanged outside",
    value: (one) => one.scores.d.similarity },
  { id: "inside", word: "changed", title: "how much changed inside the hole",
    value: (one) => one.scores.d.s_inner },
  { id: "brightness", word: "brightness", title: "how well the brightness matches the surroundings",
    value: (one) => one.scores.s.mean_consistency },
  { id: "texture", word: "texture", title: "how well the texture matches the surroundings",
    value: (one) => one.scores.s.var_consistency },
  { id: "gone", word: "not seen", title: "1 − the ranker's probability that the object is still there",
    value: (one) => 1 - (found(one, "seen")?.value ?? one.came_back?.ranker ?? NaN) },
];

/** The tries in the order `by`; those without that value last, equal ones as they were made. */
export function sorted(tries, by) {
  if (by === "made") return [...tries];
  const { value } = ORDERS.find(({ id }) => id === by);
  const rank = (one) => (Number.isFinite(value(one)) ? -value(one) : Infinity);
  return [...tries].sort((one, other) => rank(one) - rank(other) || one.index - other.index);
}

/** What the try was made from, in a few words. */
export function nameOf(one) {
  return one.settings?.prompt || one.made_by;
}

const MERGED = "side story"; // made_by of a background that an object was put on

/** Whether a background was there before the object, so that nothing was filled in. */
export function wasThere(one) {
  return one.made_by === MERGED;
}

/** One check of a try: seen, smear or seam; undefined where it was not made. */
function found(one, name) {
  return (one.checks ?? []).find((check) => check.name === name);
}

/** Whether the concept is still seen: {ok, word, short, long}; ok is null where it was not checked. */
export function gone(one, concept) {
  if (wasThere(one)) {
    return {
      ok: true, word: "was there", short: "the background was there before the object",
      long: "The object was put on this background, so nothing had to be filled in.",
    };
  }
  const seen = found(one, "seen");
  if (seen) {
    const what = seen.value === null ? "" : ` The ranker sees ${percent(seen.value)}; ${percent(seen.threshold)} is too much.`;
    return told(seen, ["still seen", "not seen"], `${what} Looked by ${seen.made_by}, in the hole and around it.`);
  }
  if (one.came_back?.back) {
    return { ok: false, word: "still seen", short: `the ${concept} came back`, long: one.came_back.reason || "It was seen in the hole." };
  }
  return {
    ok: null, word: "not checked", short: `not checked whether a ${concept} is seen`,
    long: "Made before the whole picture was looked at. Fill again, and it is checked.",
  };
}

/** Whether it looks filled: no smear, no seam: {ok, word, short, long}; ok is null where one was not checked. */
export function looks(one) {
  if (wasThere(one)) {
    return { ok: true, word: "not filled", short: "nothing was filled in", long: "No hole was filled, so there is no smear and no seam of one." };
  }
  const parts = [smear(one), seam(one)];
  const bad = parts.filter(({ ok }) => ok === false);
  const open = parts.filter(({ ok }) => ok === null);
  const shown = bad.length ? bad : open.length ? open : parts;
  return {
    ok: bad.length ? false : open.length ? null : true,
    word: shown.map(({ word }) => word).join(", "),
    short: shown.map(({ short }) => short).join("; "),
    long: parts.map(({ long }) => long).join("\n"),
  };
}

/** Whether the fill is a smear, as `gone` says it. */
export function smear(one) {
  const check = found(one, "smear");
  if (!check) return unchecked("not checked for smears");
  return told(check, ["smooth", "texture"], ` Fine texture inside against outside: ${number(check.value)}; below ${number(check.threshold)} it is a smear.`);
}

/** Whether a seam or halo runs along the mask, as `gone` says it. */
export function seam(one) {
  const check = found(one, "seam");
  if (!check) return unchecked("not checked for seams");
  return told(check, ["seam", "no seam"], ` Steps across the mask's edge against those elsewhere: ${number(check.value)}; above ${number(check.threshold)} they show.`);
}

function told({ ok, words, reason }, [bad, good], measured) {
  const word = ok === null ? "not checked" : ok ? good : bad;
  return { ok, word, short: words, long: `${words}.${ok === null ? "" : measured}${reason ? ` (${reason})` : ""}` };
}

function unchecked(short) {
  return { ok: null, word: "not checked", short, long: "Nobody looked." };
}

/** Whether all bytes outside the hole are the original's: {ok, word, short, long}; null where it was not compared. */
export function outside(one) {
  const { bytes, changed } = one.outside ?? {};
  if (bytes === undefined) {
    return { ok: null, word: "not compared", short: "outside not compared", long: "Made before the bytes outside were compared." };
  }
  const long = `The stored picture was read back and compared: of ${bytes.toLocaleString("en")} bytes outside `
    + `the hole, ${changed === 0 ? "none differs" : `${changed.toLocaleString("en")} differ`}.`;
  return {
    ok: changed === 0,
    word: changed === 0 ? "unchanged" : "changed",
    short: changed === 0 ? "outside unchanged, byte by byte" : "bytes outside the hole changed",
    long,
  };
}

/** All of it in one text, for a title. */
export function tellAll(one, concept) {
  const { prompt, seed, steps, strength, negative_prompt: not } = one.settings ?? {};
  const how = prompt
    ? `“${prompt}”${not ? `, not “${not}”` : ""}, ${steps} steps, strength ${strength}, seed ${seed}, by ${one.made_by}`
    : `${wasThere(one) ? "merged" : "filled"} by ${one.made_by}`;
  const scores = `D ${number(one.scores.d.score, 3)}, S ${number(one.scores.s.score, 3)}`;
  return [how, scores, ...(one.scores.words ?? []), gone(one, concept).long, looks(one).long, outside(one).long].join("\n");
}

function percent(value) {
  return value < 0.01 ? "less than 1 %" : `${Math.round(100 * value)} %`;
}
