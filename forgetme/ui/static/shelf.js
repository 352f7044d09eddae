// Details of samples by id, and decoded pictures by content: fetched before they are needed.
import { get, layer, picture } from "./api.js";
import { isDecided } from "./worklist.js";

const KEPT = 200; // details
const AHEAD = 5; // samples whose record and pictures are fetched before they are opened
const LAYERS_AHEAD = 1; // samples whose composed pictures are, which cost the server more
const MEGAPIXELS = 150; // of decoded pictures that are kept
const AT_ONCE = 2; // samples fetched side by side

export class Shelf {
  constructor() {
    this.kept = new Map();
    this.pictures = new Map(); // sha → {image, ready, size}; the latest used is the last
  }

  get(id) {
    return this.kept.get(id);
  }

  drop(id) {
    this.kept.delete(id);
  }

  /** Keeps a detail unless a newer one is kept already; returns whether it was taken. */
  take(detail) {
    if ((this.kept.get(detail.id)?.version ?? 0) > detail.version) return false;
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    this.kept.set(detail.id, detail);
    return true;
  }

  async fetch(id) {
    const detail = await get(`samples/${id}`);
    this.take(detail);
    return this.kept.get(id);
  }

  // ------------------------------------------------------------------ pictures
  /** The element of a picture, decoded where it was fetched ahead; `data-decoded` says so. */
  pictureOf(sha) {
    return this.#picture(sha).image;
  }

  #picture(sha) {
    let kept = this.pictures.get(sha);
    if (kept) this.pictures.delete(sha);
    else {
      const image = new Image();
      image.decoding = "sync"; // it is shown with its outlines, never after them
      image.src = picture(sha);
      kept = { image, size: 0 };
      kept.ready = image.decode().then(
        () => {
          image.dataset.decoded = "true";
          kept.size = (image.naturalWidth * image.naturalHeight) / 1e6;
          this.#trim();
        },
        () => this.pictures.delete(sha), // asked for again when it is needed
      );
    }
    this.pictures.set(sha, kept);
    return kept;
  }

  #trim() {
    let sum = 0;
    for (const [sha, { image, size }] of [...this.pictures].reverse()) {
      sum += size;
      if (sum > MEGAPIXELS && !image.isConnected) this.pictures.delete(sha);
    }
  }

  // ------------------------------------------------------------------ before they are needed
  /** Fetches the next rows, the nearest first; gives up when `wanted()` says so. */
  async ahead(rows, wanted) {
    const undecided = rows.filter((row) => !isDecided(row));
    const next = (undecided.length ? undecided : rows).slice(0, AHEAD);
    for (let at = 0; at < next.length && wanted(); at += AT_ONCE) {
      await Promise.all(next.slice(at, at + AT_ONCE).map((row) => this.#prefetch(row)));
    }
    for (const { id } of next.slice(0, LAYERS_AHEAD)) {
      const detail = this.kept.get(id);
      if (!wanted() || !detail?.layers || !detail.mask) continue;
      const names = Number.isInteger(detail.picked_try) ? ["foreground", "merged"] : ["foreground"];
      for (const name of names) new Image().src = layer(id, detail.layers, name);
    }
  }

  async #prefetch(row) {
    const shown = row.image_sha ? this.#picture(row.image_sha).ready : null;
    const known = this.kept.get(row.id);
    const fresh = known && known.version >= row.version;
    const detail = fresh || row.state === "new" ? known : await this.fetch(row.id).catch(() => null);
    const picked = detail?.tries.find((one) => one.index === detail.picked_try);
    await Promise.all([shown, picked && this.#picture(picked.image_sha).ready]);
  }
}
