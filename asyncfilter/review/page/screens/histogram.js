// A histogram of scores with two thresholds that can be dragged, and moved by arrows: from where images are kept, and
// from where people are asked.
import { html, useRef } from "../vendor/preact.js";
import { pace } from "../state.js";
import { count } from "../text.js";

const WIDTH = 640;
const HEIGHT = 150;
const BASE = 130;
const USUAL_S = 3;

const xOf = (percent) => (percent / 100) * WIDTH;

/** How long people take for so many images, at the pace of this page or three seconds each. */
function hours(images) {
  const minutes = pace.value ? (images / pace.value) * 60 : (images * USUAL_S) / 60;
  return minutes < 90 ? `${Math.ceil(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
}

function Handle({ name, testid, value, low, high, onChange, chart }) {
  const set = (next) => onChange(Math.min(high, Math.max(low, Math.round(next))));
  const onKey = (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (!step && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    event.stopPropagation();
    set(step ? value + step : event.key === "Home" ? low : high);
  };
  const drag = (event) => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const rect = chart.current.getBoundingClientRect();
    set(((event.clientX - rect.left) / rect.width) * 100);
  };
  return html`<div class=${`threshold ${testid}`} style=${{ left: `${value}%` }} role="slider" tabindex="0" data-testid=${testid} aria-label=${name}
      aria-valuemin=${low} aria-valuemax=${high} aria-valuenow=${value} aria-valuetext=${`${name} ${value}`} onKeyDown=${onKey}
      onPointerDown=${(event) => event.currentTarget.setPointerCapture(event.pointerId)} onPointerMove=${drag}>
    <span class="flag" style=${{ transform: `translateX(-${value}%)` }}>${name} ${value}</span>
  </div>`;
}

/**
 * `bins[p]` are the images with a score from p to below p + 1, `atLeast(t)` is the number of those from t on, `below` that
 * of the images whose scores were not counted as they are below the floor.
 */
export function Histogram({ bins, atLeast, below = 0, keep, ask, onKeep, onAsk, words }) {
  const chart = useRef(null);
  const most = Math.max(1, ...bins.slice(1)); // 0 is "not seen at all", which would flatten all others
  const kept = atLeast(keep);
  const asked = atLeast(ask) - kept;
  const left = atLeast(0) + below - kept - asked;
  const alternative = `${words}: ${count(kept)} images from ${keep} on, ${count(asked)} from ${ask} to ${keep}, ${count(left)} below.`;
  const tall = (number) => Math.min(BASE - 8, Math.max(1.5, (number / most) * (BASE - 8)));
  const zone = (percent) => (percent >= keep ? "kept" : percent >= ask ? "asked" : "left");
  return html`<div class="histogram-box">
    <div class="plot" ref=${chart}>
      <svg class="histogram" data-testid="histogram" role="img" aria-label=${alternative} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none">
        ${bins.map((number, percent) => number > 0 && html`<rect class=${zone(percent)} x=${xOf(percent) + 0.6} width=${WIDTH / 100 - 1.2}
          y=${BASE - tall(number)} height=${tall(number)} />`)}
        <line x1="0" x2=${WIDTH} y1=${BASE} y2=${BASE} />
      </svg>
      <${Handle} name="Keep from" testid="threshold-keep" value=${keep} low=${ask} high=${100} onChange=${onKeep} chart=${chart} />
      <${Handle} name="Ask from" testid="threshold-ask" value=${ask} low=${0} high=${keep} onChange=${onAsk} chart=${chart} />
    </div>
    <div class="axis" aria-hidden="true">${[0, 25, 50, 75, 100].map((tick) => html`<span style=${{ left: `${tick}%`, transform: `translateX(-${tick === 0 ? 0 : tick === 100 ? 100 : 50}%)` }}>${tick}</span>`)}</div>
    <dl class="figures">
      <div><dt>Would be kept</dt><dd data-testid="would-keep" data-count=${kept}>${count(kept)}</dd></div>
      <div><dt>Would be asked</dt><dd data-testid="would-ask" data-count=${asked}>${count(asked)}</dd></div>
      <div><dt>People's time</dt><dd>${hours(asked)}</dd></div>
      <div><dt>Left to the other rules</dt><dd>${count(left)}</dd></div>
    </dl>
  </div>`;
}
