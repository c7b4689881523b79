// Every card this page knows. A card is plain data; a component that shows one subscribes to it alone, so that a
// decision repaints one tile and not ten thousand.
import { signal } from "./vendor/preact.js";
import { get } from "./api.js";
import { isUnderWay } from "./outbox.js";
import { job } from "./state.js";

const BATCH = 200; // the most that one request may ask for
const REQUESTS = 3; // Chromium opens six connections to a host; pictures need the others

const cards = new Map();
const watched = new Map();

/** The number of changes to any card: what depends on all of them reads it. */
export const changes = signal(0);

/** The card, or undefined while it is not loaded. */
export const cardOf = (id) => cards.get(id);

/** The card as a signal: null while it is not loaded. */
export function watch(id) {
  let found = watched.get(id);
  if (!found) watched.set(id, (found = signal(cards.get(id) ?? null)));
  return found;
}

/** Everybody whose answer this page has seen; the links of this server may be those of others. */
export const answerers = signal(new Set());

/** Take over a card. */
export function put(card) {
  cards.set(card.id, card);
  const who = card.answer?.reviewer;
  if (who && !answerers.value.has(who)) answerers.value = new Set([...answerers.value, who]);
  const one = watched.get(card.id);
  if (one) one.value = card;
}

/** Change parts of a card. */
export function patch(id, parts) {
  const card = cards.get(id);
  if (!card) return;
  put({ ...card, ...parts });
  changes.value += 1;
}

const waiting = new Map(); // id -> promise of the request that brings it

let turn = 0;

/** Take over a card of a request; requests may be answered in another order, and later than answers of ours. */
function receive(card, asked) {
  const known = cards.get(card.id);
  card.asked = asked;
  if (!known || known.key !== card.key) return put(card);
  if (known.asked > asked) return;
  // An answer of ours that is under way, or was stored after this card was read, is newer.
  if (!isUnderWay(card.id) && card.base >= known.base) return put(card);
  put({ ...card, answer: known.answer, base: Math.max(card.base, known.base) });
}

async function request(ids) {
  const asked = (turn += 1);
  const { cards: found } = await get("/api/cards", { ids: ids.join(",") });
  for (const card of found) receive(card, asked);
  changes.value += 1;
}

function ask(ids) {
  const promise = request(ids).finally(() => ids.forEach((id) => waiting.delete(id)));
  ids.forEach((id) => waiting.set(id, promise));
  return promise;
}

/** Load the cards that are not there yet (all, with `again`), a few requests at a time, in the order given. */
export async function load(ids, { again = false } = {}) {
  const already = new Set();
  const wanted = ids.filter((id) => {
    if (waiting.has(id)) already.add(waiting.get(id));
    return again || (!cards.has(id) && !waiting.has(id));
  });
  let at = 0;
  const worker = async () => {
    while (at < wanted.length) {
      await ask(wanted.slice(at, (at += BATCH)));
    }
  };
  await Promise.all([...already, ...Array.from({ length: Math.min(REQUESTS, Math.ceil(wanted.length / BATCH)) }, worker)]);
}

/** All ids of a queue, page by page; the next page is on its way while one is used. `route` "ids" has longer pages. */
export async function* idsOf(name, { route = "queue" } = {}) {
  const ask = (after) => {
    const asked = get(`/api/${route}`, { name, ...(after === null ? {} : { after }) });
    asked.catch(() => {}); // told where it is awaited, if anywhere
    return asked;
  };
  for (let asked = ask(null); asked; ) {
    const { ids, after } = await asked;
    asked = (after ?? null) === null ? null : ask(after);
    yield ids;
  }
}

/** The verdict of a card's current answer, or "". */
export const verdictOf = (card) => card?.answer?.verdict ?? "";

/** Whether an answer is enough for its image: a verdict; in a folder, which has no rules, labels or boxes will do. */
export function isEnough(answer) {
  if (!answer) return false;
  return Boolean(answer.verdict) || (!job.value.rules.length && (answer.labels ?? answer.boxes ?? null) !== null);
}
