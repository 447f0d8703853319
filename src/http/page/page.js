// The operators' page: requests the stats every second and hands them to the parts.

import { actOnDaemon, actOnList, actOnPool } from "./actions.js";
import { stats as askStats, isAlive, Refused } from "./api.js";
import { changesOf, lastOf, showChanges } from "./changes.js";
import { showLatencies, showRates } from "./charts.js";
import { showDaemon } from "./daemon.js";
import { onDone, say } from "./dialog.js";
import { byId, setShown, setText } from "./dom.js";
import { showEvents } from "./events.js";
import { clock, many } from "./format.js";
import { History } from "./history.js";
import { refreshHours, showHours } from "./hours.js";
import { showLists, showUsers } from "./lists.js";
import { lookIn, lookUp } from "./lookup.js";
import { onOpenNumber, refresh as refreshMap, showMap } from "./map.js";
import { showPool } from "./pool.js";
import { chosen, showOnlyTrouble, showPools } from "./pools.js";
import { detailsOf, showSettings } from "./settings.js";
import { hangs, isStandby, showStatus } from "./status.js";
import { ask, shown } from "./token.js";

const POLL_MILLISECONDS = 1_000;

const history = new History();
let stats = null;
/** Why there are no new figures: see `noFigures`. */
let lost = null;
/** The pool that was shown last, and what tells of changes. */
let seen = {};
let timer = 0;

async function poll() {
  clearTimeout(timer);
  const began = performance.now();
  try {
    stats = await askStats();
    history.add(Date.now() / 1000, stats, lost);
    lost = null;
  } catch (error) {
    const refused = error instanceof Refused ? error : null;
    lost = { since: lost?.since ?? new Date(), refused, alive: !refused && (await isAlive()) };
  }
  show();
  timer = setTimeout(poll, Math.max(0, POLL_MILLISECONDS - (performance.now() - began)));
}

function catchUp() {
  showSettings().then(refreshHours);
  showUsers();
  showChanges(true);
}

function show() {
  const name = stats && chosen(stats.pools);
  const failing = showStatus(stats, lost, name, { ...known(name), restarts: history.restarts });
  const live = byId("live");
  live.dataset.live = lost ? "no" : "yes";
  setText("live-text", lost ? `${lost.refused ? "refused" : "no response"} since ${clock(lost.since)}` : `live · ${clock(Date.now())}`);
  document.title = failing ? "! allotd" : "allotd";
  if (!stats) return;
  if (isStandby(stats)) return;
  if (name !== null) document.title = `${failing ? "! " : ""}${name} · allotd`;
  const there = name !== null && name in stats.pools;
  setShown("pool", there);
  setShown("empty", name === null);
  showGone(there ? null : name);
  setShown("daemon", true);
  showLists(stats.lists);
  showDaemon(stats);
  showLatencies(history);
  showChanges();
  showPools(stats, history, name);
  showActs();
  const changes = [changesOf(stats.requests), stats.pools[name]?.paused, stats.pools[name]?.numbers].join();
  if (seen.name === name && seen.changes !== changes) catchUp();
  seen = { name, changes };
  if (!there) return;
  showPool(name, stats.pools[name], history.rate(name), { responds: !lost, ready: stats.state === "ready" && !hangs(stats) });
  showHours(name, stats.pools[name]);
  showEvents(name, stats.pools[name].events, stats.events);
  showRates(history, name);
  showMap(name);
  lookIn(name);
}

/** Why the shown pool is paused, and what blocks it. */
function known(name) {
  if (!stats || !(name in stats.pools)) return {};
  const { pause_reason: reason, paused_until: until, settings } = detailsOf(name);
  return { reason, until, pause: lastOf("pause", name), blockedBy: settings?.blocked_by, lists: stats.lists };
}

/** The pool that the address names is not there: shows that, and nothing of another pool. */
function showGone(name) {
  setShown("gone", name !== null);
  if (name === null) return;
  setText("gone-head", `There is no pool “${name}”`);
  const others = Object.keys(stats.pools).length;
  setText("gone-others", others ? `Choose one of the ${many(others, "pool")} in the list.` : "There is no other pool either.");
}

/** Nothing can be done while the daemon does not respond; the buttons keep their place and the focus. */
function showActs() {
  for (const button of document.querySelectorAll("button[data-act]:not([data-act=only-trouble], [data-act=token])")) {
    if (lost) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button?.dataset.act === "token") return ask(shown(), lost?.refused?.message ?? "").then(() => location.reload());
  if (!button || !stats) return;
  const { act, of, name, pool, numbers } = button.dataset;
  if (act === "only-trouble") return showOnlyTrouble();
  if (lost) return say(`Nothing was done: ${lost.refused ? "the daemon refuses this page" : `no response from the daemon since ${clock(lost.since)}`}.`);
  if (of === "daemon") return actOnDaemon(act, stats);
  if (of === "list") return actOnList(act, name, stats.lists[name]);
  const target = pool || chosen(stats.pools);
  if (target in stats.pools) actOnPool(act, target, stats.pools[target], numbers);
});

onDone(() => {
  poll();
  refreshMap();
  catchUp();
  if (byId("lookup-number").value) lookUp();
});
onOpenNumber((number) => {
  lookUp(number);
  byId("lookup").scrollIntoView({ block: "center" });
  byId("lookup-number").focus({ preventScroll: true });
});
addEventListener("hashchange", show);
poll();
