// Every card of the job, loaded behind the first decision: Find and Insights look at all of them.
import { signal } from "./vendor/preact.js";
import { get } from "./api.js";
import { idsOf, load } from "./cards.js";
import { indexed, job, setJob } from "./state.js";

const AT_ONCE = 20_000; // more than this is loaded when Find asks for it: most people never need it
const READY_POLL_MS = 1000;

/** All ids in the order of the queue `all`. */
export const allIds = signal([]);

let wanted = AT_ONCE;
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
    await load(page.slice(0, Math.max(0, wanted - ids.length + page.length)));
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

/** Load the cards of an index that is larger than what is loaded at once; `onStep` after each part. */
export async function loadAll(onStep) {
  wanted = Infinity;
  await loadIndex();
  await load(allIds.value, { onStep });
}
