// The list of pools: filter, order, and which pool is shown. The address names that pool: #pool=NAME

import { byId, make, setShown, setText } from "./dom.js";
import { count, rate } from "./format.js";
import { makeBar, setBar } from "./states.js";
import { troubleOf } from "./status.js";

const list = byId("pools-list");
const filter = byId("pools-filter");
const order = byId("pools-order");
const onlyTrouble = byId("pools-trouble");

const rows = new Map();
let stats = null;
let history = null;

/** The pool that is shown: the one in the address, which may not be there, or the first; null if there is none. */
export function chosen(pools) {
  const named = new URLSearchParams(location.hash.slice(1)).get("pool");
  return named ?? Object.keys(pools).sort(byName)[0] ?? null;
}

const byName = (a, b) => a.localeCompare(b, "en", { numeric: true });
const part = (pool) => (pool.numbers ? pool.available / pool.numbers : 0);
const ORDERS = {
  name: byName,
  available: (a, b) => part(stats.pools[a]) - part(stats.pools[b]) || byName(a, b),
  rate: (a, b) => (history.rate(b) || 0) - (history.rate(a) || 0) || byName(a, b),
};

function makeRow(name) {
  const bar = make("span", { className: "bar mini", "aria-hidden": "true" });
  makeBar(bar);
  const figures = make("span", { className: "row-figures" });
  const note = make("span", { className: "row-note" });
  const link = make("a", { href: `#pool=${encodeURIComponent(name)}` }, make("span", { className: "row-name" }, name), note, bar, figures);
  return { item: make("li", {}, link), link, bar, figures, note };
}

/** Sorts the rows, only when the order may have changed, so that nothing moves under the pointer. */
function arrange() {
  if (!stats) return;
  list.replaceChildren(...[...rows.keys()].sort(ORDERS[order.value]).map((name) => rows.get(name).item));
  narrow();
}

function narrow() {
  const words = filter.value.trim().toLowerCase();
  let shown = 0;
  for (const [name, row] of rows) {
    const trouble = row.trouble?.level === "bad";
    const fits = name.toLowerCase().includes(words) && (!onlyTrouble.checked || trouble);
    setShown(row.item, fits);
    shown += fits;
  }
  setShown("pools-none", shown === 0);
  setText("pools-count", shown === rows.size ? count(rows.size) : `${count(shown)} of ${count(rows.size)}`);
}

export function showPools(newStats, newHistory, name) {
  [stats, history] = [newStats, newHistory];
  const names = Object.keys(stats.pools);
  const gone = name !== null && !(name in stats.pools);
  const several = names.length > 1 || (gone && names.length > 0);
  setShown("pools", several);
  document.querySelector(".body").dataset.pools = several ? "many" : "one";
  setShown("resume-several", names.filter((each) => stats.pools[each].paused).length > 1);
  const same = names.length === rows.size && names.every((each) => rows.has(each));
  if (!same) {
    for (const each of rows.keys()) if (!(each in stats.pools)) rows.delete(each);
    for (const each of names) if (!rows.has(each)) rows.set(each, makeRow(each));
    arrange();
  }
  for (const each of names) showRow(rows.get(each), each, stats.pools[each], each === name);
  narrow();
}

function showRow(row, name, pool, current) {
  row.trouble = troubleOf(name, pool);
  setBar(row.bar, pool);
  const speed = history.rate(name);
  setText(row.figures, `${count(pool.available)} available${speed > 0 ? ` · ${rate(speed)}/s` : ""}`);
  setText(row.note, row.trouble?.cause ?? "");
  if (row.current === current) return;
  row.current = current;
  if (current) row.link.setAttribute("aria-current", "true");
  else row.link.removeAttribute("aria-current");
}

export function showOnlyTrouble() {
  filter.value = "";
  onlyTrouble.checked = true;
  narrow();
  list.focus();
}

filter.addEventListener("input", narrow);
onlyTrouble.addEventListener("change", narrow);
order.addEventListener("change", arrange);
