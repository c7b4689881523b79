// The neighbours in the line: where one is, what was said, what comes.
import { html } from "../vendor/preact.js";
import { verdictOf, watch } from "../cards.js";
import * as line from "../line.js";
import { Verdict } from "../parts.js";
import { basename } from "../text.js";
import { Thumb } from "../thumb.js";

const BEFORE = 4;
const AFTER = 8;

function Neighbour({ id, place }) {
  const card = watch(id).value;
  if (!card) return null;
  const here = place === line.position.value;
  const verdict = verdictOf(card);
  return html`<button class="neighbour" data-testid="neighbour" data-id=${id} aria-current=${here ? "true" : null} tabindex="-1"
      aria-label=${`Show ${basename(card.key)}${verdict ? `, ${verdict}` : ""}`} onClick=${() => line.moveTo(place)}>
    <${Thumb} card=${card} words="" loading="lazy" fetchpriority="low" />
    <${Verdict} verdict=${verdict} bare />
  </button>`;
}

export function Strip() {
  const from = Math.max(0, line.position.value - BEFORE);
  const ids = line.line.value.slice(from, line.position.value + AFTER + 1);
  return html`<nav class="strip" aria-label="Neighbours">
    ${ids.map((id, at) => html`<${Neighbour} key=${id} id=${id} place=${from + at} />`)}
  </nav>`;
}
