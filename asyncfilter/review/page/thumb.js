// A small picture. One that cannot be shown is said to be none only once the server says so: it may just be away.
import { html, useSignal } from "./vendor/preact.js";
import { load } from "./cards.js";

/** Notes that a picture did not come, and asks for its card again, which then says why. */
export function useFailure(card) {
  const failed = useSignal(false);
  const onError = ({ target }) => {
    if (!target.getAttribute("src")) return; // none was wanted yet
    failed.value = true;
    void load([card.id], { again: true }).catch(() => {});
  };
  return { failed: failed.value, onError };
}

export function Thumb({ card, words = "No picture", ...rest }) {
  const { failed, onError } = useFailure(card);
  if (card.broken) return html`<span class="no-picture">${words}</span>`;
  return failed ? null : html`<img src=${card.thumb} alt="" draggable=${false} onError=${onError} ...${rest} />`;
}
