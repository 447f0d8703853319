// The lists: how many numbers, which pools use them, when they changed, and the actions on them.

import { call } from "./api.js";
import { byId, make, setShown, setText } from "./dom.js";
import { clock, count, many, relative } from "./format.js";
import { shown } from "./token.js";

const USERS_MILLISECONDS = 30_000;
/** Most lists that are shown; the command has all. */
const MAX_LISTS_SHOWN = 100;
const MAX_POOLS_NAMED = 3;

const section = byId("lists");
const body = byId("lists-table").tBodies[0];
const ACTS = [["list-add", "Add"], ["list-remove", "Remove"], ["list-replace", "Replace"], ["list-delete", "Delete"]];

const rows = new Map();
/** By list: the names of the pools that use it. */
let users = new Map();
let asked = 0;

function makeRow(list) {
  const cells = { numbers: make("td", { className: "num" }), pools: make("td", { className: "pools-of" }), changed: make("td") };
  const acts = ACTS.map(([act, name]) => make("button", { type: "button", "data-act": act, "data-of": "list", "data-name": list, "aria-label": `${name}: ${list}` }, name));
  const row = make("tr", {}, make("th", { scope: "row" }, list), cells.numbers, make("td", {}, make("div", { className: "acts" }, ...acts)), cells.pools, cells.changed);
  return { row, ...cells };
}

function usersInWords(list, pools) {
  if (pools === 0) return "no pool";
  const names = users.get(list);
  if (!names?.length) return many(pools, "pool");
  const more = names.length - MAX_POOLS_NAMED;
  return `${names.slice(0, MAX_POOLS_NAMED).join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}`;
}

export function showLists(lists) {
  setShown(section, true);
  const all = Object.keys(lists);
  const names = all.slice(0, MAX_LISTS_SHOWN);
  const more = all.length - names.length;
  if (names.length !== rows.size || !names.every((name) => rows.has(name))) {
    for (const name of rows.keys()) if (!names.includes(name)) rows.delete(name);
    for (const name of names) if (!rows.has(name)) rows.set(name, makeRow(name));
    body.replaceChildren(...names.map((name) => rows.get(name).row));
  }
  setShown(byId("lists-table").parentElement, names.length > 0);
  setText("lists-none", names.length === 0 ? `There is no list${shown().Authorization ? ", or your token does not see lists" : ""}.` : more > 0 ? `There are ${count(more)} more: allotd list show` : "");
  if (names.length && Date.now() - asked > USERS_MILLISECONDS) showUsers();
  for (const name of names) {
    const { numbers, pools, changed } = rows.get(name);
    const { numbers: all, pools: uses, changed_at: at } = lists[name];
    setText(numbers, count(all));
    setText(pools, usersInWords(name, uses));
    setText(changed, `${clock(at)} (${relative(at)})`);
  }
}

/** The names of the pools come with the lists themselves, and change rarely. */
export async function showUsers() {
  if (rows.size === 0) return;
  asked = Date.now();
  try {
    const { lists } = await call("GET", "/v1/lists");
    users = new Map(lists.map(({ list, pools }) => [list, pools]));
  } catch {
    // Their count is in the stats.
  }
}
