// Find: every image in one grid; filter, select, and decide the selection with its exact number in the button.
import { html, signal, useEffect, useLayoutEffect, useRef, useSignal } from "../vendor/preact.js";
import { announce, answer, undo } from "../answers.js";
import { answerers, changes } from "../cards.js";
import { MOST_CARDS, allIds, loadAll } from "../index_loader.js";
import { bindings, keyName, useKeys } from "../keys.js";
import { Icon } from "../parts.js";
import { go, replaceState, route } from "../routes.js";
import { indexed, job } from "../state.js";
import { WORDS, count, visible } from "../text.js";
import { SORTS, VERDICTS, filtered, looksAtAll } from "./find_filter.js";
import { Grid } from "./grid.js";

const selection = signal(new Set());
const at = signal(-1);
let anchor = 0; // where a range began

function select(ids, index, { range = false, toggle = false } = {}) {
  if (range) {
    const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)];
    selection.value = new Set(ids.slice(from, to + 1));
  } else {
    anchor = index;
    const id = ids[index];
    const has = selection.value.has(id);
    const rest = toggle ? [...selection.value].filter((one) => one !== id) : [];
    selection.value = new Set(toggle && has ? rest : [...rest, id]);
  }
  at.value = index;
}

function decide(ids, verdict) {
  // Only what is selected and found: what a filter hides is never decided.
  const chosen = ids.filter((id) => selection.value.has(id));
  if (!chosen.length) return;
  answer(chosen.map((id) => ({ id, verdict })), { how: chosen.length > 1 ? "group" : "key", askedAs: "free" });
  announce(verdict, chosen.length);
}

function useFindKeys(ids, columns) {
  useKeys((event, action) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns.current, ArrowDown: columns.current, Home: -Infinity, End: Infinity }[event.key];
    if (step && !event.altKey) {
      const next = at.value < 0 && Number.isFinite(step) ? 0 : Math.min(Math.max(at.value + step, 0), ids.length - 1);
      if (ids.length) select(ids, next, { range: event.shiftKey });
    } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a") selection.value = new Set(ids);
    else if (event.key === "Escape" && selection.value.size) selection.value = new Set();
    else if (event.key === "Enter" && ids[at.value] !== undefined) go("decide", ids[at.value]);
    else if (action === "find") document.querySelector("[data-testid=filter-text]").focus();
    else if (["keep", "reject", "unsure"].includes(action) && !event.repeat) decide(ids, action);
    else if (action === "undo" && !event.repeat) void undo();
    else return false;
    return true;
  });
}

/** One filter: its value stands in the address. */
function Filter({ name, label, type = "text", options, ...rest }) {
  const value = route.value.state[name] ?? "";
  const set = (event) => replaceState("find", null, { ...route.value.state, [name]: event.target.value });
  const testid = name === "sort" ? "sort" : `filter-${name}`;
  const leave = (event) => event.key === "Escape" && event.target.blur();
  return html`<label class="field"><span>${label}</span>${options
    ? html`<select data-testid=${testid} value=${value} onChange=${set}>${options.map(([one, words]) => html`<option value=${one}>${words}</option>`)}</select>`
    : html`<input data-testid=${testid} type=${type} value=${value} onInput=${set} onKeyDown=${leave} autocomplete="off" ...${rest} />`}</label>`;
}

function Filters() {
  const any = [["", "Any"]];
  const percent = { type: "number", min: 0, max: 100 };
  const people = [...new Set([...job.value.reviewers, ...answerers.value])];
  return html`<search class="filters" aria-label="Filters">
    <${Filter} name="text" label="Key contains" />
    <${Filter} name="verdict" label="Verdict" options=${[...any, ...Object.entries(VERDICTS)]} />
    <${Filter} name="label" label="Label" list="find-labels" />
    <datalist id="find-labels">${job.value.labels.map((label) => html`<option value=${visible(label)} />`)}</datalist>
    <${Filter} name="min" label="Score from" ...${percent} />
    <${Filter} name="max" label="to" ...${percent} />
    <${Filter} name="reviewer" label="Reviewer" options=${[...any, ...people.map((name) => [visible(name), visible(name)])]} />
    <${Filter} name="sort" label="Order" options=${[["", SORTS.uncertainty], ...Object.entries(SORTS).slice(1)]} />
  </search>`;
}

function Selection({ ids }) {
  const number = ids.filter((id) => selection.value.has(id)).length;
  const button = (verdict) => html`<button class=${`decision small ${verdict}`} data-testid=${`selection-${verdict}`} disabled=${!number}
    onClick=${() => decide(ids, verdict)}><${Icon} name=${verdict} /><span>${WORDS[verdict]} ${number ? count(number) : ""}</span><kbd>${keyName(bindings.value[verdict][0] ?? "")}</kbd></button>`;
  return html`<div class="selection-bar">
    <span data-testid="found" data-count=${ids.length}><b>${count(ids.length)}</b> found</span>
    <span data-testid="selection" data-count=${number} class="grow faint">${number ? `${count(number)} selected` : "Nothing selected"}</span>
    <div class="verdicts">${["reject", "unsure", "keep"].map(button)}</div>
  </div>`;
}

export function Find() {
  const columns = useRef(1);
  const reading = useSignal(false);
  const { state } = route.value;
  void changes.value;
  const ids = filtered(allIds.value, state);
  useFindKeys(ids, columns);
  const all = looksAtAll(state);
  useEffect(() => {
    // A filter looks at every card: more than were loaded at once are asked for now.
    reading.value = all;
    if (all) void loadAll().catch(() => {}).finally(() => (reading.value = false));
  }, [all]);
  useLayoutEffect(() => {
    if (document.activeElement === document.body) document.querySelector("[data-testid=grid]").focus({ preventScroll: true });
  }, []);
  // With the new list, not behind its frame: what was selected in it since then would be lost.
  useLayoutEffect(() => {
    at.value = -1;
    selection.value = new Set();
  }, [JSON.stringify(state)]);
  const onPick = (index, event) => select(ids, index, { range: event.shiftKey, toggle: event.ctrlKey || event.metaKey });
  return html`<${Filters} />
    <${Selection} ids=${ids} />
    ${all && allIds.value.length > MOST_CARDS && html`<p class="why limit">Filters look at the ${count(MOST_CARDS)} most uncertain of ${count(allIds.value.length)} images.</p>`}
    <${Grid} ids=${ids} at=${at.value} selection=${selection.value} columns=${columns} onPick=${onPick}
      onOpen=${() => ids[at.value] !== undefined && go("decide", ids[at.value])} />
    ${!ids.length && html`<div class="empty inside"><p>${indexed.value && !reading.value ? "Nothing is like that." : "Reading the index…"}</p></div>`}`;
}
