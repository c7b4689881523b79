// Every card of the job, loaded behind the first decision: Find and Insights look at all of them.
import { signal } from "./vendor/preact.js";
import { idsOf, load } from "./cards.js";
import { refreshJob } from "./job_loader.js";
import { indexed, job } from "./state.js";

const AT_ONCE = 20_000; // more than this is loaded when Find asks for it: most people never need it
/** Cards that this page keeps at the most: a card takes a kilobyte or two. */
export const MOST_CARDS = 200_000;
const READY_POLL_MS = 1000;
const SHOWN_EACH = 100_000; // a new list for every page would be a million copies

/** All ids in the order of the queue `all`. */
export const allIds = signal([]);

let running = null;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function collect() {
  while (!job.value.ready) {
    await pause(READY_POLL_MS);
    await refreshJob();
  }
  // The most uncertain first; then all others, in the order of the run.
  const ids = new Set();
  for (const name of ["waiting", "all"]) {
    for await (const page of idsOf(name, { route: "ids" })) {
      const fresh = page.filter((id) => !ids.has(id));
      const room = Math.max(0, AT_ONCE - ids.size);
      fresh.forEach((id) => ids.add(id));
      if (room || ids.size % SHOWN_EACH < fresh.length) allIds.value = [...ids];
      await load(fresh.slice(0, room));
    }
  }
  allIds.value = [...ids];
  performance.mark("asyncfilter:index");
  indexed.value = true;
}

/** Load the index, again and again until it is there. */
export function loadIndex() {
  running ??= (async () => {
    while (!indexed.value) await collect().catch(() => pause(READY_POLL_MS));
  })();
  return running;
}

/** Load the cards that filters look at, as far as this page keeps them. */
export async function loadAll() {
  await loadIndex();
  await load(allIds.value.slice(0, MOST_CARDS));
}
