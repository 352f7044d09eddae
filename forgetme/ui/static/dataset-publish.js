// The right side: export, push, import, and what becomes of them; for leads.
import { h, keyed, say } from "./dom.js";
import { icon } from "./icons.js";
import { get, post, upload } from "./api.js";
import { OPEN, fillJob, jobRow, keptRow } from "./dataset-errands.js";

const BUSY_MS = 1000; // between looks while something runs
export class Publish {
  /** Tells of `onError(words)` and `onChanged()` when a job has ended. */
  constructor({ onError, onChanged }) {
    Object.assign(this, { onError, onChanged });
    this.export = this.#exportForm();
    this.push = this.#pushForm();
    this.import = this.#importForm();
    this.exports = h("ul", { class: "fm-kept", "data-test": "exports" });
    this.jobs = Object.fromEntries(["export", "push", "import"].map((kind) => [kind, h("ul", {
      class: "fm-errands", "data-test": `${kind}-jobs`, "aria-live": "polite", "aria-label": "Last jobs",
    })]));
    this.forms = h(
      "div", {},
      section("Export", this.export.element, this.jobs.export, this.exports),
      section("Push to the Hugging Face Hub", this.push.element, this.jobs.push),
      section("Import", this.import.element, this.jobs.import),
    );
    this.closed = h("p", { class: "fm-note" }, "Export, push and the audit trail need the role lead. Ask one of them.");
    this.element = h("aside", { class: "fm-data-side", "aria-label": "Export and push", "data-test": "publish" });
  }

  begin({ lead }) {
    this.lead = lead;
    this.element.replaceChildren(lead ? this.forms : section("Export and push", this.closed));
  }

  /** Reads what there is; again soon while a job is open. */
  async refresh() {
    if (this.lead) this.#show(await get("data/publish"));
  }

  async #send(path, body, form) {
    form.say("");
    try {
      this.#show(await post(path, body));
    } catch (error) {
      form.say(error.message);
    }
  }

  async #stop(id) {
    try {
      await post(`jobs/${id}/stop`);
      await this.refresh();
    } catch (error) {
      this.onError(error.message);
    }
  }

  #show(answer) {
    const before = this.answer;
    this.answer = answer;
    this.export.offer(answer);
    this.push.offer(answer);
    this.import.offer(answer);
    keyed(this.exports, answer.exports, ({ name, at }) => `${name} ${at}`, keptRow, () => {});
    for (const [kind, list] of Object.entries(this.jobs)) {
      const ours = answer.jobs.filter((job) => job.kind === kind);
      const shown = ours.filter((job, at) => at === 0 || OPEN.includes(job.state));
      keyed(list, shown, ({ id }) => id, (job) => jobRow(job, () => this.#stop(job.id)), fillJob);
    }
    const wasOpen = new Set((before?.jobs ?? []).filter(({ state }) => OPEN.includes(state)).map(({ id }) => id));
    if (answer.jobs.some(({ id, state }) => wasOpen.has(id) && !OPEN.includes(state))) this.onChanged();
    clearTimeout(this.timer);
    if (answer.jobs.some(({ state }) => OPEN.includes(state))) {
      this.timer = setTimeout(() => this.refresh().catch((error) => this.onError(error.message)), BUSY_MS);
    }
  }

  /** Offers the concepts that the store has. */
  concepts(names) {
    for (const select of [this.export.concept, this.push.concept]) {
      const kept = select.value;
      keyed(select, ["", ...names], (name) => name || "*", (name) => h("option", { value: name }),
        (option, name) => say(option, name || "all concepts"));
      select.value = names.includes(kept) ? kept : "";
    }
  }

  // ------------------------------------------------------------------ the forms
  #exportForm() {
    const format = h("select", { "data-test": "export-format" });
    const about = h("p", { class: "fm-note fm-small" });
    const name = h("input", {
      type: "text", required: true, maxlength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*",
      value: "dataset", autocomplete: "off", "data-test": "export-name", title: "Letters, digits, dots, dashes, underscores",
    });
    const concept = h("select", {});
    const shares = splitField();
    const where = h("p", { class: "fm-note fm-small fm-path" });
    const again = h("p", { class: "fm-note fm-small fm-warn-words", hidden: true });
    const button = h("button", { class: "fm-button fm-main", "data-test": "export" }, icon("download"), "export");
    const form = makeForm(() => this.#send("data/exports", {
      format: format.value, name: name.value, shares: shares.value, ...(concept.value && { concept: concept.value }),
    }, form), field("Format", format), about, field("Concept", concept),
    h("div", { class: "fm-two" }, field("Name", name), field("Train / valid. / test, %", shares)), again, h("div", { class: "fm-row" }, where, button));
    const words = () => {
      say(about, this.answer?.formats[format.value] ?? "");
      const there = this.answer?.exports.some((one) => one.name === name.value);
      again.hidden = !there;
      say(again, there ? `Takes the place of the export “${name.value}”.` : "");
    };
    format.addEventListener("change", words);
    name.addEventListener("input", words);
    form.concept = concept;
    form.offer = ({ formats, exports_folder: folder }) => {
      choices(format, Object.keys(formats));
      say(where, `in ${folder}`);
      where.title = folder;
      words();
    };
    return form;
  }

  #pushForm() {
    const repo = h("input", {
      type: "text", required: true, maxlength: 193, placeholder: "user/name", autocomplete: "off",
      pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*/[A-Za-z0-9][A-Za-z0-9._\\-]*", title: "user/name", "data-test": "push-repo",
    });
    const license = h("select", { "data-test": "push-license" });
    const concept = h("select", {});
    const shares = splitField();
    const everybody = h("input", { type: "checkbox", "data-test": "push-public" });
    const dry = h("input", { type: "checkbox", "data-test": "push-dry" });
    const token = h("p", { class: "fm-note fm-small fm-warn-words", hidden: true },
      "No access token: start ForgetMe with HF_TOKEN set. A dry run works without one.");
    const whose = h("p", { class: "fm-note fm-small", hidden: true, "data-test": "push-whose" },
      "Goes out under the access token that ForgetMe was started with, whoever presses push; it must be allowed to write to the repository. No token of yours is kept.");
    const button = h("button", { class: "fm-button fm-main", "data-test": "push" }, icon("upload"), h("span", {}, "push"));
    const form = makeForm(() => this.#send("data/push", {
      repo: repo.value, private: !everybody.checked, dry_run: dry.checked, shares: shares.value, ...(license.value && { license: license.value }),
      ...(concept.value && { concept: concept.value }),
    }, form), h("div", { class: "fm-two" }, field("Repository", repo), field("Licence", license)),
    h("div", { class: "fm-two" }, field("Concept", concept), field("Train / valid. / test, %", shares)),
    check(everybody, "public: everybody can see it"), check(dry, "dry run: say what would be sent, send nothing"),
    token, whose, h("div", { class: "fm-row fm-end" }, button));
    const words = () => {
      const able = this.answer?.token || dry.checked;
      token.hidden = Boolean(this.answer?.token);
      whose.hidden = !token.hidden;
      button.disabled = !able;
      say(button.lastChild, dry.checked ? "try it out" : everybody.checked ? "push, public" : "push, private");
    };
    for (const box of [everybody, dry]) box.addEventListener("change", words);
    form.concept = concept;
    form.offer = ({ licenses }) => {
      choices(license, ["", ...licenses], "as before");
      words();
    };
    return form;
  }

  #importForm() {
    const name = h("select", { required: true, "data-test": "import-name" });
    const format = h("select", { "data-test": "import-format" });
    const about = h("p", { class: "fm-note fm-small" });
    const concept = h("input", { type: "text", maxlength: 200, placeholder: "as the dataset says", autocomplete: "off" });
    const none = h("p", { class: "fm-note fm-small" });
    const file = h("input", { type: "file", class: "fm-file", accept: ".zip,.tar,.gz,.tgz,.parquet", "data-test": "import-file" });
    const sending = h("p", { class: "fm-note fm-small", role: "status", hidden: true });
    file.addEventListener("change", async () => {
      const [chosen] = file.files;
      if (!chosen) return;
      form.say("");
      say(sending, `Sending and unpacking ${chosen.name} …`);
      sending.hidden = false;
      file.disabled = true;
      try {
        const answer = await upload("data/imports/upload", chosen);
        this.#show(answer);
        name.value = answer.uploaded;
        look();
        say(sending, `It is in the list as “${answer.uploaded}”. Look at its format, then import it.`);
      } catch (error) {
        sending.hidden = true;
        form.say(error.message);
      } finally {
        file.disabled = false;
        file.value = "";
      }
    });
    const button = h("button", { class: "fm-button", "data-test": "import" }, "import");
    const form = makeForm(() => this.#send("data/imports", {
      name: name.value, format: format.value, ...(concept.value.trim() && { concept: concept.value.trim() }),
    }, form), h("div", { class: "fm-import" }, h("div", { class: "fm-two" }, field("Folder", name), field("Format", format)),
    about, field("Concept", concept), h("div", { class: "fm-row fm-end" }, button)),
    field("Upload a dataset: .zip, .tar or .parquet", file), sending, none);
    const words = () => say(about, this.answer?.import_formats[format.value] ?? "");
    const look = () => {
      format.value = this.answer?.looks_like[name.value] ?? format.value;
      words();
    };
    name.addEventListener("change", look);
    format.addEventListener("change", words);
    form.offer = ({ imports, import_formats: formats, imports_folder: folder }) => {
      choices(name, imports);
      choices(format, Object.keys(formats));
      form.element.firstChild.hidden = imports.length === 0;
      if (name.value !== this.looked) look();
      this.looked = name.value;
      say(none, `Larger than 4 GB: copy its folder into ${folder}. From the Hub: hf download USER/NAME --repo-type dataset --local-dir ${folder}/NAME. The page fetches nothing itself, so that nobody reads through it what only this server may.`);
      words();
    };
    return form;
  }
}

function section(title, ...content) {
  return h("section", { class: "fm-section" }, h("h3", { class: "fm-title" }, title), ...content);
}

function field(word, control) {
  return h("label", { class: "fm-field" }, h("span", {}, word), control);
}

function check(box, words) {
  return h("label", { class: "fm-check" }, box, h("span", {}, words));
}

function splitField() {
  return h("input", {
    type: "text", value: "80/10/10", maxlength: 40, autocomplete: "off", "data-test": "shares",
    pattern: "\\s*[\\d.]+\\s*/\\s*[\\d.]+\\s*/\\s*[\\d.]+\\s*", title: "percent for train/validation/test, such as 80/10/10",
  });
}

function makeForm(onSubmit, ...content) {
  const errors = h("p", { class: "fm-form-error", role: "alert", hidden: true });
  const element = h("form", { class: "fm-side-form" }, ...content, errors);
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    onSubmit();
  });
  return {
    element,
    say(words) {
      say(errors, words);
      errors.hidden = !words;
    },
  };
}

function choices(select, names, none = "") {
  const kept = select.value;
  keyed(select, names, (name) => name || "*", (name) => h("option", { value: name }, name || none), () => {});
  if (names.includes(kept)) select.value = kept;
}
