// The open sample in the address, so that a link and a reload open it, and Back goes to the one before.
import { address } from "./filters.js";

const named = () => new URLSearchParams(location.search).get("sample");

export class Visits {
  constructor(page) {
    this.page = page;
    window.addEventListener("popstate", () => this.#follow());
  }

  remember(id) {
    const another = named() && id && named() !== id && !this.following;
    history[another ? "pushState" : "replaceState"](null, "", address(this.page.list.filter, id));
  }

  async #follow() {
    const id = named();
    if (!id || id === this.page.sample?.id) return;
    this.following = true;
    await this.page.reopen(id);
    this.following = false;
  }
}
