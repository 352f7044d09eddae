// Signing in over the work: when a session ends, this lies over the page, and then all goes on.
import { h, say } from "./dom.js";
import { icon } from "./icons.js";

const BASE = new URL("forgetme/api/", document.baseURI).href;
const OR = "or with an account of this store";
const KEPT = "forgetme-return";
const REFUSED = {
  again: "Signing in took too long or was stopped. Try again.",
  silent: "Hugging Face did not say who you are. Try again in a minute.",
  unknown: "You have no account here yet. Ask a lead of this team to add your Hugging Face name.",
};

let asking = null;
let worksAs = null; // under whose name this page began
let hadAccount = false; // whether it began with an account

backFromHub(); // before any tab reads the address
askForGradioToo();

/** Gradio's parts ask its queue: when nobody is signed in, the dialog comes, then the same again. */
function askForGradioToo() {
  const plain = window.fetch;
  window.fetch = async (...asked) => {
    const answer = await plain(...asked);
    const address = String(asked[0]?.url ?? asked[0]);
    if (answer.status !== 401 || !address.includes("/gradio_api/queue/")) return answer;
    await signedIn();
    return plain(...asked);
  };
}

/** Tells under whose name this page works. */
export function workAs(name) {
  worksAs = name;
}

/** Resolves when the person has signed in again; all who wait share one dialog. */
export function signedIn() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

/** Fills the corner of the top bar: who works here, and the way out. */
export function account(place, { by, role, signed_in: canLeave }) {
  workAs(by);
  hadAccount = canLeave;
  if (!canLeave) {
    say(place, by);
    place.title = "Your decisions are recorded under this name.";
    return;
  }
  const button = h("button", {
    class: "fm-button fm-quiet fm-account", "data-test": "account", "aria-haspopup": "dialog",
    title: "Your account", onclick: () => leaving(by, role),
  }, h("span", { class: "fm-name" }, by), h("span", { class: "fm-role" }, role));
  place.replaceChildren(button);
}

async function send(path, body) {
  const answer = await fetch(BASE + path, {
    method: body ? "POST" : "GET",
    credentials: "same-origin",
    headers: { "X-ForgetMe": "1", "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.words ?? `The server refused this (${answer.status}).`);
  return said;
}

/** Lays a dialog over everything, whichever tab is open; returns its remover. */
function lay(dialog) {
  const layer = h("div", { class: "fm-ui" }, dialog);
  document.body.append(layer);
  dialog.addEventListener("close", () => layer.remove());
  dialog.showModal();
}

async function ask() {
  const ways = await send("door").catch(() => ({}));
  return new Promise((resolve) => {
    const dialog = h("dialog", {
      class: "fm-over fm-signin", "aria-labelledby": "fm-signin-title", "data-test": "sign-in",
    });
    const done = ({ by }) => {
      if (worksAs && by !== worksAs) {
        location.reload(); // what one person began is not sent in another's name
        return;
      }
      dialog.close();
      showPicturesAgain();
      resolve();
    };
    const words = hadAccount
      ? "Your session has ended. Nothing is lost: sign in, and what you did last is sent again."
      : worksAs
        ? "This store has accounts from now on. Sign in with yours; what is saved is there."
        : "Your decisions are recorded under your name.";
    dialog.append(
      h("h2", { id: "fm-signin-title" }, "Sign in to ForgetMe"),
      h("p", { class: "fm-note" }, words),
      ...(ways.huggingface ? [hubButton(ways.huggingface), h("p", { class: "fm-signin-or" }, OR)] : []),
      form(done),
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is no way around
    lay(dialog);
    dialog.querySelector(hadAccount ? "[name=password]" : "[name=name]").focus();
  });
}

function form(done) {
  const name = h("input", {
    type: "text", name: "name", required: true, maxlength: 64, autocomplete: "username",
    autocapitalize: "none", spellcheck: "false", value: hadAccount ? worksAs : "", "data-test": "sign-in-name",
  });
  const password = h("input", {
    type: "password", name: "password", required: true, maxlength: 1000,
    autocomplete: "current-password", "data-test": "sign-in-password",
  });
  const refused = new URLSearchParams(location.search).get("refused");
  const trouble = h("p", { class: "fm-signin-trouble", role: "alert", "data-test": "sign-in-trouble" },
    (Object.hasOwn(REFUSED, refused ?? "") && REFUSED[refused]) || "");
  const go = h("button", { class: "fm-button fm-main", "data-test": "sign-in-go" }, "sign in");
  const element = h("form", { method: "dialog" },
    h("label", { class: "fm-field" }, h("span", {}, "Name"), name),
    h("label", { class: "fm-field" }, h("span", {}, "Password"), password),
    trouble, go);
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    say(trouble, "");
    try {
      done(await send("sign-in", { name: name.value.trim(), password: password.value }));
    } catch (error) {
      say(trouble, error.message);
      password.value = "";
      password.focus();
    } finally {
      go.disabled = false;
    }
  });
  return element;
}

/** The way to Hugging Face; inside a frame of another page cookies are blocked, so it opens a tab. */
function hubButton(start) {
  const framed = window.top !== window.self;
  return h("a", {
    class: "fm-button fm-main fm-signin-hub", href: framed ? document.baseURI : new URL(start, document.baseURI),
    target: framed ? "_blank" : null, "data-test": "sign-in-hub",
    onclick: () => {
      const query = new URLSearchParams(location.search);
      query.delete("refused");
      sessionStorage.setItem(KEPT, query.toString());
    },
  }, framed ? "open in its own tab to sign in" : "sign in with Hugging Face");
}

/** Brings back the address that the way to Hugging Face and back has dropped. */
function backFromHub() {
  const kept = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  if (kept && !location.search) history.replaceState(null, "", `?${kept}`);
}

/** Pictures that were refused while nobody was signed in are asked for again. */
function showPicturesAgain() {
  for (const image of document.images) {
    if (image.complete && image.naturalWidth === 0 && image.src) image.src = image.src;
  }
}

function leaving(by, role) {
  const dialog = h("dialog", { class: "fm-over fm-signin", "aria-label": "Your account" });
  const out = async () => {
    await send("sign-out", {}).catch(() => {});
    location.reload();
  };
  const rights = {
    viewer: "You can look at everything. Ask a lead if you are to decide.",
    curator: "You can look and decide.",
    lead: "You can look, decide, review, publish, and manage the team.",
  };
  dialog.append(
    h("h2", {}, by),
    h("p", { class: "fm-note" }, `Signed in as ${role}. ${rights[role] ?? ""}`),
    h("div", { class: "fm-row fm-end" },
      h("button", { class: "fm-button", onclick: () => dialog.close() }, "stay"),
      h("button", { class: "fm-button fm-main", "data-test": "sign-out", onclick: out },
        icon("next"), "sign out")),
  );
  lay(dialog);
}
