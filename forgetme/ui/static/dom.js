// Small helpers to build and update elements; text is always set as text, never as HTML.

/** Builds an element: h("button", {class: "x", onclick: f, "aria-label": "…"}, child, "text"). */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Builds an SVG element. */
export function s(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Sets text only when it differs, so that nothing is repainted for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A sentence of the server as nodes: what stands in `backticks` is a command to copy. */
export function sentence(words) {
  return words.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

/** Sets or removes an attribute. */
export function attr(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Makes the children of `box` match `items`, reusing elements by key.
 * `make(item)` builds an element once; `update(element, item, index)` fills it every time.
 * Items may share a key: the second of them gets an element of its own.
 */
export function keyed(box, items, keyOf, make, update) {
  const old = new Map([...box.children].map((child) => [child.dataset.key, child]));
  const times = new Map();
  items.forEach((item, index) => {
    const wanted = String(keyOf(item));
    const before = times.get(wanted) ?? 0;
    times.set(wanted, before + 1);
    const key = before ? `${wanted} #${before + 1}` : wanted;
    let element = old.get(key);
    if (element) old.delete(key);
    else {
      element = make(item);
      element.dataset.key = key;
    }
    update(element, item, index);
    if (box.children[index] !== element) box.insertBefore(element, box.children[index] ?? null);
  });
  for (const element of old.values()) element.remove();
}

/** Runs `action` once, `ms` after the last call. */
export function settled(action, ms) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...args), ms);
  };
}

/** "14:02:11" */
export function clock(date) {
  return date.toLocaleTimeString("en-GB");
}

/** 10020 → "10 020", with a narrow space. */
export function whole(value) {
  return value.toLocaleString("en-GB").replaceAll(",", "\u202f");
}

/** 0.712 → "0.71"; a missing number is a dash. */
export function number(value, digits = 2) {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}
