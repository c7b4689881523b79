// What all screens share.
import { batch, computed, signal } from "./vendor/preact.js";

/** The object of GET /api/job; null until it came. */
export const job = signal(null);

/** Counts of the job, kept current by events. */
export const counts = signal({ images: 0, waiting: 0, keep: 0, reject: 0, unsure: 0, unresolved: 0 });

/** True once every card is known to this page. */
export const indexed = signal(false);

/** The sentence that the live region holds. */
export const spoken = signal("");

/** Times of decisions of the last ten minutes, in ms of `performance.now()`. */
export const decided = signal([]);

/** What the person must know: `{kind, text, id, count}`, at most one of each kind. */
export const notices = signal([]);

/** The newest pulse of a run, and those before it; and the last event about an apply. */
export const pulses = signal([]);
export const applied = signal(null);

const PACE_MS = 600_000;

/** Images an hour over the last ten minutes; null before there are enough to say so. */
export const pace = computed(() => {
  const times = decided.value;
  if (times.length < 5) return null;
  const span = Math.max(times.at(-1) - times[0], 1000);
  return Math.round(((times.length - 1) / span) * 3_600_000);
});

const SERIES = 12;
const QUICK_MS = 450;

/** True while a series of decisions came faster than anybody looks at pictures. */
export const isQuick = computed(() => {
  const last = decided.value.slice(-SERIES);
  const span = last.at(-1) - last[0];
  // Decisions of one moment are a group or a sheet: these are looked at together.
  return last.length === SERIES && new Set(last).size === SERIES && span < SERIES * QUICK_MS;
});

/** Note `number` decisions made now (negative: as many were taken back). */
export function countDecided(number) {
  const now = performance.now();
  const recent = decided.value.filter((at) => now - at < PACE_MS);
  decided.value = number > 0 ? [...recent, ...Array(number).fill(now)] : recent.slice(0, number);
}

/** Say a sentence to people who use a screen reader. */
export function speak(sentence) {
  // The same words twice are not spoken twice: an invisible difference makes them new.
  spoken.value = spoken.value === sentence ? sentence + " " : sentence;
}

/** Show a notice; a second one of its kind takes its place. */
export function notify(notice) {
  notices.value = [...notices.value.filter((one) => one.kind !== notice.kind), notice];
}

/** Take a notice away. */
export function dismiss(kind) {
  if (notices.value.some((one) => one.kind === kind)) notices.value = notices.value.filter((one) => one.kind !== kind);
}

let newest = 0; // serial of the newest answer that the server told of

/** Note how far the server is: counts of before are old, also when they come later. */
export const hear = (serial) => void (newest = Math.max(newest, serial ?? 0));

/** How far the server is, as far as this page was told. */
export const heard = () => newest;

let skipped = null; // counts that came while answers of ours were under way, which the server may not have counted

/** Take over counts of the server, unless there are newer ones; `isUnsaved` while answers of ours are under way. */
export function setCounts(value, serial, isUnsaved) {
  if (serial < newest) return;
  hear(serial);
  skipped = isUnsaved ? { value, serial } : null;
  if (!isUnsaved) counts.value = { ...counts.peek(), ...value };
}

/** Everything is saved: counts that came before are taken over if they have the last answer. */
export function takeSkipped() {
  if (skipped) setCounts(skipped.value, skipped.serial, false);
}

/** Take over a job as the server describes it; `before` is what was heard when it was asked. */
export function setJob(value, { isUnsaved = false, before = newest } = {}) {
  if (value.serial < before) newest = value.serial; // it has another answers file now
  batch(() => {
    job.value = value;
    setCounts(value.counts, value.serial, isUnsaved);
  });
}
