// The settings and outcome rules of a pool: shown, and changed after what would change is shown.

import { call, poolPath } from "./api.js";
import { make, setFacts, setShown, setText } from "./dom.js";
import { count, duration, many } from "./format.js";
import { setHours } from "./hours.js";

const ASK_MILLISECONDS = 30_000;
let shownName = null;
let details = null;

const thenText = (then) => (typeof then === "string" ? then : "rest" in then ? `rest:${then.rest}` : `list:${then.list}`);

function thenOf(text) {
  const [word, value] = text.split(/:(.*)/s).map((part) => part.trim());
  if (word === "rest") return { rest: Number(value) };
  return word === "list" ? { list: value } : text.trim();
}

function thenInWords(then) {
  if (typeof then === "string") return then;
  return "rest" in then ? `rests ${duration(then.rest)}` : `goes onto ${then.list}`;
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const words = (text) => text.split(/[\s,]+/).filter(Boolean);
const whole = (text) => Number(text);
const wholeOrNone = (text) => (text === "" ? null : Number(text));

function ruleOf(line) {
  const at = line.lastIndexOf("=");
  if (at < 1) throw new Error(`“${line}” is no outcome rule: write OUTCOME=THEN, such as no_answer=rest:14400.`);
  return [line.slice(0, at).trim(), thenOf(line.slice(at + 1))];
}

function hoursRuleOf(line) {
  const found = /^(\S+)\s+(\d\d:\d\d)\s*[-–]\s*(\d\d:\d\d)$/.exec(line);
  if (!found) throw new Error(`“${line}” is no rule of hours: write DAYS FROM-TO, such as mon-fri 09:00-21:00.`);
  const [, days, from, to] = found;
  return { days, from, to };
}

/** The three fields of the hours as one setting; without a rule there are none. */
function hoursOf({ hours, zone, closed }) {
  if (!hours && !zone && !closed) return null;
  return { rules: lines(hours).map(hoursRuleOf), ...(words(closed).length ? { closed: words(closed) } : {}), ...(zone ? { zone } : {}) };
}

/** Each field: how it is written of the settings, and which setting it is read as. */
const FIELDS = [
  { key: "order", label: "Order of leases", kind: "select", options: ["random", "sequential", "lowest"], of: ({ order }) => order },
  { key: "ttl", label: "A lease lasts, in seconds", kind: "number", of: ({ ttl }) => ttl, read: whole },
  { key: "ttl_max", label: "The longest lease that a call may ask for, in seconds", kind: "number", of: ({ ttl_max: most }) => most, read: whole },
  { key: "rest", label: "A returned number rests, in seconds", kind: "number", of: ({ rest }) => rest, read: whole },
  { key: "on_expiry", label: "A number whose lease ends without a return: available, rest:SECONDS, done, retired", of: ({ on_expiry: then }) => thenText(then), read: thenOf },
  {
    key: "outcomes", label: "Outcome rules, one per line: OUTCOME=THEN, THEN as above or list:NAME", kind: "area", rows: 4, placeholder: "no_answer=rest:14400",
    of: ({ outcomes = {} }) => Object.entries(outcomes).map(([outcome, then]) => `${outcome}=${thenText(then)}`).join("\n"),
    read: (text) => Object.fromEntries(lines(text).map(ruleOf)),
  },
  {
    key: "attempts", label: "Attempts of a number in a round: MAX:THEN", placeholder: "no limit, or 3:done",
    of: ({ attempts }) => (attempts ? `${attempts.max}:${thenText(attempts.then)}` : ""),
    read: (text) => (text ? { max: Number(text.split(":")[0]), then: thenOf(text.slice(text.indexOf(":") + 1)) } : null),
  },
  { key: "blocked_by", label: "Lists that block it, separated by commas", placeholder: "none", of: ({ blocked_by: lists = [] }) => lists.join(", "), read: words },
  {
    key: "hours", label: "Hours, one rule per line: DAYS FROM-TO", kind: "area", rows: 2, placeholder: "always, or mon-fri 09:00-21:00",
    of: ({ hours }) => (hours?.rules ?? []).map(({ days, from, to }) => `${days} ${from}-${to}`).join("\n"),
  },
  { key: "zone", label: "Time zone of numbers that have none of their own", placeholder: "Europe/Moscow", of: ({ hours }) => hours?.zone ?? "" },
  { key: "closed", label: "Closed on these days, separated by commas", placeholder: "2026-12-25", of: ({ hours }) => (hours?.closed ?? []).join(", ") },
  { key: "max_waiters", label: "Most calls that may wait for a number", kind: "number", of: ({ max_waiters: most = 10_000 }) => most, read: whole },
  { key: "holders", label: "Leases may name who holds them", kind: "check", of: ({ holders = false }) => holders },
  { key: "max_per_holder", label: "Most leases of a holder", kind: "number", placeholder: "no limit", of: ({ max_per_holder: most }) => most ?? "", read: wholeOrNone },
  { key: "first_per_holder", label: "Most leases of a holder that has returned none yet", kind: "number", placeholder: "no limit", of: ({ first_per_holder: most }) => most ?? "", read: wholeOrNone },
];
const HOURS = new Set(["hours", "zone", "closed"]);

function difference({ label, kind }, before, after) {
  const name = label.split(":")[0];
  if (kind !== "area") return [`${name}: ${before === "" ? "none" : before} → ${after === "" ? "none" : after}`];
  const [old, next] = [lines(before), lines(after)];
  return [...old.filter((line) => !next.includes(line)).map((line) => `${name}: no longer ${line}`), ...next.filter((line) => !old.includes(line)).map((line) => `${name}: now ${line}`)];
}

const changedFields = (fields, given) => fields.filter(({ key, value }) => given[key] !== value);

function changeOf(changed, given) {
  const change = {};
  for (const { key, read = (value) => value } of changed) if (!HOURS.has(key)) change[key] = read(given[key]);
  if (changed.some(({ key }) => HOURS.has(key))) change.hours = hoursOf(given);
  for (const [key, value] of Object.entries(change)) if (Number.isNaN(value)) throw new Error(`${key} is not a number.`);
  return change;
}

/** The action that changes the settings of a pool: it begins with those of now. */
export async function askSettings(pool) {
  const { settings } = await call("GET", poolPath(pool));
  const fields = FIELDS.map((field) => {
    const value = field.of(settings);
    return { ...field, value: field.kind === "check" ? value : String(value) };
  });
  return {
    title: `Settings of ${pool}`,
    will: "A change counts for leases, renewals and returns from then on. Leases that are live keep their end.",
    undo: "To undo it: change it back. What it was is shown before it is done.",
    name: "Change",
    fields,
    async check(given) {
      const changed = changedFields(fields, given);
      if (!changed.length) return { would: "Nothing would change." };
      changeOf(changed, given);
      const told = changed.flatMap((field) => difference(field, field.value, given[field.key]));
      return { would: "Would change:", more: [make("ul", {}, ...told.map((text) => make("li", {}, text)))], name: `Change ${many(changed.length, "setting")}` };
    },
    async run(given) {
      const changed = changedFields(fields, given);
      await call("PATCH", poolPath(pool), { body: JSON.stringify(changeOf(changed, given)), type: "application/json" });
      return `${pool}: ${many(changed.length, "setting")} changed.`;
    },
  };
}

function showAll({ settings, round }) {
  const { order, ttl, ttl_max: most, rest, on_expiry: end, outcomes = {}, attempts, blocked_by: lists = [], holders, max_per_holder: each, first_per_holder: first, max_waiters: waiters } = settings;
  setText("pool-about", `round ${count(round)} · ${order} order · leases last ${duration(ttl)}`);
  const rows = [
    ["Order of leases", order],
    ["A lease lasts", `${duration(ttl)}, at most ${duration(most)}`, "if the call asks for another time"],
    ["A returned number", rest ? `rests ${duration(rest)}` : "is available at once", "unless an outcome or the return says otherwise"],
    ["Without a return", thenInWords(end), "what becomes of a number whose lease ends"],
    ["Attempts in a round", attempts ? `${count(attempts.max)}, then ${thenInWords(attempts.then)}` : "no limit"],
    ["Blocked by", lists.length ? lists.join(", ") : "no list"],
  ];
  if (holders) rows.push(["Holders", [each && `at most ${count(each)} each`, first && `${count(first)} before the first return`].filter(Boolean).join(", ") || "no limit"]);
  if (waiters !== undefined) rows.push(["Calls that may wait", count(waiters)]);
  setFacts("settings", rows);
  const rules = Object.entries(outcomes).map(([outcome, then]) => [outcome, thenInWords(then)]);
  setFacts("outcomes", rules);
  setText("outcomes-none", rules.length ? "" : "There is no rule: a return without a state of its own is treated as above.");
}

export const detailsOf = (name) => (name === shownName && details) || {};

/** Settings change rarely: they are requested when another pool is shown, after an action, and now and then. */
export async function showSettings(name = shownName) {
  if (name === null) return;
  const another = name !== shownName;
  shownName = name;
  if (another) {
    setText("pool-about", "");
    details = null;
  }
  setShown("settings-card", !another);
  try {
    const pool = await call("GET", poolPath(name));
    if (name !== shownName) return;
    details = pool;
    setHours(name, pool.settings.hours ?? null);
    showAll(pool);
    setShown("settings-card", true);
  } catch {
    // The pool's figures work without them, and the banner reports a daemon that does not respond.
  }
}

setInterval(() => showSettings(), ASK_MILLISECONDS);
