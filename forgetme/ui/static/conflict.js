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

const late = new Map(); // by sample: { acts, show } of the question that is open, or being put

/** Asks what to do about an act that came too late; returns false when only the machine was faster. */
export async function settle(page, { id, name, body, seen, theirs }) {
  const open = late.get(id);
  if (open) { // the strokes after the one that was refused are refused too: one question for all
    open.acts.push({ name, body });
    open.show?.();
    return true;
  }
  const asked = { acts: [{ name, body }] };
  late.set(id, asked);
  try {
    const { sample: mine, since } = await get(`samples/${id}/at/${seen}`);
    const human = since.filter((one) => !MACHINE.includes(one.kind));
    if (human.length) {
      put(page, { id, asked, mine, theirs, human });
      return true;
    }
  } catch (error) {
    late.delete(id);
    throw error;
  }
  late.delete(id);
  return false;
}

function put(page, { id, asked, mine, theirs, human }) {
  const dialog = h("dialog", {
    class: "fm-over fm-conflict", "aria-labelledby": "fm-conflict-title", "data-test": "conflict",
  });
  const keepTheirs = () => {
    dialog.close();
    page.takeTheirs(theirs);
  };
  const keepMine = async (event) => {
    event.currentTarget.disabled = true;
    await again(page, { id, acts: asked.acts, mine, theirs });
    dialog.close();
  };
  const versions = h("div", { class: "fm-versions" });
  asked.show = () => versions.replaceChildren(
    version("Yours", mine, [`You wanted to ${wanted(asked.acts)}.`], "mine", asked.acts),
    version("Theirs", theirs, human.map(sentence), "theirs"));
  asked.show();
  dialog.append(
    h("h2", { id: "fm-conflict-title" }, `${human.at(-1).by} changed ${theirs.name} while you worked on it`),
    h("p", { class: "fm-note" }, "Keep theirs, or put yours on top of it. Either way the other one stays in the history."),
    versions,
    h("div", { class: "fm-row fm-end" },
      h("button", { class: "fm-button", "data-test": "keep-mine", onclick: keepMine }, "put mine on top"),
      h("button", { class: "fm-button fm-main", "data-test": "keep-theirs", onclick: keepTheirs }, "keep theirs")),
  );
  dialog.addEventListener("cancel", () => page.takeTheirs(theirs));
  const layer = h("div", { class: "fm-ui" }, dialog);
  document.body.append(layer);
  dialog.addEventListener("close", () => {
    late.delete(id);
    layer.remove();
  });
  dialog.showModal();
  dialog.querySelector("[data-test=keep-theirs]").focus();
}

/** Brings the seen picture back where the acts mean it, then does them on top of theirs. */
async function again(page, { id, acts, mine, theirs }) {
  try {
    if (mine.mask && acts.some(({ name }) => ON_MINE.includes(name))) {
      page.took(await post(`samples/${id}/keep_mine`, { version: mine.version, seen: theirs.version }));
    } else page.takeTheirs(theirs);
  } catch (error) {
    page.failed(id, error);
    return;
  }
  for (const { name, body } of acts) {
    if (page.sample?.id !== id) return;
    const saved = page.acts.send(name, body);
    if (STATE_OF[name]) page.passOn(STATE_OF[name], saved);
  }
}

function wanted(acts) {
  return [...new Set(acts.map(({ name }) => WORDS[name] ?? "change the mask"))].join(", then ");
}

function version(title, sample, lines, test, acts = []) {
  const background = sample.tries.find((one) => one.index === sample.picked_try);
  const { word, icon: sign } = STATES[sample.state];
  return h("section", { class: "fm-version", "data-test": test },
    h("h3", { class: "fm-title" }, title),
    h("div", { class: "fm-version-pictures" },
      figure("mask", outlined(sample, acts.flatMap(drawn))),
      figure("background", background ? h("img", { src: picture(background.image_sha), alt: "" })
        : h("span", { class: "fm-muted" }, "none yet"))),
    h("p", { class: "fm-version-state" }, icon(sign), word,
      sample.decided_by ? h("span", { class: "fm-muted" }, ` by ${sample.decided_by}`) : null),
    h("ul", { class: "fm-version-lines" }, lines.map((line) => h("li", {}, line))));
}

function figure(words, content) {
  return h("figure", {}, h("div", { class: "fm-version-picture" }, content), h("figcaption", {}, words));
}

function outlined(sample, strokes = []) {
  const box = h("div", { class: "fm-outlined" });
  if (sample.image_sha) box.append(h("img", { src: picture(sample.image_sha), alt: "" }));
  const d = (sample.mask?.outline ?? []).map(path).join("");
  const lines = ["fm-outline-dark", "fm-outline-light"].map((name) => s("path", { d, class: name }));
  box.append(s(
    "svg", { viewBox: `0 0 ${sample.width} ${sample.height}`, "aria-hidden": "true" }, ...strokes, ...lines));
  return box;
}

/** What an act would have drawn on the mask. */
function drawn({ name, body }) {
  const kind = (mode) => `fm-stroke fm-stroke-${mode}`;
  const line = (points) => path(points.flat()).slice(0, -1); // open
  if (name === "paint") {
    return body.strokes.map(({ mode, radius, points }) => s("path", {
      d: line([...points, points.at(-1)]), class: kind(mode), "stroke-width": 2 * radius + 1,
    }));
  }
  if (name === "polygon") return [s("path", { d: path(body.points.flat()), class: `${kind(body.mode)} fm-area` })];
  return [];
}

function path(ring) {
  let d = "";
  for (let k = 0; k < ring.length; k += 2) d += `${k ? "L" : "M"}${ring[k]} ${ring[k + 1]}`;
  return `${d}Z`;
}

function sentence({ by, at, words }) {
  return `${clock(new Date(at))} ${by} ${words}`;
}
