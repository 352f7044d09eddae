// One quadruple, large: its four pictures and what made them.
import { h, number } from "./dom.js";
import { STATES, icon } from "./icons.js";
import { get, layer, picture } from "./api.js";
import { frame, open } from "./dataset-dialog.js";

/** Opens the sample at `index` of `ids`; arrows go to its neighbours. */
export function look(ids, index, { onCurate }) {
  const body = h("div", { class: "fm-look", "data-test": "look" });
  const place = h("span", { class: "fm-muted fm-small" });
  let at = index;
  const step = (by) => {
    const to = at + by;
    if (to < 0 || to >= ids.length) return;
    at = to;
    show();
  };
  const arrow = (name, by, word) => h("button", {
    class: "fm-button fm-quiet", type: "button", "aria-label": word, onclick: () => step(by),
  }, icon(name));
  const curate = h("button", { class: "fm-button", type: "button", "data-test": "open-in-curate" }, icon("todo"), "open in Curate");
  const dialog = frame("Quadruple", body, {
    wide: true, tools: [place, arrow("previous", -1, "Previous"), arrow("next", 1, "Next"), curate],
  });
  curate.addEventListener("click", () => {
    dialog.close();
    onCurate(ids[at]);
  });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      step(by);
    }
  });
  const show = async () => {
    const id = ids[at];
    place.textContent = `${at + 1} of ${ids.length}`;
    try {
      const sample = await get("samples/" + id);
      if (ids[at] !== id) return; // another one was asked for meanwhile
      dialog.querySelector("h2").textContent = sample.name;
      body.replaceChildren(pictures(sample), facts(sample));
    } catch (error) {
      body.replaceChildren(h("p", { class: "fm-note fm-low", role: "alert" }, error.message));
    }
  };
  open(dialog);
  show();
}

function pictures(sample) {
  const { id, layers, mask, picked_try: picked } = sample;
  const made = picked === null ? null : sample.tries[picked];
  const sources = [
    ["original", sample.image_sha && picture(sample.image_sha)],
    ["foreground", mask && layer(id, layers, "foreground")],
    ["background", made && picture(made.image_sha)],
    ["mask", mask && layer(id, layers, "mask")],
  ];
  return h("div", { class: "fm-look-pictures" }, sources.map(([word, src]) => h(
    "figure", {},
    src
      ? h("img", { src, alt: `${word} of ${sample.name}`, class: word === "foreground" ? "fm-checks" : "" })
      : h("span", { class: "fm-look-none" }, "none yet"),
    h("figcaption", {}, word),
  )));
}

function facts(sample) {
  const made = sample.picked_try === null ? null : sample.tries[sample.picked_try];
  const settings = made?.settings ?? {};
  const lines = [
    ["concept", sample.concept],
    ["state", stateWords(sample)],
    ["Entangled", made && `D ${number(sample.d)}, S ${number(sample.s)}${sample.low ? ": low" : ""}`],
    ["scores say", made?.scores?.words?.join("; ")],
    ["filled by", made?.made_by],
    ["prompt", settings.prompt],
    ["negative prompt", settings.negative_prompt],
    ["seed", settings.prompt ? settings.seed : null],
    ["caption", sample.caption],
    ["source", sample.source],
    ["size", sample.width && `${sample.width} × ${sample.height} px`],
    ["comment", sample.comment],
    ["trouble", sample.error],
  ];
  return h("dl", { class: "fm-facts" }, lines
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([word, value]) => [h("dt", {}, word), h("dd", {}, String(value))]));
}

function stateWords({ state, decided_by: by, decided_how: how }) {
  const { word } = STATES[state];
  if (!by) return word;
  return how === "policy" ? `${word} by the batch policy (${by})` : `${word} by ${by}`;
}
