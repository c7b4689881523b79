// The event stream of the server: what other people do, and how the run goes. It is opened again until it stands.
import { openStream } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 4000;

/** Events of a stream of bytes, as `{name, data}`. */
async function* eventsOf(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value.replace(/\r/g, "")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event) yield event;
    }
  }
}

function parse(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}

/** Read events for ever. `onOpen` is called each time the stream stands: what was missed is then asked for again. */
export async function follow({ onOpen, onEvent, stopped = () => false }) {
  let wait = FIRST_WAIT_MS;
  while (!stopped()) {
    try {
      const stream = await openStream("/api/events");
      wait = FIRST_WAIT_MS;
      onOpen();
      for await (const { name, data } of eventsOf(stream)) onEvent(name, data);
    } catch {
      // Not there, or gone: api.js has set `online`, and the loop tries again.
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}
