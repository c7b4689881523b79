// Decide: one picture, one key. A key counts once its picture was seen; its answer is shown at once and the next picture
// is there in the next frame.
import { html, signal, useEffect, useLayoutEffect, useSignal } from "../vendor/preact.js";
import { announce, answer, done, undo } from "../answers.js";
import { Boxes } from "../boxes/editor.js";
import { flush } from "../boxes/drafts.js";
import { BoxFields } from "../boxes/fields.js";
import { MachineBoxes } from "../boxes/machine.js";
import { cardOf, load, verdictOf, watch } from "../cards.js";
import { bindings, digitOf, keyName, keysOff, useKeys } from "../keys.js";
import * as line from "../line.js";
import { Foreign, Icon, Verdict } from "../parts.js";
import { Photo } from "../photo.js";
import { isLost, pictureOf, sizeOf } from "../pictures.js";
import { arrivals, replaceState, route } from "../routes.js";
import { job } from "../state.js";
import { WORDS, count } from "../text.js";
import { Group, useGroup } from "./group.js";
import { toggleLabel } from "./labels.js";
import { takeNote } from "./note.js";
import { Panel } from "./panel.js";
import { Strip } from "./strip.js";

const SEEN_MS = 150; // a key that comes sooner was meant for the picture before

const readyId = signal(null);
let paintedAt = 0;
let pressedAt = null; // when the key of the decision under way went down
let visit = 0; // counts the pictures that came on the screen: a picture that comes back is seen anew
let firstCard = true;

function onPainted(id) {
  // The server knows the size of a picture once it has decoded it.
  if (cardOf(id).width == null) void load([id], { again: true }).catch(() => {});
  paintedAt = performance.now();
  if (firstCard) performance.mark("asyncfilter:first-card");
  firstCard = false;
  if (pressedAt !== null) performance.measure("asyncfilter:decide", { start: pressedAt, end: paintedAt });
  pressedAt = null;
  const mine = visit;
  setTimeout(() => visit === mine && line.current.value === id && (readyId.value = id), SEEN_MS);
}

/** Another picture came on the screen, or none. */
function leavePicture(isDecided) {
  visit += 1;
  readyId.value = null;
  if (!isDecided) pressedAt = null; // the end of the queue is no picture that a key waits for
}

const canBeDrawnOn = (card) => !isLost(pictureOf(card).state.value);

const askedAs = () => line.QUEUES[line.queue.value].askedAs;

/** Answer the card on the screen, and those of `group` with it. */
function decide(card, verdict, event, group = []) {
  if (readyId.value !== card.id) return;
  flush(); // boxes under edit were drawn before this key
  const ids = [card.id, ...group];
  const note = takeNote(card.id);
  const changes = ids.map((id, at) => ({ id, verdict, note: at ? null : note }));
  pressedAt = event.timeStamp;
  readyId.value = null;
  answer(changes, { how: group.length ? "group" : "key", askedAs: askedAs(), shownMs: performance.now() - paintedAt });
  line.finish(ids);
  announce(verdict, ids.length, line.rest.value);
}

async function takeBack() {
  flush();
  pressedAt = null;
  const ids = await undo();
  if (ids) await line.reopen(ids);
}

const shortcut = (action) => (keysOff.value ? null : html`<kbd>${keyName(bindings.value[action][0] ?? "")}</kbd>`);

function Bar({ card, group, modes }) {
  const ready = readyId.value === card.id;
  const button = (verdict) => html`<button class=${`decision ${verdict}`} data-testid=${verdict} aria-disabled=${String(!ready)}
    aria-pressed=${String(verdictOf(card) === verdict)} onClick=${(event) => decide(card, verdict, event)}>
    <${Icon} name=${verdict} /><span>${WORDS[verdict]}</span>${shortcut(verdict)}
  </button>`;
  return html`<div class="decisions" role="group" aria-label="Decide this picture">
    <button class="quiet" data-testid="undo" disabled=${!done.value.length} onClick=${takeBack}>
      <${Icon} name="undo" /><span>Undo</span>${shortcut("undo")}</button>
    <div class="verdicts">${button("reject")}${button("unsure")}${button("keep")}</div>
    <div class="tools">
      <button class="quiet" data-testid="group" data-count=${group.count} disabled=${!group.count}
        onClick=${() => (modes.open.value = "group")}><${Icon} name="group" /><span>${group.count ? `${count(group.count)} alike` : "Alike"}</span>${shortcut("group")}</button>
      <button class="quiet" data-testid="boxes-open" aria-pressed=${String(modes.open.value === "boxes")} disabled=${!canBeDrawnOn(card)}
        onClick=${() => (modes.open.value = modes.open.value === "boxes" ? null : "boxes")}><${Icon} name="boxes" /><span>Boxes</span>${shortcut("boxes")}</button>
    </div>
  </div>`;
}

/** What the keys do on this screen; true for what was taken. */
function useDecideKeys(card, group, modes) {
  useKeys((event, action) => {
    if (event.key === "Escape" && modes.open.value) return ((modes.open.value = null), true);
    if (modes.open.value === "group") return false; // the group has the keys
    if (event.repeat && action) return true;
    const digit = action ? null : digitOf(event);
    if (card && digit && !keysOff.value && !event.ctrlKey && !event.altKey && !event.metaKey) return toggleLabel(card, digit);
    switch (action) {
      case "keep":
      case "reject":
      case "unsure":
        if (card) decide(card, action, event);
        return true;
      case "undo":
        void takeBack();
        return true;
      case "next":
      case "back":
        line.moveTo(line.position.value + (action === "next" ? 1 : -1));
        return true;
      case "group":
        if (group.count) modes.open.value = "group";
        return true;
      case "boxes":
        if (card) modes.open.value = modes.open.value === "boxes" || !canBeDrawnOn(card) ? null : "boxes";
        return true;
      case "machine":
      case "full":
        modes[action].value = !modes[action].value;
        return true;
      case "label":
      case "note":
        document.querySelector(`[data-testid=${action}-input]`)?.focus();
        return true;
      default:
        return false;
    }
  });
}

function Card({ card, modes }) {
  const group = useGroup(card, readyId.value === card.id);
  useDecideKeys(card, group, modes);
  const editing = modes.open.value === "boxes" && canBeDrawnOn(card);
  return html`<article class="card" data-testid="card" data-id=${card.id} data-position=${line.position.value + 1} aria-label="The picture to decide"
      data-ready=${String(readyId.value === card.id)} data-blind=${String(Boolean(card.blind))} data-verdict=${verdictOf(card)}>
    <div class="looking">
      <${Photo} card=${card} full=${modes.full.value && !editing} onPainted=${() => onPainted(card.id)}>
        ${({ picture, size }) => html`
          ${modes.machine.value && html`<${MachineBoxes} card=${card} picture=${picture} size=${size} />`}
          <${Boxes} key=${card.id} card=${card} picture=${picture} size=${size} editing=${editing} askedAs=${askedAs()}
            onDone=${() => (modes.open.value = null)} />`}
      <//>
      ${card.why && !editing && html`<p class="why brief" aria-hidden="true"><${Foreign} text=${card.why} /></p>`}
      <div class="verdict-badge"><${Verdict} verdict=${verdictOf(card)} /></div>
      ${editing
        ? html`<${BoxFields} card=${card} picture=${sizeOf(card)} askedAs=${askedAs()} onDone=${() => (modes.open.value = null)} />`
        : html`<${Strip} />`}
      <${Bar} card=${card} group=${group} modes=${modes} />
    </div>
    <${Panel} card=${card} modes=${modes} />
    ${modes.open.value === "group" && html`<${Group} card=${card} group=${group} onClose=${() => (modes.open.value = null)}
      onDecide=${(verdict, ids, event) => ((modes.open.value = null), decide(card, verdict, event, ids))} />`}
  </article>`;
}

const EMPTY = {
  waiting: "Nothing waits for an answer.",
  audit: "No audit waits for answers.",
  second: "No second look is wanted.",
  disagreements: "Nobody disagrees.",
  unsure: "Nothing is unsure.",
  all: "There are no images.",
};

/** What an empty line means: other people may have all that is left. */
function emptyWords(passed) {
  if (passed) return ["The end of the queue"];
  const left = line.rest.value;
  if (!left) return [EMPTY[line.queue.value]];
  return ["Nothing is free just now.", `${count(left)} left: other people have them, or they come in a moment.`];
}

function Empty() {
  useKeys((event, action) => {
    if (action === "undo") void takeBack();
    else if (action === "back") line.moveTo(line.position.value - 1);
    else return false;
    return true;
  });
  const passed = line.passedOver.value;
  const there = line.drained.value;
  const [heading, why] = emptyWords(passed.length);
  return html`<div class="empty" data-testid=${there ? "empty" : "loading"} aria-busy=${String(!there)}>
    ${there && html`
      <h2>${heading}</h2>
      ${why && html`<p class="faint">${why}</p>`}
      <p class="faint">${line.finished.value.size ? `${count(line.finished.value.size)} decided here.` : job.value.running ? "A run goes on: new images appear by themselves." : ""}</p>
      ${passed.length > 0 && html`<button onClick=${() => line.moveTo(passed[0])}>Look at the ${count(passed.length)} passed over</button>`}
      ${done.value.length > 0 && html`<button class="quiet" data-testid="undo" onClick=${takeBack}>Undo ${shortcut("undo")}</button>`}`}
  </div>`;
}

/** The line begins when the screen opens, and again for another queue. */
function useLine() {
  const { id, state } = route.value;
  const name = line.QUEUES[state.queue] ? state.queue : "waiting";
  useEffect(() => {
    if (name !== line.queue.value || (!line.line.value.length && !line.drained.value)) void line.begin(name, id).catch(() => {});
    else if (id !== null && id !== line.current.value) void line.show(id);
  }, [name, arrivals.value]);
  // The address follows the picture, so that a reload and a copied address show it again: with the picture itself, as a
  // reload just after a key would show the picture that this key decided.
  const now = line.current.value;
  const isBare = id === null && name === line.queue.value; // the tab was pressed: the picture stays
  useLayoutEffect(() => {
    if (now !== null && now !== route.value.id && route.value.tab === "decide") replaceState("decide", now, route.value.state);
  }, [now, isBare]);
  // At the end of the line: ask again now and then, as a run or another person may add to it.
  useEffect(() => {
    if (now !== null) return undefined;
    const timer = setInterval(() => void line.topUp().catch(() => {}), AGAIN_MS);
    return () => clearInterval(timer);
  }, [now]);
}

const AGAIN_MS = 3000;

export function Decide() {
  useLine();
  const modes = { open: useSignal(null), machine: useSignal(false), full: useSignal(false) };
  const id = line.current.value;
  const card = id === null ? null : watch(id).value;
  useLayoutEffect(() => leavePicture(id !== null), [id]);
  useEffect(() => {
    if (id !== null && !card) void load([id]).catch(() => {});
  }, [id]);
  return card ? html`<${Card} key="card" card=${card} modes=${modes} />` : html`<${Empty} />`;
}
