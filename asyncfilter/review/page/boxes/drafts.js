// The boxes under edit. A gesture is drawn from a draft; each finished one becomes an answer at once, so that nothing is
// lost and one undo takes back one gesture. Arrow keys come in series: a series is one gesture.
import { signal } from "../vendor/preact.js";
import { answer } from "../answers.js";
import { cardOf } from "../cards.js";
import { job } from "../state.js";
import { toFractions } from "./geometry.js";

const SERIES_MS = 700;

/** Index of the box that keys and fields change, or -1. */
export const selected = signal(-1);

/** The boxes of a card while they differ from its answer: `{id, boxes, askedAs}`, or null. */
const draft = signal(null);

let timer = null;
let lastLabel = null;

/**
 * The boxes of a card as they are now, in fractions. A component that was drawn before the last answer still holds the
 * card of then.
 */
export function boxesOf(card) {
  return draft.value?.id === card.id ? draft.value.boxes : ((cardOf(card.id) ?? card).answer?.boxes ?? []);
}

/** Show other boxes; they are not an answer yet. */
export function sketch(card, boxes, askedAs) {
  draft.value = { id: card.id, boxes, askedAs };
}

/** Make the sketch an answer now. */
export function flush() {
  clearTimeout(timer);
  const { value } = draft;
  if (!value) return;
  draft.value = null;
  const usable = value.boxes.filter(({ width, height }) => width > 0 && height > 0);
  const before = cardOf(value.id)?.answer?.boxes ?? [];
  if (JSON.stringify(usable) !== JSON.stringify(before)) answer([{ id: value.id, boxes: usable }], { askedAs: value.askedAs });
}

/** Make the sketch an answer when the series of keys has ended. */
export function flushSoon() {
  clearTimeout(timer);
  timer = setTimeout(flush, SERIES_MS);
}

/** Forget a sketch. */
export const discard = () => (draft.value = null);

addEventListener("pagehide", flush, { capture: true });

/** One box replaced (`box` null: removed), in fractions. */
export function replaced(card, index, box) {
  const boxes = [...boxesOf(card)];
  if (box) boxes[index] = box;
  else boxes.splice(index, 1);
  return boxes;
}

/** The label that a new box gets: the last one used, else the first of the job. */
export const newLabel = () => lastLabel ?? job.value.labels[0] ?? "object";

/** Change the box that is selected; `change` gets it in pixels. */
export function setBox(card, index, pixels, picture, askedAs) {
  sketch(card, replaced(card, index, toFractions(pixels, picture)), askedAs);
}

/** Give the selected box a label; new boxes get it too. */
export function setLabel(card, index, label, askedAs) {
  lastLabel = label;
  sketch(card, replaced(card, index, { ...boxesOf(card)[index], label }), askedAs);
  flush();
}
