// Text that people read. Keys and labels come from strangers: nothing in them may turn or hide what stands around it.

// Control characters, and those that change the direction of text. Written as escapes so that this file has none.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** The text with each control and bidi character as `\uXXXX`; for attributes as well as for text nodes. */
export function visible(text) {
  return String(text ?? "").replace(HIDDEN, (one) => "\\u" + one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0"));
}

const WHOLE = new Intl.NumberFormat("en");

/** A count with thousands separators. */
export const count = (number) => WHOLE.format(number);

/** A count and its noun: `plural(1, "image")` is "1 image". */
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A percentage (0..100) with one digit where it has one. */
export const percent = (value) => (value == null ? "–" : String(Math.round(value * 10) / 10));

/** A share (0..1) as a percentage. */
export const share = (value) => (value == null ? "–" : `${(value * 100).toFixed(1)} %`);

/** The last part of a key: what people recognise. */
export const basename = (key) => visible(key.split("/").filter(Boolean).at(-1) ?? key);

/** The words of verdicts; the empty one is "no answer". */
export const WORDS = { keep: "Keep", reject: "Reject", unsure: "Unsure", unresolved: "Unresolved", review: "Review" };

/** Time of day of an ISO time or of seconds since 1970. */
export function clock(at) {
  const date = typeof at === "number" ? new Date(at * 1000) : new Date(at);
  return Number.isNaN(date.valueOf()) ? "" : date.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
}
