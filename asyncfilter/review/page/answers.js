// Decisions and taking them back. Both are shown at once and sent behind; the server's word replaces ours when it comes.
import { batch, signal } from "./vendor/preact.js";
import { cardOf, isEnough, load, patch, verdictOf } from "./cards.js";
import { DONE, add, everything, remove, replace } from "./database.js";
import { refreshJob } from "./job_loader.js";
import { enqueue, isUnderWay, newUid } from "./outbox.js";
import { counts, countDecided, job, notify, speak } from "./state.js";
import { WORDS, basename, plural } from "./text.js";

/** What this person did, oldest first: `{items: [{uid, id, key, before}]}`. It outlives a reload. */
export const done = signal([]);

const written = new WeakMap(); // action -> promise of its write to IndexedDB

let scope = "";

/** Take over what an earlier page of this person and job did, so that undo reaches behind a reload. */
export async function restore(owner) {
  scope = owner;
  done.value = [...(await everything(DONE)).filter((action) => action.scope === scope), ...done.value];
}

function bodyOf(change, card, { how, askedAs, shownMs }) {
  const { verdict = null, labels = null, boxes = null, note = null } = change;
  const shown = shownMs == null ? null : Math.round(shownMs);
  return { uid: newUid(), id: card.id, base: card.base ?? 0, verdict, labels, boxes, note, shown_ms: shown, how, asked_as: askedAs };
}

/** The answer as it will be, until the server says how it is. */
function foreseen(card, body) {
  const before = card.answer ?? {};
  return {
    serial: card.base ?? 0,
    uid: body.uid,
    verdict: body.verdict ?? before.verdict ?? null,
    labels: body.labels ?? before.labels ?? null,
    boxes: body.boxes ?? before.boxes ?? null,
    note: body.note ?? before.note ?? null,
    reviewer: job.value.reviewer,
    at: new Date().toISOString(),
  };
}

/** Whether an image waits while nobody has answered: the rules say review, or there are none (a folder). */
const waits = (card) => !card?.blind && (card?.rule_verdict ?? "review") === "review";

/** Move the counts of the job by answers that change: `[card, before, after]` each. The server's own come behind. */
function shiftCounts(moves) {
  const next = { ...counts.value };
  for (const [card, before, after] of moves) {
    if (before?.verdict) next[before.verdict] = Math.max(0, (next[before.verdict] ?? 0) - 1);
    if (after?.verdict) next[after.verdict] = (next[after.verdict] ?? 0) + 1;
    if (waits(card)) next.waiting = Math.max(0, next.waiting + !isEnough(after) - !isEnough(before));
  }
  counts.value = next;
}

/**
 * Answer: `changes` is a list of `{id, verdict, labels, boxes, note}`, all taken back by one undo.
 *
 * Returns the action, or null when there is nothing to answer.
 */
export function answer(changes, { how = "key", askedAs = "decide", shownMs = null } = {}) {
  const known = changes.filter((change) => cardOf(change.id));
  if (!known.length) return null;
  const rows = [];
  const items = [];
  batch(() => {
    for (const change of known) {
      const card = cardOf(change.id);
      const body = bodyOf(change, card, { how, askedAs, shownMs });
      rows.push({ route: "answers", id: card.id, key: card.key, body });
      items.push({ uid: body.uid, id: card.id, key: card.key, before: card.answer ?? null });
      patch(card.id, { answer: foreseen(card, body) });
    }
    shiftCounts(items.map(({ id, before }) => [cardOf(id), before, cardOf(id).answer]));
    if (known[0].verdict) countDecided(known.length);
    remember({ items, scope });
    enqueue(rows);
  });
  return done.value.at(-1);
}

function remember(action) {
  done.value = [...done.value, action];
  written.set(action, add(DONE, [action]).catch(() => {}));
}

/** Do something with an action in the database: once it was written, however quick the person is. */
const afterWrite = (action, work) => void Promise.resolve(written.get(action)).then(work).catch(() => {});

function forget(action) {
  done.value = done.value.filter((one) => one !== action);
  afterWrite(action, () => remove(DONE, [action]));
}

/** Show images as they were before an action. */
function restoreCards(items) {
  const known = items.filter(({ id }) => cardOf(id));
  shiftCounts(known.map(({ id, before }) => [cardOf(id), cardOf(id).answer, before]));
  for (const { id, before } of known) patch(id, { answer: before });
}

/** Take back the newest action; its ids, or null when there is none. */
export async function undo() {
  const action = done.value.at(-1);
  if (!action) return null;
  const { items } = action;
  const missing = items.filter(({ id }) => !cardOf(id)); // after a reload its cards may not be here yet
  forget(action);
  batch(() => {
    // At once: rows stand in the order of what the person did.
    enqueue(items.map(({ uid, id, key }) => ({ route: "undo", id, key, body: { uid: newUid(), undoes: uid } })));
    restoreCards(items);
    countDecided(-items.length);
  });
  if (missing.length) await load(missing.map(({ id }) => id)).catch(() => {});
  batch(() => restoreCards(missing.filter(({ id }) => isUnderWay(id))));
  const [first] = items;
  const what = items.length > 1 ? plural(items.length, "image") : basename(cardOf(first.id)?.key ?? "");
  speak(`Taken back: ${what}. ${plural(counts.value.waiting, "image")} left.`);
  return items.map(({ id }) => id);
}

/** Say a decision and what is left, of the queue that it was in. */
export function announce(verdict, number = 1, left = counts.value.waiting) {
  const what = number > 1 ? `${WORDS[verdict]}: ${plural(number, "image")}` : WORDS[verdict];
  speak(`${what}. ${plural(left, "image")} left.`);
}

/** Strike from the actions what the server did not take: there is nothing to take back. */
function strike(uid) {
  const action = done.value.find(({ items }) => items.some((item) => item.uid === uid));
  if (!action) return;
  const items = action.items.filter((item) => item.uid !== uid);
  if (!items.length) return forget(action);
  action.items = items;
  afterWrite(action, () => replace(DONE, [action]));
}

const STORED = new Set(["stored", "repeated"]);
let conflicts = new Set();

/** Take over what the server says about a row. */
export function onResult(row, { status, serial, current }) {
  if (!row) return;
  if (STORED.has(status)) {
    const base = Math.max(serial ?? 0, cardOf(row.id)?.base ?? 0);
    // While newer words about this image are under way, the server's answer is older than ours.
    patch(row.id, isUnderWay(row.id) ? { base } : { base, answer: withKnown(cardOf(row.id), current) });
    return;
  }
  strike(row.body.uid);
  shiftCounts([[cardOf(row.id), cardOf(row.id)?.answer, current]]);
  patch(row.id, { answer: current ?? null, base: current?.serial ?? serial ?? cardOf(row.id)?.base ?? 0 });
  void refreshJob().catch(() => {});
  if (status === "conflict") notifyConflict(row, current);
  else notifyChanged(row, status);
}

/** The server's answer; a note of ours that it does not repeat stays. */
const withKnown = (card, current) => current && { note: card?.answer?.note ?? null, ...current };

function notifyConflict(row, current) {
  conflicts = document.querySelector("[data-kind=conflict]") ? conflicts : new Set();
  conflicts.add(row.id);
  const others = current ? `${current.reviewer}: ${WORDS[verdictOf({ answer: current })] ?? "labels"}` : "someone else was first";
  const what = conflicts.size > 1 ? plural(conflicts.size, "image") : basename(row.key);
  notify({
    kind: "conflict",
    id: row.id,
    text: `${what}: answered by two people at once. ${others} stands; yours was not stored.`,
  });
}

const REASONS = {
  changed: "the object was replaced since it was shown",
  unknown: "the image is no longer in the job",
  not_yours: "it belongs to another person's answer",
  invalid: "the server does not take this answer",
};

function notifyChanged(row, status) {
  notify({ kind: "changed", id: row.id, text: `${basename(row.key ?? "")}: not stored, ${REASONS[status] ?? status}.` });
}

/** A row that the server refused as a whole. */
export function onRefused(row, error) {
  strike(row.body.uid);
  notify({ kind: "changed", id: row.id, text: `${basename(row.key ?? "")}: not stored. ${error.message}` });
}
