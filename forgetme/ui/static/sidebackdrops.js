// What the foreground can be put on: its own background, that of another sample, or an uploaded picture.
import { attr, h } from "./dom.js";
import { get, thumbnail, upload } from "./api.js";
import { icon } from "./icons.js";

export class Backdrops {
  /** Tells of `onChoose({source, name, sha, width, height})`, or null while there is none. */
  constructor({ own, onChoose }) {
    this.own = own;
    this.onChoose = onChoose;
    this.list = h("div", { class: "fm-side-list", role: "radiogroup", "aria-label": "Backgrounds" });
    this.more = h("button", {
      type: "button", class: "fm-button fm-quiet fm-small", hidden: true, onclick: () => this.#fetch(),
    }, "more");
    this.file = h("input", { type: "file", accept: "image/*", class: "fm-side-file", "data-test": "side-file",
      "aria-label": "Upload a background" });
    this.file.addEventListener("change", () => this.#upload(this.file.files[0]));
    this.error = h("ul", { class: "fm-errors", role: "alert" });
    this.element = h("section", { class: "fm-side-part", "aria-label": "Background" },
      h("div", { class: "fm-row" },
        h("h3", { class: "fm-title" }, "Background"),
        h("label", { class: "fm-button fm-small fm-quiet" }, icon("upload"), h("span", {}, "upload"), this.file)),
      this.list, this.more, this.error);
  }

  async begin() {
    if (this.own) this.#add({ ...this.own, source: "own", word: "its own" }, "own");
    const first = this.list.firstChild;
    if (first) first.click();
    else this.onChoose(null);
    await this.#fetch();
  }

  async #fetch() {
    this.more.disabled = true;
    try {
      const { rows, more } = await get(`side/backdrops?offset=${this.offset ?? 0}`);
      this.offset = more;
      for (const row of rows.filter(({ id }) => id !== this.own?.id)) {
        this.#add({ ...row, source: "sample", word: row.name }, row.id);
      }
      this.more.hidden = more === null;
    } catch (error) {
      this.#fail(error);
    }
    this.more.disabled = false;
  }

  #add({ source, id, sha, width, height, word }, key, first = false) {
    const element = h("button", {
      type: "button", class: "fm-side-choice", role: "radio", "aria-checked": "false", title: word,
      "data-test": `behind-${key}`,
    }, h("img", { src: thumbnail(sha, 128), alt: "", loading: "lazy" }), h("span", { class: "fm-name" }, word));
    element.addEventListener("click", () => {
      for (const one of this.list.children) attr(one, "aria-checked", String(one === element));
      this.onChoose({ source, name: { own: null, sample: id, uploaded: sha }[source], sha, width, height });
    });
    if (first) this.list.prepend(element);
    else this.list.append(element);
    return element;
  }

  async #upload(file) {
    if (!file) return;
    this.error.replaceChildren();
    try {
      const kept = await upload("side/uploads", file);
      this.#add({ ...kept, source: "uploaded", word: kept.name }, "uploaded", true).click();
    } catch (error) {
      this.#fail(error);
    }
    this.file.value = "";
  }

  #fail(error) {
    this.error.replaceChildren(h("li", {}, error.message));
  }
}
