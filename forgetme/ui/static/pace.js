// How fast the curator goes, from her last decisions.
const LAST = 20;
const PAUSE_MS = 120_000; // a longer gap is a break, not work

export class Pace {
  constructor() {
    this.times = [];
  }

  tick() {
    const now = Date.now();
    if (this.times.length && now - this.times.at(-1) > PAUSE_MS) this.times = [];
    this.times = [...this.times, now].slice(-LAST);
  }

  /** "11 a minute · 8 min left", or how many are left before a pace is known. */
  words(left) {
    if (this.times.length < 3) return left ? `${left} left` : "";
    const minutes = (this.times.at(-1) - this.times[0]) / 60_000;
    const pace = (this.times.length - 1) / Math.max(minutes, 1 / 600);
    const rest = left / pace;
    const time = rest < 1 ? "< 1 min" : rest < 90 ? `${Math.round(rest)} min` : `${Math.round(rest / 60)} h`;
    return `${Math.round(pace)} a minute · ${left ? `${time} left` : "done"}`;
  }
}
