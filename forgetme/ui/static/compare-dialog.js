// What lies over a tab for a moment.
import { h } from "./dom.js";
import { icon } from "./icons.js";

/** Builds a dialog with a title, tools beside it and a body. */
export function frame(title, body, { tools = [], wide = false } = {}) {
  const close = h("button", {
    class: "fm-button fm-quiet", type: "button", "aria-label": "Close", onclick: () => dialog.close(),
  }, icon("close"));
  const dialog = h(
    "dialog", { class: "fm-dialog" + (wide ? " fm-dialog-wide" : ""), "aria-label": title },
    h("header", { class: "fm-row" }, h("h2", { class: "fm-name" }, title), h("span", { class: "fm-spring" }), ...tools, close),
    body,
  );
  return dialog;
}

/** Shows it; Esc, its cross and a click beside it close it. */
export function open(dialog, host) {
  host.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.showModal();
  return dialog;
}
