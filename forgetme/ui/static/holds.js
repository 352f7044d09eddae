// Which samples are this person's for now: the open one and the next few, so that nobody else gets them.
import { post } from "./api.js";
import { isDecided } from "./worklist.js";

const AHEAD = 2;
const RENEW_MS = 60_000;
const IDLE_MS = 600_000; // nobody at the desk: the hold may run out
const GIVEN_BACK_MS = 300; // until the server has heard what another tab gave back

export class Holds {
  constructor(page) {
    this.page = page;
    this.mine = new Set();
    this.kept = new Map(); // id → {kind, by, words}: not this person's now
    this.settled = new Set(); // the server has answered for these
    this.touched = Date.now();
    for (const name of ["pointerdown", "keydown"]) {
      window.addEventListener(name, () => this.#touch(), { capture: true, passive: true });
    }
    setInterval(() => this.#renew(), RENEW_MS);
    window.addEventListener("pagehide", () => this.#leaveAll());
    // A hold is a person's, not a tab's: what one tab gives back, another that shows it takes again.
    this.tabs = new BroadcastChannel("forgetme-holds");
    this.tabs.addEventListener("message", ({ data }) => {
      if (data.some((id) => this.mine.has(id))) setTimeout(() => this.#renew(), GIVEN_BACK_MS);
    });
  }

  /** Whether there is anybody to be kept apart from. */
  get needed() {
    const { session } = this.page;
    return Boolean(session?.signed_in && session.role !== "viewer");
  }

  /** Why the shown sample may only be looked at; null when it may be changed. */
  whyNot() {
    const { session, sample } = this.page;
    if (session?.demo) return "This is a demo to look at; nothing is kept. Run ForgetMe yourself to curate.";
    if (session?.role === "viewer") return "You can look, not change: your role is viewer. Ask a lead.";
    return this.words(sample?.id);
  }

  /** Who else has a sample, in words; null when nobody has. */
  words(id) {
    return this.kept.get(id)?.words ?? null;
  }

  isKept(id) {
    return this.kept.has(id);
  }

  /** Holds the sample at `index` and those that come next, and leaves what it held before. */
  async open(index) {
    if (!this.needed) return;
    const { rows } = this.page.list;
    const open = rows[index];
    const ahead = rows.slice(index + 1).filter((row) => !isDecided(row) && !this.kept.has(row.id));
    const take = [open, ...ahead.slice(0, AHEAD)].filter(Boolean).map((row) => row.id);
    const leave = [...this.mine].filter((id) => !take.includes(id)).slice(0, 64);
    this.mine = new Set(take);
    this.settled = new Set([...this.settled].filter((id) => take.includes(id)));
    try {
      const { kept_back: kept } = await post("hold", { take, leave });
      if (leave.length) this.tabs.postMessage(leave);
      for (const id of take) this.#mark(id, kept[id] ?? null);
    } catch {
      // The server refuses acts on what is somebody else's, so nothing is lost by not knowing.
    }
  }

  /** Takes down that a sample is somebody else's, as the server said. */
  lost(id, words) {
    this.#mark(id, { kind: "held", words });
  }

  /** Hears who has a sample now; what somebody else has given back is taken where it is open. */
  heed({ id, held_by: by }) {
    if (this.kept.get(id)?.kind !== "held" || (by && by !== this.page.session.by)) return;
    if (this.page.sample?.id === id) this.open(this.page.list.index);
    else this.#mark(id, null);
  }

  #mark(id, why) {
    const before = this.kept.get(id);
    this.settled.add(id);
    if (why) {
      this.kept.set(id, why);
      this.mine.delete(id);
    } else this.kept.delete(id);
    if (Boolean(before) !== Boolean(why)) this.page.keptChanged(id);
  }

  #touch() {
    const away = Date.now() - this.touched > RENEW_MS * 2;
    this.touched = Date.now();
    if (away) this.#renew();
  }

  #renew() {
    if (Date.now() - this.touched < IDLE_MS && this.page.sample) this.open(this.page.list.index);
  }

  #leaveAll() {
    if (!this.mine.size) return;
    const leave = [...this.mine];
    post("hold", { leave }, { keepalive: true }).catch(() => {});
    this.tabs.postMessage(leave);
  }
}
