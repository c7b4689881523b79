// When things are done: what is seen comes first, everything else behind it.

const LONGEST_MS = 100; // a page that is not shown paints nothing

/** Calls `then` at once after the frame that is being made: a message of a channel would wait behind other tasks. */
function atOnce(then) {
  if (globalThis.scheduler?.postTask) return void scheduler.postTask(then, { priority: "user-blocking" });
  const channel = new MessageChannel();
  channel.port1.onmessage = then;
  channel.port2.postMessage(null);
}

/** Calls `then` once what is in the document now has been painted; the result stops it. */
export function afterPaint(then) {
  let stopped = false;
  requestAnimationFrame(() => atOnce(() => !stopped && then()));
  return () => (stopped = true);
}

/** Does `work` behind the next paint: between a key and its picture there is nothing that can wait. */
export function later(work) {
  let done = false;
  const once = () => {
    if (!done) work();
    done = true;
  };
  afterPaint(() => setTimeout(once));
  setTimeout(once, LONGEST_MS);
}
