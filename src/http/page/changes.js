// What operators changed last: when, who, what, and why if they said so.

import { call, Refused } from "./api.js";
import { byId, setRows, setShown } from "./dom.js";
import { clock, relative } from "./format.js";

const ASK_MILLISECONDS = 30_000;
const SHOWN = 10;

let asked = 0;
let forbidden = false;
let last = [];

/** The last call of a kind on a pool, if it is among the last changes. */
export const lastOf = (name, of) => last.find(({ call: made, pool, code }) => made === name && pool === of && !code);

/** A value of a setting or a count, in few words. */
const words = (value) => (value === null || value === undefined ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value));

/** What it was and what it is, or what the answer said. */
function change({ before, after, code }) {
  if (code) return `refused: ${code}`;
  return Object.entries(after ?? {}).map(([name, value]) => `${name}: ${before && name in before ? `${words(before[name])} → ` : ""}${words(value)}`).join(", ");
}

/** Shows the last changes, asked for now and then; `now` asks at once. */
export async function showChanges(now = false) {
  if (forbidden || (!now && Date.now() - asked < ASK_MILLISECONDS)) return;
  asked = Date.now();
  try {
    const { entries } = await call("GET", `/v1/audit?limit=${SHOWN}`);
    last = entries;
    const rows = entries.map((entry) => ({
      key: `${entry.at} ${entry.request_id}`,
      means: entry.reason ? `“${entry.reason}”` : undefined,
      cells: [[entry.call.replaceAll("_", " "), entry.pool ?? entry.list].filter(Boolean).join(": "), change(entry), entry.principal ?? entry.peer, `${clock(entry.at)} (${relative(entry.at)})`],
    }));
    setRows(byId("changes").tBodies[0], rows, new Set());
    setShown(byId("changes").parentElement, rows.length > 0);
    setShown(byId("changes-none"), rows.length === 0);
    setShown(byId("changes-card"), true);
  } catch (error) {
    // A caller that may not see them sees no card. Anything else is asked for again.
    forbidden = error instanceof Refused && error.status === 403;
    if (forbidden) setShown(byId("changes-card"), false);
  }
}
