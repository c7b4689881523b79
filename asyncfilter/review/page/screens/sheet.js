// Sheet: a page of pictures, marked as the machine would decide. Flip the wrong ones, and commit all with one key.
import { html, signal, useEffect, useLayoutEffect, useRef } from "../vendor/preact.js";
import { announce, answer, done, undo } from "../answers.js";
import { post } from "../api.js";
import { cardOf, load, watch } from "../cards.js";
import { useKeys } from "../keys.js";
import { OF_OTHERS, QUEUES, isDone } from "../line.js";
import { settled, unsaved } from "../outbox.js";
import { Icon, Verdict } from "../parts.js";
import { replaceState, route } from "../routes.js";
import { counts } from "../state.js";
import { WORDS, basename, count } from "../text.js";
import { Thumb } from "../thumb.js";

const SIZES = [12, 24, 36, 60];
const SAVED_MS = 2000;
const AGAIN_MS = 300;
const SEEN_MS = 150; // a key that comes sooner was meant for the page of pictures before

const ids = signal([]);
const marks = signal({}); // id -> verdict
const at = signal(0);
const state = signal("loading"); // loading, ready, empty
let shownAt = 0;
let isNext = false; // whether the page of pictures came in the place of one that was committed
let turn = 0;
let again = () => {}; // fills the page with what comes next
const committed = new Set(); // until the server knows them it offers them again

/** What the machine would say; a blind card tells nothing, so that all start alike. */
const premark = (card) => (!card.blind && (card.rule_verdict ?? card.verdict) === "reject" ? "reject" : "keep");

/** The next ids of a queue. Before the server has what was committed last, it offers that again. */
async function next(queue, size) {
  await settled(SAVED_MS);
  const { ids: taken } = await post("/api/take", { queue, n: Math.min(64, size), answered: OF_OTHERS.has(queue) });
  await load(taken, { again: queue !== "waiting" });
  const fresh = taken.filter((id) => cardOf(id) && !committed.has(id) && !isDone(queue, id)).slice(0, size);
  return fresh.length || !taken.length || !unsaved.value ? fresh : null;
}

/** As `next`, again and again until the server answers; null when another page of pictures was wanted meanwhile. */
async function patiently(queue, size) {
  const mine = (turn += 1);
  for (;;) {
    const found = await next(queue, size).catch(() => null);
    if (mine !== turn || found) return mine === turn ? found : null;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function fill(queue, size, { afterCommit = false } = {}) {
  state.value = "loading";
  again = () => void fill(queue, size);
  const found = await patiently(queue, size);
  if (!found) return;
  isNext = afterCommit;
  ids.value = found;
  marks.value = Object.fromEntries(ids.value.map((id) => [id, premark(cardOf(id))]));
  at.value = 0;
  state.value = ids.value.length ? "ready" : "empty";
  shownAt = performance.now();
}

/** Mark a picture; while others are on their way, which begin with marks of their own, it would be lost. */
function mark(id, verdict) {
  if (state.value === "ready") marks.value = { ...marks.value, [id]: verdict };
}

const flip = (id) => mark(id, marks.value[id] === "keep" ? "reject" : "keep");

function commit(queue, size) {
  if (state.value !== "ready" || (isNext && performance.now() - shownAt < SEEN_MS)) return;
  const changes = ids.value.map((id) => ({ id, verdict: marks.value[id] }));
  ids.value.forEach((id) => committed.add(id));
  const shownMs = (performance.now() - shownAt) / changes.length;
  answer(changes, { how: "sheet", askedAs: QUEUES[queue].askedAs, shownMs });
  announce("keep", changes.filter(({ verdict }) => verdict === "keep").length);
  void fill(queue, size, { afterCommit: true });
}

async function takeBack() {
  if (!done.value.length) return;
  const mine = (turn += 1); // what is on its way is not wanted any more
  const back = (await undo()).filter(cardOf);
  if (mine !== turn) return;
  if (!back.length) return again();
  back.forEach((id) => committed.delete(id));
  ids.value = back;
  marks.value = Object.fromEntries(back.map((id) => [id, marks.value[id] ?? premark(cardOf(id))]));
  at.value = 0;
  state.value = "ready";
  isNext = false;
  shownAt = performance.now();
}

function columnsOf(element) {
  return getComputedStyle(element).gridTemplateColumns.split(" ").length;
}

function Tile({ id, index }) {
  const card = watch(id).value;
  const verdict = marks.value[id];
  const here = index === at.value;
  return html`<div role="gridcell" id=${`sheet-${id}`} class=${`tile ${verdict} ${here ? "here" : ""}`} data-testid="sheet-tile" data-id=${id}
      data-verdict=${verdict} aria-label=${`${basename(card.key)}: ${WORDS[verdict]}`} aria-selected=${String(here)}
      onClick=${() => ((at.value = index), flip(id))}>
    <${Thumb} card=${card} />
    <${Verdict} verdict=${verdict} bare />
  </div>`;
}

function useSheetKeys(grid, queue, size) {
  useKeys((event, action) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columnsOf(grid.current ?? document.body), ArrowDown: columnsOf(grid.current ?? document.body) }[event.key];
    const id = ids.value[at.value];
    if (step) at.value = Math.min(Math.max(at.value + step, 0), Math.max(ids.value.length - 1, 0));
    else if (event.key === "Enter" && !event.repeat) commit(queue, size);
    else if (event.key === " " && id !== undefined) flip(id);
    else if (["keep", "reject", "unsure"].includes(action) && id !== undefined) mark(id, action);
    else if (action === "undo" && !event.repeat) void takeBack();
    else return false;
    grid.current?.querySelector(`#sheet-${ids.value[at.value]}`)?.scrollIntoView({ block: "nearest" });
    return true;
  });
}

function Head({ queue, size }) {
  const wrong = ids.value.filter((id) => marks.value[id] !== "keep").length;
  const set = (parts) => replaceState("sheet", null, { ...route.value.state, ...parts });
  return html`<div class="screen-head">
    <label class="field inline"><span>Queue</span><select data-testid="sheet-queue" value=${queue} onChange=${(event) => (set({ queue: event.target.value }), event.target.blur())}>
      ${Object.entries(QUEUES).filter(([name]) => name !== "all").map(([name, { words }]) => html`<option value=${name}>${words}</option>`)}</select></label>
    <label class="field inline"><span>Tiles</span><select data-testid="sheet-size" value=${size} onChange=${(event) => (set({ size: event.target.value }), event.target.blur())}>
      ${SIZES.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
    <p class="faint grow">${ids.value.length ? `${count(ids.value.length - wrong)} keep, ${count(wrong)} not` : ""}</p>
    <button class="quiet" data-testid="undo" disabled=${!done.value.length} onClick=${takeBack}><${Icon} name="undo" /><span>Undo</span></button>
    <button class="primary" data-testid="sheet-commit" data-count=${ids.value.length} disabled=${!ids.value.length}
      onClick=${() => commit(queue, size)}>Commit ${count(ids.value.length)} <kbd>Enter</kbd></button>
  </div>`;
}

export function Sheet() {
  const grid = useRef(null);
  const queue = QUEUES[route.value.state.queue] ? route.value.state.queue : "waiting";
  const size = SIZES.includes(Number(route.value.state.size)) ? Number(route.value.state.size) : 24;
  useSheetKeys(grid, queue, size);
  // With the screen, not behind its frame: a key would commit the pictures that were here before.
  useLayoutEffect(() => {
    void fill(queue, size);
    return () => void (turn += 1);
  }, [queue, size]);
  useEffect(() => {
    if (state.value === "ready" && document.activeElement === document.body) grid.current?.focus({ preventScroll: true });
  }, [ids.value]);
  return html`<${Head} queue=${queue} size=${size} />
    ${state.value === "empty"
      ? html`<div class="empty" data-testid="empty"><h2>${queue === "waiting" && counts.value.waiting ? "Nothing is free just now: other people have what is left." : "Nothing waits in this queue."}</h2></div>`
      : html`<div class="tiles" ref=${grid} role="grid" data-testid="sheet" tabindex="0" aria-label="Pictures to commit" aria-busy=${String(state.value === "loading")}
          aria-activedescendant=${ids.value.length ? `sheet-${ids.value[at.value]}` : null}>
          <div role="row" class="row">${ids.value.map((id, index) => html`<${Tile} key=${id} id=${id} index=${index} />`)}</div></div>`}`;
}
