// What a curator set on the canvas, kept in this browser: tool, brush, tint and its colour.

const PLACE = "forgetme.canvas";
const USUAL = { tool: "pick", brush: 0.02, tint: true, all: false, colour: "blue" };

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(PLACE)) ?? {};
    const fits = ([name, value]) => typeof value === typeof USUAL[name];
    return Object.fromEntries(Object.entries(found).filter(fits));
  } catch {
    return {}; // nothing was kept, or the browser keeps nothing
  }
}

/** An object that keeps each value as it is set. */
export function kept() {
  return new Proxy({ ...USUAL, ...read() }, {
    set(values, name, value) {
      values[name] = value;
      try {
        localStorage.setItem(PLACE, JSON.stringify(values));
      } catch {
        // it holds until the page is closed
      }
      return true;
    },
  });
}
