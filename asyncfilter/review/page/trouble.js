// Pictures that do not come. The address of a picture asks for a blank one, of one pixel, in place of an error: browsers
// write every image that fails to the console. What is wrong is then asked for.
import { get, online } from "./api.js";
import { load } from "./cards.js";

const LASTING = new Set(["broken", "changed"]);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 4000;

/** The address of a picture at an attempt: the browser does not use the blank one of the attempt before. */
export const attempted = (address, attempt = 0) => `${address}?blank=${attempt}`;

/** Whether an image may be the blank one. */
export const mayBeBlank = ({ naturalWidth, naturalHeight }) => naturalWidth === 1 && naturalHeight === 1;

/** Resolves when it is time for the attempt after the one with this number, or when the server is back. */
export function untilNext(attempt) {
  return new Promise((resolve) => {
    let wasOnline = online.peek();
    const timer = setTimeout(end, Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS));
    const unsubscribe = online.subscribe((isOnline) => {
      if (isOnline && !wasOnline) setTimeout(end);
      wasOnline = isOnline;
    });
    function end() {
      clearTimeout(timer);
      unsubscribe();
      resolve();
    }
  });
}

/**
 * What is wrong with a picture that did not come: `broken` or `changed` for good, `away` for now, and `shown` when
 * nothing is: it may be one pixel in size.
 */
export async function troubleOf(id) {
  try {
    await get("/api/look", { id });
    return "shown";
  } catch (error) {
    if (!LASTING.has(error.code)) return "away";
    await load([id], { again: true }).catch(() => {}); // other screens show it too
    return error.code;
  }
}

/** The words of a picture that never comes. */
export const TROUBLES = {
  broken: "This picture cannot be shown: it is damaged, too large, or no picture.",
  changed: "This picture was replaced or removed since it was listed.",
};
