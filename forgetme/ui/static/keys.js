// The keyboard: one table from keys to acts, silent in text fields and while an input method composes.

const TEXT_INPUTS = "textarea, select, [contenteditable]:not([contenteditable=false])";
const NOT_TEXT = ["button", "checkbox", "radio", "range", "submit", "reset", "file", "color"];

/** Whether typing goes into this element, so that letters are letters and not commands. */
export function takesText(element) {
  if (!(element instanceof Element)) return false;
  if (element.closest(TEXT_INPUTS)) return true;
  const input = element.closest("input");
  return Boolean(input) && !NOT_TEXT.includes(input.type);
}

function nameOf(event) {
  if (event.code === "Space") return "space";
  if (/^Digit[1-9]$/.test(event.code)) return event.code.slice(5);
  if (/^Numpad[1-9]$/.test(event.code)) return event.code.slice(6);
  return event.key.toLowerCase();
}

/** A control reached by Tab keeps Space and Enter, a slider its arrows; the page leaves those alone. */
function belongsToControl(event, name) {
  const at = event.target instanceof Element ? event.target : document.body;
  if (name.startsWith("arrow")) return Boolean(at.closest("[data-own-keys], input"));
  if (name !== "enter" && name !== "space") return false;
  return Boolean(at.closest("button, a, summary, input, [role=tab]"));
}

/**
 * Listens for keys and calls `acts[name](event)`.
 * Names: "a", "space", "1", "shift+r", "ctrl+z", "arrowleft", "backspace", "?" …
 * `held` names the keys that may repeat while they are held down; all others act once a press.
 */
export function listen(acts, { held = [], active = () => true } = {}) {
  const onKey = (event) => {
    if (event.isComposing || event.keyCode === 229 || event.defaultPrevented) return;
    if (takesText(event.target) || !active()) return;
    if (event.altKey) return;
    let name = nameOf(event);
    if (belongsToControl(event, name)) return;
    if (event.ctrlKey || event.metaKey) name = "ctrl+" + (event.shiftKey ? "shift+" : "") + name;
    else if (event.shiftKey && /^[a-z]$/.test(name)) name = "shift+" + name;
    const act = acts[name];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && !held.includes(name)) return;
    act(event);
  };
  // A button pressed with the mouse gives the focus back, or the next space would press it again.
  const onClick = (event) => {
    const button = event.target instanceof Element && event.target.closest("button, summary");
    if (button && event.detail > 0) button.blur();
  };
  window.addEventListener("keydown", onKey, true);
  window.addEventListener("click", onClick, true);
  return () => {
    window.removeEventListener("keydown", onKey, true);
    window.removeEventListener("click", onClick, true);
  };
}
