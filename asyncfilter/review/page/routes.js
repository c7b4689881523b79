// The screens are fragments: `#decide/ID?queue=audit`. A fragment never reaches the server.
import { batch, signal } from "./vendor/preact.js";

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

// The browser tells of a new address later than the address changes: until then the page must not write over it.
let seen = location.hash;

function arrive() {
  if (location.hash === seen) return;
  seen = location.hash;
  batch(() => {
    route.value = read();
    arrivals.value += 1;
  });
}

addEventListener("hashchange", arrive);

/** The fragment of a place; empty parts of the state are left out. */
export function fragment(tab, id = null, state = {}) {
  const kept = Object.entries(state).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = kept.length ? "?" + new URLSearchParams(kept) : "";
  return `#${tab}${id === null ? "" : "/" + id}${search}`;
}

/** Go to a place, as a step that the browser's Back takes back. */
export function go(tab, id = null, state = {}) {
  location.hash = fragment(tab, id, state);
  arrive();
}

/** Note a change of the state of the present screen in the address; no step of its own. */
export function replaceState(tab, id, state) {
  if (location.hash !== seen) return; // the person is on the way to another place
  history.replaceState(null, "", fragment(tab, id, state));
  seen = location.hash;
  route.value = { tab, id, state };
}
