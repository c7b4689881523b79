// Insights: what thresholds would do, and what answers have shown about them.
import { html, useEffect, useSignal } from "../vendor/preact.js";
import { get } from "../api.js";
import { cardOf, changes } from "../cards.js";
import { allIds } from "../index_loader.js";
import { unsaved } from "../outbox.js";
import { Foreign } from "../parts.js";
import { counts, indexed, job } from "../state.js";
import { WORDS, count, percent, plural, share } from "../text.js";
import { Histogram } from "./histogram.js";

const PLACES = 101; // whole percents

/** How many images have each whole percent, from how many have at least each threshold. */
function binsOf(thresholds) {
  const sorted = [...thresholds].sort((one, two) => one.threshold - two.threshold);
  const bins = Array(PLACES).fill(0);
  sorted.forEach(({ threshold, images }, at) => {
    bins[Math.min(PLACES - 1, Math.floor(threshold))] += images - (sorted[at + 1]?.images ?? 0);
  });
  return bins;
}

/** How many images of a draw have at least a score: a draw counted them at whole percents, and at the threshold of then. */
function atLeastOf(thresholds) {
  const sorted = [...thresholds].sort((one, two) => one.threshold - two.threshold);
  return (percent) => sorted.find(({ threshold }) => threshold >= percent)?.images ?? 0;
}

/** The scores of the cards, the lowest first, where no draw was made. */
function scoresOfCards() {
  void changes.value;
  return allIds.value.map((id) => cardOf(id)?.score).filter((score) => score != null).sort((one, two) => one - two);
}

/** How many of sorted scores are at least `percent`. */
function atLeastIn(scores) {
  return (percent) => {
    let [low, high] = [0, scores.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (scores[middle] < percent) low = middle + 1;
      else high = middle;
    }
    return scores.length - low;
  };
}

function binsOfScores(scores) {
  const bins = Array(PLACES).fill(0);
  for (const score of scores) bins[Math.min(PLACES - 1, Math.max(0, Math.floor(score)))] += 1;
  return bins;
}

function Milestones({ part, certified }) {
  return html`<ol class="milestones" aria-label="Milestones">${part.milestones.map((n) => {
    const done = part.prefix >= n;
    const words = certified && certified === n ? "certified" : done ? "reached" : "to come";
    return html`<li data-testid="milestone" data-n=${n} data-reached=${String(done)} data-certified=${String(Boolean(certified && n >= certified && done))}
      class=${words === "to come" ? "" : "reached"}><b>${count(n)}</b> <span class="faint">${words}</span></li>`;
  })}</ol>`;
}

/** What the answers say at a threshold. */
function Shown({ rule, keep }) {
  const row = rule.thresholds.find(({ threshold }) => threshold === keep);
  if (!rule.parts.taken.images) return html`<p class="faint">No image has such a score: there is nothing to audit.</p>`;
  if (!row || !row.n) return html`<p class="faint">Too few answers for a figure at ${percent(keep)} yet${rule.parts.taken.missing ? `: ${plural(rule.parts.taken.missing, "answer")} to the next milestone` : ""}.</p>`;
  return html`<p>At ${percent(keep)}: <b>${count(row.good)}</b> of ${count(row.n)} were right, so between <b>${share(row.low)}</b> and <b>${share(row.high)}</b> are.</p>`;
}

function Certificate({ rule }) {
  const { certified, next } = rule;
  if (certified) return html`<p class="good">Certified: of the images from ${percent(certified.keep_from)} on, at least ${share(certified.precision)} are right
    (confidence ${share(certified.confidence)}).</p>`;
  if (!next) return html`<p class="faint">Not certified yet.</p>`;
  if (next.too_near) return html`<p>The target is too near to the truth to be shown.${next.instead != null && ` ${share(next.instead)} could be.`}</p>`;
  return html`<p><b data-testid="more" data-count=${next.more}>${plural(next.more, "answer")}</b> more will probably certify it${next.beyond_plan ? ", beyond the milestones of this draw" : ""}.</p>`;
}

function Patch({ advice, reason }) {
  if (!advice) return reason ? html`<p class="faint">No advice: ${reason.replaceAll("_", " ")}.</p>` : null;
  return html`<section><h3>Advice</h3>
    <p>Keep from ${percent(advice.keep_from)}, ask from ${percent(advice.ask_from)}: ${plural(advice.asked, "image")} for people, ${percent(advice.hours)} hours.</p>
    <pre data-testid="patch"><code>${advice.patch.map(({ path, line, from, to }) => `${path}${line ? `:${line}` : ""}\n- ${from}\n+ ${to}`).join("\n")}
${advice.set.length ? `\n${advice.set.join(" ")}` : ""}</code></pre></section>`;
}

function Rule({ rule }) {
  // What the job has now; a rule without a threshold of its own begins at its floor.
  const ask = useSignal(rule.ask_from ?? rule.floor ?? 0);
  const keep = useSignal(Math.max(ask.peek(), rule.keep_from ?? rule.floor ?? 0));
  const described = job.value.rules[rule.rule]?.text ?? `rule ${rule.rule}`;
  const { taken, rest } = rule.parts;
  return html`<section class="rule" data-testid="rule" data-rule=${rule.rule} aria-label=${`Rule ${rule.rule}`}>
    <h2><${Foreign} text=${described} /></h2>
    ${rule.outdated && html`<p class="why">This rule was changed since its draw.</p>`}
    <${Histogram} bins=${binsOf(rule.thresholds)} atLeast=${atLeastOf(rule.thresholds)} below=${rest?.images ?? 0} keep=${keep.value} ask=${ask.value} onKeep=${(value) => (keep.value = value)}
      onAsk=${(value) => (ask.value = value)} words="Images of the draw by score" />
    <${Shown} rule=${rule} keep=${keep.value} />
    <${Certificate} rule=${rule} />
    <${Milestones} part=${taken} certified=${rule.certified?.milestone} />
    ${rule.losses && rule.losses.recall_low != null && html`<p>Lost: between ${count(rule.losses.lost_low)} and ${count(rule.losses.lost_high)} images; recall at least ${share(rule.losses.recall_low)}.</p>`}
    <${Patch} advice=${rule.advice} reason=${rule.advice_reason} />
  </section>`;
}

function Agreement({ agreement }) {
  if (!agreement) return null;
  const { pairs, share: agreed, low, high, ac1 } = agreement;
  return html`<section class="agreement" data-testid="agreement"><h2>Agreement</h2>
    <p>${agreed == null ? `${plural(pairs, "pair")} of second looks; 50 are needed for a figure.` : `${share(agreed)} of ${plural(pairs, "pair")} agree, between ${share(low)} and ${share(high)}; AC1 ${ac1.toFixed(2)}.`}</p></section>`;
}

/** Without a draw: the scores of all images, so that thresholds can be tried. */
function Scores() {
  const of = (verdict) => job.value.rules.find((rule) => rule.verdict === verdict && rule.confidence != null)?.confidence;
  const keep = useSignal(of("keep") ?? 80);
  const ask = useSignal(Math.min(keep.peek(), of("review") ?? of("keep") ?? 60));
  const scores = scoresOfCards();
  if (!scores.length) return null;
  return html`<section class="rule" data-testid="rule" data-rule="all" aria-label="Scores of all images"><h2>Scores of ${indexed.value ? "all images" : "the images read so far"}</h2>
    <${Histogram} bins=${binsOfScores(scores)} atLeast=${atLeastIn(scores)} keep=${keep.value} ask=${ask.value} onKeep=${(value) => (keep.value = value)} onAsk=${(value) => (ask.value = value)} words="Images by score" /></section>`;
}

function Answers() {
  const { images, keep, reject, unsure, unresolved, waiting } = counts.value;
  const parts = { keep, reject, unsure, unresolved };
  return html`<section class="tally" aria-label="Answers"><h2>Answers</h2><dl class="figures">
    <div><dt>Images</dt><dd>${count(images)}</dd></div>
    ${Object.entries(parts).map(([name, number]) => html`<div><dt>${WORDS[name]}</dt><dd>${count(number ?? 0)}</dd></div>`)}
    <div><dt>Waiting</dt><dd>${count(waiting)}</dd></div></dl></section>`;
}

/** Figures, asked again when answers were stored. */
function useFigures() {
  const figures = useSignal(null);
  useEffect(() => {
    if (unsaved.value) return undefined;
    const abort = new AbortController(); // figures of before must not come behind those of now
    get("/api/figures", {}, { signal: abort.signal }).then((value) => (figures.value = value), () => {});
    return () => abort.abort();
  }, [unsaved.value === 0]);
  return figures.value;
}

export function Insights() {
  const figures = useFigures();
  const rules = figures?.rules ?? [];
  return html`<div class="column">
    <${Answers} />
    ${rules.map((rule) => html`<${Rule} key=${`${rule.rule}-${rule.draw}`} rule=${rule} />`)}
    ${figures && !rules.length && html`<${Scores} />
      <p class="faint advice">No audit was drawn yet. <code>asyncfilter audit JOB</code> draws one: a blind sample that shows how right the rules are.</p>`}
    ${figures && html`<${Agreement} agreement=${figures.agreement} />`}
  </div>`;
}
