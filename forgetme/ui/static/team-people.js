// Accounts: who may use the page and as what.
import { get, post } from "./api.js";
import { h, keyed } from "./dom.js";

const ROLES = ["viewer", "curator", "lead"];

export class People {
  constructor({ onError }) {
    this.onError = onError;
    this.list = h("ul", { class: "fm-team-people", "data-test": "people" });
    this.empty = h("p", { class: "fm-team-empty" },
      "There are no accounts: only this machine reaches the page, and nobody signs in. "
      + "Add the first lead, and everybody signs in from then on.");
    this.element = h("section", { class: "fm-team-section" },
      h("h2", {}, "People"), this.list, this.empty, this.#form());
  }

  async refresh() {
    const { people, huggingface } = await get("people");
    this.#show(people);
    this.origin.hidden = !huggingface;
    if (this.first !== (people.length === 0)) {
      this.first = people.length === 0;
      this.role.value = this.first ? "lead" : "curator";
    }
  }

  #show(people) {
    this.empty.hidden = people.length > 0;
    keyed(this.list, people, (one) => one.name, (one) => this.#line(one), (line, one) => {
      const role = line.querySelector("select");
      if (document.activeElement !== role) role.value = one.role;
      line.querySelector("button").textContent = one.active ? "disable" : "enable";
      line.classList.toggle("fm-team-off", !one.active);
    });
  }

  #line(person) {
    const change = async (body) => {
      try {
        this.#show((await post(`people/${encodeURIComponent(person.name)}`, body)).people);
      } catch (error) {
        this.onError(error.message);
        await this.refresh().catch(() => {});
      }
    };
    const role = h("select", { "aria-label": `Role of ${person.name}` }, ROLES.map((word) => h("option", {}, word)));
    role.addEventListener("change", () => change({ role: role.value }));
    const active = h("button", { class: "fm-button fm-quiet fm-small" });
    active.addEventListener("click", () => change({ active: active.textContent === "enable" }));
    const where = person.origin === "huggingface" ? "Hugging Face" : "";
    return h("li", {}, h("span", { class: "fm-name" }, person.name, h("span", { class: "fm-muted fm-small" }, where)), role, active);
  }

  #form() {
    const name = h("input", {
      type: "text", required: true, maxlength: 64, autocomplete: "off", placeholder: "name",
      "aria-label": "Name of the new account", "data-test": "person-name",
    });
    this.role = h("select", { "aria-label": "Role of the new account", "data-test": "person-role" },
      ROLES.map((word) => h("option", {}, word)));
    const password = h("input", {
      type: "password", required: true, minlength: 8, maxlength: 1000, autocomplete: "new-password",
      placeholder: "password, 8 or more", "aria-label": "Password of the new account", "data-test": "person-password",
    });
    this.origin = h("select", { hidden: true, "aria-label": "Signs in with" },
      h("option", { value: "local" }, "with a password"), h("option", { value: "huggingface" }, "with Hugging Face"));
    this.origin.addEventListener("change", () => {
      password.hidden = this.origin.value !== "local";
      password.required = !password.hidden;
    });
    const form = h("form", { class: "fm-team-add" }, name, this.role, this.origin, password,
      h("button", { class: "fm-button", "data-test": "person-add" }, "add"));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const origin = this.origin.value || "local";
      try {
        await post("people", {
          name: name.value, role: this.role.value, origin, password: origin === "local" ? password.value : null,
        });
        name.value = "";
        password.value = "";
        await this.refresh();
      } catch (error) {
        this.onError(error.message);
      }
    });
    return form;
  }
}
