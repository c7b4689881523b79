// What the person must know: conflicts, replaced objects, a server that is away or busy.
import { effect, html, signal } from "./vendor/preact.js";
import { online } from "./api.js";
import { busy, hurry, unsaved } from "./outbox.js";
import { Icon } from "./parts.js";
import { fragment } from "./routes.js";
import { dismiss, notices } from "./state.js";
import { plural } from "./text.js";

const PATIENCE_MS = 1200; // a server that starts again is not worth a word
const away = signal(false);

let timer = null;
effect(() => {
  clearTimeout(timer);
  if (online.value) away.value = false;
  else timer = setTimeout(() => (away.value = true), PATIENCE_MS);
});

const kept = () => (unsaved.value ? ` ${plural(unsaved.value, "answer")} kept here, sent as soon as it is back.` : "");

function Notice({ kind, text, id, onClose }) {
  return html`<div class="notice" role="alert" data-testid="notice" data-kind=${kind}>
    <p>${text}</p>
    ${id != null && html`<a class="quiet" href=${fragment("decide", id)} onClick=${onClose}>Look at it</a>`}
    ${kind === "offline" && html`<button class="quiet" onClick=${hurry}>Try now</button>`}
    ${onClose && html`<button class="quiet icon-only" aria-label="Close this notice" onClick=${onClose}><${Icon} name="close" /></button>`}
  </div>`;
}

export function Notices() {
  return html`<div class="notices">
    ${away.value && html`<${Notice} kind="offline" text=${"The server does not answer. Go on: nothing is lost." + kept()} />`}
    ${busy.value && html`<${Notice} kind="busy" text=${"Another program is writing to the answers file." + kept()} />`}
    ${notices.value.map(
      (one) => html`<${Notice} key=${one.kind} ...${one} onClose=${() => dismiss(one.kind)} />`,
    )}
  </div>`;
}
