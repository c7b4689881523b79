// The large pictures of Decide: fetched and decoded ahead, so that a card is painted in the frame after its key.
import { signal } from "./vendor/preact.js";
import { cardOf } from "./cards.js";

const AHEAD = 8;
const BEHIND = 3;

const pictures = new Map(); // id -> {image, state}

function start(card, urgent) {
  const image = new Image();
  const state = signal(card.broken ? "broken" : "loading");
  image.decoding = "sync"; // it is decoded already when it is inserted
  image.fetchPriority = urgent ? "high" : "auto";
  image.draggable = false;
  if (!card.broken) {
    image.src = card.large;
    image.decode().then(
      () => (state.value = "ready"),
      () => (state.value = "broken"),
    );
  }
  return { image, state };
}

/** The picture of a card: its element, and a signal that is `loading`, `ready` or `broken`. */
export function pictureOf(card, { urgent = true } = {}) {
  let found = pictures.get(card.id);
  if (!found) pictures.set(card.id, (found = start(card, urgent)));
  return found;
}

/** Width and height of the upright picture in pixels; guessed until it is known. */
export function sizeOf(card) {
  if (card.width) return [card.width, card.height];
  const image = pictures.get(card.id)?.image;
  return image?.naturalWidth ? [image.naturalWidth, image.naturalHeight] : [4, 3];
}

/** Keep the pictures around a position of a line of ids, and no others. */
export function prefetch(ids, position) {
  const kept = new Set(ids.slice(Math.max(0, position - BEHIND), position + AHEAD + 1));
  for (const [id, { image }] of pictures) {
    if (kept.has(id)) continue;
    image.src = ""; // stops a request that is under way
    image.remove();
    pictures.delete(id);
  }
  for (const id of ids.slice(position, position + AHEAD + 1)) {
    const card = cardOf(id);
    if (card) pictureOf(card, { urgent: false });
  }
}
