// The editor of boxes: an SVG that lies exactly on the picture and counts in its pixels. Everything that the mouse does
// the keys do too, and the number fields (fields.js) as well.
import { html, useLayoutEffect, useRef } from "../vendor/preact.js";
import { LEVEL, actionOf, isTyping, useKeys } from "../keys.js";
import { Foreign } from "../parts.js";
import { speak } from "../state.js";
import { visible } from "../text.js";
import { boxesOf, flush, flushSoon, newLabel, replaced, selected, setBox, sketch } from "./drafts.js";
import { HANDLES, between, handlePoint, moved, resized, six, toFractions, toPixels } from "./geometry.js";

const MOST_BOXES = 1000;
const HANDLE_PX = 11; // on the screen
const SMALLEST_PX = 3; // a shorter drag is a click
const NEW_SHARE = 0.25; // of the picture, for a box made by key

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const places = ({ x, y, w, h }) => `left ${Math.round(x)}, top ${Math.round(y)}, ${Math.round(w)} by ${Math.round(h)} pixels`;

let wanted = null; // index of the box that gets the focus once it is drawn

const elementOf = (index) => document.querySelector(`[data-testid=box][data-index="${index}"]`);

/** Give a box the focus: now, or as soon as it is in the document. A frame later the person may be typing elsewhere. */
export function focusBox(index) {
  const element = elementOf(index);
  if (element) element.focus();
  else wanted = index;
}

function useWantedFocus() {
  useLayoutEffect(() => {
    const index = wanted;
    wanted = null;
    if (index !== null) elementOf(index)?.focus();
  });
}

/** Drawing, moving and resizing by pointer. */
function usePointer({ card, picture, svg, askedAs }) {
  const gesture = useRef(null);
  const point = (event) => {
    const rect = svg.current.getBoundingClientRect();
    return [((event.clientX - rect.left) * picture[0]) / rect.width, ((event.clientY - rect.top) * picture[1]) / rect.height];
  };
  const begin = (event) => {
    if (event.button !== 0) return;
    flush();
    const { handle } = event.target.dataset;
    const index = Number(event.target.closest("[data-index]")?.dataset.index ?? -1);
    const at = handle ? selected.value : index;
    const box = at >= 0 ? toPixels(boxesOf(card)[at], picture) : null;
    if (!box && boxesOf(card).length >= MOST_BOXES) return;
    gesture.current = { from: point(event), box, handle, index: at, before: boxesOf(card), screen: [event.clientX, event.clientY] };
    selected.value = at;
    svg.current.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  const move = (event) => {
    if (!gesture.current) return;
    const { from, box, handle } = gesture.current;
    const to = point(event);
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    if (!box) return draw(event, from, to);
    const next = handle ? resized(box, handle, dx, dy, picture) : moved(box, dx, dy, picture);
    setBox(card, gesture.current.index, next, picture, askedAs);
  };
  const draw = (event, from, to) => {
    const { before, screen } = gesture.current; // a part of the gesture may be stored by now
    if (Math.max(Math.abs(event.clientX - screen[0]), Math.abs(event.clientY - screen[1])) < SMALLEST_PX) return;
    const box = toFractions(between(newLabel(), from, to, picture), picture);
    selected.value = before.length;
    sketch(card, [...before, box], askedAs);
  };
  const end = () => {
    if (!gesture.current) return;
    gesture.current = null;
    flush();
    if (selected.value >= 0) focusBox(selected.value);
  };
  return { onPointerDown: begin, onPointerMove: move, onPointerUp: (event) => (move(event), end()), onPointerCancel: end };
}

/** The same by keys; true for what was taken. */
function keyboard({ card, picture, svg, askedAs, onDone }, event, action) {
  const index = selected.value;
  const boxes = boxesOf(card);
  const box = boxes[index] && toPixels(boxes[index], picture);
  if (event.key === "Enter") return (flush(), onDone(), true);
  if (actionOf(event, "boxes") === "newBox" && !event.repeat) return (addInTheMiddle({ card, picture, askedAs }), true);
  if (!box) return false;
  if (event.key in ARROWS && !event.ctrlKey && !event.metaKey) {
    const step = event.shiftKey ? 10 : 1;
    const [dx, dy] = ARROWS[event.key].map((part) => part * step);
    const next = event.altKey ? resized(box, `${dx ? "e" : ""}${dy ? "s" : ""}`, dx, dy, picture) : moved(box, dx, dy, picture);
    setBox(card, index, next, picture, askedAs);
    flushSoon();
    speak(places(next));
    return true;
  }
  if (event.key === "Delete") return (removeBox({ card, askedAs, index }), true);
  if (action === "label") return (document.getElementById("box-label")?.focus(), true);
  return false;
}

/** Make a box in the middle of the picture, selected. */
export function addInTheMiddle({ card, picture, askedAs }) {
  flush();
  const boxes = boxesOf(card);
  if (boxes.length >= MOST_BOXES) return;
  const [w, h] = picture.map((side) => Math.max(1, Math.round(side * NEW_SHARE)));
  const box = { label: newLabel(), x: Math.round((picture[0] - w) / 2), y: Math.round((picture[1] - h) / 2), w, h };
  sketch(card, [...boxes, toFractions(box, picture)], askedAs);
  flush();
  selected.value = boxes.length;
  focusBox(boxes.length);
  speak(`New box, ${visible(box.label)}: ${places(box)}`);
}

/** Remove a box; the one in its place, or before it, is selected. */
export function removeBox({ card, askedAs, index }) {
  flush();
  sketch(card, replaced(card, index, null), askedAs);
  flush();
  selected.value = Math.min(index, boxesOf(card).length - 1);
  speak(`Box removed. ${boxesOf(card).length} left.`);
  if (selected.value >= 0) focusBox(selected.value);
  else document.querySelector("[data-testid=boxes]")?.focus();
}

function Box({ box, index, picture, isSelected, editing }) {
  const at = toPixels(box, picture);
  const data = Object.fromEntries(["left", "top", "width", "height"].map((part) => [`data-${part}`, six(box[part]).toFixed(6)]));
  const focusable = editing ? { tabindex: 0, role: "group", "aria-roledescription": "box", onFocus: () => (selected.value = index) } : {};
  return html`<g class=${isSelected ? "box selected" : "box"} data-testid="box" data-index=${index} data-label=${visible(box.label)} ...${data}
      aria-label=${`${visible(box.label)}: ${places(at)}`} ...${focusable}>
    <rect class="halo" x=${at.x} y=${at.y} width=${at.w} height=${at.h} />
    <rect class="line" x=${at.x} y=${at.y} width=${at.w} height=${at.h} />
  </g>`;
}

function Handles({ box, picture, scale }) {
  const at = toPixels(box, picture);
  const side = HANDLE_PX * scale;
  return HANDLES.map((handle) => {
    const [x, y] = handlePoint(at, handle);
    return html`<rect key=${handle} class=${`handle ${handle}`} data-testid=${`handle-${handle}`} data-handle=${handle} aria-hidden="true"
      x=${x - side / 2} y=${y - side / 2} width=${side} height=${side} rx=${2 * scale} />`;
  });
}

/** While the editor is open: its keys come first, and it has the focus. */
function useEditing({ editing, svg, ...rest }) {
  useKeys((event, action) => editing && keyboard({ svg, ...rest }, event, action), LEVEL.editor);
  // With the editor, not behind its frame: a box that a key made meanwhile would lose the focus.
  useLayoutEffect(() => {
    if (!editing) return undefined;
    selected.value = -1;
    if (!isTyping(document.activeElement)) svg.current.focus({ preventScroll: true });
    return flush;
  }, [editing]);
}

export function Boxes({ card, picture, size, editing, askedAs, onDone }) {
  const svg = useRef(null);
  const pointer = usePointer({ card, picture, svg, askedAs });
  useEditing({ card, picture, svg, askedAs, onDone, editing });
  useWantedFocus();
  const boxes = boxesOf(card);
  if (!editing && !boxes.length) return null;
  const at = editing ? selected.value : -1;
  const role = editing ? { role: "application", tabindex: 0, "data-testid": "boxes", ...pointer } : { "data-testid": "boxes-shown", role: "group" };
  return html`<svg ref=${svg} class=${`over boxes ${editing ? "editing" : ""}`} viewBox=${`0 0 ${picture[0]} ${picture[1]}`} preserveAspectRatio="none"
      aria-label=${editing ? "Boxes. N makes one, arrows move it, Alt and arrows resize it, Enter ends." : "Boxes"} ...${role}>
      ${boxes.map((box, index) => html`<${Box} key=${index} box=${box} index=${index} picture=${picture} isSelected=${index === at} editing=${editing} />`)}
      ${boxes[at] && html`<${Handles} box=${boxes[at]} picture=${picture} scale=${picture[0] / size[0]} />`}
    </svg>
    <ul class="tags" aria-hidden="true">
      ${boxes.map((box, index) => html`<li class=${index === at ? "selected" : ""} style=${{ left: `${box.left * 100}%`, top: `${box.top * 100}%` }}><${Foreign} text=${box.label} /></li>`)}
    </ul>`;
}
