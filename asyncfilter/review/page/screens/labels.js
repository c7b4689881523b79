// Labels of the whole picture: chosen by typing or by digit, several an image. Each change is an answer, and undone as one.
import { html, useLayoutEffect, useRef, useSignal } from "../vendor/preact.js";
import { answer } from "../answers.js";
import { cardOf } from "../cards.js";
import * as line from "../line.js";
import { Foreign, Icon } from "../parts.js";
import { keysOff } from "../keys.js";
import { job, notify, speak } from "../state.js";
import { visible } from "../text.js";

const MOST_LABELS = 50;
const MOST_CHARACTERS = 255;
const SUGGESTED = 8;
const DIGITS = 9;

/** Labels that were typed on this page: offered again. */
const typed = new Set();

/** The labels of a card as they are now; a component that was drawn before the last answer holds the card of then. */
export const labelsOf = (card) => (cardOf(card.id) ?? card).answer?.labels ?? [];

function setLabels(card, labels, words) {
  answer([{ id: card.id, labels }], { askedAs: line.QUEUES[line.queue.value].askedAs });
  speak(words);
}

/** Put a label on the image; what it has already is not put twice. */
export function addLabel(card, text) {
  const label = text.trim();
  const labels = labelsOf(card);
  if (!label || labels.includes(label)) return;
  if (labels.length >= MOST_LABELS || label.length > MOST_CHARACTERS) {
    notify({ kind: "changed", text: `Not added: an image takes ${MOST_LABELS} labels of ${MOST_CHARACTERS} characters.` });
    return;
  }
  typed.add(label);
  setLabels(card, [...labels, label], `Label ${visible(label)} added.`);
}

export function removeLabel(card, label) {
  setLabels(card, labelsOf(card).filter((one) => one !== label), `Label ${visible(label)} removed.`);
}

/** Put the nth label of the job on or off; whether there is one. */
export function toggleLabel(card, digit) {
  const label = job.value.labels[digit - 1];
  if (label === undefined) return false;
  if (labelsOf(card).includes(label)) removeLabel(card, label);
  else addLabel(card, label);
  return true;
}

/** Labels to choose from: the job's, those typed here, then what the machine saw. */
export function knownLabels(card) {
  return [...new Set([...job.value.labels, ...typed, ...(card.labels ?? []).map(({ name }) => name)])];
}

/**
 * A text field with suggestions; `onChoose` gets the text. Enter takes what is typed, or the suggestion under the arrows.
 * What is typed is about the image `of`, and is not taken over to the next one.
 */
export function Combobox({ testid, id, label, known, onChoose, of = null, value = "", clears = true }) {
  const text = useSignal(value);
  const open = useSignal(false);
  const at = useSignal(-1);
  const field = useRef(null);
  useLayoutEffect(() => {
    text.value = value;
    at.value = -1;
  }, [of]);
  const isAsItWas = !clears && text.value === value; // then all labels are offered in its place
  const needle = isAsItWas ? "" : text.value.trim().toLowerCase();
  const found = known.filter((one) => one.toLowerCase().includes(needle)).slice(0, SUGGESTED);
  const choose = (chosen) => {
    if (chosen.trim()) onChoose(chosen);
    text.value = clears ? "" : chosen;
    at.value = -1;
    if (!clears) open.value = false;
  };
  const leave = () => {
    text.value = clears ? "" : value;
    open.value = false;
    field.current.blur();
  };
  const onFocus = () => {
    open.value = true;
    if (!clears) field.current.select(); // what is typed takes the place of what was there
  };
  const onKey = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) at.value = Math.max(-1, Math.min(found.length - 1, at.value + step));
    else if (event.key === "Enter") choose(at.value >= 0 ? found[at.value] : text.value);
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const list = `${id}-list`;
  const shown = open.value && found.length > 0;
  return html`<div class="combobox">
    <input ref=${field} data-testid=${testid} id=${id} role="combobox" aria-label=${label} aria-expanded=${String(shown)} aria-controls=${list}
      aria-autocomplete="list" aria-activedescendant=${at.value >= 0 ? `${list}-${at.value}` : null} autocomplete="off" maxlength=${MOST_CHARACTERS}
      placeholder=${label} value=${text.value} onFocus=${onFocus} onBlur=${() => (open.value = false)}
      onInput=${(event) => ((text.value = event.target.value), (open.value = true), (at.value = -1))} onKeyDown=${onKey} />
    <ul id=${list} role="listbox" aria-label=${`${label}: suggestions`} hidden=${!shown}>
      ${found.map((one, index) => html`<li role="option" id=${`${list}-${index}`} aria-selected=${String(index === at.value)}
        onMouseDown=${(event) => event.preventDefault()} onClick=${() => choose(one)}><${Foreign} text=${one} /></li>`)}
    </ul>
  </div>`;
}

export function LabelChooser({ card }) {
  const labels = labelsOf(card);
  const offered = job.value.labels.slice(0, DIGITS);
  return html`<section class="labels" aria-label="Labels of this picture">
    <h2 class="cap">Labels</h2>
    <div class="chips">
      ${labels.map((label) => html`<button key=${label} class="chip on" data-testid="label-chip" data-label=${visible(label)}
        aria-label=${`Remove label ${visible(label)}`} onClick=${() => removeLabel(card, label)}>
        <${Foreign} text=${label} /><${Icon} name="close" /></button>`)}
      ${offered.map((label, index) => !labels.includes(label) && html`<button key=${label} class="chip" data-testid="label-choice"
        data-label=${visible(label)} aria-label=${`Add label ${visible(label)}`} onClick=${() => addLabel(card, label)}>
        ${!keysOff.value && html`<kbd>${index + 1}</kbd>`}<${Foreign} text=${label} /></button>`)}
    </div>
    <${Combobox} testid="label-input" id="label-input" label="Add a label" of=${card.id} known=${knownLabels(card).filter((one) => !labels.includes(one))}
      onChoose=${(label) => addLabel(card, label)} />
  </section>`;
}
