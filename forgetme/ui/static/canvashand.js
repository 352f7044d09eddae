// What a hand does to the mask: shown at once, sent in order, and replaced by the server's mask.
// Undo and redo too: the screen goes back before the server has answered.

export class Hand {
  constructor(page) {
    this.page = page;
    this.#forget(null);
  }

  #forget(id) {
    this.id = id;
    this.past = [];
    this.future = [];
    this.waiting = 0; // acts that the server has not answered
    this.shown = null; // the mask as the hand left it, while acts wait
  }

  /** Lays the hand's mask over what the server said while later acts still wait. */
  over(detail) {
    if (!detail || detail.id !== this.id || !this.waiting) return detail;
    return {
      ...detail,
      ...{ tries: [], picked_try: null, low: null, d: null, s: null },
      ...this.shown,
      can_undo_mask: this.past.length > 0 || detail.can_undo_mask,
      can_redo_mask: this.future.length > 0,
    };
  }

  #now() {
    const { chosen, mask, points, drawn } = this.page.sample;
    return { chosen, mask, points, drawn: drawn ?? [] };
  }

  /** Shows `change` and sends the act; a step of the history unless it walks it. */
  async #act(name, body, change, { step = true } = {}) {
    const { page } = this;
    const { sample } = page;
    if (!sample || sample.loading || !sample.image_sha) return false;
    if (sample.id !== this.id) this.#forget(sample.id);
    const id = sample.id;
    const before = this.#now();
    if (step) {
      this.past.push(before);
      this.future = [];
    }
    this.shown = { ...before, ...change };
    this.waiting += 1;
    page.showAtOnce(this.over(sample));
    const version = () => page.shelf.get(id)?.version;
    let seen;
    let answered = false;
    const taken = await page.acts.send(name, body, {
      before: () => (seen = version()),
      answered: () => {
        if (this.id === id && !answered) this.waiting -= 1;
        answered = true;
      },
    });
    if (this.id !== id) return taken;
    if (!taken) {
      this.#forget(id);
      page.showAtOnce({ drawn: [] });
    } else if (step && version() === seen) {
      this.past = this.past.filter((one) => one !== before); // nothing was there to change
    }
    return taken;
  }

  // ------------------------------------------------------------------ prompts
  choose(index) {
    const one = this.page.sample?.proposals?.[index];
    if (!one) return;
    const mask = { edited: false, outline: one.outline };
    this.#act("choose", { index }, { chosen: index, mask, points: [], drawn: [] });
  }

  /** Adds a point; while an answer is under way, only the newest points wait to go out. */
  point(x, y, label, mend) {
    const { sample } = this.page;
    if (!sample || sample.loading) return;
    if (label === 0 && !sample.mask) {
      this.page.notices.warn(`There is no mask to take that away from. Click the ${sample.concept} first.`);
      return;
    }
    const points = [...(mend ? sample.points : []), [x, y, label]];
    this.newest = { id: sample.id, points, mend };
    if (this.clicking) {
      this.shown = { ...this.shown, points };
      this.page.showAtOnce(this.over(sample));
      return;
    }
    this.clicking = true;
    this.#sendPoints().finally(() => (this.clicking = false));
  }

  async #sendPoints() {
    let sent;
    do {
      sent = this.newest;
      await this.#act("click", { points: sent.points, mend: sent.mend }, { points: sent.points });
    } while (this.newest !== sent && this.newest.id === this.page.sample?.id);
  }

  box(box) {
    return this.#act("box", { box }, { points: [] });
  }

  // ------------------------------------------------------------------ drawing
  stroke(stroke) {
    const { sample } = this.page;
    if (stroke.mode === "erase" && !sample.mask && !sample.drawn?.length) return this.#nothingToErase();
    return this.#act("paint", { strokes: [stroke] }, this.#with(stroke));
  }

  polygon(points, mode) {
    const { sample } = this.page;
    if (mode === "erase" && !sample.mask && !sample.drawn?.length) return this.#nothingToErase();
    return this.#act("polygon", { points, mode }, this.#with({ points, mode }));
  }

  #with(one) {
    return { drawn: [...this.#now().drawn, one] };
  }

  #nothingToErase() {
    this.page.notices.warn("There is no mask to erase from. Draw one, or pick a proposal.");
    this.page.stage.redraw();
  }

  // ------------------------------------------------------------------ the whole mask, and its history
  whole(name, body = {}) {
    if (this.page.sample?.mask) this.#act(name, body, {});
  }

  undo() {
    this.#walk("undo_mask", this.past, this.future);
  }

  redo() {
    this.#walk("redo_mask", this.future, this.past);
  }

  #walk(name, from, to) {
    const { sample } = this.page;
    if (!sample || !sample[name === "undo_mask" ? "can_undo_mask" : "can_redo_mask"]) return;
    const known = sample.id === this.id ? from.pop() : null; // after a reload only the server knows
    if (sample.id === this.id) to.push(this.#now());
    this.#act(name, {}, known ?? {}, { step: false });
  }
}
