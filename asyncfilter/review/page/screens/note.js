// A note goes with the next verdict about its image; until then it waits here, also over a reload.
import { html, signal } from "../vendor/preact.js";

const PLACE = "asyncfilter-notes";

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE)) ?? {};
  } catch {
    return {};
  }
}

const drafts = signal(stored());

function keep(notes) {
  drafts.value = notes;
  sessionStorage.setItem(PLACE, JSON.stringify(notes));
}

/** The note that waits for a verdict about an image, or null; it waits no longer. */
export function takeNote(id) {
  const { [id]: note = null, ...rest } = drafts.value;
  if (note !== null) keep(rest);
  return note?.trim() || null;
}

export function Note({ card }) {
  const value = drafts.value[card.id] ?? card.answer?.note ?? "";
  const onKey = (event) => {
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
  };
  return html`<label class="field">
    <span>Note <span class="faint">goes with your answer</span></span>
    <input data-testid="note-input" maxlength="1000" value=${value} autocomplete="off" placeholder="None"
      onInput=${(event) => keep({ ...drafts.value, [card.id]: event.target.value })} onKeyDown=${onKey} />
  </label>`;
}
