// What the server says about the job, and its counts, which come in any order with answers of ours.
import { effect } from "./vendor/preact.js";
import { get } from "./api.js";
import { unsaved } from "./outbox.js";
import { heard, setJob, takeSkipped } from "./state.js";

/** Ask for the job, and take it over. */
export async function refreshJob() {
  const before = heard();
  const value = await get("/api/job");
  setJob(value, { isUnsaved: unsaved.peek() > 0, before });
  return value;
}

effect(() => {
  if (unsaved.value === 0) takeSkipped();
});
