// The screens are fragments: `#decide/ID?queue=audit`. A fragment never reaches the server.
import { signal } from "./vendor/preact.js";

export const TABS = ["decide", "sheet", "find", "insights", "run"];

function read() {
  const [path, search = ""] = location.hash.slice(1).split("?");
  const [tab, id] = path.split("/");
  return {
    tab: TABS.includes(tab) ? tab : "decide",
    id: /^\d+$/.test(id ?? "") ? Number(id) : null,
    state: Object.fromEntries(new URLSearchParams(search)),
  };
}

/** Where the page is: `{tab, id, state}`. */
export const route = signal(read());

/** How often the person went somewhere; changes that the page makes to its own address do not count. */
export const arrivals = signal(0);

addEventListener("hashchange", () => {
  route.value = read();
  arrivals.value += 1;
});

/** The fragment of a place; empty parts of the state are left out. */
export function fragment(tab, id = null, state = {}) {
  const kept = Object.entries(state).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = kept.length ? "?" + new URLSearchParams(kept) : "";
  return `#${tab}${id === null ? "" : "/" + id}${search}`;
}

/** Go to a place, as a step that the browser's Back takes back. */
export const go = (tab, id = null, state = {}) => void (location.hash = fragment(tab, id, state));

/** Note a change of the state of the present screen in the address; no step of its own. */
export function replaceState(tab, id, state) {
  history.replaceState(null, "", fragment(tab, id, state));
  route.value = { tab, id, state };
}
