// What became of exports, pushes and imports: how far each is, what it did, and the files to take.
import { attr, h, say } from "./dom.js";
import { icon } from "./icons.js";
import { frame, open } from "./dataset-dialog.js";

const API = new URL("forgetme/api/", document.baseURI).href;
const STATES = {
  queued: ["waiting", "waits for its turn"], running: ["waiting", ""], stopping: ["waiting", "stopping"],
  done: ["accept", "done"], stopped: ["reject", "stopped"], failed: ["warning", "failed"], died: ["warning", "died"],
};
const STOPPED = {
  export: "stopped; an earlier export of this name is untouched",
  push: "stopped; the next push goes on from there",
  import: "stopped; what it took in stays, the next import takes the rest",
};
export const OPEN = ["queued", "running", "stopping"];

/** An export that can be downloaded. */
export function keptRow({ name, format, files, bytes, at, path }) {
  const words = `${format} · ${size(bytes)} · ${new Date(at).toLocaleString("sv-SE").slice(0, 16)}`;
  return h("li", { class: "fm-kept-one", title: `${path}, ${files} files` },
    h("div", {}, h("span", { class: "fm-name fm-strong" }, name), h("span", { class: "fm-small fm-muted" }, words)),
    h("a", { class: "fm-button fm-quiet", href: `${API}data/exports/${encodeURIComponent(name)}.zip`, download: "",
      "aria-label": `Download ${name} as .zip`, title: "Download as .zip", "data-test": `download-${name}` }, icon("download"), ".zip"));
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const value = bytes / 1000 ** power;
  return `${value.toFixed(value < 10 && power ? 1 : 0)} ${units[power]}`;
}

/** One job; `fillJob` says how it stands. */
export function jobRow(job, onStop) {
  const stop = h("button", {
    class: "fm-button fm-quiet fm-small", "data-test": `stop-${job.id}`, onclick: onStop,
  }, "stop");
  return h(
    "li", { class: "fm-errand" },
    h("div", { class: "fm-row" },
      icon("waiting"), h("span", { class: "fm-name fm-strong" }), h("span", { class: "fm-spring" }), stop),
    h("div", { class: "fm-bar", role: "progressbar", "aria-label": "Progress" }, h("div", { class: "fm-bar-fill" })),
    h("p", { class: "fm-errand-words fm-small" }),
    h("button", {
      class: "fm-button fm-quiet fm-small", hidden: true, "data-test": `card-${job.id}`,
    }, icon("eye"), "the card"),
  );
}

export function fillJob(element, job) {
  const { state, step, total, words, trouble } = job;
  const [head, bar, line, card] = element.children;
  const [sign, title] = head.children;
  const busy = OPEN.includes(state);
  if (element.dataset.state !== state) {
    head.replaceChild(icon(STATES[state][0]), sign);
    element.dataset.state = state;
  }
  say(title, titleOf(job));
  head.lastChild.hidden = !busy;
  bar.hidden = !busy;
  bar.firstChild.style.width = total ? `${(100 * step) / total}%` : "0";
  attr(bar, "aria-valuenow", total ? Math.round((100 * step) / total) : null);
  const progress = [STATES[state][1], total ? `${step} of ${total}` : "", words].filter(Boolean).join(" · ");
  say(line, busy ? progress || "starting" : trouble ?? outcome(job));
  line.title = line.textContent;
  card.hidden = !job.result?.card;
  card.onclick = () => open(frame("Dataset card", h("pre", { class: "fm-card-text" }, job.result.card)));
}

function titleOf({ kind, arguments: asked }) {
  if (kind === "push") return `${asked.dry_run ? "dry run of push" : "push"} to ${asked.repo}`;
  return `${kind} ${asked.name ?? ""} (${asked.format ?? ""})`;
}

/** One line on what an ended job achieved. */
function outcome({ kind, state, result }) {
  if (state === "stopped") return STOPPED[kind];
  if (!result) return STATES[state][1];
  if (result.repo) return pushed(result);
  if (result.exported !== undefined) {
    const left = result.left_out?.length ? `; left out: ${result.left_out.join(", ")}` : "";
    return `${result.exported} quadruples${left}. Load it: ${result.load}`;
  }
  if (result.imported !== undefined) {
    const failed = result.failed?.length ? `; not read: ${result.failed.join(", ")}` : "";
    return `${result.imported} imported, ${result.there_already} there already${failed}`;
  }
  return STATES[state][1];
}

/** What a push sent, or would send. */
function pushed({ dry_run: dry, changed, exported, files, private: hidden, url }) {
  const sizes = Object.values(files);
  const sum = `${exported} quadruples in ${sizes.length} files, ${size(sizes.reduce((a, b) => a + b, 0))}`;
  if (dry) return `A push would send ${sum}. Nothing was sent.`;
  if (!changed) return `Nothing to change: ${url} has it all.`;
  return `${sum}, ${hidden ? "private" : "public"}: ${url}`;
}
