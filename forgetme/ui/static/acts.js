// What the curator does: each act goes to the server after those before it, with the version seen.
import { post } from "./api.js";
import { addImages, ask } from "./dialogs.js";
import { STATE_OF } from "./worklist.js";

export class Acts {
  constructor(page) {
    this.page = page;
    this.order = Promise.resolve();
    this.inFlight = 0;
  }

  /** Runs a step after all that were asked for before. */
  after(step) {
    const done = this.order.then(step);
    this.order = done.catch(() => {});
    return done;
  }

  /** Sends one act on the shown sample; returns whether the server took it. */
  send(name, body = {}) {
    const { page } = this;
    const id = page.sample?.id;
    if (!id) return Promise.resolve(false);
    this.inFlight += 1;
    return this.after(async () => {
      try {
        const seen = page.shelf.get(id)?.version;
        page.took(await post(`samples/${id}/${name}`, { seen, ...body }));
        return true;
      } catch (error) {
        page.failed(id, error);
        return false;
      } finally {
        this.inFlight -= 1;
      }
    });
  }

  // ------------------------------------------------------------------ the mask
  choose(index) {
    const { sample } = this.page;
    if (!sample || sample.loading || index >= sample.proposals.length) return;
    const mask = { edited: false, outline: sample.proposals[index].outline };
    this.page.showAtOnce({ chosen: index, mask, points: [], tries: [], picked_try: null });
    this.send("choose", { index });
  }

  /** Adds a point; while an answer is under way, only the newest points wait to go out. */
  point(x, y, label) {
    const { sample } = this.page;
    if (!sample || sample.loading) return;
    const points = [...sample.points, [x, y, label]];
    this.page.showAtOnce({ points });
    this.newest = { id: sample.id, points };
    if (this.clicking) return;
    this.clicking = true;
    this.#sendPoints().finally(() => (this.clicking = false));
  }

  async #sendPoints() {
    let sent;
    do {
      sent = this.newest;
      await this.send("click", { points: sent.points });
    } while (this.newest !== sent && this.newest.id === this.page.sample?.id);
  }

  verify(index) {
    if (index >= 0) this.send("ask", { index });
  }

  // ------------------------------------------------------------------ the background
  pick(k) {
    this.send("pick_try", { k });
  }

  pickNext(step) {
    const { tries, picked_try: picked } = this.page.sample ?? { tries: [] };
    const to = tries[tries.findIndex((one) => one.index === picked) + step];
    if (to) this.pick(to.index);
  }

  refine(form) {
    this.send("refine", form);
  }

  // ------------------------------------------------------------------ decisions
  decide(name) {
    const { sample, stage, notices } = this.page;
    if (name === "undo") this.undo();
    else if (!sample || sample.loading) return;
    else if (name === "comment") this.#comment(sample);
    else if (sample.image_sha && !stage.ready) return; // never decide on what was not seen
    else if (name === "accept" && !sample.mask) {
      notices.warn(`There is no mask yet. Click the ${sample.concept}, or press X to reject.`);
    } else if (name === "accept" && sample.picked_try === null) {
      notices.warn("The background is not there yet. Wait a moment, then press A.");
    } else {
      this.page.passOn(STATE_OF[name], this.send(name));
    }
  }

  #comment(sample) {
    ask(`Comment on ${sample.name}`, {
      value: sample.comment ?? "", word: "save", onText: (text) => this.send("comment", { text }),
    });
  }

  undo() {
    const { page } = this;
    this.after(async () => {
      try {
        const answer = await post("undo");
        page.took(answer);
        if (answer.sample) await page.reopen(answer.sample.id);
        else page.notices.warn("There is no decision of yours to undo.");
      } catch (error) {
        page.notices.error(error.message);
      }
    });
  }

  // ------------------------------------------------------------------ new images
  add(files) {
    const { page } = this;
    addImages(files, {
      concepts: page.list.concepts,
      concept: page.list.filter.concept || page.sample?.concept || "",
      onDone: (added) => {
        page.status.saved(new Date());
        page.setFilter({ concept: "", view: "review" }, added[0].id);
      },
    });
  }
}
