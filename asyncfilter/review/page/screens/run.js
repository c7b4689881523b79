// Run: how the run goes, and carrying out what people decided.
import { html, signal } from "../vendor/preact.js";
import { post } from "../api.js";
import { unsaved } from "../outbox.js";
import { applied, job, pulses } from "../state.js";
import { clock, count, visible } from "../text.js";

const plan = signal(null);
const problem = signal(null);
const working = signal(false);

const WIDTH = 640;
const HEIGHT = 90;

/** Images a second between two pulses. */
function rates() {
  return pulses.value.slice(1).map((one, at) => {
    const before = pulses.value[at];
    return Math.max(0, (one.examined - before.examined) / Math.max(0.001, one.at_unix_s - before.at_unix_s));
  });
}

function Curve() {
  const values = rates();
  if (values.length < 2) return null;
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, at) => `${(at / (values.length - 1)) * WIDTH},${HEIGHT - 4 - (value / most) * (HEIGHT - 12)}`);
  const words = `Images a second: now ${values.at(-1).toFixed(1)}, at most ${most.toFixed(1)}`;
  return html`<figure class="curve-box"><svg class="curve" role="img" aria-label=${words} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"><polyline points=${points.join(" ")} /></svg>
    <figcaption class="faint" aria-hidden="true">${words}</figcaption></figure>`;
}

const dollars = (micros) => `$${(micros / 1e6).toFixed(2)}`;
const SPAN = 15; // pulses that a rate is the mean of: half a minute

/** How much a figure grows in a second; null while that is not known. */
function growth(name) {
  const recent = pulses.value.slice(-SPAN);
  const [first, last] = [recent[0], recent.at(-1)];
  const seconds = recent.length > 1 ? last.at_unix_s - first.at_unix_s : 0;
  return seconds > 0 ? (last[name] - first[name]) / seconds : null;
}

/** Figures: their words, and how each is shown; the goal of some is another figure. */
const FIGURES = {
  rate: ["Requests a second", (value) => value.toFixed(1), "tps", count],
  examined: ["Examined", count, "max_images", count],
  matches: ["Kept by the rules", count, "wanted_matches", count],
  spent_micros: ["Spent", dollars, "budget_micros", dollars],
  attempts: ["Requests", count],
  throttled: ["Throttled", count],
  retried: ["Retried", count],
};
const GOALS = ["examined", "matches", "spent_micros"];

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** When the first goal is reached at the present pace; null without a goal, or while nothing grows. */
function remaining(last) {
  const times = GOALS.filter((name) => last[FIGURES[name][2]] != null && growth(name) > 0)
    .map((name) => Math.max(0, last[FIGURES[name][2]] - last[name]) / growth(name));
  return times.length ? duration(Math.min(...times)) : null;
}

function Pulse() {
  const last = pulses.value.at(-1);
  if (!last) return html`<div data-testid="pulse" class="pulse"><p class="faint">${job.value.running ? "A run goes on; its first figures come within seconds." : "No run is going on."}</p></div>`;
  const figures = { ...last, rate: last.running === false ? null : growth("attempts") };
  const shown = Object.entries(FIGURES).filter(([name]) => figures[name] != null);
  const left = last.running === false ? null : remaining(last);
  return html`<div data-testid="pulse" class="pulse">
    <${Curve} />
    <dl class="figures">
      ${shown.map(([name, [words, format, goal, ofGoal]]) => html`<div><dt>${words}</dt><dd>${format(figures[name])}
        ${last[goal] != null && html` <span class="faint">of ${ofGoal(last[goal])}</span>`}</dd></div>`)}
      ${left && html`<div><dt>Ends in about</dt><dd>${left}</dd></div>`}
      ${Object.entries(last.failed_by ?? {}).map(([cause, number]) => html`<div><dt>Failed: ${words(cause)}</dt><dd>${count(number)}</dd></div>`)}
    </dl>
    ${last.at_unix_s && html`<p class="faint">As of ${clock(last.at_unix_s)}</p>`}
  </div>`;
}

const SAID = {
  running: "A run holds the lock: it takes the answers over itself.",
  outdated: "Newer answers came: look at the plan again.",
};

async function step(body) {
  working.value = true;
  problem.value = null;
  try {
    return await post("/api/apply", body);
  } catch (error) {
    problem.value = SAID[error.code] ?? error.message;
    if (error.code === "outdated") plan.value = null;
    return null;
  } finally {
    working.value = false;
  }
}

async function look() {
  applied.value = null;
  plan.value = await step({ step: "plan" });
}

async function carryOut() {
  applied.value = { state: "started" }; // its events can be here before the answer is
  if (await step({ step: "go", plan: plan.value.plan })) plan.value = null;
  else applied.value = null;
}

const words = (name) => visible(name).replaceAll("_", " ");

/** Counts of any depth, one row a number. */
function flat(counts, before = "") {
  return Object.entries(counts ?? {}).flatMap(([name, value]) =>
    value !== null && typeof value === "object" ? flat(value, `${before}${words(name)}, `) : [[before + words(name), value]],
  );
}

const shown = (value) => (typeof value === "number" ? count(value) : visible(value));

/** Counts, each beside what it was before where that is known. */
function Counts({ counts, testid }) {
  const { before = {}, stop_reason: _, ...now } = counts;
  const former = new Map(flat(before));
  const rows = flat(now).filter(([name, value]) => value || former.get(name));
  return html`<dl class="figures" data-testid=${testid}>
    ${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>
      ${former.has(name) && former.get(name) !== value && html`<span class="faint">${shown(former.get(name))} → </span>`}${shown(value)}</dd></div>`)}
    ${!rows.length && html`<div><dt>Changes</dt><dd>none</dd></div>`}</dl>`;
}

const STATES = { started: "Started…", running: "At work…", done: "Done.", failed: "It did not end well." };

function Result() {
  const { value } = applied;
  if (!value) return null;
  const { state = "done", message, counts } = value;
  return html`<div data-testid="apply-result" data-state=${state}>
    <p>${message ? visible(message) : (STATES[state] ?? words(state))}</p>
    ${counts && html`<${Counts} counts=${counts} />`}
  </div>`;
}

export function Run() {
  const waits = unsaved.value > 0;
  return html`<div class="column">
    <section><h2>Run</h2><${Pulse} /></section>
    <section><h2>Apply the answers</h2>
      <p class="faint">Copies what people kept and marks what they rejected, as <code>asyncfilter refilter</code> does: no call to the detector, no cost, and nothing is deleted.</p>
      <p><button data-testid="apply-plan" disabled=${working.value || waits} onClick=${look}>${plan.value ? "Look again" : "What would change?"}</button></p>
      ${waits && html`<p class="faint">Answers are being saved first.</p>`}
      ${problem.value && html`<p class="why" role="alert">${problem.value}</p>`}
      ${plan.value && html`<${Counts} counts=${plan.value.counts} testid="apply-counts" />
        <p><button class="primary" data-testid="apply-go" disabled=${working.value} onClick=${carryOut}>Apply</button></p>`}
      <${Result} />
    </section>
  </div>`;
}
