// Listens to the keyboard: silent in text fields and while an input method composes, once a press.

const TEXT = "textarea, select, [contenteditable]:not([contenteditable=false]), [role=textbox], [role=combobox]";
const NOT_TEXT = ["button", "checkbox", "radio", "range", "submit", "reset", "file", "color", "image"];
const MODIFIERS = ["Control", "Shift", "Alt", "Meta", "AltGraph", "CapsLock", "NumLock", "Fn", "Hyper", "Super", "OS"];

/** Whether typing goes into this element, so that letters are letters and not commands. */
export function takesText(element) {
  if (!(element instanceof Element)) return false;
  if (element.closest(TEXT) || element.isContentEditable) return true;
  const input = element.closest("input");
  return Boolean(input) && !NOT_TEXT.includes(input.type);
}

/** Whether this press is part of a word that an input method is composing. */
export function composing(event) {
  return event.isComposing || event.keyCode === 229;
}

/**
 * The key's name as the table has it: "a", "1", "?", "space", "shift+z", "ctrl+z" …; "" for a
 * modifier alone. Ctrl stands for ⌘ too. Letters go by what is printed on the key; where that is no
 * Latin letter, and for digits that need shift, by the place of the key.
 */
export function nameOf(event) {
  const { key, code } = event;
  if (!key || MODIFIERS.includes(key)) return "";
  const third = event.getModifierState?.("AltGraph"); // AltGr makes signs; it is no Ctrl + Alt
  const ctrl = (event.ctrlKey || event.metaKey) && !third;
  const alt = event.altKey && !third;
  const base = baseOf(key, code, event.shiftKey, alt, third);
  const isLetter = base.length > 1 || base.toLowerCase() !== base.toUpperCase();
  const shift = event.shiftKey && isLetter;
  return (ctrl ? "ctrl+" : "") + (alt ? "alt+" : "") + (shift ? "shift+" : "") + base;
}

function baseOf(key, code, shift, alt, third) {
  if (key === " " || code === "Space") return "space";
  if (/^\d$/.test(key)) return key;
  if (/^Digit\d$/.test(code) && !shift && !third) return code.slice(5); // AZERTY
  const isForeign = key.length === 1 && !/[a-z]/i.test(key);
  if (/^Key[A-Z]$/.test(code) && (isForeign || alt) && !third) return code.slice(3).toLowerCase();
  return key.toLowerCase();
}

/** A control reached by Tab keeps Space and Enter, a slider its arrows; the page leaves those alone. */
function belongsToControl(event, name) {
  const at = event.target instanceof Element ? event.target : document.body;
  if (/^(arrow|home|end|page)/.test(name)) return Boolean(at.closest("[data-own-keys], input, [role=tab]"));
  if (name !== "enter" && name !== "space") return false;
  return Boolean(at.closest("button, a[href], summary, input, [role=tab], [role=button]"));
}

/**
 * Runs acts on keys. `actsOf(name)` returns what a key's name stands for:
 * `press` {run, repeat}: once a press, or as long as it is held with `repeat`;
 * `hold` {run, stop}: from pressing to letting go;
 * `drag` {run, stop}: as `hold`; when the mouse was not used meanwhile, `press` acts on letting go.
 * `active()` tells whether the page listens at all.
 */
export function listen(actsOf, { active = () => true } = {}) {
  const down = new Map(); // by code: what was started, until the key is let go
  const release = (code, acted) => {
    const one = down.get(code);
    if (!down.delete(code)) return;
    one.stop?.();
    if (acted && one.onTap && !one.used && active()) one.onTap();
  };
  const onKeyDown = (event) => {
    const started = down.get(event.code);
    if (event.repeat && started) {
      event.preventDefault(); // also when the first press opened a field that has the focus by now
      if (started.onRepeat && active() && !takesText(event.target)) started.onRepeat();
      return;
    }
    if (composing(event) || event.defaultPrevented || takesText(event.target) || !active()) return;
    const name = nameOf(event);
    const { press, hold, drag } = actsOf(name);
    if (!(press || hold || drag) || belongsToControl(event, name)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return; // held since before the page listened
    release(event.code, false); // its keyup went elsewhere
    down.set(event.code, {
      stop: (hold ?? drag)?.stop,
      onTap: drag && press?.run,
      onRepeat: !drag && press?.repeat && press.run,
    });
    (hold ?? drag)?.run();
    if (!drag) press?.run();
  };
  const onKeyUp = (event) => {
    release(event.code, true);
    // While ⌘ is held, macOS tells nothing of other keys that are let go.
    if (event.key === "Meta") letGo();
  };
  const letGo = () => [...down.keys()].forEach((code) => release(code, false));
  const onBlur = (event) => event.target === window && letGo(); // a field's own blur comes by here too
  const onMouse = () => down.forEach((one) => (one.used = true));
  // A button pressed with the mouse gives the focus back, or the next space would press it again.
  const onClick = (event) => {
    const button = event.target instanceof Element && event.target.closest("button, summary");
    if (button && event.detail > 0 && !button.closest("dialog")) button.blur();
  };
  const listeners = {
    keydown: onKeyDown, keyup: onKeyUp, blur: onBlur, pointerdown: onMouse, wheel: onMouse, click: onClick,
  };
  for (const [type, act] of Object.entries(listeners)) {
    window.addEventListener(type, act, { capture: true, passive: type === "wheel" });
  }
}
