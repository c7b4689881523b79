// Look-alikes of the picture on the screen, decided together: the number is in the button, one undo takes all back.
import { html, useEffect, useRef, useSignal } from "../vendor/preact.js";
import { get } from "../api.js";
import { cardOf, changes, load, verdictOf, watch } from "../cards.js";
import { LEVEL, bindings, keyName, useKeys } from "../keys.js";
import { Dialog, Icon } from "../parts.js";
import { indexed } from "../state.js";
import { WORDS, basename, count } from "../text.js";
import { Thumb } from "../thumb.js";

const LIMIT = 24;
const REST_MS = 200; // a person who goes on asks for no group
const FIRST_REST_MS = 1500; // the server reads all labels for the first one, while the page reads its cards

const KINDS = { look: "By look", labels: "By labels" };

const NONE = {};

/** Images like this one that have no answer yet: `{found, count}`, asked for once the picture stays. */
export function useGroup(card, ready) {
  const asked = useSignal({ of: null, found: NONE });
  useEffect(() => {
    asked.value = { of: card.id, found: NONE };
    // A group by the machine's labels would tell what a blind card hides.
    if (!ready || card.blind) return undefined;
    const abort = new AbortController();
    const timer = setTimeout(() => Object.keys(KINDS).forEach((by) => ask(card.id, by, abort.signal, asked)), indexed.peek() ? REST_MS : FIRST_REST_MS);
    return () => (clearTimeout(timer), abort.abort());
  }, [card.id, ready]);
  // An effect comes behind its frame: until then what is known is about the picture before.
  const found = asked.value.of === card.id ? asked.value.found : NONE;
  const largest = Math.max(0, ...Object.values(found).map((ids) => ids.length));
  return { found, count: largest ? largest + 1 : 0 };
}

const isOpen = (id) => cardOf(id) !== undefined && !cardOf(id).blind && !verdictOf(cardOf(id));

async function ask(id, by, signal, asked) {
  try {
    const { ids } = await get("/api/near", { id, by, limit: LIMIT }, { signal });
    await load(ids);
    const open = ids.filter((one) => one !== id && isOpen(one));
    if (!signal.aborted && open.length) asked.value = { of: id, found: { ...asked.value.found, [by]: open } };
  } catch {
    // No group then: the picture is decided alone.
  }
}

function Member({ id, chosen, onToggle }) {
  const card = watch(id).value;
  const on = chosen.has(id);
  return html`<button class="member" data-testid="group-tile" data-id=${id} aria-pressed=${String(on)} aria-label=${`${basename(card.key)}: ${on ? "in the group" : "left out"}`}
    onClick=${() => onToggle(id)}><${Thumb} card=${card} /></button>`;
}

export function Group({ card, group, onDecide, onClose }) {
  const kinds = Object.keys(group.found);
  const kind = useSignal(kinds.includes("look") ? "look" : kinds[0]);
  const left = useSignal(new Set());
  void changes.value; // another person may have answered one of them since it was found
  const members = (group.found[kind.value] ?? []).filter((id) => id !== card.id && isOpen(id));
  const chosen = new Set(members.filter((id) => !left.value.has(id)));
  const decide = (verdict, event) => onDecide(verdict, [...chosen], event);
  const toggle = (id) => (left.value = new Set(left.value.has(id) ? [...left.value].filter((one) => one !== id) : [...left.value, id]));
  const closing = useRef(false); // a key may come before the dialog has left the document
  const close = () => ((closing.current = true), onClose());
  useKeys((event, action) => {
    if (closing.current) return false;
    if (event.key === "Escape" || action === "group") return (close(), true);
    if (["keep", "reject", "unsure"].includes(action) && !event.repeat) decide(action, event);
    return action !== null;
  }, LEVEL.dialog);
  return html`<${Dialog} testid="group-panel" label="Look-alikes" onClose=${close} class="wide">
    <header class="dialog-head"><h2>${count(chosen.size + 1)} alike</h2>
      ${kinds.length > 1 && html`<div class="segments">${kinds.map((one) => html`<button aria-pressed=${String(one === kind.value)} onClick=${() => (kind.value = one)}>${KINDS[one]}</button>`)}</div>`}
      <button class="quiet" onClick=${close}>Close <kbd>Esc</kbd></button></header>
    <div class="members">
      <span class="member anchor"><${Thumb} card=${card} alt="The picture itself" /></span>
      ${members.map((id) => html`<${Member} key=${id} id=${id} chosen=${chosen} onToggle=${toggle} />`)}
    </div>
    <div class="verdicts">${["reject", "unsure", "keep"].map((verdict) => html`<button class=${`decision ${verdict}`} data-testid=${`group-${verdict}`}
      onClick=${(event) => decide(verdict, event)}><${Icon} name=${verdict} /><span>${WORDS[verdict]} ${count(chosen.size + 1)}</span><kbd>${keyName(bindings.value[verdict][0] ?? "")}</kbd></button>`)}</div>
  <//>`;
}
