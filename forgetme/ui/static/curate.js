// The Curate screen: puts the panels together, holds what is shown, and sends the curator's acts.
import { h, settled } from "./dom.js";
import { get, picture, post } from "./api.js";
import { Background } from "./background.js";
import { Decisions } from "./decisions.js";
import { Masks } from "./masks.js";
import { Notices, wordsFor } from "./notices.js";
import { Pace } from "./pace.js";
import { Queue } from "./queue.js";
import { Refine } from "./refine.js";
import { Stage } from "./stage.js";
import { Status } from "./status.js";
import { Toolbar } from "./toolbar.js";
import { Tries } from "./tries.js";
import { Views } from "./smallviews.js";
import { Watch } from "./watch.js";
import { STATE_OF, Worklist, isDecided } from "./worklist.js";
import { bind } from "./bindings.js";
import { addImages, ask, help } from "./dialogs.js";

const AHEAD = 3; // samples fetched before they are needed
const KEPT = 200; // details held in memory
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
    this.sample = null; // what is shown; its `version` is what the curator has seen
    this.kept = new Map(); // details by id
    this.order = Promise.resolve(); // acts go to the server one after another
    this.inFlight = 0;
    this.pace = new Pace();
    this.fillSoon = settled(() => this.#fillIfNeeded(), FILL_AFTER_MS);
    this.watch = new Watch({
      ids: () => this.#watched(),
      concept: () => this.list.filter.concept,
      onPulse: (pulse) => this.#heed(pulse),
      onLost: (words) => this.status.offline(words),
    });
    this.#build();
    bind(this);
    this.#begin();
  }

  #build() {
    this.status = new Status({ onHelp: help });
    this.notices = new Notices();
    this.queue = new Queue({
      onOpen: (index) => this.open(index),
      onFilter: (filter) => this.setFilter(filter),
      onReopen: (id) => this.reopen(id),
      onAdd: () => this.add([]),
      onMore: () => this.list.more().then((grown) => grown && this.#showQueue()),
    });
    this.stage = new Stage({ onPoint: (x, y, label) => this.point(x, y, label) });
    this.toolbar = new Toolbar(this);
    this.views = new Views();
    this.tries = new Tries({ onPick: (k) => this.act("pick_try", { k }) });
    this.masks = new Masks({
      onChoose: (index) => this.choose(index),
      onHint: (outline) => this.stage.hintAt(outline),
      onAsk: (index) => this.verify(index),
    });
    this.background = new Background();
    this.refine = new Refine({
      onRefine: (form) => this.act("refine", form),
      onNeedSuggestions: () => this.#suggest(),
    });
    this.decisions = new Decisions({ onAct: (name) => this.decide(name) });
    this.views.element.append(this.tries.element);
    const canvas = h(
      "main",
      { class: "fm-panel fm-canvas", "aria-label": "Picture" },
      this.toolbar.element,
      h("div", { class: "fm-stage-box" }, this.stage.element, this.notices.element),
      this.views.element,
    );
    const inspector = h(
      "aside",
      { class: "fm-panel fm-inspector", "aria-label": "Inspector" },
      this.masks.element, this.background.element, this.refine.element,
    );
    this.root.replaceChildren(this.queue.element, canvas, inspector, this.decisions.element);
    this.root.removeAttribute("aria-busy");
    const replace = () => this.stage.resized(this.sample?.points ?? []);
    new ResizeObserver(replace).observe(this.stage.element);
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
    this.queue.limits = this.session.thresholds;
    this.queue.showLast(this.session.last);
    const query = new URLSearchParams(location.search);
    const filter = { concept: query.get("concept") ?? "", view: query.get("view") ?? "review" };
    await this.setFilter(filter, query.get("sample"));
    this.watch.soon();
  }

  // ------------------------------------------------------------------ the queue
  async setFilter(filter, openId = null) {
    try {
      await this.list.load(filter);
    } catch (error) {
      this.notices.error(error.message);
      return;
    }
    this.#inOrder(() => post("focus", { concept: filter.concept || null })).catch(() => {});
    if (openId) await this.reopen(openId);
    else this.open(this.list.rows.length ? 0 : -1);
  }

  #showQueue() {
    const { rows, total, index } = this.list;
    this.queue.showCounts({ ...this.list, pace: this.pace.words(this.list.left()) });
    this.queue.showRows(rows, total, index);
    this.root.classList.toggle("fm-nothing", rows.length === 0);
    if (rows.length === 0) this.notices.empty(this);
  }

  // ------------------------------------------------------------------ one sample
  open(index) {
    const row = this.list.rows[index];
    this.list.index = row ? index : -1;
    this.notices.clear();
    this.stage.hintAt(null);
    this.root.classList.remove("fm-show-queue");
    this.sample = row ? (this.kept.get(row.id) ?? { ...row, ...NOTHING, loading: true }) : null;
    this.refine.start(this.session.defaults);
    this.render();
    if (!row) return;
    history.replaceState(null, "", address(this.list.filter, row.id));
    this.#fetch(row.id).then(() => this.#ahead(index));
  }

  async #fetch(id) {
    try {
      this.receive(await get(`samples/${id}`));
    } catch (error) {
      if (this.sample?.id === id) this.notices.error(error.message);
    }
  }

  /** Fetches what comes next: the record, and the pictures into the browser's cache. */
  async #ahead(index) {
    for (const row of this.list.rows.slice(index + 1, index + 1 + AHEAD)) {
      if (this.list.index !== index) return;
      if (row.image_sha) new Image().src = picture(row.image_sha);
      if (!this.kept.has(row.id) && row.state !== "new") await this.#fetch(row.id);
      const next = this.kept.get(row.id);
      const picked = next?.tries.find((one) => one.index === next.picked_try);
      if (picked) new Image().src = picture(picked.image_sha);
    }
  }

  /** Takes what the server says about a sample, whoever asked. */
  receive(detail) {
    const before = this.kept.get(detail.id);
    if (before && before.version > detail.version) return;
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    this.kept.set(detail.id, detail);
    this.list.put(detail);
    if (this.sample?.id === detail.id) {
      this.sample = detail;
      this.render();
      this.#workIfNeeded();
    } else this.#showQueue();
  }

  render() {
    const { sample } = this;
    this.stage.show(sample, sample?.points ?? []);
    this.toolbar.show(sample);
    this.views.show(sample);
    this.tries.show(sample);
    this.masks.show(sample);
    this.background.show(sample, this.session.thresholds, working(sample));
    this.refine.show({
      possible: Boolean(sample?.mask),
      busy: sample?.busy === "refine",
      seconds: this.seconds ?? 0,
    });
    this.decisions.show(sample);
    this.notices.about(sample && wordsFor(sample), () => this.#retry());
    this.#showQueue();
  }

  #workIfNeeded() {
    const { sample } = this;
    if (sample.busy || sample.trouble) return;
    if (sample.state === "new") this.act("prepare");
    else if (this.#unfilled()) this.fillSoon();
    else if (sample.low && !isDecided(sample)) this.#suggest(); // a prompt is likely wanted
  }

  #unfilled() {
    return Boolean(this.sample?.mask) && this.sample.tries.length === 0;
  }

  #fillIfNeeded() {
    const idle = !this.inFlight && this.sample?.busy !== "fill" && !this.sample?.trouble;
    if (idle && this.#unfilled()) this.act("fill");
  }

  #retry() {
    if (this.sample.state === "new") this.act("prepare");
    else if (this.#unfilled()) this.act("fill");
    else this.act("refine", this.refine.values());
  }

  async #suggest() {
    const { sample } = this;
    if (!sample?.mask || this.suggestedFor === sample.id) return;
    this.suggestedFor = sample.id;
    try {
      const { prompts, defaults } = await get(`samples/${sample.id}/suggestions`);
      if (this.sample?.id === sample.id) this.refine.suggest(prompts, defaults);
    } catch {
      this.suggestedFor = null; // the form works without suggestions
    }
  }

  // ------------------------------------------------------------------ acts
  #inOrder(step) {
    const done = this.order.then(step);
    this.order = done.catch(() => {});
    return done;
  }

  /** Sends one act on the shown sample, after those sent before; returns whether it was saved. */
  act(name, body = {}) {
    const id = this.sample?.id;
    if (!id) return Promise.resolve(false);
    this.inFlight += 1;
    return this.#inOrder(async () => {
      try {
        this.took(await post(`samples/${id}/${name}`, { seen: this.kept.get(id)?.version, ...body }));
        return true;
      } catch (error) {
        this.#failed(id, error);
        return false;
      } finally {
        this.inFlight -= 1;
      }
    });
  }

  took({ sample, saved, last }) {
    if (saved) this.status.saved(new Date(saved));
    if (last) this.queue.showLast(last);
    if (sample) this.receive(sample);
    this.watch.soon();
  }

  #failed(id, error) {
    this.status.refused();
    if (this.sample?.id !== id) this.reopen(id);
    else if (this.kept.has(id)) this.#restore(id);
    if (error.kind !== "stale") this.notices.error(error.message);
    else this.notices.error(error.message, "reload", () => this.#takeTheirs(error.body.sample));
  }

  /** Takes back what was shown before the server answered. */
  #restore(id) {
    this.sample = this.kept.get(id);
    this.list.put(this.sample);
    this.render();
  }

  #takeTheirs(theirs) {
    this.receive(theirs);
    this.reopen(theirs.id);
  }

  choose(index) {
    if (!this.sample || this.sample.loading || index >= this.sample.proposals.length) return;
    const { outline } = this.sample.proposals[index];
    const mask = { edited: false, outline };
    this.sample = { ...this.sample, ...NOTHING, proposals: this.sample.proposals, chosen: index, mask };
    this.render();
    this.act("choose", { index });
  }

  point(x, y, label) {
    if (!this.sample || this.sample.loading) return;
    const points = [...this.sample.points, [x, y, label]];
    this.sample = { ...this.sample, points };
    this.stage.show(this.sample, points);
    this.newest = { id: this.sample.id, points };
    if (this.clicking) return; // the newest points go out when the answer is there
    this.clicking = true;
    this.#sendPoints().finally(() => (this.clicking = false));
  }

  async #sendPoints() {
    let sent;
    do {
      sent = this.newest;
      await this.act("click", { points: sent.points });
    } while (this.newest !== sent && this.newest.id === this.sample?.id);
  }

  verify(index) {
    if (index >= 0) this.act("ask", { index });
  }

  pickTry(step) {
    const tries = this.sample?.tries ?? [];
    const at = tries.findIndex((one) => one.index === this.sample.picked_try) + step;
    if (tries[at]) this.act("pick_try", { k: tries[at].index });
  }

  decide(name) {
    const { sample } = this;
    if (name === "undo") this.undo();
    else if (!sample || sample.loading) return;
    else if (name === "comment") this.#comment(sample);
    else if (sample.image_sha && !this.stage.ready) return; // never decide on what was not seen
    else if (name === "accept" && (!sample.mask || sample.picked_try === null)) {
      this.notices.warn(sample.mask
        ? "The background is not there yet. Wait a moment, then press A."
        : `There is no mask yet. Click the ${sample.concept}, or press X to reject.`);
    } else this.#passOn(name, sample);
  }

  #comment(sample) {
    ask(`Comment on ${sample.name}`, {
      value: sample.comment ?? "", word: "save", onText: (text) => this.act("comment", { text }),
    });
  }

  /** Shows the next sample at once; a decision that the server refuses comes back. */
  #passOn(name, sample) {
    const saved = this.act(name);
    const at = this.list.index;
    this.list.put({ ...this.list.rows[at], state: STATE_OF[name] });
    const next = this.list.nextAfter(at);
    if (next >= 0) this.open(next);
    else {
      this.render();
      this.notices.done(this);
    }
    saved.then((ok) => {
      if (!ok) return;
      this.pace.tick();
      this.#showQueue();
    });
  }

  move(step) {
    const to = this.list.index + step;
    if (to >= 0 && to < this.list.rows.length) this.open(to);
  }

  undo() {
    this.#inOrder(async () => {
      try {
        const answer = await post("undo");
        if (!answer.sample) {
          this.notices.warn("There is no decision of yours to undo.");
          return;
        }
        this.took(answer);
        await this.reopen(answer.sample.id);
      } catch (error) {
        this.notices.error(error.message);
      }
    });
  }

  /** Opens a sample by id, also one that the filter hides. */
  async reopen(id) {
    const at = this.list.at(id);
    if (at >= 0) {
      this.open(at);
      return;
    }
    try {
      const detail = await get(`samples/${id}`);
      const index = this.list.insert(detail);
      this.receive(detail);
      this.open(index);
    } catch (error) {
      this.open(this.list.rows.length ? 0 : -1);
      this.notices.error(error.message);
    }
  }

  add(files) {
    addImages(files, {
      concepts: this.list.concepts,
      concept: this.list.filter.concept || this.sample?.concept || "",
      onDone: (added) => {
        this.status.saved(new Date());
        this.setFilter({ concept: "", view: "review" }, added[0].id);
      },
    });
  }

  // ------------------------------------------------------------------ what the worker does meanwhile
  /** The shown sample, those after it, and rows that still are prepared. */
  #watched() {
    const { rows, index } = this.list;
    const near = rows.slice(Math.max(0, index), index + 1 + AHEAD);
    const pending = rows.filter((row) => row.state === "new").slice(0, 24);
    return [...new Set([...near, ...pending].map((row) => row.id))];
  }

  #heed(pulse) {
    this.status.pulse(pulse);
    this.seconds = pulse.seconds;
    const { counts, concepts } = pulse;
    const grown = concepts.length > this.list.concepts.length;
    Object.assign(this.list, { counts, concepts });
    for (const row of pulse.rows) this.#heedRow(row);
    const { filter, rows } = this.list;
    if (rows.length === 0 && (grown || this.list.left() > 0)) this.setFilter(filter);
    else if (filter.view === "review") this.list.total = Math.max(this.list.total, this.list.left());
    if (this.sample?.busy) this.render();
    else this.#showQueue();
  }

  #heedRow(row) {
    const known = this.kept.get(row.id);
    const shown = this.list.rows[this.list.at(row.id)];
    if (this.inFlight || (shown && shown.version > row.version)) return;
    this.list.put(row);
    const news = known && known.version < row.version;
    if (this.sample?.id !== row.id) {
      if (news) this.kept.delete(row.id);
    } else if (!known || news || known.busy !== row.busy || known.trouble !== row.trouble) {
      this.#fetch(row.id);
    }
  }
}

function working(sample) {
  return {
    prepare: "Looking for the object and filling the hole …",
    fill: "Filling the hole …",
    refine: "Refining …",
  }[sample?.busy] ?? "";
}

function address({ concept, view }, id) {
  const query = new URLSearchParams(location.search);
  const values = { concept, view: view === "review" ? "" : view, sample: id };
  for (const [name, value] of Object.entries(values)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  return "?" + query;
}
