// Two people changed one sample: both versions side by side, and a choice; nothing is overwritten.
import { get, picture, post } from "./api.js";
import { clock, h, s } from "./dom.js";
import { STATES, icon } from "./icons.js";
import { STATE_OF } from "./worklist.js";

const MACHINE = ["filled", "refined", "proposed"];
// Acts that mean the picture as it was seen: they need the seen mask and background back.
const ON_MINE = ["accept", "pick_try", "refine", "fill", "click", "grow", "fill_holes", "paint", "box",
  "polygon", "largest", "smooth"];
const WORDS = {
  accept: "accept it", reject: "reject it", skip: "skip it", flag: "flag it", comment: "comment on it",
  choose: "pick another mask", pick_try: "pick another background", refine: "refine the background",
};

/** Asks what to do about an act that came too late; returns false when only the machine was faster. */
export async function settle(page, { id, name, body, seen, theirs }) {
  const { sample: mine, since } = await get(`samples/${id}/at/${seen}`);
  if (since.every((one) => MACHINE.includes(one.kind))) return false;
  const dialog = h("dialog", {
    class: "fm-over fm-conflict", "aria-labelledby": "fm-conflict-title", "data-test": "conflict",
  });
  const close = () => dialog.close();
  const keepTheirs = () => {
    close();
    page.takeTheirs(theirs);
  };
  const keepMine = async (event) => {
    event.currentTarget.disabled = true;
    await again(page, { id, name, body, mine, theirs });
    close();
  };
  const human = since.filter((one) => !MACHINE.includes(one.kind));
  dialog.append(
    h("h2", { id: "fm-conflict-title" }, `${human.at(-1).by} changed ${theirs.name} while you worked on it`),
    h("p", { class: "fm-note" }, "Choose which one goes on. The other one stays in the history."),
    h("div", { class: "fm-versions" },
      version("Yours", mine, [`You wanted to ${WORDS[name] ?? "change the mask"}.`], "mine"),
      version("Theirs", theirs, human.map(sentence), "theirs")),
    h("div", { class: "fm-row fm-end" },
      h("button", { class: "fm-button", "data-test": "keep-mine", onclick: keepMine }, "go on with mine"),
      h("button", { class: "fm-button fm-main", "data-test": "keep-theirs", onclick: keepTheirs }, "keep theirs")),
  );
  dialog.addEventListener("cancel", () => page.takeTheirs(theirs));
  const layer = h("div", { class: "fm-ui" }, dialog);
  document.body.append(layer);
  dialog.addEventListener("close", () => layer.remove());
  dialog.showModal();
  dialog.querySelector("[data-test=keep-theirs]").focus();
  return true;
}

/** Brings the seen picture back where the act means it, then does the act on top of theirs. */
async function again(page, { id, name, body, mine, theirs }) {
  try {
    if (mine.mask && ON_MINE.includes(name)) {
      page.took(await post(`samples/${id}/keep_mine`, { version: mine.version, seen: theirs.version }));
    } else page.takeTheirs(theirs);
  } catch (error) {
    page.failed(id, error);
    return;
  }
  if (page.sample?.id !== id) return;
  const saved = page.acts.send(name, body);
  if (STATE_OF[name]) page.passOn(STATE_OF[name], saved);
}

function version(title, sample, lines, test) {
  const background = sample.tries.find((one) => one.index === sample.picked_try);
  const { word, icon: sign } = STATES[sample.state];
  return h("section", { class: "fm-version", "data-test": test },
    h("h3", { class: "fm-title" }, title),
    h("div", { class: "fm-version-pictures" },
      figure("mask", outlined(sample)),
      figure("background", background ? h("img", { src: picture(background.image_sha), alt: "" })
        : h("span", { class: "fm-muted" }, "none yet"))),
    h("p", { class: "fm-version-state" }, icon(sign), word,
      sample.decided_by ? h("span", { class: "fm-muted" }, ` by ${sample.decided_by}`) : null),
    h("ul", { class: "fm-version-lines" }, lines.map((line) => h("li", {}, line))));
}

function figure(words, content) {
  return h("figure", {}, h("div", { class: "fm-version-picture" }, content), h("figcaption", {}, words));
}

function outlined(sample) {
  const box = h("div", { class: "fm-outlined" });
  if (sample.image_sha) box.append(h("img", { src: picture(sample.image_sha), alt: "" }));
  const d = (sample.mask?.outline ?? []).map(path).join("");
  const lines = ["fm-outline-dark", "fm-outline-light"].map((name) => s("path", { d, class: name }));
  box.append(s("svg", { viewBox: `0 0 ${sample.width} ${sample.height}`, "aria-hidden": "true" }, ...lines));
  return box;
}

function path(ring) {
  let d = "";
  for (let k = 0; k < ring.length; k += 2) d += `${k ? "L" : "M"}${ring[k]} ${ring[k + 1]}`;
  return `${d}Z`;
}

function sentence({ by, at, words }) {
  return `${clock(new Date(at))} ${by} ${words}`;
}
