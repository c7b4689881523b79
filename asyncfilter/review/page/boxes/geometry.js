// Arithmetic of boxes: in whole pixels of the upright picture while they are edited, in fractions where they are kept.

export const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** Six digits, as they are stored: a millionth of a picture is far less than a pixel. */
export const six = (value) => Math.round(value * 1e6) / 1e6;

/** A box in pixels `{label, x, y, w, h}` from fractions. */
export function toPixels(box, [width, height]) {
  return { label: box.label, x: box.left * width, y: box.top * height, w: box.width * width, h: box.height * height };
}

/** Fractions from a box in pixels, its edges inside the picture. */
export function toFractions(box, [width, height]) {
  const left = within(box.x, 0, width);
  const top = within(box.y, 0, height);
  const right = within(box.x + box.w, 0, width);
  const bottom = within(box.y + box.h, 0, height);
  return { label: box.label, left: six(left / width), top: six(top / height), width: six((right - left) / width), height: six((bottom - top) / height) };
}

/** The box between two corners, at whole pixels inside the picture. */
export function between(label, [x1, y1], [x2, y2], [width, height]) {
  const [left, right] = [x1, x2].map((x) => Math.round(within(x, 0, width))).sort((one, two) => one - two);
  const [top, bottom] = [y1, y2].map((y) => Math.round(within(y, 0, height))).sort((one, two) => one - two);
  return { label, x: left, y: top, w: right - left, h: bottom - top };
}

/** The box moved, whole, inside the picture. */
export function moved(box, dx, dy, [width, height]) {
  const x = within(Math.round(box.x + dx), 0, Math.max(0, width - box.w));
  const y = within(Math.round(box.y + dy), 0, Math.max(0, height - box.h));
  return { ...box, x, y };
}

/** The box with the edges of a handle moved; an edge pulled over the other one turns the box over. */
export function resized(box, handle, dx, dy, size) {
  let [left, top, right, bottom] = [box.x, box.y, box.x + box.w, box.y + box.h];
  if (handle.includes("w")) left += dx;
  if (handle.includes("e")) right += dx;
  if (handle.includes("n")) top += dy;
  if (handle.includes("s")) bottom += dy;
  return atLeastOnePixel(between(box.label, [left, top], [right, bottom], size), size);
}

/** The box, not empty: a box without width or height is none. */
export function atLeastOnePixel(box, [width, height]) {
  const w = Math.max(1, box.w);
  const h = Math.max(1, box.h);
  return { ...box, w, h, x: Math.min(box.x, width - w), y: Math.min(box.y, height - h) };
}

/** Where the handle of a box stands, in pixels. */
export function handlePoint(box, handle) {
  const x = handle.includes("w") ? box.x : handle.includes("e") ? box.x + box.w : box.x + box.w / 2;
  const y = handle.includes("n") ? box.y : handle.includes("s") ? box.y + box.h : box.y + box.h / 2;
  return [x, y];
}
