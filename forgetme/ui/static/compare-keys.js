// The keys of the Compare tab; silent in text fields, under a dialog and on other tabs.
import { h } from "./dom.js";
import { covered } from "./dialogs.js";
import { frame, open } from "./compare-dialog.js";
import { listen } from "./keys.js";
import { written } from "./keymap.js";

// view: where a key means this; [name, keys, words, repeats while held]
const PICTURES = [
  ["previous", ["arrowup"], "previous sample", true], ["next", ["arrowdown"], "next sample", true],
  ["left", ["arrowleft"], "method to the left", true], ["right", ["arrowright"], "method to the right", true],
  ["all", ["1"], "side by side"], ["slider", ["2"], "slider"], ["difference", ["3"], "difference"], ["flicker", ["4"], "flicker"],
  ["play", ["f"], "flicker, or stop it"], ["other", ["space"], "the other picture, while held"], ["swap", ["s"], "swap the two pictures"],
  ["back", ["b"], "send this picture back to the queue"], ["undo", ["backspace"], "undo the last one sent back"],
];
const SWEEP = [
  ["previous", ["arrowup"], "previous sample", true], ["next", ["arrowdown"], "next sample", true],
  ["left", ["arrowleft"], "smaller scale", true], ["right", ["arrowright"], "larger scale", true],
];
const VOTE = [
  ["a", ["a"], "A is better"], ["b", ["b"], "B is better"], ["tie", ["t"], "both alike"], ["skip", ["s"], "skip"],
  ["undo", ["backspace"], "take your last vote back"],
];
const ALL = [
  ["outline", ["m"], "outline of the mask"], ["fit", ["0", "z"], "show all of the picture"],
  ["closer", ["+", "="], "closer", true], ["farther", ["-"], "farther", true], ["help", ["?"], "these keys"],
];
const VIEWS = { pictures: PICTURES, sweep: SWEEP, vote: VOTE, summary: [] };
const HOLD = "other";

/** `acts` maps names to what they do (`{run, stop}` for what is held); `view()` names the view. */
export function bind(root, { view, acts }) {
  const actsOf = (name) => {
    const found = [...VIEWS[view()], ...ALL].find(([, keys]) => keys.includes(name));
    const act = found && acts[found[0]];
    if (!act) return {};
    return found[0] === HOLD ? { hold: act } : { press: { run: act, repeat: found[3] } };
  };
  listen(actsOf, { active: () => root.getClientRects().length > 0 && !covered() });
}

/** Shows all keys. */
export function help(host) {
  const groups = [["Pictures", PICTURES], ["Scale sweep", SWEEP], ["Blind vote", VOTE], ["Everywhere", ALL]];
  const mouse = [["wheel", "zoom at the pointer"], ["drag", "move all pictures"], ["double click", "close, or all of it"]];
  const list = (title, rows) => h("section", {}, h("h3", { class: "fm-title" }, title),
    h("dl", { class: "fm-cmp-keys" }, rows.map(([caps, words]) => h("div", {}, h("dt", {}, caps.map((cap) => h("kbd", {}, cap))), h("dd", {}, words)))));
  const body = h("div", { class: "fm-cmp-help" },
    ...groups.map(([title, rows]) => list(title, rows.map(([, keys, words]) => [keys.map(written), words]))),
    list("Mouse", mouse.map(([cap, words]) => [[cap], words])));
  open(frame("Keys", body, { wide: true }), host);
}
