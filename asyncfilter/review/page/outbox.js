// Answers on their way to the server. An answer counts for the person at once and is kept here, in IndexedDB, until the
// server says that it is on its disk: the server, the tab or the machine may die in between.
//
// There is one line, and one batch under way: so the order of rows in the file is the order of decisions. Each row has a
// uid made here; sending one twice is harmless, so whatever is not known to have arrived is sent again.
import { batch as together, computed, signal } from "./vendor/preact.js";
import { ApiError, get, online, post } from "./api.js";
import { OUTBOX, add, everything, isDurable, remove } from "./database.js";
import { later } from "./painted.js";
import { hear } from "./state.js";

const MOST_ROWS = 200;
const MOST_BYTES = 60_000; // the server takes 65,536
const FIRST_WAIT_MS = 250;
const BUSY_MS = 1000; // what the server asks for
const LONGEST_WAIT_MS = 4000; // a server that comes back has everything well within ten seconds

const encoder = new TextEncoder();
const rows = signal([]);
const written = new WeakMap(); // row -> promise of its write to IndexedDB

const leftOver = signal([]); // rows of an earlier page, until it is known whether they are still right
const late = computed(() => [...leftOver.value, ...rows.value]);

/** How many rows are not acknowledged yet. */
export const unsaved = computed(() => late.value.length);

/** True while the server takes nothing because the answers file is locked by another program. */
export const busy = signal(false);

const underWay = computed(() => new Set(rows.value.map(({ id }) => id)));

/** Images with rows under way: their cards are newer here than on the server. */
export const isUnderWay = (id) => underWay.peek().has(id);

/** The verdict of each image that has one under way, also of an earlier page, or an undo (null). */
const verdicts = computed(() => new Map(late.value.flatMap(({ id, body }) => (body.undoes || body.verdict ? [[id, body.verdict ?? null]] : []))));

/** Whether an image is decided by a row under way: the server, which does not know that, offers it again. */
export const isDecided = (id) => Boolean(verdicts.peek().get(id));

/** How many images the server may offer again, as it does not know yet what was said about them. */
export const offeredAgain = () => [...verdicts.peek().values()].filter(Boolean).length;

let scope = "";
let onResult = () => {};
let onRefused = () => {};
let sending = false;
let adopting = null; // what an earlier page left comes before everything else: rows keep the order of decisions
let wake = () => {};

/** A new uid: 128 random bits. `crypto.randomUUID` exists on secure origins only. */
export function newUid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Begin: what an earlier page of this person and job left is sent first. Resolves with whether rows outlive a reload.
 *
 * `stillRight(rows)` resolves with those that are about the same images as then, once the server knows all images.
 */
export async function start({ owner, stillRight, result, refused }) {
  scope = owner;
  onResult = result;
  onRefused = refused;
  const left = (await everything(OUTBOX)).filter((row) => row.scope === scope);
  leftOver.value = left;
  if (left.length) adopting = adopt(left, stillRight).catch(() => {}).finally(() => (adopting = null));
  void run();
  return isDurable();
}

async function adopt(left, stillRight) {
  const right = new Set(await stillRight(left));
  together(() => {
    rows.value = [...left.filter((row) => right.has(row)), ...rows.value];
    leftOver.value = [];
  });
  await remove(OUTBOX, left.filter((row) => !right.has(row))).catch(() => {});
}

/** Put rows of one decision into the line: all of them, or none. */
export function enqueue(added) {
  const scoped = added.map((row) => ({ ...row, scope }));
  rows.value = [...rows.value, ...scoped];
  // Written and sent side by side: whichever is first, the person has lost nothing.
  const write = add(OUTBOX, scoped).catch(() => {});
  for (const row of scoped) written.set(row, write);
  later(run);
}

/** Try at once, instead of after the present wait. */
export const hurry = () => wake();

addEventListener("online", hurry);
addEventListener("visibilitychange", hurry);
// The last chance of a tab that closes: the rows stay in IndexedDB all the same.
addEventListener("pagehide", () => {
  if (rows.value.length && !adopting) post(...requestOf(nextBatch()), { keepalive: true }).catch(() => {});
});

/** The first rows of the line that fit one request: of one kind, as each kind has its route. */
function nextBatch() {
  const batch = [];
  let bytes = 20;
  for (const row of rows.value) {
    const size = encoder.encode(JSON.stringify(row.body)).length + 1;
    if (batch.length && (row.route !== batch[0].route || bytes + size > MOST_BYTES)) break;
    batch.push(row);
    bytes += size;
    if (batch.length === MOST_ROWS) break;
  }
  return batch;
}

const requestOf = (batch) => [`/api/${batch[0].route}`, { [batch[0].route]: batch.map((row) => row.body) }];

function settle(batch) {
  const gone = new Set(batch);
  rows.value = rows.value.filter((row) => !gone.has(row));
  // The server can be quicker than the write: a row is removed after it was written.
  void Promise.all(batch.map((row) => written.get(row))).then(() => remove(OUTBOX, batch)).catch(() => {});
}

/** Whether the server has looked at the rows and will never take them. A wrong token says nothing about them. */
const isFinal = (error) => error instanceof ApiError && !error.passing && error.status !== 401;

/**
 * Results. A server that has just started does not know all images yet: `unknown` counts once it knew all of them before
 * it was asked.
 */
async function ask(batch) {
  const request = requestOf(batch);
  const reply = await post(...request);
  if (!reply.results.some(({ status }) => status === "unknown")) return reply;
  if (!(await get("/api/job")).ready) throw new ApiError(503, "starting", "The server reads its images first.");
  return post(...request);
}

async function deliver(batch) {
  const { results, serial } = await ask(batch);
  hear(serial);
  settle(batch);
  const byUid = new Map(batch.map((row) => [row.body.uid, row]));
  together(() => results.forEach((result) => onResult(byUid.get(result.uid), result)));
}

/** A batch that the server will never take: its rows go one by one, so that one bad row holds nothing back. */
async function deliverSingly(batch) {
  for (const row of batch) {
    try {
      await deliver([row]);
    } catch (error) {
      if (!isFinal(error)) throw error;
      settle([row]);
      onRefused(row, error);
    }
  }
}

/** Send until the line is empty. */
async function run() {
  if (sending) return;
  sending = true;
  await adopting;
  let wait = FIRST_WAIT_MS;
  while (rows.value.length) {
    const batch = nextBatch();
    try {
      await deliver(batch);
      busy.value = false;
      wait = FIRST_WAIT_MS;
    } catch (error) {
      busy.value = error.code === "busy";
      if (isFinal(error)) await deliverSingly(batch).catch(() => {});
      else await pause(error.status === 503 ? Math.max(wait, BUSY_MS) : wait);
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    }
  }
  sending = false;
}

function pause(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => (clearTimeout(timer), resolve());
  });
}

/** Resolves when the line is empty, or after `ms`. */
export async function settled(ms) {
  const end = performance.now() + ms;
  await Promise.race([adopting, new Promise((resolve) => setTimeout(resolve, ms))]);
  while (rows.value.length && online.value && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
}
