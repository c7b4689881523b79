// Every card of the job, loaded behind the first decision: Find and Insights look at all of them. What a run, or a new
// file in a folder, adds later is taken in as well.
import { effect, signal } from "./vendor/preact.js";
import { idsOf, load } from "./cards.js";
import { refreshJob } from "./job_loader.js";
import { route } from "./routes.js";
import { counts, indexed, job } from "./state.js";

const AT_ONCE = 20_000; // more than this is loaded when Find asks for it: most people never need it
/** Cards that this page keeps at the most: a card takes a kilobyte or two. */
export const MOST_CARDS = 200_000;
const READY_POLL_MS = 1000;
const RENEW_MS = 2000;
const RENEW_SHARE = 20; // the index is read again at most in a twentieth of the time
const SHOWN_EACH = 100_000; // a new list for every page would be a million copies

/** All ids in the order of the queue `all`. */
export const allIds = signal([]);

let running = null;
let renewing = false;
let wantsAll = false; // whether a filter looks at every card
let known = null; // how many images the server had before the index was read
let tookMs = 0;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function collect() {
  while (!job.value.ready) {
    await pause(READY_POLL_MS);
    await refreshJob();
  }
  const began = performance.now();
  const before = counts.peek().images;
  // The most uncertain first; then all others, in the order of the run.
  const ids = new Set();
  for (const name of ["waiting", "all"]) {
    for await (const page of idsOf(name, { route: "ids" })) {
      const fresh = page.filter((id) => !ids.has(id));
      const room = Math.max(0, AT_ONCE - ids.size);
      fresh.forEach((id) => ids.add(id));
      if (!indexed.peek() && (room || ids.size % SHOWN_EACH < fresh.length)) allIds.value = [...ids];
      await load(fresh.slice(0, room));
    }
  }
  allIds.value = placed(ids);
  known = before;
  tookMs = performance.now() - began;
}

/** The ids in the order in which they are shown: tiles that a person looks at stay where they are, new ones follow. */
function placed(ids) {
  if (!indexed.peek() || route.peek().tab !== "find") return [...ids];
  return [...new Set([...allIds.peek().filter((id) => ids.has(id)), ...ids])];
}

/** Read the index again until it has what the server has. */
async function renew() {
  renewing = true;
  while (known !== counts.peek().images) {
    await pause(Math.max(RENEW_MS, RENEW_SHARE * tookMs));
    await collect().then(() => wantsAll && loadAll()).catch(() => {});
  }
  renewing = false;
}

effect(() => {
  const isLate = indexed.value && counts.value.images !== known;
  if (isLate && !renewing) void renew();
});

/** Load the index, again and again until it is there. */
export function loadIndex() {
  running ??= (async () => {
    while (known === null) await collect().catch(() => pause(READY_POLL_MS));
    performance.mark("asyncfilter:index");
    indexed.value = true;
  })();
  return running;
}

/** Load the cards that filters look at, as far as this page keeps them. */
export async function loadAll() {
  wantsAll = true;
  await loadIndex();
  await load(allIds.value.slice(0, MOST_CARDS));
}
