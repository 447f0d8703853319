// The hours of a pool: its rules as a week, how many numbers are open now, and when that changes.

import { call, poolPath } from "./api.js";
import { byId, make, setShown, setText } from "./dom.js";
import { clock, count, relative, share } from "./format.js";

const ASK_MILLISECONDS = 30_000;
const DAY_MINUTES = 24 * 60;
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const NAMES = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const SCALE = ["0", "6", "12", "18", "24"];
const MAX_DAYS_NAMED = 4;

const week = byId("hours-week");
/** The pool whose hours are shown, the hours, and when what is open changes. */
let shown = { name: null, hours: null, changesAt: null };
let asked = 0;

const minutes = (time) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

/** The days of "mon-fri" or "mon,wed,sat-sun", from 0. A range may go over the end of the week. */
function daysOf(text) {
  return text.split(",").flatMap((part) => {
    const [first, last = first] = part.split("-").map((name) => DAYS.indexOf(name.trim().toLowerCase()));
    return Array.from({ length: ((last - first + 7) % 7) + 1 }, (_, index) => (first + index) % 7);
  });
}

/** By day: from and to of what is open, in minutes. What goes over midnight is on two days. */
export function spans(rules) {
  const found = DAYS.map(() => []);
  for (const { days, from, to } of rules) {
    const [begin, end] = [minutes(from), minutes(to)];
    for (const day of daysOf(days)) {
      if (begin < end) found[day].push([begin, end]);
      else {
        found[day].push([begin, DAY_MINUTES]);
        if (end > 0) found[(day + 1) % 7].push([0, end]);
      }
    }
  }
  return found;
}

/** The day of the week from 0 and the minute in a time zone, or null if the browser does not know it. */
function localTime(zone) {
  try {
    const parts = new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).formatToParts(new Date());
    const part = (type) => parts.find((each) => each.type === type).value;
    return { day: DAYS.indexOf(part("weekday").toLowerCase()), minute: Number(part("hour")) * 60 + Number(part("minute")) };
  } catch {
    return null;
  }
}

function mark(className, from, width) {
  const part = make("i", { className });
  part.style.left = `${((100 * from) / DAY_MINUTES).toFixed(3)}%`;
  if (width) part.style.width = `${((100 * width) / DAY_MINUTES).toFixed(3)}%`;
  return part;
}

function draw({ rules, zone }) {
  const now = zone ? localTime(zone) : null;
  const key = JSON.stringify([rules, now]);
  if (week.dataset.key === key) return;
  week.dataset.key = key;
  week.replaceChildren(...spans(rules).flatMap((parts, day) => {
    const bar = make("div", { className: "day" }, ...parts.map(([from, to]) => mark("open", from, to - from)));
    if (now?.day === day) bar.append(mark("now", now.minute));
    return [make("span", { className: now?.day === day ? "today" : "" }, NAMES[day].slice(0, 3)), bar];
  }), make("span"), make("div", { className: "scale" }, ...SCALE.map((hour) => make("span", {}, hour))));
}

function rulesInWords({ rules, closed = [] }) {
  const today = new Date().toISOString().slice(0, 10);
  const coming = closed.filter((day) => day >= today);
  const more = coming.length - MAX_DAYS_NAMED;
  const days = coming.length ? `closed on ${coming.slice(0, MAX_DAYS_NAMED).join(", ")}${more > 0 ? ` and ${count(more)} days more` : ""}` : "";
  return [...rules.map(({ days: on, from, to }) => `${on} ${from}–${to}`), days].filter(Boolean).join(" · ") || "No rule: nothing is ever open.";
}

export function setHours(name, hours) {
  shown = { name, hours, changesAt: shown.name === name ? shown.changesAt : null };
  if (!hours) return;
  setText("hours-rules", rulesInWords(hours));
  const others = "In each number's own local time, by the pool's table of time zones.";
  setText("hours-zone", hours.zone ? `${others} Numbers without a zone, and the mark for now: ${hours.zone}.` : `${others} Numbers without a zone are never open.`);
  draw(hours);
}

export async function refreshHours() {
  const { name, hours } = shown;
  asked = Date.now();
  if (!hours) return;
  try {
    const { changes_at: changesAt } = await call("GET", poolPath(name, "/hours"));
    if (shown.name === name) shown.changesAt = changesAt;
  } catch {
    // The stats have how many are open.
  }
}

export function showHours(name, pool) {
  const has = shown.name === name && shown.hours !== null && pool.open !== null && pool.open !== undefined;
  setShown("hours", has);
  if (!has) return;
  const over = shown.changesAt && new Date(shown.changesAt) <= Date.now();
  if (over || Date.now() - asked > ASK_MILLISECONDS) refreshHours();
  const changes = shown.changesAt && !over ? ` · changes ${relative(shown.changesAt)} (${clock(shown.changesAt)})` : "";
  setText("hours-now", `${count(pool.open)} of ${count(pool.numbers)} open now (${share(pool.open, pool.numbers)})${changes}`);
  draw(shown.hours);
}
