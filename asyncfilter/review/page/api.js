// Requests to our own server. Every one carries the token in a header: there are no cookies.
import { signal } from "./vendor/preact.js";
import { token } from "./session.js";

/** False after a request that did not arrive, until one does. */
export const online = signal(true);

/** True once the server has refused the token: the link was replaced by a newer one. */
export const refused = signal(false);

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether the same request can succeed later. */
  get passing() {
    return this.status === 0 || this.status >= 500;
  }
}

// Browsers write every error status to the console, also one that the page expects: the server sends it in a header.
const HEADERS = { "X-Asyncfilter-Token": token, "X-Asyncfilter-Errors": "as-200" };
const statusOf = (response) => Number(response.headers.get("X-Asyncfilter-Status") ?? response.status);

function offline() {
  online.value = false;
  return new ApiError(0, "offline", "The server does not answer.");
}

async function send(path, options) {
  try {
    const response = await fetch(path, { ...options, headers: { ...HEADERS, ...options.headers } });
    online.value = true;
    return response;
  } catch (error) {
    throw error.name === "AbortError" ? error : offline();
  }
}

async function checked(response) {
  const status = statusOf(response);
  if (status < 400) return response;
  const { error = "unknown", message = response.statusText } = await response.json().catch(() => ({}));
  if (status === 401) refused.value = true;
  throw new ApiError(status, error, message);
}

/** The JSON of an answer; the server may go away in the middle of it. */
async function jsonOf(response) {
  try {
    return await response.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : offline();
  }
}

/** The JSON of a GET; `query` holds its parameters. */
export async function get(path, query = {}, { signal: abort } = {}) {
  const search = new URLSearchParams(query).toString();
  return jsonOf(await checked(await send(search ? `${path}?${search}` : path, { signal: abort })));
}

/** The JSON of a POST. `keepalive` lets it outlive the page. */
export async function post(path, body, { keepalive = false } = {}) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), keepalive };
  return jsonOf(await checked(await send(path, options)));
}

/** The open stream of events; EventSource cannot send the token's header. */
export async function openStream(path) {
  return (await checked(await send(path, { headers: { Accept: "text/event-stream" } }))).body;
}
