// The last events of the pool that is shown, newest first, if the daemon keeps events and the caller may see numbers.

import { lines, poolPath, Refused } from "./api.js";
import { byId, setRows, setShown, setText } from "./dom.js";
import { bytes, clock, count, rate } from "./format.js";

const SHOWN = 8;

let shown = { name: null, newest: 0 };
let asking = false;
let forbidden = false;

/** Shows a pool's events, of which the stats say `{oldest, newest}`; `all` is what they say of those of all pools. */
export async function showEvents(name, events, all) {
  const card = byId("events-card");
  if (!events || forbidden) return setShown(card, false);
  setText("events-said", `${rate(all.per_second)} events of all pools a second over 1 min, ${bytes(all.bytes)} kept, ${count(all.readers)} reading`);
  const { oldest, newest } = events;
  if (asking || (shown.name === name && shown.newest === newest)) return;
  asking = true;
  try {
    const from = Math.max(oldest, newest - SHOWN + 1);
    const last = newest < oldest ? [] : await lines(poolPath(name, `/events?from=${from}&limit=${SHOWN}`));
    shown = { name, newest };
    const row = ({ seq, at, number, event, state, outcome, holder, round }) => ({
      key: `${seq}`,
      cells: [number === undefined ? "all" : `${number}`, clock(at), event, state ?? (number === undefined ? `round ${count(round)}` : ""), outcome ?? "", holder ?? ""],
    });
    setRows("events", last.reverse().map(row));
    setShown(card, true);
  } catch (error) {
    // A caller that may not see numbers sees no events. Anything else is asked for again with the next stats.
    forbidden = error instanceof Refused && error.status === 403;
    if (forbidden || shown.name !== name) setShown(card, false);
  } finally {
    asking = false;
  }
}
