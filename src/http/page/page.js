// The operators' page: requests the stats every second and hands them to the parts.

import { openAction, onDone } from "./actions.js";
import { stats as askStats, explain, Refused } from "./api.js";
import { showCharts } from "./charts.js";
import { showDaemon } from "./daemon.js";
import { byId, setShown, setText } from "./dom.js";
import { showEvents } from "./events.js";
import { clock } from "./format.js";
import { History } from "./history.js";
import { refreshHours, showHours } from "./hours.js";
import { showLists, showUsers } from "./lists.js";
import { lookIn, lookUp } from "./lookup.js";
import { onOpenNumber, refresh as refreshMap, showMap } from "./map.js";
import { showPool, showSettings } from "./pool.js";
import { chosen, showOnlyTrouble, showPools } from "./pools.js";
import { showStatus } from "./status.js";

const POLL_MILLISECONDS = 1_000;

const history = new History();
let stats = null;
let lostSince = null;
let timer = 0;

async function poll() {
  clearTimeout(timer);
  const began = performance.now();
  try {
    stats = await askStats();
    lostSince = null;
    history.add(Date.now() / 1000, stats);
  } catch (error) {
    lostSince ??= new Date();
    if (error instanceof Refused) console.warn(explain(error));
  }
  show();
  timer = setTimeout(poll, Math.max(0, POLL_MILLISECONDS - (performance.now() - began)));
}

function show() {
  const failing = showStatus(stats, lostSince);
  const live = byId("live");
  live.dataset.live = lostSince ? "no" : "yes";
  setText(byId("live-text"), lostSince ? `no response since ${clock(lostSince)}` : `live · ${clock(Date.now())}`);
  document.title = failing ? "! allotd" : "allotd";
  if (!stats) return;
  const name = chosen(stats.pools);
  if (name) document.title = `${failing ? "! " : ""}${name} · allotd`;
  setShown(byId("pool"), name !== null);
  setShown(byId("empty"), name === null);
  setShown(byId("daemon"), true);
  showLists(stats.lists);
  showDaemon(stats);
  showPools(stats, history, name);
  if (name === null) return;
  showPool(name, stats.pools[name], history.rate(name));
  showHours(name, stats.pools[name]);
  showEvents(name, stats.pools[name].events, stats.events);
  showCharts(history, name);
  showMap(name);
  lookIn(name);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (!button || !stats) return;
  if (button.dataset.act === "only-trouble") return showOnlyTrouble();
  const { act, list } = button.dataset;
  if (list !== undefined) return openAction(act, list, stats.lists[list]);
  const pool = button.dataset.pool || chosen(stats.pools);
  if (pool in stats.pools) openAction(button.dataset.act, pool, stats.pools[pool], button.dataset.numbers);
});

onDone(() => {
  poll();
  refreshMap();
  showSettings();
  refreshHours();
  showUsers();
  if (byId("lookup-number").value) lookUp();
});
onOpenNumber((number) => {
  lookUp(number);
  byId("lookup").scrollIntoView({ block: "center" });
  byId("lookup-number").focus({ preventScroll: true });
});
addEventListener("hashchange", show);
poll();
