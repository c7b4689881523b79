// Every card of the job, loaded behind the first decision: Find and Insights look at all of them.
import { signal } from "./vendor/preact.js";
import { get } from "./api.js";
import { idsOf, load } from "./cards.js";
import { indexed, job, setJob } from "./state.js";

const AT_ONCE = 20_000; // more than this is loaded when Find asks for it: most people never need it
/** Cards that this page keeps at the most: a card takes a kilobyte or two. */
export const MOST_CARDS = 200_000;
const READY_POLL_MS = 1000;

/** All ids in the order of the queue `all`. */
export const allIds = signal([]);

let running = null;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function collect() {
  while (!job.value.ready) {
    await pause(READY_POLL_MS);
    setJob(await get("/api/job"));
  }
  const ids = [];
  for await (const page of idsOf("all")) {
    ids.push(...page);
    allIds.value = [...ids];
    await load(page.slice(0, Math.max(0, AT_ONCE - ids.length + page.length)));
  }
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
