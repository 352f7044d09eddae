// Which key does what on the Curate screen, and images dropped anywhere on it.
import { covered, help } from "./dialogs.js";
import { listen } from "./keys.js";

export function bind(page) {
  const acts = {
    a: () => page.acts.decide("accept"),
    x: () => page.acts.decide("reject"),
    space: () => page.acts.decide("skip"),
    f: () => page.acts.decide("flag"),
    c: () => page.acts.decide("comment"),
    backspace: () => page.acts.undo(),
    arrowleft: () => page.move(-1),
    arrowright: () => page.move(1),
    arrowup: () => page.move(-1),
    arrowdown: () => page.move(1),
    r: () => page.refine.focus(),
    "shift+r": () => page.refine.submit(),
    v: () => page.acts.verify(page.masks.asked),
    t: () => page.toolbar.toggleTint(),
    o: () => page.stage.bare(true),
    z: () => page.toolbar.step("undo_mask"),
    "ctrl+z": () => page.toolbar.step("undo_mask"),
    "shift+z": () => page.toolbar.step("redo_mask"),
    "ctrl+shift+z": () => page.toolbar.step("redo_mask"),
    "+": () => page.toolbar.resize(1),
    "=": () => page.toolbar.resize(1),
    "-": () => page.toolbar.resize(-1),
    "[": () => page.acts.pickNext(-1),
    "]": () => page.acts.pickNext(1),
    "?": help,
  };
  for (let key = 1; key <= 9; key += 1) acts[key] = () => page.acts.choose(key - 1);
  const shown = () => page.root.getClientRects().length > 0 && !covered();
  listen(acts, { held: ["arrowleft", "arrowright", "arrowup", "arrowdown"], active: shown });
  window.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "o") page.stage.bare(false);
  });
  window.addEventListener("blur", () => page.stage.bare(false));
  takeDrops(page);
}

function takeDrops(page) {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const mark = (on) => page.root.classList.toggle("fm-dropping", on);
  window.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    mark(true);
  });
  window.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) mark(false);
  });
  window.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  window.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark(false);
    if (!covered()) page.acts.add(event.dataTransfer.files);
  });
}
