// One small set of line icons, 16 × 16, drawn with the text's colour.
import { s } from "./dom.js";

const PATHS = {
  accept: "M3 8.5l3.2 3.2L13 4.8",
  reject: "M4 4l8 8M12 4l-8 8",
  skip: "M3 4l5 4-5 4zM9 4l4 4-4 4z",
  flag: "M4 14V2.5M4 3h8l-2 2.8L12 8.6H4",
  undo: "M6 3L3 6l3 3M3 6h6a4 4 0 010 8H6",
  comment: "M2.5 3.5h11v7.5H8l-3 2.5V11H2.5z",
  add: "M8 3v10M3 8h10",
  less: "M3 8h10",
  grow: "M8 2v4M8 10v4M2 8h4M10 8h4M6 4l2-2 2 2M6 12l2 2 2-2M4 6L2 8l2 2M12 6l2 2-2 2",
  shrink: "M8 1.5v4M8 10.5v4M1.5 8h4M10.5 8h4M6 3.7l2 2 2-2M6 12.3l2-2 2 2M3.7 6l2 2-2 2M12.3 6l-2 2 2 2",
  tint: "M8 2.2c2.4 2.9 4 4.9 4 7a4 4 0 01-8 0c0-2.1 1.6-4.1 4-7zM4.4 8.8h7.2",
  eye: "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8zM8 6.2a1.8 1.8 0 100 3.6 1.8 1.8 0 000-3.6z",
  theme: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 2v12M8 5.5h4.8M8 8h6M8 10.5h4.8",
  previous: "M10 3L5 8l5 5",
  next: "M6 3l5 5-5 5",
  image: "M2.5 3.5h11v9h-11zM3 11l3.2-3.4 2.4 2.4 1.8-1.8L13 11M10.5 6.2h.01",
  upload: "M8 10.5v-7M5 6l3-3 3 3M3 10.5V13h10v-2.5",
  warning: "M8 2.5l6 10.8H2zM8 6.5v3.2M8 11.4v.2",
  info: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 7.2v3.6M8 5v.2",
  refine: "M3 13l7-7M9 3.2l.6 1.6 1.6.6-1.6.6L9 7.6l-.6-1.6-1.6-.6 1.6-.6zM12.6 8.6l.4 1 1 .4-1 .4-.4 1-.4-1-1-.4 1-.4z",
  ask: "M5.6 6a2.4 2.4 0 114 1.8c-.9.7-1.6 1.1-1.6 2.2M8 12.4v.2",
  list: "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01",
  close: "M4 4l8 8M12 4l-8 8",
  reload: "M13 8a5 5 0 11-1.6-3.7M13 2.5v2.6h-2.6",
  waiting: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 5v3.2l2 1.6",
  todo: "M8 3.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9z",
  point: "M8 2v3.5M8 10.5V14M2 8h3.5M10.5 8H14",
  compare: "M8 2v12M5.5 5.5L3 8l2.5 2.5M10.5 5.5L13 8l-2.5 2.5",
};

/** An icon; decorative unless it has a title. */
export function icon(name, title = "") {
  const svg = s("svg", { viewBox: "0 0 16 16", width: 16, height: 16, class: "fm-icon" });
  if (title) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", title);
  } else svg.setAttribute("aria-hidden", "true");
  svg.append(s("path", { d: PATHS[name] }));
  return svg;
}

/** Swaps the drawing of an icon that is on the page already. */
export function redraw(svg, name, title = "") {
  svg.firstChild.setAttribute("d", PATHS[name]);
  if (title) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", title);
    svg.removeAttribute("aria-hidden");
  }
}

/** The sign and the word of each state; colour is never the only difference. */
export const STATES = {
  new: { icon: "waiting", word: "preparing" },
  prepared: { icon: "todo", word: "to review" },
  waiting: { icon: "ask", word: "needs a click" },
  accepted: { icon: "accept", word: "accepted" },
  rejected: { icon: "reject", word: "rejected" },
  skipped: { icon: "skip", word: "skipped" },
  flagged: { icon: "flag", word: "flagged" },
  broken: { icon: "warning", word: "broken" },
};
