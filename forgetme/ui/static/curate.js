// The Curate screen: puts the panels together, and decides which sample they show.
import { h, settled } from "./dom.js";
import { get, post } from "./api.js";
import { Acts } from "./acts.js";
import { Background } from "./background.js";
import { CanvasBar } from "./canvasbar.js";
import { Decisions } from "./decisions.js";
import { Holds } from "./holds.js";
import { Hand } from "./canvashand.js";
import { kept } from "./canvaskept.js";
import { Masks } from "./masks.js";
import { Notices, wordsFor } from "./notices.js";
import { Pace } from "./pace.js";
import { Queue } from "./queue.js";
import { Refine } from "./refine.js";
import { Shelf } from "./shelf.js";
import { Stage } from "./stage.js";
import { Side } from "./side.js";
import { Status } from "./status.js";
import { Toolbar } from "./toolbar.js";
import { Tries } from "./tries.js";
import { Views } from "./smallviews.js";
import { Visits } from "./visits.js";
import { Watch } from "./watch.js";
import { Worklist, isDecided } from "./worklist.js";
import { refineAll } from "./batch.js";
import { bind } from "./bindings.js";
import { settle } from "./conflict.js";
import { fromAddress, isFiltered } from "./filters.js";
import { help } from "./keyhelp.js";

const FILL_AFTER_MS = 500; // a pause in editing the mask starts the fill
const RETRY_MS = 3000;
const NOTHING = { proposals: [], tries: [], points: [], mask: null, chosen: null, picked_try: null };

export function mount(element) {
  const root = element.querySelector(".fm");
  if (root && !root.curate) root.curate = new Curate(root);
}

class Curate {
  constructor(root) {
    this.root = root;
    this.list = new Worklist();
    this.shelf = new Shelf();
    this.acts = new Acts(this);
    this.pace = new Pace();
    this.holds = new Holds(this);
    this.visits = new Visits(this);
    this.sample = null; // what is shown
    this.fillSoon = settled(() => this.#fillIfNeeded(), FILL_AFTER_MS);
    this.watch = new Watch({
      ids: () => this.list.near(),
      concept: () => this.list.filter.concept,
      onPulse: (pulse) => this.#heed(pulse),
      onLost: (words) => this.status.offline(words),
    });
    this.#build();
    bind(this);
    this.#begin();
  }

  #build() {
    const { acts } = this;
    this.status = new Status({ onHelp: help });
    this.notices = new Notices();
    this.queue = new Queue({
      onOpen: (index) => this.open(index),
      onFilter: (filter) => this.setFilter(filter),
      onReopen: (id) => this.reopen(id),
      onAdd: () => acts.add([]),
      onTicked: (rows) => acts.aboutTicked(rows),
      onMore: () => this.list.more().then((grown) => grown && this.#showQueue()),
    });
    this.hand = new Hand(this);
    this.stage = new Stage(this.hand, kept());
    this.stage.pictureOf = (sha) => this.shelf.pictureOf(sha); // decoded before it is opened
    this.canvasBar = new CanvasBar(this.stage);
    this.toolbar = new Toolbar(this, this.canvasBar);
    this.tries = new Tries({ onPick: (k) => acts.pick(k) });
    this.side = new Side({
      onSaved: (answer) => this.placed(answer),
      onRefused: (words) => this.notices.warn(words),
    });
    this.views = new Views(this.tries.element, () => this.side.open(this.sample));
    this.masks = new Masks({
      onChoose: (index) => acts.choose(index),
      onHint: (outline) => this.stage.hintAt(outline),
      onAsk: (index) => acts.verify(index),
    });
    this.background = new Background();
    this.refine = new Refine({
      onRefine: (form) => acts.refine(form),
      onNeedSuggestions: () => this.#suggest(),
      onBatch: () => this.refineAll(),
    });
    this.decisions = new Decisions({ onAct: (name) => acts.decide(name) });
    this.root.replaceChildren(
      this.queue.element,
      h("main", { class: "fm-panel fm-canvas", "aria-label": "Picture" },
        this.toolbar.element,
        h("div", { class: "fm-stage-box" }, this.stage.element, this.canvasBar.element, this.notices.element),
        this.views.element),
      h("aside", { class: "fm-panel fm-inspector", "aria-label": "Inspector" },
        this.masks.element, this.background.element, this.refine.element),
      this.decisions.element,
    );
    this.root.removeAttribute("aria-busy");
  }

  async #begin() {
    try {
      this.session = await get("session");
    } catch (error) {
      this.notices.error(error.message);
      setTimeout(() => this.#begin(), RETRY_MS);
      return;
    }
    this.status.begin(this.session);
    this.refine.batch.hidden = this.session.role !== "lead";
    this.queue.limits = this.session.thresholds;
    this.queue.showLast(this.session.last);
    this.queue.me = this.session.by;
    await this.setFilter(fromAddress(), new URLSearchParams(location.search).get("sample"));
    this.pace.begin(this.list.times);
    this.watch.soon();
  }

  // ------------------------------------------------------------------ which sample
  async setFilter(filter, openId = null) {
    const drawer = this.root.classList.contains("fm-show-queue");
    try {
      if (!(await this.list.load(filter))) return; // another filter was set meanwhile
    } catch (error) {
      this.notices.error(error.message);
      return;
    }
    this.acts.after(() => post("focus", { concept: filter.concept || null })).catch(() => {});
    if (openId) await this.reopen(openId);
    else {
      const first = this.list.nextAfter(-1); // not one that somebody else has open
      this.open(first >= 0 || !this.list.rows.length ? first : 0);
      this.arrived = true;
    }
    this.root.classList.toggle("fm-show-queue", drawer);
  }

  open(index) {
    const row = this.list.rows[index];
    this.list.index = row ? index : -1;
    this.notices.clear();
    this.stage.hintAt(null);
    this.root.classList.remove("fm-show-queue");
    this.sample = row ? this.hand.over(this.shelf.get(row.id) ?? { ...row, ...NOTHING, loading: true }) : null;
    this.refine.start(this.session.defaults);
    this.suggestedFor = null;
    this.render();
    this.visits.remember(row?.id);
    if (!row) return;
    this.arrived = false;
    this.holds.open(index);
    const still = () => this.list.index === index;
    this.#fetch(row.id).then(() => this.shelf.ahead(this.list.rows.slice(index + 1), still));
  }

  /** Opens a sample by id, also one that the filter hides. */
  async reopen(id) {
    const at = this.list.at(id);
    if (at >= 0) {
      this.open(at);
      return;
    }
    try {
      this.open(this.list.insert(await this.shelf.fetch(id)));
    } catch (error) {
      this.open(this.list.rows.length ? 0 : -1);
      this.notices.error(error.message);
    }
  }

  move(step) {
    const to = this.list.index + step;
    if (to >= 0 && to < this.list.rows.length) this.open(to);
  }

  /** Shows the next sample at once; a decision that the server refuses comes back by `failed`. */
  passOn(state, saved) {
    const at = this.list.index;
    this.list.rows[at] = { ...this.list.rows[at], state };
    const next = this.#nextFree(at);
    if (next >= 0) {
      this.open(next);
      this.arrived = true; // nobody chose it: if it turns out to be somebody else's, the next one
    } else {
      this.render();
      this.notices.done(this);
    }
    saved.then((ok) => {
      if (ok) this.pace.tick();
      this.#showQueue();
    });
  }

  #nextFree(at) {
    let next = this.list.nextAfter(at);
    for (let tried = this.list.rows.length; next >= 0 && tried > 0; tried -= 1) {
      if (!this.holds.isKept(this.list.rows[next].id)) return next;
      next = this.list.nextAfter(next);
    }
    return next;
  }

  /** Says why the shown sample may not be changed by this person, if so. */
  refuses() {
    const words = this.holds.whyNot();
    if (!words) return false;
    const known = this.shelf.get(this.sample?.id);
    if (known) this.showAtOnce(known);
    this.notices.warn(words);
    return true;
  }

  /** Somebody took a sample, or gave it back. */
  keptChanged(id) {
    if (this.sample?.id !== id) {
      this.#showQueue();
    } else if (this.arrived && this.holds.isKept(id) && this.#nextFree(this.list.index) >= 0) {
      this.open(this.#nextFree(this.list.index));
      this.arrived = true;
    } else this.#fetch(id).then(() => this.render());
  }

  // ------------------------------------------------------------------ what the server says
  async #fetch(id) {
    try {
      this.receive(await this.shelf.fetch(id));
    } catch (error) {
      if (this.sample?.id === id) this.notices.error(error.message);
    }
  }

  /** Takes a sample as the server has it, whoever asked. */
  receive(detail) {
    if (!this.shelf.take(detail)) return;
    this.list.put(detail);
    if (this.sample?.id === detail.id) {
      this.sample = this.hand.over(detail);
      this.render();
      this.#workIfNeeded();
    } else this.#showQueue();
  }

  /** Takes the answer to an act. */
  took({ sample, saved, last }) {
    if (saved) this.status.saved(new Date(saved));
    if (last) this.queue.showLast(last);
    if (sample) this.receive(sample);
    this.watch.soon();
  }

  /** Brings back what the server refused, with its reason. */
  failed(id, error, tried) {
    this.status.refused();
    const known = this.shelf.get(id);
    if (known) this.list.put(known);
    if (this.sample?.id !== id) this.reopen(id);
    else if (known) this.showAtOnce(known);
    if (error.kind === "held" || error.kind === "twin") this.holds.lost(id, error.message);
    if (error.kind !== "stale") this.notices.error(error.message);
    else this.#settle(error, tried);
  }

  async #settle(error, tried) {
    const theirs = error.body.sample;
    const asked = tried && await settle(this, { ...tried, theirs }).catch(() => false);
    if (!asked) this.notices.error(error.message, "reload", () => this.takeTheirs(theirs));
  }

  takeTheirs(theirs) {
    this.receive(theirs);
    this.reopen(theirs.id);
  }

  // ------------------------------------------------------------------ showing
  /** Shows a change before the server has answered. */
  showAtOnce(change) {
    this.sample = { ...this.sample, ...change };
    this.render();
  }

  render() {
    const { sample } = this;
    this.stage.show(sample, sample?.points ?? []);
    this.toolbar.show(sample);
    this.views.show(sample);
    this.tries.show(sample);
    this.masks.show(sample);
    this.background.show(sample, this.session.thresholds);
    this.refine.show({
      possible: Boolean(sample?.mask),
      busy: sample?.busy === "refine",
      seconds: this.seconds ?? 0,
    });
    this.decisions.show(sample);
    const held = this.holds.words(sample?.id);
    const standing = held ? { kind: "warn", words: held } : sample && wordsFor(sample);
    this.notices.about(standing, () => this.#retry());
    this.root.classList.toggle("fm-readonly", Boolean(this.holds.whyNot()));
    this.#showQueue();
  }

  #showQueue() {
    const { rows, total, index } = this.list;
    this.queue.showCounts({ ...this.list, pace: this.pace.words(this.list.left()) });
    this.queue.showRows(rows, total, index);
    this.root.classList.toggle("fm-nothing", rows.length === 0);
    if (rows.length === 0) this.notices.empty(this);
  }

  // ------------------------------------------------------------------ work that nobody has to ask for
  #workIfNeeded() {
    const { sample } = this;
    if (sample.busy || sample.trouble || this.holds.whyNot()) return;
    if (sample.state === "new") this.acts.send("prepare");
    else if (this.#unfilled()) this.fillSoon();
    else if (sample.low && !isDecided(sample)) this.#suggest(); // a prompt is likely wanted
  }

  #unfilled() {
    return Boolean(this.sample?.mask) && this.sample.tries.length === 0;
  }

  #fillIfNeeded() {
    if (this.stage.busy) this.fillSoon(); // a stroke is under way
    const idle = !this.holds.whyNot() && !this.stage.busy && !this.acts.inFlight && !this.sample?.busy && !this.sample?.trouble;
    if (idle && this.#unfilled()) this.acts.send("fill");
  }

  #retry() {
    if (this.sample.state === "new") this.acts.send("prepare");
    else if (this.#unfilled()) this.acts.send("fill");
    else this.acts.refine(this.refine.values());
  }

  /** Opens the sample that the side story made. */
  placed(answer) {
    this.took(answer);
    this.reopen(answer.sample.id);
  }
  /** Asks for one more try for all low fills. */
  refineAll() {
    refineAll({
      concepts: this.list.concepts,
      concept: this.list.filter.concept,
      form: this.refine.values(),
      onStarted: () => this.notices.warn("All low fills are being refined; Long work, at the top, shows how far it is."),
    });
  }

  async #suggest() {
    const { sample } = this;
    if (!sample?.mask || this.suggestedFor === sample.id) return;
    this.suggestedFor = sample.id;
    try {
      const found = await get(`samples/${sample.id}/suggestions`);
      if (this.sample?.id === sample.id) this.refine.suggest(found);
    } catch {
      this.suggestedFor = null; // the form works without suggestions
    }
  }

  // ------------------------------------------------------------------ what happens meanwhile
  #heed(pulse) {
    this.status.pulse(pulse);
    this.seconds = pulse.seconds;
    const { counts, concepts } = pulse;
    const grown = concepts.length > this.list.concepts.length;
    const changed = this.list.recount(counts);
    this.list.concepts = concepts;
    for (const row of pulse.rows) this.#heedRow(row);
    const { filter, rows } = this.list;
    const expected = this.list.left() > 0 && !isFiltered(filter);
    if (rows.length === 0 && (grown || changed || expected)) this.setFilter(filter);
    this.sample?.busy ? this.render() : this.#showQueue();
  }

  #heedRow(row) {
    this.holds.heed(row);
    const known = this.shelf.get(row.id);
    const shown = this.list.rows[this.list.at(row.id)];
    if (this.acts.inFlight || (shown && shown.version > row.version)) return;
    this.list.put(row);
    const news = known && known.version < row.version;
    if (this.sample?.id !== row.id) {
      if (news) this.shelf.drop(row.id);
    } else if (!known || news || known.busy !== row.busy || known.trouble !== row.trouble) {
      this.#fetch(row.id);
    }
  }
}
