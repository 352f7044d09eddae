// The small pictures below the large one: foreground, background, and the two merged again.
import { attr, h } from "./dom.js";
import { layer, picture } from "./api.js";
import { enlarge } from "./dialogs.js";
import { icon } from "./icons.js";

const NAMES = [
  ["foreground", "foreground", "the object, cut out"],
  ["background", "background", "the picture without it"],
  ["merged", "merged", "the object put back on the filled background"],
];

export class Views {
  /** `beside` is shown at their right; `onPlace` puts the object on another background. */
  constructor(beside, onPlace) {
    this.boxes = NAMES.map(([name, word, title]) => {
      const image = h("img", { alt: "", hidden: true });
      image.addEventListener("load", () => (image.hidden = false));
      image.addEventListener("error", () => (image.hidden = true));
      const box = h(
        "button",
        { class: `fm-view fm-view-${name}`, title: `${title}. Click to enlarge.`, "data-test": `view-${name}` },
        h("span", { class: `fm-view-frame ${name === "foreground" ? "fm-checks" : ""}` }, image),
        h("span", { class: "fm-caption" }, word),
      );
      box.addEventListener("click", () => {
        if (image.src && !image.hidden) enlarge(`${this.sample.name}: ${word}`, image.src, name === "foreground");
      });
      return { name, image, box };
    });
    this.place = h("button", {
      class: "fm-button fm-quiet fm-place", title: "Put the object on another background", "data-test": "place",
      "aria-label": "Put the object on another background", onclick: onPlace,
    }, icon("place"));
    const boxes = this.boxes.map(({ box }) => box);
    const merged = h("div", { class: "fm-view-placed" }, boxes.pop(), this.place);
    this.element = h("div", { class: "fm-views" }, boxes, merged, beside);
  }

  show(sample) {
    this.sample = sample;
    this.place.disabled = !sample?.mask;
    const picked = sample?.tries.find((one) => one.index === sample.picked_try);
    for (const { name, image, box } of this.boxes) {
      let src = null;
      if (name === "background" && picked) src = picture(picked.image_sha);
      if (name === "foreground" && sample?.mask && sample.layers) src = layer(sample.id, sample.layers, name);
      if (name === "merged" && picked && sample.layers) src = layer(sample.id, sample.layers, name);
      if (!src) image.hidden = true;
      if (image.getAttribute("src") !== src) attr(image, "src", src);
      else if (src && image.complete && image.naturalWidth) image.hidden = false;
      box.disabled = !src;
    }
  }
}
