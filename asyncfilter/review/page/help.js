// Help: every key, changed by a click, and the switch that turns single keys off.
import { html, useLayoutEffect, useSignal } from "./vendor/preact.js";
import { ACTIONS, LEVEL, bind, bindings, keyName, keyOf, keysOff, resetKeys, switchKeys, useKeys } from "./keys.js";
import { Dialog } from "./parts.js";

const ELSEWHERE = [
  ["Labels", "1 to 9 put the nth label on or off; in the field Enter adds, Esc closes"],
  ["Sheet", "arrows move, Space flips, Enter commits the page"],
  ["Find", "arrows move, Shift and arrows select, Ctrl A selects all, K R U decide the selection"],
  ["Boxes", "Tab next box, arrows move by a pixel (Shift: ten), Alt and arrows resize, Delete removes, Enter ends"],
];

/** Keys of the dialog itself: they scroll it and walk through it. */
const NATIVE = new Set(["Tab", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"]);

const FIXED = new Set(["Escape", "Tab", "Enter", "Shift", "Control", "Alt", "Meta"]);

/** The keys of an action; a click waits for the new key. */
function Keys({ action, listening }) {
  const waits = listening.value === action;
  const keys = bindings.value[action];
  const label = `Change the key of: ${ACTIONS[action].words}. Now ${keys.map(keyName).join(" or ") || "none"}`;
  return html`<button class="keys" data-testid="rebind" data-action=${action} aria-label=${label} onClick=${() => (listening.value = action)}>
    ${waits ? "Press a key" : keys.map((key) => html`<kbd>${keyName(key)}</kbd>`)}
  </button>`;
}

function useNewKey(listening) {
  useLayoutEffect(() => {
    const take = (event) => {
      if (!listening.value || ["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      if (!FIXED.has(event.key) && !/^[0-9]$/.test(event.key)) bind(listening.value, keyOf(event));
      listening.value = null;
    };
    addEventListener("keydown", take, { capture: true });
    return () => removeEventListener("keydown", take, { capture: true });
  }, []);
}

export function Help({ onClose }) {
  const listening = useSignal(null);
  useNewKey(listening);
  // What lies below is out of reach: no key decides a picture that is not seen.
  useKeys((event, action) => {
    if (event.key === "Escape" || (action === "help" && !event.repeat)) onClose();
    return !NATIVE.has(event.key);
  }, LEVEL.dialog);
  return html`<${Dialog} testid="help" label="Help" onClose=${onClose}>
    <header class="dialog-head">
      <h2>Keys</h2>
      <button class="quiet" onClick=${onClose}>Close <kbd>Esc</kbd></button>
    </header>
    <div class="switch-row">
      <span id="keys-off-label">Switch single keys off</span>
      <button role="switch" class="switch" data-testid="keys-off" aria-labelledby="keys-off-label" aria-checked=${String(keysOff.value)}
        onClick=${() => switchKeys(!keysOff.value)}><span></span></button>
    </div>
    <dl class="key-list">
      ${Object.entries(ACTIONS).map(
        ([action, { words }]) => html`<div><dt>${words}</dt><dd><${Keys} action=${action} listening=${listening} /></dd></div>`,
      )}
    </dl>
    <button class="quiet" onClick=${resetKeys}>Back to the usual keys</button>
    <h3>Elsewhere</h3>
    <dl class="elsewhere">${ELSEWHERE.map(([name, words]) => html`<div><dt>${name}</dt><dd>${words}</dd></div>`)}</dl>
    <p class="faint">Every answer is on disk before it is called saved. Undo has no end, and reaches behind a reload.</p>
  <//>`;
}
