// How fast the curator goes, from her last decisions.
const LAST = 20;
const PAUSE_MS = 120_000; // a longer gap is a break, not work

export class Pace {
  constructor() {
    this.times = [];
  }

  /** Takes up the pace of the decisions that the server knows, so that a reload keeps it. */
  begin(times) {
    if (this.times.length) return;
    const found = times.map((at) => Date.parse(at)).filter(Number.isFinite).sort((a, b) => a - b);
    const now = Date.now();
    for (const at of found) this.#take(at);
    if (this.times.length && now - this.times.at(-1) > PAUSE_MS) this.times = [];
  }

  tick() {
    this.#take(Date.now());
  }

  #take(at) {
    if (this.times.length && at - this.times.at(-1) > PAUSE_MS) this.times = [];
    this.times = [...this.times, at].slice(-LAST);
  }

  /** "11 a minute · 8 min left", or how many are left before a pace is known. */
  words(left) {
    if (this.times.length < 3) return left ? `${left.toLocaleString("en")} left` : "";
    const minutes = (this.times.at(-1) - this.times[0]) / 60_000;
    const pace = (this.times.length - 1) / Math.max(minutes, 1 / 600);
    const rest = left / pace;
    const time = rest < 1 ? "< 1 min" : rest < 90 ? `${Math.round(rest)} min` : `${Math.round(rest / 60)} h`;
    const speed = pace < 1 ? "< 1" : Math.round(pace);
    return `${speed} a minute · ${left ? `${time} left` : "done"}`;
  }
}
