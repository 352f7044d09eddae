// The quadruples: only what is visible is in the page, and fetched as it comes into view.
import { attr, h, keyed, number, say, settled } from "./dom.js";
import { STATES, icon, redraw } from "./icons.js";
import { get, thumbnail } from "./api.js";

const GAP = 8;
const LEAST = 372; // px, the narrowest card
const CAPTION = 32; // px, below the four pictures
const PAD = 8; // px, inside a card
const SPARE = 2; // rows drawn above and below what is visible
const BATCH = 48; // cards a request
const SOON_MS = 40; // a fast scroll asks only where it comes to rest
export const LAYERS = ["original", "foreground", "background", "mask"];

export class Gallery {
  /** Tells of `onOpen(index)`; `onError(words)` when pictures cannot be asked for. */
  constructor({ onOpen, onError }) {
    Object.assign(this, { onOpen, onError });
    this.ids = [];
    this.cards = new Map();
    this.space = h("div", { class: "fm-quads" });
    this.nothing = h("div", { class: "fm-data-empty", "data-test": "gallery-empty" });
    this.element = h(
      "div", { class: "fm-gallery", role: "list", "aria-label": "Quadruples", "data-test": "gallery" },
      this.space, this.nothing,
    );
    this.ask = settled(() => this.#fetch(), SOON_MS);
    const draw = () => requestAnimationFrame(() => this.draw());
    document.addEventListener("scroll", draw, { capture: true, passive: true });
    window.addEventListener("resize", draw);
    new ResizeObserver(draw).observe(this.element);
  }

  /** Shows these samples; `nothing` says what to do where there are none. */
  show(ids, nothing) {
    this.ids = ids;
    this.nothing.replaceChildren(...(ids.length ? [] : nothing));
    this.nothing.hidden = ids.length > 0;
    this.draw();
  }

  /** Forgets cards that changed; null: all of them. */
  forget(ids) {
    if (ids === null) this.cards.clear();
    else for (const id of ids) this.cards.delete(id);
  }

  draw() {
    const width = this.element.clientWidth;
    if (!width) return; // another tab is open
    const columns = Math.max(1, Math.floor((width + GAP) / (LEAST + GAP)));
    const wide = (width - (columns - 1) * GAP) / columns;
    const high = (wide - 2 * PAD - 3 * 4) / 4 + CAPTION + 2 * PAD + 2;
    const row = high + GAP;
    const rows = Math.ceil(this.ids.length / columns);
    this.space.style.height = `${Math.max(0, rows * row - GAP)}px`;
    const above = -this.space.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(above / row) - SPARE);
    const last = Math.min(rows, Math.ceil((above + window.innerHeight) / row) + SPARE);
    const visible = [];
    for (let at = first * columns; at < Math.min(this.ids.length, last * columns); at += 1) {
      visible.push({ id: this.ids[at], at });
    }
    this.visible = visible;
    keyed(
      this.space, visible, ({ id }) => id, () => this.#make(),
      (element, { id, at }) => {
        const [x, y] = [(at % columns) * (wide + GAP), Math.floor(at / columns) * row];
        element.style.cssText = `left:${x}px;top:${y}px;width:${wide}px;height:${high}px`;
        element.dataset.at = at;
        this.#fill(element, this.cards.get(id));
      },
    );
    if (visible.some(({ id }) => !this.cards.has(id))) this.ask();
  }

  async #fetch() {
    const wanted = (this.visible ?? []).map(({ id }) => id).filter((id) => !this.cards.has(id));
    for (let at = 0; at < wanted.length; at += BATCH) {
      try {
        const ids = wanted.slice(at, at + BATCH).join(",");
        for (const card of await get("data/cards?ids=" + ids)) this.cards.set(card.id, card);
      } catch (error) {
        this.onError(error.message);
        return;
      }
      this.draw();
    }
  }

  #make() {
    const frames = LAYERS.map((layer) => h(
      "span", { class: "fm-quad-frame" + (layer === "foreground" ? " fm-checks" : ""), title: layer },
      h("img", { alt: layer, loading: "lazy", decoding: "async", hidden: true }),
    ));
    const sign = icon("todo");
    const element = h(
      "div", { class: "fm-quad", role: "listitem" },
      h("button", { class: "fm-quad-button" },
        h("span", { class: "fm-quad-pictures" }, frames),
        h("span", { class: "fm-quad-caption" },
          sign, h("span", { class: "fm-name" }), h("span", { class: "fm-spring" }),
          h("span", { class: "fm-quad-scores" }), h("span", { class: "fm-split" }))),
    );
    element.addEventListener("click", () => this.onOpen(Number(element.dataset.at)));
    return element;
  }

  #fill(element, card) {
    if (!card || element.card === card) return;
    element.card = card;
    element.dataset.test = `quad-${card.name}`;
    element.dataset.state = card.state;
    const button = element.firstChild;
    const [sign, name, , scores, split] = button.lastChild.children;
    redraw(sign, STATES[card.state].icon, STATES[card.state].word);
    say(name, card.name);
    name.title = `${card.name}, ${card.concept}`;
    say(scores, card.d === null ? "no fill yet" : `D ${number(card.d)}  S ${number(card.s)}`);
    scores.classList.toggle("fm-low", Boolean(card.low));
    attr(scores, "title", card.low ? "low" : null);
    say(split, card.split);
    attr(button, "aria-label", `${card.name}, ${card.concept}, ${STATES[card.state].word}, ${split.textContent}`);
    const [original, foreground, background, mask] = button.firstChild.children;
    put(original, card.image_sha);
    put(foreground, card.mask_sha && card.image_sha, card.mask_sha);
    put(background, card.background_sha);
    put(mask, card.mask_sha);
  }
}

/** Puts a small picture into its frame; `through` is a mask that cuts it out. */
function put(frame, sha, through) {
  const image = frame.firstChild;
  const side = frame.clientWidth * devicePixelRatio > 144 ? 256 : 128;
  image.hidden = !sha;
  attr(image, "src", sha ? thumbnail(sha, side) : null);
  const mask = through ? `url("${thumbnail(through, side)}")` : "";
  if (image.style.maskImage !== mask) image.style.maskImage = mask;
  image.classList.toggle("fm-cut", Boolean(through));
}
