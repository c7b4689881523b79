// The line of images that one person decides in Decide. Ids are leased from the server (two people never get one), a few
// ahead of the position; an image that was passed over keeps its place.
import { batch, computed, signal } from "./vendor/preact.js";
import { get, post } from "./api.js";
import { cardOf, idsOf, isEnough, load } from "./cards.js";
import { later } from "./painted.js";
import { prefetch } from "./pictures.js";
import { isDecided, offeredAgain, unsaved } from "./outbox.js";
import { counts } from "./state.js";

/** The queues of Decide: what they are for, and as what an answer in them counts. */
export const QUEUES = {
  waiting: { words: "Waiting", askedAs: "decide" },
  audit: { words: "Audit", askedAs: "audit" },
  second: { words: "Second looks", askedAs: "second" },
  disagreements: { words: "Disagreements", askedAs: "adjudicate" },
  unsure: { words: "Unsure", askedAs: "decide" },
  all: { words: "All images", askedAs: "free" },
};

/** Queues of images that others have answered, which is why they are in them. */
export const OF_OTHERS = new Set(["disagreements", "unsure"]);

const AHEAD = 24;
const MOST_TAKEN = 64;
const RENEW_MS = 120_000; // a lease lasts 300 s
const MOST_MEASURED = 5;

export const queue = signal("waiting");
export const line = signal([]);
export const position = signal(0);
/** Ids decided in this line; taken back ones are not in it. */
export const finished = signal(new Set());
/** True when the server has nothing more for this person. */
export const drained = signal(false);
/** How many the server has in a queue other than `waiting` (that one is in the counts of the job), and what was done then. */
const measured = signal({ left: 0, done: 0 });

export const current = computed(() => line.value[position.value] ?? null);
export const rest = computed(() => {
  if (queue.value === "waiting") return counts.value.waiting;
  return Math.max(0, measured.value.left - (finished.value.size - measured.value.done));
});

let topping = null; // {of, promise} of the request that fills the line

/**
 * Ids that are new to this line, and whether they are all that the server has. It gives those that this person holds
 * already, too, and those of answers that are on their way to it.
 */
async function take(name, missing) {
  const known = new Set(line.value);
  const mine = line.value.filter((id) => !finished.value.has(id)).length;
  const again = offeredAgain();
  const n = Math.min(MOST_TAKEN, mine + again + missing);
  const { ids } = await post("/api/take", { queue: name, n, answered: OF_OTHERS.has(name) });
  const fresh = ids.filter((id) => !known.has(id));
  if (fresh.length || ids.length < n) return { fresh, isAll: ids.length < n };
  // Only with every answer at the server it is sure that nothing but images that were passed over fill what one may hold.
  return again ? { fresh, isAll: false } : { fresh: await beyond(name, known), isAll: true };
}

/** So many were passed over that they fill what one may hold: the queue itself has more. */
async function beyond(name, known) {
  for await (const page of idsOf(name)) {
    const fresh = page.filter((id) => !known.has(id)).slice(0, AHEAD);
    if (fresh.length) return fresh;
  }
  return [];
}

/** Whether an image has its answer already, which the server may not know yet. */
export const isDone = (name, id) => name === "waiting" && (isEnough(cardOf(id)?.answer) || isDecided(id));

let lines = 0; // counts the lines that were begun: what was asked for an earlier one is not for this one

async function extend(missing) {
  const [name, mine] = [queue.value, lines];
  const { fresh, isAll } = await take(name, missing);
  // A card that was loaded before may be asked about blind now, or have the answer of somebody else.
  if (mine === lines) await load(fresh, { again: name !== "waiting" });
  if (mine !== lines) return;
  const there = new Set(line.value); // one may have been put in meanwhile
  const usable = fresh.filter((id) => !there.has(id) && cardOf(id) && !isDone(name, id));
  drained.value = isAll && usable.length === 0;
  if (usable.length) line.value = [...line.value, ...usable];
  void measure(name).catch(() => {}); // an audit goes on with its next milestone
  prefetch(line.value, position.value);
}

/** Fill the line ahead of the position; one request at a time. */
export function topUp() {
  const missing = AHEAD - (line.value.length - position.value);
  if (missing <= AHEAD / 2 && line.value.length > position.value) return topping?.promise ?? Promise.resolve();
  if (topping?.of !== lines) {
    const one = { of: lines, promise: extend(Math.max(missing, 1)).finally(() => topping === one && (topping = null)) };
    topping = one;
  }
  return topping.promise;
}

/** Begin a line, with `id` at its head if one is given. */
export async function begin(name, id = null) {
  const mine = (lines += 1);
  batch(() => {
    queue.value = name;
    line.value = [];
    position.value = 0;
    finished.value = new Set();
    drained.value = false;
  });
  if (id !== null) {
    await load([id]);
    if (mine !== lines) return;
    if (cardOf(id)) line.value = [id];
  }
  await topUp();
}

/** Ask how many a queue has left, again if the person went on meanwhile: the answer may have come before or after. */
async function measure(name) {
  if (name === "waiting") return;
  const state = () => `${lines} ${finished.value.size} ${unsaved.value}`;
  for (let times = 0; times < MOST_MEASURED; times += 1) {
    const before = state();
    const { ids, rest: more } = await get("/api/queue", { name, limit: 1 });
    if (name !== queue.value) return;
    // Answers that are under way are still in the server's number.
    measured.value = { left: ids.length + more, done: finished.value.size - unsaved.value };
    if (state() === before) return;
  }
}

/** Go to a place of the line. */
export function moveTo(place) {
  position.value = Math.max(0, Math.min(place, line.value.length));
  later(() => {
    prefetch(line.value, position.value);
    void topUp().catch(() => {});
  });
}

/** Show an image: where it is in the line, or put in before the present one. */
export async function show(id) {
  let place = line.value.indexOf(id);
  if (place < 0) {
    await load([id]);
    if (!cardOf(id)) return;
    place = position.value;
    line.value = [...line.value.slice(0, place), id, ...line.value.slice(place)];
  }
  moveTo(place);
}

/** Note ids as decided, and go to the next one that is not. */
export function finish(ids) {
  finished.value = new Set([...finished.value, ...ids]);
  const next = line.value.findIndex((id, place) => place > position.value && !finished.value.has(id));
  moveTo(next < 0 ? line.value.length : next);
}

/** Note ids as not decided any more, and show the first of them. */
export function reopen(ids) {
  finished.value = new Set([...finished.value].filter((id) => !ids.includes(id)));
  return show(ids[0]);
}

/** Places of the images that were passed over. */
export const passedOver = computed(() => {
  const places = line.value.flatMap((id, place) => (place < position.value && !finished.value.has(id) ? [place] : []));
  return places.filter((place) => !isEnough(cardOf(line.value[place])?.answer) || queue.value !== "waiting");
});

/** Take out of the line what another person holds or has answered, unless it is on the screen. */
export function leave(ids) {
  const gone = new Set(ids.filter((id) => id !== current.value && line.value.indexOf(id) > position.value));
  if (gone.size) line.value = line.value.filter((id) => !gone.has(id));
}

// Any call about leased ids renews them; a person who looks at one picture for long makes none.
setInterval(() => {
  if (document.visibilityState !== "visible") return;
  const held = line.value.slice(position.value, position.value + AHEAD).filter((id) => !finished.value.has(id));
  if (held.length) get("/api/cards", { ids: held.join(",") }).catch(() => {});
}, RENEW_MS);
