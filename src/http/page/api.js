// Calls to the daemon, the same as any client makes.

import { ask, shown } from "./token.js";

const PATIENCE_MILLISECONDS = 30_000;
const STATS_PATIENCE_MILLISECONDS = 5_000;
const ALIVE_PATIENCE_MILLISECONDS = 1_000;

/** A refused call: its status, its stable code, and a detail that says what to do. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the daemon answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.title = problem.title ?? "";
  }
}

/** Makes a call that is answered by lines of JSON, and returns what they say. */
export const lines = (path) => call("GET", path, { read: async (response) => (await response.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line)) });

/** Makes a call and returns its JSON, or what `read` makes of its answer. `body` is text, or a file. Asks for a token if the daemon wants one. Throws `Refused`,
 *  or another error if there is no response. */
export async function call(method, path, { body, type = "text/plain", accept, patience = PATIENCE_MILLISECONDS, read } = {}) {
  for (;;) {
    const token = shown();
    const options = { method, cache: "no-store", signal: AbortSignal.timeout(patience) };
    options.headers = { ...token };
    if (accept) options.headers.Accept = accept;
    if (body !== undefined) options.headers["Content-Type"] = type;
    if (body !== undefined) options.body = body;
    const response = await fetch(path, options);
    if (response.ok && read) return read(response);
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const refused = new Refused(response.status, answer);
    if (response.status !== 401) throw refused;
    await ask(token, refused.message);
  }
}

/** The stats. Their pools and lists have no prototype: what is asked for by the address may have any name, such as `constructor`. */
export async function stats() {
  const answer = await call("GET", "/v1/stats", { patience: STATS_PATIENCE_MILLISECONDS });
  const named = (things) => Object.assign(Object.create(null), things);
  return { ...answer, pools: named(answer.pools), lists: named(answer.lists) };
}

export const isAlive = () => fetch("/healthz", { signal: AbortSignal.timeout(ALIVE_PATIENCE_MILLISECONDS) }).then(() => true, () => false);

/** The path of a pool, or of something under it. */
export const poolPath = (pool, below = "") => `/v1/pools/${encodeURIComponent(pool)}${below}`;

export const listPath = (list, below = "") => `/v1/lists/${encodeURIComponent(list)}${below}`;

export function explain(error) {
  if (error instanceof Refused) return `${error.title ? `${error.title}: ` : ""}${error.message} (${error.status} ${error.code})`;
  return "No response from the daemon. Check whether it runs, then try again.";
}
