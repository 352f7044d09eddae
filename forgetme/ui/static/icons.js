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
  outlines: "M2.5 5.5h6v6h-6zM6 5.5V2.5h7.5v7H8.5",
  tint: "M8 2.2c2.4 2.9 4 4.9 4 7a4 4 0 01-8 0c0-2.1 1.6-4.1 4-7zM4.4 8.8h7.2",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9M6.8 7v4M9.2 7v4",
  eye: "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8zM8 6.2a1.8 1.8 0 100 3.6 1.8 1.8 0 000-3.6z",
  theme: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 2v12M8 5.5h4.8M8 8h6M8 10.5h4.8",
  previous: "M10 3L5 8l5 5",
  next: "M6 3l5 5-5 5",
  image: "M2.5 3.5h11v9h-11zM3 11l3.2-3.4 2.4 2.4 1.8-1.8L13 11M10.5 6.2h.01",
  download: "M8 2.5v7M5 7l3 3 3-3M3 10.5V13h10v-2.5",
  upload: "M8 10.5v-7M5 6l3-3 3 3M3 10.5V13h10v-2.5",
  warning: "M8 2.5l6 10.8H2zM8 6.5v3.2M8 11.4v.2",
  info: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 7.2v3.6M8 5v.2",
  refine: "M3 13l7-7M9 3.2l.6 1.6 1.6.6-1.6.6L9 7.6l-.6-1.6-1.6-.6 1.6-.6zM12.6 8.6l.4 1 1 .4-1 .4-.4 1-.4-1-1-.4 1-.4z",
  ask: "M5.6 6a2.4 2.4 0 114 1.8c-.9.7-1.6 1.1-1.6 2.2M8 12.4v.2",
  list: "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01",
  filter: "M2 3.5h12M4.5 8h7M6.5 12.5h3",
  held: "M4 7.5h8V13H4zM5.5 7.5V5.4a2.5 2.5 0 015 0v2.1",
  close: "M4 4l8 8M12 4l-8 8",
  reload: "M13 8a5 5 0 11-1.6-3.7M13 2.5v2.6h-2.6",
  waiting: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 5v3.2l2 1.6",
  todo: "M8 3.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9z",
  colour: "M3 3h10v10H3z",
  redo: "M10 3l3 3-3 3M13 6H7a4 4 0 000 8h3",
  pick: "M3.5 2.5l9 4.2-3.9 1.3 2.9 3.6-1.7 1.4-2.9-3.6-2.1 3.4z",
  box: "M3 5V3h2M7 3h2M11 3h2v2M13 7v2M13 11v2h-2M9 13H7M5 13H3v-2M3 9V7",
  brush: "M13.2 2.8c-2.6 1.2-5 3.1-6.4 5.2l1.7 1.7c2.1-1.4 3.8-4 4.7-6.9zM6 9c-1.7.2-2.1 1.5-2.2 2.5-.1.8-.6 1.3-1.3 1.6 2.3 1 5.2.2 5.2-2.4z",
  erase: "M9.3 3.2l3.5 3.5-5.6 5.8H4.6L2.4 10.3zM5.6 6.9l3.6 3.6M8 13h5.5",
  polygon: "M4.3 4.6l7-1.6M12.6 4.3l-.9 6.2M10.3 12l-5.2.3M3.6 11.1l-.3-5M3 4a1.2 1.2 0 100 2.2A1.2 1.2 0 003 4zM12.8 1.8a1.2 1.2 0 100 2.4 1.2 1.2 0 000-2.4zM11.6 10.6a1.2 1.2 0 100 2.4 1.2 1.2 0 000-2.4zM3.8 11.1a1.2 1.2 0 100 2.4 1.2 1.2 0 000-2.4z",
  fill_holes: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 6a2 2 0 100 4 2 2 0 000-4zM8 7.2v1.6M7.2 8h1.6",
  largest: "M6.5 4.5a4.2 4.2 0 100 8.4 4.2 4.2 0 000-8.4zM5 8.7l1.2 1.2 2-2.4M11.5 2.5l2 2M13.5 2.5l-2 2",
  smooth: "M1.5 10l2-3 2 3 2-3M7.5 7c1.5 3 2.5 3.4 3.6 1.7S13 6.5 14.5 7.5",
  point: "M8 2v3.5M8 10.5V14M2 8h3.5M10.5 8H14",
  place: "M2.5 9.5v4h11v-11h-4M2.5 6.5v-4h4v4zM8 8l3-3M8.7 5H11v2.3",
  tiles: "M2.5 2.5h4.6v4.6H2.5zM8.9 2.5h4.6v4.6H8.9zM2.5 8.9h4.6v4.6H2.5zM8.9 8.9h4.6v4.6H8.9z",
  difference: "M6 3.5a4 4 0 100 8 4 4 0 000-8zM10 4.5a4 4 0 11-4 4",
  flicker: "M2.5 4.5h8v8h-8zM5 4.5v-2h8.5V11h-3",
  swap: "M3 5.5h10l-2.5-2.5M13 10.5H3L5.5 13",
  curve: "M2.5 2.5v11h11M4.5 11c3 0 3-6.5 8.5-6.5",
  back: "M6.5 4L3 7.5 6.5 11M3.5 7.5H10a3 3 0 010 6H8",
  play: "M5 3.5l7 4.5-7 4.5z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
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
  deleted: { icon: "trash", word: "deleted" },
};
