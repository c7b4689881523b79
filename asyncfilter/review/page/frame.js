// The frame around the screens: tabs, what is left, what is not saved yet, help.
import { html, useEffect, useSignal } from "./vendor/preact.js";
import { Help } from "./help.js";
import { LEVEL, useKeys } from "./keys.js";
import { rest } from "./line.js";
import { Notices } from "./notices.js";
import { unsaved } from "./outbox.js";
import { Foreign } from "./parts.js";
import { TABS, go, route } from "./routes.js";
import { indexed, isQuick, job, pace, spoken } from "./state.js";
import { count, plural, visible } from "./text.js";

const NAMES = { decide: "Decide", sheet: "Sheet", find: "Find", insights: "Insights", run: "Run" };

/** Arrows move between tabs, as in every tablist. */
function onTabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  const next = TABS[(TABS.indexOf(route.value.tab) + step + TABS.length) % TABS.length];
  go(next);
  document.getElementById(`tab-${next}`).focus();
}

function Tabs() {
  const here = route.value.tab;
  return html`<div class="tabs" role="tablist" aria-label="Screens" onKeyDown=${onTabKey}>
    ${TABS.map(
      (tab) => html`<button role="tab" id=${`tab-${tab}`} data-testid=${`tab-${tab}`} aria-selected=${String(tab === here)}
        aria-controls="screen" tabindex=${tab === here ? 0 : -1} onClick=${() => go(tab)}>${NAMES[tab]}</button>`,
    )}
  </div>`;
}

function Status({ onHelp }) {
  const left = rest.value;
  const late = unsaved.value;
  return html`<div class="status">
    <span data-testid="unsaved" data-count=${late} class=${late ? "late" : "sr"}>${late ? `${count(late)} not saved yet` : "All saved"}</span>
    <span data-testid="pace" class="faint">${isQuick.value ? "Very quick: sure?" : pace.value === null ? "" : `${count(pace.value)} an hour`}</span>
    <span data-testid="rest" data-count=${left}><b>${count(left)}</b> left</span>
    <${Foreign} class="reviewer faint" text=${job.value.reviewer} />
    <button class="quiet" data-testid="help-open" aria-label="Help and keys" onClick=${onHelp}>Help <kbd>?</kbd></button>
  </div>`;
}

/** The title of the tab in the browser: the job, and what is left. */
function useTitle() {
  useEffect(() => {
    document.title = `${plural(rest.value, "image")} left · ${visible(job.value.name)}`;
  }, [rest.value]);
}

export function Frame({ children }) {
  const helping = useSignal(false);
  useTitle();
  useKeys((event, action) => {
    if (event.repeat) return false;
    if (action === "help") helping.value = true;
    else if (action === "sheet" || action === "find") go(action);
    else return false;
    return true;
  }, LEVEL.frame);
  const { tab } = route.value;
  return html`<div class="app" data-testid="app" data-tab=${tab} data-reviewer=${visible(job.value.reviewer)}
      data-index-ready=${String(indexed.value)}>
    <header class="bar">
      <h1 class="name"><${Foreign} text=${job.value.name} /></h1>
      <${Tabs} />
      <${Status} onHelp=${() => (helping.value = true)} />
    </header>
    <${Notices} />
    <main><div id="screen" class=${`screen ${tab}`} role="tabpanel" aria-labelledby=${`tab-${tab}`}>${children}</div></main>
    <div class="sr" role="status" aria-live="polite" data-testid="live">${spoken.value}</div>
    ${helping.value && html`<${Help} onClose=${() => (helping.value = false)} />`}
  </div>`;
}
