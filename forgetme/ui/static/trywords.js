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
  { id: "gone", word: "gone", title: "1 − the ranker's probability that the object is there",
    value: (one) => (one.came_back ? 1 - one.came_back.ranker : NaN) },
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

/** Whether the object is gone: {ok, word, short, long}; ok is null where nobody looked. */
export function gone(one, concept) {
  const seen = one.came_back;
  if (wasThere(one)) {
    return {
      ok: true, word: "was there", short: "the background was there before the object",
      long: "The object was put on this background, so nothing had to be filled in.",
    };
  }
  if (!seen) return { ok: null, word: "not looked at", short: "nobody looked for the object", long: "Nobody looked whether the object came back." };
  const looks = seen.label && seen.label !== concept ? `, looks more like ${seen.label}` : "";
  const answers = { yes: "the verifier says yes", no: "the verifier says no" };
  const long = `Is there a ${concept} in the hole? The ranker sees ${percent(seen.ranker)}${looks}; `
    + `${answers[seen.verifier] ?? "the verifier did not answer"}${seen.reason ? ` (${seen.reason})` : ""}.`;
  return { ok: !seen.back, word: seen.back ? "came back" : "gone", short: seen.back ? `the ${concept} came back` : `no ${concept} is seen`, long };
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
  return [how, scores, ...(one.scores.words ?? []), gone(one, concept).long, outside(one).long].join("\n");
}

function percent(value) {
  return value < 0.01 ? "less than 1 %" : `${Math.round(100 * value)} %`;
}
