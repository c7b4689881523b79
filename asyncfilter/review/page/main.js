// The start: the token first, then the job, then what an earlier page of this person left unsent.
import "./session.js";
import { html, render, useEffect } from "./vendor/preact.js";
import { get, refused } from "./api.js";
import { onRefused, onResult, restore } from "./answers.js";
import { cardOf, load } from "./cards.js";
import { follow } from "./events.js";
import { Frame } from "./frame.js";
import { loadIndex } from "./index_loader.js";
import { refreshJob } from "./job_loader.js";
import { leave } from "./line.js";
import * as outbox from "./outbox.js";
import { route } from "./routes.js";
import { Decide } from "./screens/decide.js";
import { Find } from "./screens/find.js";
import { Insights } from "./screens/insights.js";
import { Run } from "./screens/run.js";
import { Sheet } from "./screens/sheet.js";
import { token } from "./session.js";
import { applied, heard, job, notify, pulses, setCounts, setJob } from "./state.js";

const SCREENS = { decide: Decide, sheet: Sheet, find: Find, insights: Insights, run: Run };
const MOST_PULSES = 240;
const RETRY_MS = 1000;
const LEFT_OVER_MS = 2000; // what an earlier page left is sent before new work is asked for

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Without a token: how to get one. */
function NoToken() {
  return html`<main class="alone" data-testid="no-token">
    <h1>${refused.value ? "This link was replaced by a newer one" : "This page needs its link"}</h1>
    <p>Start the review in a terminal, and open the address that it prints:</p>
    <pre><code>asyncfilter review JOB</code></pre>
    <p class="faint">The link holds a secret that belongs to one reviewer; it is kept in this tab only.
      ${refused.value && " Answers that were not sent yet are kept in this browser, and go out with the new link."}</p>
  </main>`;
}

function App() {
  const Screen = SCREENS[route.value.tab];
  useEffect(() => void loadIndex(), []);
  return html`<${Frame}><${Screen} /><//>`;
}

function Root() {
  if (!token || refused.value) return html`<${NoToken} />`;
  return job.value ? html`<${App} />` : html`<main class="alone" aria-busy="true"><p class="faint">Opening…</p></main>`;
}

/** Load the cards of rows; whether the server knew all images before it was asked for them. */
async function knowAll(rows) {
  const { ready } = await get("/api/job");
  if (ready) await load([...new Set(rows.map((row) => row.id))]);
  return ready;
}

/** Rows of an earlier page that are still about the images they were about: ids can be given anew, keys cannot. */
async function stillRight(rows) {
  for (let known = false; !known; ) {
    known = await knowAll(rows).catch(() => false);
    if (!known) await pause(RETRY_MS);
  }
  return rows.filter((row) => row.key === undefined || cardOf(row.id)?.key === row.key);
}

/** What other people did, and what was missed while the stream was away. */
const EVENTS = {
  async answer({ id, serial, reviewer }) {
    // Our own rows are no news, but for those of another tab.
    if (reviewer === job.value.reviewer && (outbox.isUnderWay(id) || (cardOf(id)?.base ?? 0) >= serial)) return;
    leave([id]);
    if (cardOf(id) && !outbox.isUnderWay(id)) await load([id], { again: true });
  },
  lease({ ids, reviewer }) {
    if (reviewer !== job.value.reviewer) leave(ids);
  },
  counts({ ready, running, serial, ...value }) {
    const now = { ready: ready ?? job.value.ready, running: running ?? job.value.running };
    if (now.ready !== job.value.ready || now.running !== job.value.running) job.value = { ...job.value, ...now };
    setCounts(value, serial, outbox.unsaved.value > 0);
  },
  pulse(value) {
    pulses.value = [...pulses.value.slice(1 - MOST_PULSES), value];
  },
  apply(value) {
    applied.value = value;
  },
};

async function catchUp() {
  outbox.hurry();
  await refreshJob();
}

async function fetchJob() {
  while (!refused.value) {
    try {
      return await get("/api/job");
    } catch {
      await pause(RETRY_MS);
    }
  }
  return null;
}

async function start() {
  const value = await fetchJob();
  if (!value) return;
  const owner = `${value.id ?? value.name}\n${value.reviewer}`;
  await restore(owner);
  const durable = await outbox.start({ owner, stillRight, result: onResult, refused: onRefused });
  if (!durable) notify({ kind: "busy", text: "This browser keeps nothing (a private window?): answers are safe once they are saved." });
  await outbox.settled(LEFT_OVER_MS);
  // Figures of before the answers that arrived since are old; while some have not arrived there are no better ones.
  const now = heard() > value.serial ? await fetchJob() : value;
  if (!now) return;
  setJob(now);
  void follow({
    onOpen: () => catchUp().catch(() => {}),
    onEvent: (name, data) => EVENTS[name]?.(data),
    stopped: () => refused.value,
  });
}

render(html`<${Root} />`, document.getElementById("root"));
if (token) void start();
