// What people wrote to each other: comments, and what leads returned with a word why.
import { h, keyed } from "./dom.js";
import { icon } from "./icons.js";
import { ago } from "./team-work.js";

const SIGNS = { commented: "comment", returned: "undo", approved: "accept" };

export class Comments {
  constructor() {
    this.list = h("ul", { class: "fm-team-comments", "data-test": "comments" });
    this.empty = h("p", { class: "fm-team-empty" }, "No comments yet. C writes one on the shown image.");
    this.element = h("section", { class: "fm-team-section" }, h("h2", {}, "Comments and reviews"), this.list, this.empty);
  }

  show(comments) {
    this.empty.hidden = comments.length > 0;
    keyed(this.list, comments, (one) => `${one.id} ${one.at}`, line, () => {});
  }
}

function line(one) {
  return h("li", {},
    icon(SIGNS[one.kind] ?? "comment", one.kind),
    h("div", {},
      h("div", { class: "fm-row fm-small" },
        h("a", { class: "fm-name", href: `?view=all&sample=${one.id}` }, one.name),
        h("span", { class: "fm-muted" }, ago(one.at))),
      h("p", {}, h("span", { class: "fm-strong" }, one.by), ` ${one.text || one.kind}`)));
}
