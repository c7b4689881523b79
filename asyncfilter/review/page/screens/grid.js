// The virtual grid of Find: as many tiles in the document as fit on the screen, whatever the number of images. No picture
// is asked for while it scrolls: the browser has six connections, and tiles that fly past would fill them.
import { html, useEffect, useLayoutEffect, useRef, useSignal } from "../vendor/preact.js";
import { load, verdictOf, watch } from "../cards.js";
import { Verdict } from "../parts.js";
import { WORDS, basename } from "../text.js";
import { useThumb } from "../thumb.js";

const TILE_PX = 148;
const GAP_PX = 8;
const MOST_TILES = 150;
const QUIET_MS = 90; // after the last scroll
const TALLEST_PX = 15_000_000; // browsers draw nothing in elements that are much taller

/** Geometry of the grid; a list too tall for the browser is scrolled in proportion. */
function layout({ total, width, height, top }) {
  const columns = Math.max(2, Math.floor((width + GAP_PX) / (TILE_PX + GAP_PX)));
  const side = (width - GAP_PX * (columns - 1)) / columns;
  const step = side + GAP_PX;
  const tall = Math.ceil(total / columns) * step;
  const shown = Math.min(tall, TALLEST_PX);
  const offset = tall > shown ? (top / Math.max(1, shown - height)) * (tall - height) : top;
  const rows = Math.min(Math.ceil(height / step) + 2, Math.floor(MOST_TILES / columns));
  const first = Math.max(0, Math.floor(offset / step) - 1) * columns;
  return { columns, side, step, shown, first, last: Math.min(total, first + rows * columns), shift: top - offset };
}

function useScroll(element) {
  const view = useSignal({ top: 0, width: 0, height: 0 });
  const quiet = useSignal(true);
  useLayoutEffect(() => {
    const { current } = element;
    let timer = null;
    const measure = () => (view.value = { top: current.scrollTop, width: current.clientWidth - 2 * GAP_PX, height: current.clientHeight });
    const onScroll = () => {
      quiet.value = false;
      clearTimeout(timer);
      timer = setTimeout(() => (quiet.value = true), QUIET_MS);
      measure();
    };
    const observer = new ResizeObserver(measure);
    observer.observe(current);
    current.addEventListener("scroll", onScroll, { passive: true });
    measure();
    return () => (observer.disconnect(), current.removeEventListener("scroll", onScroll), clearTimeout(timer));
  }, []);
  return { view: view.value, quiet: quiet.value };
}

/** Its `src` is set once scrolling rests, and taken away with the tile: a request under way then stops. */
function LateThumb({ card, quiet }) {
  const { address, lost, onError, onLoad } = useThumb(card);
  const image = useRef(null);
  const wanted = useRef(false);
  if (quiet) wanted.current = true;
  useEffect(() => () => image.current?.removeAttribute("src"), []);
  if (lost) return html`<span class="no-picture">${lost}</span>`;
  return html`<img ref=${image} src=${wanted.current ? address : null} alt="" draggable=${false} onError=${onError} onLoad=${onLoad} />`;
}

function Tile({ id, index, total, place, selected, here, quiet, onPick }) {
  const card = watch(id).value;
  const verdict = verdictOf(card);
  const name = card ? `${basename(card.key)}: ${WORDS[verdict] ?? "no answer"}` : "Loading";
  return html`<div role="option" id=${`tile-${id}`} class=${`tile ${here ? "here" : ""}`} data-testid="tile" data-id=${id} data-verdict=${verdict}
      aria-setsize=${total} aria-posinset=${index + 1} aria-selected=${String(selected)} aria-label=${name} style=${place}
      onClick=${(event) => onPick(index, event)}>
    ${card && html`<${LateThumb} card=${card} quiet=${quiet} />`}
    <${Verdict} verdict=${verdict} bare />
  </div>`;
}

export function Grid({ ids, at, selection, onPick, onOpen, columns }) {
  const element = useRef(null);
  const { view, quiet } = useScroll(element);
  const plan = layout({ total: ids.length, ...view });
  columns.current = plan.columns;
  const visible = ids.slice(plan.first, plan.last);
  useEffect(() => void (quiet && load(visible).catch(() => {})), [quiet, visible[0], visible.at(-1)]);
  useEffect(() => {
    if (at < 0) return;
    const top = Math.floor(at / plan.columns) * plan.step;
    const { current } = element;
    if (top < current.scrollTop) current.scrollTop = top;
    else if (top + plan.side > current.scrollTop + current.clientHeight - GAP_PX) current.scrollTop = top + plan.step - current.clientHeight + GAP_PX;
  }, [at]);
  const placeOf = (index) => ({
    width: `${plan.side}px`,
    height: `${plan.side}px`,
    transform: `translate(${(index % plan.columns) * plan.step}px, ${Math.floor(index / plan.columns) * plan.step + plan.shift}px)`,
  });
  return html`<div class="grid" ref=${element} role="listbox" aria-multiselectable="true" aria-label="Images found" data-testid="grid" tabindex="0"
      aria-activedescendant=${at >= plan.first && at < plan.last && ids[at] !== undefined ? `tile-${ids[at]}` : null} onDblClick=${onOpen}>
    <div class="grid-space" role="presentation" style=${{ height: `${plan.shown}px` }}>
      ${visible.map((id, index) => html`<${Tile} key=${id} id=${id} index=${plan.first + index} total=${ids.length} place=${placeOf(plan.first + index)}
        selected=${selection.has(id)} here=${plan.first + index === at} quiet=${quiet} onPick=${onPick} />`)}
    </div>
  </div>`;
}
