// The Team tab of leads: who did what, what is to be reviewed, how well people agree, and accounts.
import { h, say } from "./dom.js";
import { get } from "./api.js";
import { Agreement } from "./team-agreement.js";
import { Comments } from "./team-comments.js";
import { People } from "./team-people.js";
import { Reviews } from "./team-reviews.js";
import { Work } from "./team-work.js";

const REFRESH_MS = 15_000;

export function mount(element) {
  const root = element.querySelector(".fm-team");
  if (root && !root.team) root.team = new Team(root);
}

class Team {
  constructor(root) {
    this.root = root;
    this.seen = false;
    const onError = (words) => this.#trouble(words);
    const onChanged = () => this.#refresh();
    this.trouble = h("p", { class: "fm-team-trouble", role: "alert", hidden: true });
    this.work = new Work({ onPerson: (name) => this.reviews.only(name) });
    this.reviews = new Reviews({ onError, onChanged });
    this.agreement = new Agreement({ onError, onChanged });
    this.people = new People({ onError });
    this.comments = new Comments();
    const refresh = () => this.#refresh();
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      refresh();
    }).observe(root);
    document.addEventListener("visibilitychange", refresh);
    setInterval(refresh, REFRESH_MS);
  }

  async #refresh() {
    if (!this.seen || document.hidden || this.asking) return;
    this.asking = true;
    try {
      const { role } = await get("session");
      if (role === "lead") await this.#show();
      else this.#notForYou(role);
      this.#trouble("");
    } catch (error) {
      this.#trouble(error.message);
    } finally {
      this.asking = false;
    }
  }

  async #show() {
    const [found] = await Promise.all([get("team"), this.reviews.refresh(), this.people.refresh()]);
    this.work.show(found.shares);
    this.agreement.show(found.agreement);
    this.comments.show(found.comments);
    if (this.built) return;
    this.built = true;
    this.root.replaceChildren(
      h("div", { class: "fm-team-main" },
        this.trouble, this.work.element, this.reviews.element, this.agreement.element),
      h("div", { class: "fm-team-side" }, this.people.element, this.comments.element),
    );
    this.root.removeAttribute("aria-busy");
  }

  #notForYou(role) {
    this.built = false;
    this.root.removeAttribute("aria-busy");
    this.root.replaceChildren(h("p", { class: "fm-team-empty", "data-test": "team-closed" },
      `Leads see here who did what, and review it. Your role is ${role}; ask a lead for more.`));
  }

  #trouble(words) {
    if (words && !this.trouble.isConnected) {
      this.root.replaceChildren(this.trouble);
      this.root.removeAttribute("aria-busy");
    }
    say(this.trouble, words);
    this.trouble.hidden = !words;
  }
}
