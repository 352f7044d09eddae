// What each act of keymap.json does on the Curate screen, and images dropped anywhere on it.
import { covered } from "./dialogs.js";
import { help } from "./keyhelp.js";
import { keymap } from "./keymap.js";
import { listen } from "./keys.js";

/** By act: what a press runs, or what holding the key starts and stops. */
function actsOf(page) {
  const { acts, toolbar, stage, refine } = page;
  const tool = (name) => ({ run: () => toolbar.use(name) });
  const picks = Array.from({ length: 9 }, (_, at) => [`pick_${at + 1}`, { run: () => acts.choose(at) }]);
  return {
    accept: { run: () => acts.decide("accept") },
    reject: { run: () => acts.decide("reject") },
    skip: { run: () => acts.decide("skip") },
    flag: { run: () => acts.decide("flag") },
    comment: { run: () => acts.decide("comment") },
    undo: { run: () => acts.undo() },
    previous: { run: () => page.move(-1) },
    next: { run: () => page.move(1) },
    help: { run: help },
    ...Object.fromEntries(picks),
    verify: { run: () => acts.verify(page.masks.asked) },
    tool_pick: tool("pick"),
    tool_point: tool("point"),
    tool_box: tool("box"),
    tool_brush: tool("brush"),
    tool_erase: tool("erase"),
    tool_polygon: tool("polygon"),
    brush_smaller: { run: () => toolbar.brush(-1) },
    brush_larger: { run: () => toolbar.brush(1) },
    grow: { run: () => toolbar.resize(1) },
    shrink: { run: () => toolbar.resize(-1) },
    fill_holes: { run: () => toolbar.mend("fill_holes") },
    largest: { run: () => toolbar.mend("largest") },
    smooth: { run: () => toolbar.mend("smooth") },
    undo_mask: { run: () => toolbar.step("undo_mask") },
    redo_mask: { run: () => toolbar.step("redo_mask") },
    prompt: { run: () => refine.focus() },
    refine: { run: () => refine.submit() },
    previous_try: { run: () => acts.pickNext(-1) },
    next_try: { run: () => acts.pickNext(1) },
    compare: { run: () => page.tries.openCompare() },
    side: { run: () => page.side.open(page.sample) },
    original: { run: () => stage.bare(true), stop: () => stage.bare(false) },
    pan: { run: () => stage.pan(true), stop: () => stage.pan(false) },
    zoom: { run: () => toolbar.zoom() },
    outlines: { run: () => toolbar.toggleAll() },
    tint: { run: () => toolbar.toggleTint() },
    colour: { run: () => toolbar.nextColour() },
  };
}

export function bind(page) {
  const acts = actsOf(page);
  const started = (name) => Object.fromEntries(keymap.acts(name).map(({ id, hold, drag, repeat }) => [
    drag ? "drag" : hold ? "hold" : "press", { ...acts[id], repeat },
  ]));
  const shown = () => page.root.getClientRects().length > 0 && !covered();
  listen(started, { active: () => keymap.ready && shown() });
  keymap.load();
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
