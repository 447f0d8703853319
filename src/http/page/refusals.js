// The meaning of each reason for a refusal, and the table of refusals.

import { setRows } from "./dom.js";
import { clock, count, relative } from "./format.js";

export const MEANS = {
  exhausted: "no number was available for the lease",
  paused: "the pool was paused by an operator",
  storage_full: "the disk of the data directory was full",
  not_ready: "the daemon was shutting down, or its journal failed",
  overloaded: "too many connections, or too much at once",
  stale: "the lease had ended, or its token was wrong",
  idempotency_mismatch: "an Idempotency-Key was reused for another request",
  not_available: "this version does not have what was requested",
  forbidden: "the caller's role or limits, a foreign web page, or a name that is not the daemon's",
  unauthorized: "no token, or a wrong one",
  quota_exceeded: "the caller's own limit was reached",
  bad_request: "the request was invalid; the response says where",
  pool_not_found: "no pool has this name",
  number_not_found: "the pool has no such number",
  not_found: "nothing is at this path",
  method_not_allowed: "the path has no such method",
  pool_exists: "a pool with this name already existed",
  in_use: "the pool had live leases and was not deleted",
  too_large: "the body was too large",
  unsupported_media_type: "the body had an unsupported type",
  internal: "the daemon failed; its log says how",
};

const OVERLOADED = "as many calls wait for a number as max_waiters allows, or too much came at once";

/** Shows refusals in the table of this id, those that came last first; `ofPool`: they are of one pool. */
export function showRefusals(id, refusals = {}, ofPool = false) {
  const rows = Object.entries(refusals)
    .sort(([a, left], [b, right]) => (right.last_at ?? "").localeCompare(left.last_at ?? "") || a.localeCompare(b))
    .map(([code, { count: all, count_1m: lately = 0, last_at: last }]) => ({
      key: code,
      means: ofPool && code === "overloaded" ? OVERLOADED : MEANS[code],
      cells: [code, count(lately), count(all), last ? `${relative(last)} (${clock(last)})` : ""],
    }));
  setRows(id, rows);
}
