// Keeps the open tab in the address, so that a link or a reload opens it again.
import "./signin.js"; // asks who is there before a tab asks for anything

const FIRST = "curate";
const buttonOf = (tab) => document.querySelector(`#fm-tab-${CSS.escape(tab)}-button`);

/** Opens a tab as a click on it does. */
export function openTab(tab) {
  buttonOf(tab)?.click();
}

export function mount() {
  const tab = new URLSearchParams(location.search).get("tab");
  if (tab && tab !== FIRST) whenThere(tab, () => openTab(tab));
  document.addEventListener("click", (event) => {
    const id = event.target.closest("#fm-tabs [role='tab']")?.dataset.tabId;
    if (id) remember(id);
  });
  window.addEventListener("popstate", () => openTab(current()));
}

function current() {
  return new URLSearchParams(location.search).get("tab") ?? FIRST;
}

/** Gradio draws its tabs some time after the frame. */
function whenThere(tab, then) {
  if (buttonOf(tab)) {
    then();
    return;
  }
  const watch = new MutationObserver(() => {
    if (!buttonOf(tab)) return;
    watch.disconnect();
    then();
  });
  watch.observe(document.body, { childList: true, subtree: true });
}

function remember(tab) {
  const url = new URL(location.href);
  if (tab === FIRST) url.searchParams.delete("tab");
  else url.searchParams.set("tab", tab);
  if (tab !== current()) history.pushState(null, "", url);
}
