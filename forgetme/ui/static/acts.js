// What the curator does: each act goes to the server after those before it, with the version seen.
import { post } from "./api.js";
import { aboutSamples, addImages, ask } from "./dialogs.js";
import { pressTo } from "./keymap.js";
import { STATE_OF } from "./worklist.js";

export class Acts {
  constructor(page) {
    this.page = page;
    this.order = Promise.resolve();
    this.inFlight = 0;
    window.addEventListener("beforeunload", (event) => this.inFlight && event.preventDefault());
  }

  /** Runs a step after all that were asked for before. */
  after(step) {
    const done = this.order.then(step);
    this.order = done.catch(() => {});
    return done;
  }

  /**
   * Sends one act on the shown sample; returns whether the server took it.
   * `before` is told when its turn comes, `answered` when the answer is there but not yet shown.
   */
  send(name, body = {}, { before, answered } = {}) {
    const { page } = this;
    const id = page.sample?.id;
    if (!id || page.refuses()) return Promise.resolve(false);
    this.inFlight += 1;
    return this.after(async () => {
      let seen;
      try {
        before?.();
        seen = page.shelf.get(id)?.version;
        const answer = await post(`samples/${id}/${name}`, { seen, ...body });
        answered?.();
        page.took(answer);
        return true;
      } catch (error) {
        answered?.();
        page.failed(id, error, { id, name, body, seen });
        return false;
      } finally {
        this.inFlight -= 1;
      }
    });
  }

  // ------------------------------------------------------------------ the mask
  choose(index) {
    this.page.hand.choose(index);
  }

  verify(index) {
    if (index >= 0) this.send("ask", { index });
  }

  // ------------------------------------------------------------------ the background
  pick(k) {
    this.send("pick_try", { k });
  }

  /** Picks the try beside the picked one, in the order of the strip. */
  pickNext(step) {
    const { sample, tries } = this.page;
    const to = tries.shown[tries.shown.findIndex((one) => one.index === sample?.picked_try) + step];
    if (sample && to) this.pick(to.index);
  }

  refine(form) {
    this.send("refine", form);
  }

  // ------------------------------------------------------------------ decisions
  decide(name) {
    const { sample, stage, notices } = this.page;
    if (name === "undo") this.undo();
    else if (!sample || sample.loading) return;
    else if (this.page.refuses()) return;
    else if (name === "comment") this.#comment(sample);
    else if (sample.image_sha && !stage.ready) return; // never decide on what was not seen
    else if (name === "accept" && !sample.mask) {
      notices.warn(`There is no mask yet. Click the ${sample.concept}, or ${pressTo("reject", "reject")}.`);
    } else if (name === "accept" && sample.picked_try === null) {
      notices.warn(`The background is not there yet. Wait a moment, then ${pressTo("accept", "accept")}.`);
    } else {
      this.page.passOn(STATE_OF[name], this.send(name));
    }
  }

  #comment(sample) {
    ask(`Comment on ${sample.name}`, {
      value: sample.comment ?? "", word: "save", onText: (text) => this.send("comment", { text }),
    });
  }

  /** Changes the concept of the shown sample, or deletes it. */
  about() {
    const { page } = this;
    const { sample } = page;
    if (!sample || sample.loading || page.refuses()) return;
    aboutSamples([sample], {
      concepts: page.list.concepts,
      onConcept: (concept) => this.send("relabel", { concept }),
      onDelete: () => page.passOn("deleted", this.send("delete")),
    });
  }

  /** The same for the samples that were ticked in the queue. */
  aboutTicked(rows) {
    const { page } = this;
    const send = (body) => this.after(async () => {
      const answer = await post("several", { ids: rows.map(({ id }) => id), ...body });
      for (const id of answer.done) page.shelf.drop(id);
      page.took(answer);
      await page.setFilter(page.list.filter);
      const [first] = answer.refused;
      if (first) page.notices.warn(`${answer.done.length} changed, ${answer.refused.length} not: ${first.words}`);
      return true;
    }).catch((error) => page.notices.error(error.message));
    aboutSamples(rows, {
      concepts: page.list.concepts,
      onConcept: (concept) => send({ act: "relabel", concept }),
      onDelete: () => send({ act: "delete" }),
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
      concept: page.list.filter.concept,
      onDone: (added) => {
        page.status.saved(new Date());
        page.setFilter({ concept: "", view: "review" }, added[0].id);
      },
    });
  }
}
