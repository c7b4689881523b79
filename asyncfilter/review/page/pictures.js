// The large pictures of Decide: fetched and decoded ahead, so that a card is painted in the frame after its key.
import { signal } from "./vendor/preact.js";
import { cardOf } from "./cards.js";
import { attempted, mayBeBlank, troubleOf, untilNext } from "./trouble.js";

const AHEAD = 8;
const BEHIND = 3;
const MOST_FAILED = 10; // of a picture that the server can show and this browser cannot

const pictures = new Map(); // id -> {image, state}

/** One attempt to get a picture: `ready`, or what is wrong. */
async function attempt(card, image, number) {
  image.src = attempted(card.large, number);
  const isDecoded = await image.decode().then(() => true, () => false);
  if (isDecoded && !mayBeBlank(image)) return "ready";
  if (pictures.get(card.id)?.image !== image) return "away"; // it is not wanted any more
  const trouble = await troubleOf(card.id);
  if (trouble !== "shown") return trouble;
  return isDecoded ? "ready" : number < MOST_FAILED ? "away" : "broken";
}

/** Tries until there is an end: while the server is away, a picture is neither there nor broken. */
async function bring(card, image, state) {
  for (let number = 0; ; number += 1) {
    const outcome = await attempt(card, image, number);
    if (outcome !== "away") return void (state.value = outcome);
    await untilNext(number);
    if (pictures.get(card.id)?.image !== image) return;
  }
}

function start(card, urgent) {
  const image = new Image();
  const state = signal(card.broken ? "broken" : "loading");
  image.decoding = "sync"; // it is decoded already when it is inserted
  image.fetchPriority = urgent ? "high" : "auto";
  image.draggable = false;
  pictures.set(card.id, { image, state });
  if (!card.broken) void bring(card, image, state);
  return pictures.get(card.id);
}

/** The picture of a card: its element, and a signal that is `loading`, `ready`, `broken` or `changed`. */
export function pictureOf(card, { urgent = true } = {}) {
  return pictures.get(card.id) ?? start(card, urgent);
}

/** Whether a state is that of a picture that never comes. */
export const isLost = (state) => state === "broken" || state === "changed";

/** Width and height of the upright picture in pixels; guessed until it is known. */
export function sizeOf(card) {
  if (card.width) return [card.width, card.height];
  const image = pictures.get(card.id)?.image;
  return image?.naturalWidth && !mayBeBlank(image) ? [image.naturalWidth, image.naturalHeight] : [4, 3];
}

/** Keep the pictures around a position of a line of ids, and no others. */
export function prefetch(ids, position) {
  const kept = new Set(ids.slice(Math.max(0, position - BEHIND), position + AHEAD + 1));
  for (const [id, { image }] of pictures) {
    if (kept.has(id)) continue;
    pictures.delete(id);
    image.removeAttribute("src"); // stops a request that is under way
    image.remove();
  }
  for (const id of ids.slice(position, position + AHEAD + 1)) {
    const card = cardOf(id);
    if (card) pictureOf(card, { urgent: false });
  }
}
