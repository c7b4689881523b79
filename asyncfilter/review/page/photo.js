// The picture of a card, as large as its place allows. What is drawn over it (boxes) lies exactly on it.
import { html, useLayoutEffect, useRef, useSignal } from "./vendor/preact.js";
import { afterPaint } from "./painted.js";
import { isLost, pictureOf, sizeOf } from "./pictures.js";
import { basename } from "./text.js";
import { TROUBLES, attempted, mayBeBlank } from "./trouble.js";

const MOST_ENLARGED = 3; // a small picture blown up further shows nothing more

/** Size of the stage, kept current. */
function useSize(element) {
  const size = useSignal(null);
  useLayoutEffect(() => {
    const measure = () => (size.value = [element.current.clientWidth, element.current.clientHeight]);
    const observer = new ResizeObserver(measure);
    observer.observe(element.current);
    measure();
    return () => observer.disconnect();
  }, []);
  return size.value;
}

/** The largest size of a picture inside a stage, in CSS pixels. */
function fit([width, height], [across, down]) {
  const scale = Math.min(across / width, down / height, MOST_ENLARGED);
  return [Math.max(1, Math.floor(width * scale)), Math.max(1, Math.floor(height * scale))];
}

function altOf(card) {
  return `Picture ${basename(card.key) || card.id}`;
}

/** Puts the prefetched element itself into the document: a new one would be decoded again. */
function usePicture(card, holder, onPainted) {
  useLayoutEffect(() => {
    const { image, state } = pictureOf(card);
    image.dataset.testid = "photo";
    image.alt = altOf(card);
    holder.current.replaceChildren(image);
    let stop = () => {};
    const unsubscribe = state.subscribe((value) => {
      if (value === "loading") return;
      stop = afterPaint(() => onPainted(value));
    });
    return () => (unsubscribe(), stop());
  }, [card.id]);
  return pictureOf(card).state.value;
}

/** The original's own pixels, over the smaller rendition, while `full` is on; one that does not come covers nothing. */
function FullSize({ card, size }) {
  const isThere = useSignal(false);
  const onLoad = ({ target }) => (isThere.value = !mayBeBlank(target));
  return html`<img class="full" src=${attempted(card.full)} alt="" width=${size[0]} height=${size[1]} draggable=${false}
    hidden=${!isThere.value} onLoad=${onLoad} />`;
}

export function Photo({ card, full, onPainted, children }) {
  const stage = useRef(null);
  const holder = useRef(null);
  const room = useSize(stage);
  const state = usePicture(card, holder, onPainted);
  const picture = sizeOf(card);
  const own = [picture[0] / devicePixelRatio, picture[1] / devicePixelRatio];
  const size = full ? own : room ? fit(picture, room) : [1, 1];
  const lost = isLost(state);
  return html`<div class=${`stage ${full ? "is-full" : ""}`} ref=${stage}>
    <div class=${`frame ${lost ? "is-broken" : ""}`} style=${{ width: `${size[0]}px`, height: `${size[1]}px` }}>
      <div class="holder" ref=${holder}></div>
      ${full && !lost && html`<${FullSize} key=${card.id} card=${card} size=${own} />`}
      ${lost && html`<p class="broken" data-testid="broken">${TROUBLES[state]}</p>`}
      ${!lost && room && children?.({ picture, size })}
    </div>
  </div>`;
}
