// What operators changed last: when, who, what, and why if they said so.

import { call, Refused } from "./api.js";
import { setRows, setShown } from "./dom.js";
import { clock, relative } from "./format.js";

const ASK_MILLISECONDS = 30_000;
const SHOWN = 10;

/** The calls that change something, as the stats count them. */
const CHANGES = /^(create|change|delete|add|retire|reinstate|release|start|pause|resume|return_h|remove|replace|backup)/;

let asked = 0;
let forbidden = false;
let last = [];

/** The last call of a kind on a pool, if it is among the last changes. */
export const lastOf = (name, of) => last.find(({ call: made, pool, code }) => made === name && pool === of && !code);

export const changesOf = (requests) => Object.entries(requests).reduce((sum, [name, { count }]) => sum + (CHANGES.test(name) ? count : 0), 0);

const words = (value) => (value === null || value === undefined ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value));

function change({ before, after, code }) {
  if (code) return `refused: ${code}`;
  return Object.entries(after ?? {}).map(([name, value]) => `${name}: ${before && name in before ? `${words(before[name])} → ` : ""}${words(value)}`).join(", ");
}

function show() {
  setRows("changes", last.map((entry) => ({
    key: `${entry.at} ${entry.request_id}`,
    means: entry.reason ? `“${entry.reason}”` : undefined,
    cells: [[entry.call.replaceAll("_", " "), entry.pool ?? entry.list].filter(Boolean).join(": "), `${clock(entry.at)} (${relative(entry.at)})`, entry.principal ?? entry.peer, change(entry)],
  })));
}

/** Shows the last changes, asked for now and then; `now` asks at once. */
export async function showChanges(now = false) {
  if (forbidden) return;
  show();
  if (!now && Date.now() - asked < ASK_MILLISECONDS) return;
  asked = Date.now();
  try {
    ({ entries: last } = await call("GET", `/v1/audit?limit=${SHOWN}`));
    show();
    setShown("changes-card", true);
  } catch (error) {
    // A caller that may not see them sees no card. Anything else is asked for again.
    forbidden = error instanceof Refused && error.status === 403;
    if (forbidden) setShown("changes-card", false);
  }
}
