// The figures of one pool: the strip at its head, its states and totals.

import { byId, make, setFacts, setRows, setShown, setText } from "./dom.js";
import { clock, count, duration, many, micros, rate, relative, share, UNKNOWN } from "./format.js";
import { showRefusals } from "./refusals.js";
import { showSettings } from "./settings.js";
import { makeBar, setBar, STATES } from "./states.js";
import { isClosed, unsteady } from "./status.js";

const bar = byId("states-bar");
const states = byId("states").tBodies[0];
let shownName = null;

makeBar(bar);
states.append(...STATES.map(({ key, name, means }) => make("tr", {},
  make("th", { scope: "row" }, make("i", { className: `swatch ${key}`, "aria-hidden": "true" }), make("span", {}, name, make("small", {}, means))),
  make("td"), make("td"))));

/** Shows a pool of the stats; `works` says whether the daemon responds, and accepts changes. */
export function showPool(name, pool, speed, works) {
  if (name !== shownName) {
    shownName = name;
    setText("pool-name", name);
    showSettings(name);
  }
  setText("act-pause", pool.paused ? "Resume" : "Pause");
  byId("act-pause").dataset.act = pool.paused ? "resume" : "pause";
  setBar(bar, pool);
  STATES.forEach(({ key }, index) => {
    setText(states.rows[index].cells[1], count(pool[key]));
    setText(states.rows[index].cells[2], share(pool[key], pool.numbers));
  });
  setText("states-all", count(pool.numbers));
  showFigures(pool, speed, works);
  showTotals(pool);
  showLatency(pool.latency_us);
  showRefusals("pool-refusals", pool.refusals, true);
  showHolders(pool.holders);
}

function showLatency(latency) {
  const said = latency && `half took at most ${micros(latency.p50)}, 99 of 100 at most ${micros(latency.p99)}, the slowest ${micros(latency.max)}`;
  setText("pool-latency", `Leases, renewals and returns of the last two minutes: ${said ?? "none"}.`);
}

function showHolders(holders) {
  setShown("holders-card", Boolean(holders));
  if (!holders) return;
  setText("holders-said", `${many(holders.count, "holder")}, ${many(holders.leased, "lease")}`);
  const rows = holders.top.map(({ holder, leased }) => ({ key: holder, cells: [holder, count(leased), share(leased, holders.leased)] }));
  setRows("holders", rows);
}

function figure(id, value, note = "") {
  setText(`fig-${id}`, value);
  setText(`fig-${id}-of`, note);
}

function showFigures(pool, speed, { responds, ready }) {
  if (!responds) return showUnknown(pool);
  figure("available", count(pool.available), `${share(pool.available, pool.numbers)} of ${count(pool.numbers)}`);
  const lately = pool.leases_per_second;
  figure("rate", rate(speed), lately ? `${rate(lately["1m"])} over 1 min, ${rate(lately["15m"])} over 15 min` : "");
  const left = pool.exhaustion_seconds;
  const waiting = pool.waiters ? `${many(pool.waiters, "call")} waiting, the first for ${duration(pool.oldest_wait_seconds)}` : "";
  if (pool.available === 0) figure("exhaustion", "now", waiting || "none is available");
  else if (left === null || left === undefined) figure("exhaustion", "–", "the available count does not fall");
  else figure("exhaustion", duration(left), `at this pace: ${clock(Date.now() + left * 1000)}`);
  const next = [pool.leased + pool.resting > 0 && pool.next_available_at, pool.closed > 0 && pool.next_open_at].filter(Boolean).sort()[0];
  if (!ready) figure("next", "not now", "the daemon refuses changes: see the top of the page");
  else if (pool.paused) figure("next", "paused", "resume to hand out numbers");
  else if (isClosed(pool)) {
    const opens = pool.next_open_at;
    figure("next", opens ? relative(opens) : "never", opens ? `closed until ${clock(opens)}` : "its hours do not open it, or not soon");
  }
  else if (pool.available > 0) figure("next", "now", unsteady(pool) ? "but not for every call: see the top of the page" : "a lease succeeds at once");
  else if (next) figure("next", new Date(next) > Date.now() ? relative(next) : "soon", `${clock(next)} at the earliest`);
  else figure("next", "never", `without an operator${pool.leased ? " or a return" : ""}: see the top of the page`);
}

/** What is left of the figures while the daemon does not respond: those that were true then. */
function showUnknown(pool) {
  figure("available", count(pool.available), "when the daemon responded last");
  for (const id of ["rate", "exhaustion", "next"]) figure(id, "–", "not known now");
}

function showTotals(pool) {
  const { totals, expiry_lateness_ms: late } = pool;
  const outcomes = Object.entries(totals.returns_by_outcome ?? {}).map(([outcome, value]) => `${outcome || "none"} ${count(value)}`);
  setFacts("totals", [
    ["Leases", count(totals.leases)],
    ["Renewals", count(totals.renewals)],
    ["Returns", count(totals.returns)],
    ...(outcomes.length ? [["Returns by outcome", outcomes.join(", ")]] : []),
    ["Expired", count(totals.expirations), "held to the end and not returned"],
    ["Exhausted", count(totals.exhausted), "leases refused because none was available"],
    ["Stale", count(totals.stale), "renewals and returns of a lease that had ended"],
    ["Lateness", late ? `${count(late.p50)} ms, p99 ${count(late.p99)} ms` : UNKNOWN, "of ends of leases and rests"],
  ]);
}
