// Details of samples, kept by id, and fetched before they are needed together with their pictures.
import { get, picture } from "./api.js";

const KEPT = 200;
const AHEAD = 3;

export class Shelf {
  constructor() {
    this.kept = new Map();
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

  /** Fetches the next rows: the record, and the pictures into the browser's cache. */
  async ahead(rows, wanted) {
    for (const row of rows.slice(0, AHEAD)) {
      if (!wanted()) return;
      if (row.image_sha) new Image().src = picture(row.image_sha);
      const known = this.kept.get(row.id);
      const detail = known ?? (row.state === "new" ? null : await this.fetch(row.id).catch(() => null));
      const picked = detail?.tries.find((one) => one.index === detail.picked_try);
      if (picked) new Image().src = picture(picked.image_sha);
    }
  }
}
