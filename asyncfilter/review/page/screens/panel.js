// Beside the picture: what it is, why it waits, what the machine saw, and what people say.
import { html, useSignal } from "../vendor/preact.js";
import { verdictOf } from "../cards.js";
import { done } from "../answers.js";
import { cardOf } from "../cards.js";
import * as line from "../line.js";
import { Foreign, Icon, KeyText, Verdict } from "../parts.js";
import { go } from "../routes.js";
import { basename, clock, count, percent, visible } from "../text.js";
import { LabelChooser } from "./labels.js";
import { Note } from "./note.js";

const ROWS = 8;
const RECENT = 5;

function LabelRow({ label }) {
  const { name, confidence, threshold } = label;
  const said = `${visible(name)} ${percent(confidence)} percent${threshold == null ? "" : `, threshold ${percent(threshold)}`}`;
  return html`<li class="label-row" data-testid="label-row" data-label=${visible(name)} data-confidence=${confidence} aria-label=${said}>
    <${Foreign} class="label-name" text=${name} />
    <span class="number">${percent(confidence)}</span>
    <span class="meter" aria-hidden="true">
      <span class=${threshold == null ? "fill aside" : "fill"} style=${{ width: `${confidence}%` }}></span>
      ${threshold != null && html`<span class="tick" style=${{ left: `${threshold}%` }}></span>`}
    </span>
  </li>`;
}

/** Labels with a threshold first: they decide. */
function Labels({ card }) {
  const all = useSignal(false);
  const sorted = [...(card.labels ?? [])].sort((one, two) => (one.threshold == null) - (two.threshold == null) || two.confidence - one.confidence);
  if (!sorted.length) return null;
  const shown = all.value ? sorted : sorted.slice(0, ROWS);
  return html`<section aria-label="What the machine saw">
    <h2 class="cap">Seen</h2>
    <ul class="label-rows">${shown.map((label) => html`<${LabelRow} key=${label.name} label=${label} />`)}</ul>
    ${sorted.length > ROWS && html`<button class="quiet small" onClick=${() => (all.value = !all.value)}>
      ${all.value ? "Fewer" : `${count(sorted.length - ROWS)} more`}</button>`}
  </section>`;
}

function Recent() {
  const actions = done.value.slice(-RECENT).reverse();
  if (!actions.length) return null;
  return html`<section aria-label="Decided before"><h2 class="cap">Before</h2>
    <ul class="recent">${actions.map(({ items }) => {
      const card = cardOf(items[0].id);
      const name = items.length > 1 ? `${count(items.length)} images` : basename(card?.key ?? `image ${items[0].id}`);
      return html`<li key=${items[0].uid}><button class="quiet small" onClick=${() => void line.show(items[0].id)}>
        ${verdictOf(card) ? html`<${Verdict} verdict=${verdictOf(card)} bare />` : html`<${Icon} name="boxes" /><span class="sr">Labels or boxes:</span>`}
        <${Foreign} text=${name} /></button></li>`;
    })}</ul>
  </section>`;
}

function Said({ answer }) {
  const word = answer.verdict ? html`<${Verdict} verdict=${answer.verdict} />` : "labels or boxes";
  return html`<p>${word} <span class="faint">by <${Foreign} text=${answer.reviewer} /> ${clock(answer.at)}</span></p>`;
}

function Queues() {
  const choose = (event) => {
    go("decide", null, { queue: event.target.value === "waiting" ? null : event.target.value });
    event.target.blur();
  };
  return html`<label class="field queue"><span class="sr">Queue</span>
    <select data-testid="queue" value=${line.queue.value} onChange=${choose}>
      ${Object.entries(line.QUEUES).map(([name, { words }]) => html`<option value=${name}>${words}</option>`)}
    </select></label>`;
}

export function Panel({ card }) {
  return html`<aside class="panel" aria-label="About this picture">
    <${Queues} />
    <${KeyText} value=${card.key} testid="key" />
    ${card.why && html`<p class="why" data-testid="why"><${Foreign} text=${card.why} /></p>`}
    ${card.blind && !card.labels && html`<p class="why">Blind: the machine's opinion is hidden until you have answered.</p>`}
    <${Labels} key=${card.id} card=${card} />
    <${LabelChooser} card=${card} />
    <${Note} card=${card} />
    <div class="history" data-testid="history">
      ${card.answer && html`<section aria-label="Answer"><h2 class="cap">Answered</h2><${Said} answer=${card.answer} /></section>`}
      <${Recent} />
    </div>
  </aside>`;
}
