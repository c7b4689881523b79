// A small picture. One that cannot be shown is said to be none only once the server says so: it may just be away.
import { html, useLayoutEffect, useRef, useSignal } from "./vendor/preact.js";
import { attempted, mayBeBlank, troubleOf, untilNext } from "./trouble.js";

const WORDS = { broken: "No picture", changed: "Replaced" };

/**
 * How a small picture comes: `address` to ask for, `lost` with the words when it never comes, and what to do when the
 * element has loaded or failed. It is tried again while the server cannot tell what is wrong.
 */
export function useThumb(card) {
  const number = useSignal(0);
  const lost = useSignal(null);
  const stands = useRef(true);
  useLayoutEffect(() => () => void (stands.current = false), []);
  const look = async (isDecoded) => {
    const trouble = await troubleOf(card.id);
    if (trouble === "shown" && isDecoded) return;
    if (WORDS[trouble]) return void (stands.current && (lost.value = trouble));
    await untilNext(number.value);
    if (stands.current) number.value += 1;
  };
  return {
    address: attempted(card.thumb, number.value),
    lost: WORDS[card.broken ? "broken" : lost.value],
    // An element from which its address was taken away has not failed.
    onError: ({ target }) => void (target.getAttribute("src") && look(false)),
    onLoad: ({ target }) => void (mayBeBlank(target) && look(true)),
  };
}

export function Thumb({ card, words, ...rest }) {
  const { address, lost, onError, onLoad } = useThumb(card);
  if (lost) return html`<span class="no-picture">${words ?? lost}</span>`;
  return html`<img src=${address} alt="" draggable=${false} onError=${onError} onLoad=${onLoad} ...${rest} />`;
}
