// Asks what the worker and others do meanwhile: often while something runs, seldom when all is quiet.
import { get } from "./api.js";

const WORKING_MS = 600;
const IDLE_MS = 4000;
const HIDDEN_MS = 15_000;

export class Watch {
  /** `ids()` names the samples to ask about; `concept()` whose counts; `onPulse`, `onLost` are told. */
  constructor({ ids, concept, onPulse, onLost }) {
    Object.assign(this, { ids, concept, onPulse, onLost });
  }

  /** Asks soon: something was just handed to the worker. */
  soon(ms = WORKING_MS / 2) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), ms);
  }

  async #ask() {
    let wait = IDLE_MS;
    try {
      const query = new URLSearchParams({ ids: this.ids().join(","), concept: this.concept() });
      const pulse = await get("pulse?" + query);
      this.onPulse(pulse);
      if (pulse.running || pulse.rows.some((row) => row.state === "new" || row.busy)) wait = WORKING_MS;
    } catch (error) {
      this.onLost(error.message);
    }
    this.soon(document.hidden ? HIDDEN_MS : wait);
  }
}
