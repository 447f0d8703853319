// Calls to the daemon, the same as any client makes.

const PATIENCE_MILLISECONDS = 30_000;
const STATS_PATIENCE_MILLISECONDS = 5_000;

/** A refused call: its status, its stable code, and a detail that says what to do. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the daemon answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.title = problem.title ?? "";
  }
}

/** Makes a call and returns its JSON. Throws `Refused`, or another error if there is no response. */
export async function call(method, path, { text, signal } = {}) {
  const options = { method, cache: "no-store", signal: signal ?? AbortSignal.timeout(PATIENCE_MILLISECONDS) };
  if (text !== undefined) {
    options.body = text;
    options.headers = { "Content-Type": "text/plain" };
  }
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

/** The stats. Their pools have no prototype: a pool that is asked for by the address may have any name, such as `constructor`. */
export async function stats() {
  const answer = await call("GET", "/v1/stats", { signal: AbortSignal.timeout(STATS_PATIENCE_MILLISECONDS) });
  return { ...answer, pools: Object.assign(Object.create(null), answer.pools) };
}

/** The path of a pool, or of something under it. */
export const poolPath = (pool, below = "") => `/v1/pools/${encodeURIComponent(pool)}${below}`;

/** The message of an error, for people. */
export function explain(error) {
  if (error instanceof Refused) return `${error.title ? `${error.title}: ` : ""}${error.message} (${error.status} ${error.code})`;
  return "No response from the daemon. Check whether it runs, then try again.";
}
