// What is wrong and what to do, derived from the stats alone.

import { byId, make, setText } from "./dom.js";
import { bytes, clock, count, duration, many, usual } from "./format.js";
import { MEANS } from "./refusals.js";

/** The disk is nearly full if less than this share of it is free. */
const DISK_NEARLY_FULL = 0.05;
/** A backup is old after this many milliseconds, */
const BACKUP_OLD_MS = 2 * 24 * 3600 * 1000;
/** and the clock is off by more than this many seconds. */
const CLOCK_OFF_SECONDS = 60;
/** Tokens end soon if fewer milliseconds are left. */
const TOKEN_ENDS_MS = 7 * 24 * 3600 * 1000;
/** More than this share of the connections are many; so many are left for others, or a quarter. */
const MANY_CONNECTIONS = 0.8;
const RESERVED_CONNECTIONS = 64;
/** Of refusals with these codes, more in a minute are many; a pool's are not few if there are more than these, and than leases. */
const MANY_REFUSED = 60;
const FEW_REFUSED = 10;
const WHO = "The log has who, as access_refused; of those with a token, so has “Callers”.";
const REFUSED = {
  unauthorized: WHO, forbidden: WHO, quota_exceeded: WHO, overloaded: WHO,
  stale: "Holders work longer than their leases last: have them renew, or make leases longer.",
  bad_request: "A caller is made wrong: its own log has the answers.",
  pool_not_found: "A caller names a pool that was deleted, or never was: its own log has the name.",
};
/** Whether a write to the disk does not end. */
export const hangs = ({ journal }) => journal?.waiting_seconds > HANGS_SECONDS;
/** The connections over TCP: some are left for Unix sockets. */
export const placesOf = ({ limit }) => limit - Math.min(RESERVED_CONNECTIONS, Math.floor(limit / 4));
/** The beginning of the names of lists of numbers that were given up. */
const GIVEN_UP = "given-up-";
/** A holder has many leases: more than this, or than this share of the numbers, and than all others. */
const MANY_HELD = 100;
const MANY_HELD_SHARE = 0.2;
/** A disk is slow if half of the syncs, or 1 of 100 waits for them, take more microseconds; it hangs if one takes more seconds. */
const SLOW_SYNC_US = 50_000;
const SLOW_COMMIT_US = 1_000_000;
const HANGS_SECONDS = 2;
/** Of a restart, this many milliseconds are told; a daemon that runs so many seconds should have a backup. */
const RESTART_TOLD_MS = 10 * 60 * 1000;
const NO_BACKUP_SECONDS = 24 * 3600;
/** The part of a pool's numbers that is worth a remedy of its own. */
const LARGE_SHARE = 0.1;
/** A pool is nearly exhausted if less time than this is left, in seconds. */
const SOON_SECONDS = 3600;
const MAX_POOLS_NAMED = 3;
/** On a screen this narrow, only the first line and that of the shown pool are open. */
const NARROW = matchMedia("(max-width: 760px)");

const KEPT = { leased: "leased", resting: "resting", done: "done", retired: "retired", blocked: "blocked by lists", closed: "outside their hours" };

/** Whether the hours of a pool keep all from being leased: not if nothing else would let one. */
export const isClosed = (pool) => pool.open === 0 && pool.closed + pool.leased + pool.resting > 0;

/** How many leases of the last minute found no number, if they were many and there are some. */
export function unsteady({ available, refusals, leases_per_second: lately }) {
  const refused = refusals?.exhausted?.count_1m ?? 0;
  return available > 0 && refused > Math.min(MANY_REFUSED, Math.max(FEW_REFUSED, 60 * (lately?.["1m"] ?? 0))) ? refused : 0;
}

/** A pool that is closed: as it should be, unless it never opens. */
function closed(name, { closed: waiting, next_open_at: opens }) {
  if (opens) return { level: "warn", word: "Closed", cause: "closed", pool: name, code: "exhausted", title: `${name} is outside its hours until ${clock(opens)}.`, todo: `Leases are refused until then${waiting ? "" : ", and longer unless a lease or a rest has ended"}.` };
  return { level: "bad", cause: "closed", pool: name, code: "exhausted", title: `Leases from ${name} fail: its hours leave no number open, and that does not change soon.`, todo: `Look at its rules and at the time zones of its numbers: allotd pool show ${name}, allotd pool zones ${name}` };
}

function pausedBy({ pause, reason, until }) {
  if (until) return ` A restore paused it until ${clock(until)}: leases that it does not know may live until then.`;
  return `${pause ? ` Paused by ${pause.principal ?? pause.peer} at ${clock(pause.at)}.` : ""}${reason ? ` The reason: “${reason}”.` : ""}`;
}

function blockers(name, { blockedBy = [], lists = {} }) {
  const each = blockedBy.filter((list) => list in lists).map((list) => `${list} (${count(lists[list].numbers)}, changed last at ${clock(lists[list].changed_at)})`);
  return each.length ? `Its lists: ${each.join(", ")}. Take off, under “Lists”, what is on one by mistake.` : `Its lists: allotd pool show ${name}.`;
}

/** Why leases of a pool fail, if they do: { level, cause, title, todo, act }; `cause` is the title in two words. */
export function troubleOf(name, pool, known = {}) {
  const bad = (cause, title, todo, act, code = "exhausted") => ({ level: "bad", cause, pool: name, title: `Leases from ${name} fail: ${title}`, todo: pool.waiters ? `${todo} Calls wait for a number: “Exhausted in” says how many.` : todo, act, code });
  if (pool.paused) return bad("paused", "the pool is paused.", `Existing leases can be renewed and returned. Resume it to hand out numbers again.${pausedBy(known)}`, "resume", "paused");
  if (isClosed(pool)) return closed(name, pool);
  if (pool.available > 0) return unsteadily(name, pool) ?? soon(name, pool);
  if (pool.numbers === 0) return bad("no numbers", "it has no numbers.", `Add some: allotd pool add ${name} FILE`);
  const kept = Object.keys(KEPT).filter((state) => pool[state]).sort((a, b) => pool[b] - pool[a]);
  const [most, second] = kept;
  const shares = kept.map((state, index) => `${count(pool[state])}${index ? "" : ` of ${count(pool.numbers)}`} ${pool[state] === 1 ? "is" : "are"} ${KEPT[state]}`);
  const title = second ? `none is available: ${shares.join(", ")}.` : `all of its numbers are ${KEPT[most]} (${count(pool[most])}).`;
  const cause = second ? `${most} or ${second}` : most === "closed" ? "none open" : `all ${most}`;
  // What is a small part helps little: only the others are worth a word.
  const large = kept.filter((state) => pool[state] >= LARGE_SHARE * pool.numbers);
  return bad(cause, title, [...large.map((state) => remedy(state, name, pool, known)), firstEnd(pool), `Or add numbers: allotd pool add ${name} FILE.`].filter(Boolean).join(" "), ACT_ON[large.find((state) => ACT_ON[state])]);
}

const ACT_ON = { done: "round", retired: "reinstate" };

function remedy(state, name, pool, known) {
  switch (state) {
    case "leased": return `If holders forget to return numbers, make new leases shorter: allotd pool set ${name} --ttl SECONDS.`;
    case "resting": return "If rests are too long, shorten them in the settings, for returns from then on.";
    case "done": return `Start the next round: it makes ${many(pool.done, "number")} available.`;
    case "retired": return "Reinstate some.";
    case "blocked": return blockers(name, known);
    default: return pool.next_open_at ? `The first of the closed ones open at ${clock(pool.next_open_at)}.` : "The closed ones do not open soon: look at the hours.";
  }
}

function firstEnd({ leased, resting, open, next_available_at: next }) {
  if (open === 0) return "Its hours, which are over too, do not change that.";
  if (!next || !(leased || resting)) return "";
  const what = leased && resting ? "lease or rest" : leased ? "lease" : "rest";
  return `The first ${what} ends at ${clock(next)} at the earliest${leased ? ", unless a number is returned sooner" : ""}.`;
}

function unsteadily(name, pool) {
  const refused = unsteady(pool);
  if (!refused) return null;
  return { level: "warn", word: "Look at", cause: "some refused", pool: name, code: "exhausted", title: `${count(refused)} leases of ${name} found no number in the last minute, though ${count(pool.available)} can be leased now.`, todo: "Callers ask for prefixes (within) that have none, or numbers come back one by one. Add numbers there, or have holders return them sooner." };
}

function soon(name, pool) {
  const left = pool.exhaustion_seconds;
  if (left === null || left === undefined || left > SOON_SECONDS) return null;
  return { level: "warn", cause: "soon none", pool: name, title: `${name} will have no number in about ${duration(left < 2 * 60 ? left : 60 * Math.round(left / 60))}, at the current pace.`, todo: "More are leased than come back. Add numbers, shorten its rests, or have holders return what they no longer need." };
}

/** Whether this is a member of a cluster that another one leads: it has no figures of pools. */
export const isStandby = ({ cluster }) => Boolean(cluster) && cluster.role !== "primary";

function standby({ member, role, primary }) {
  const where = primary ? `The primary is ${primary.member}: ${primary.url}` : "There is no primary now: a member takes over when it can.";
  return { level: primary ? "warn" : "bad", word: "Standby", title: `This member, ${member}, is ${role === "filling" ? "taking a copy of all data" : "a standby"}.`, todo: `Its page shows nothing of the pools. ${where}` };
}

/** Why there are no new figures: the daemon `refused` the call, or gave no answer and is `alive`, or not. */
function noFigures({ since, refused, alive }, stats) {
  const line = (title, todo, more) => ({ level: "bad", title, todo: `${stats ? `The figures below are of ${clock(since)}. ` : ""}${todo}This page continues when the daemon answers it.`, ...more });
  if (refused) return line(`The daemon refuses this page: ${refused.message}.`, "", { code: `${refused.status} ${refused.code}`, act: refused.status === 403 && "token" });
  if (alive) return line(`The daemon runs, but does not answer since ${clock(since)}.`, "Its disk may hang (the journal waits for it). ");
  return line(`No response from the daemon since ${clock(since)}.`, "Check whether it runs (systemctl status allotd) and read its log: if its disk failed, it has stopped and the log says so. ");
}

/** Everything that is wrong, the worst first. `lost` says why there are no new figures, or is null; `shown` is the pool of this
 *  page, or null, and `known` what else is known. */
export function troubles(stats, lost, shown, known) {
  const found = lost ? [noFigures(lost, stats)] : [];
  if (!stats) return found;
  const { state, disk, pools, cluster } = stats;
  const bad = (code, title, todo) => found.push({ level: "bad", code, title, todo });
  if (isStandby(stats)) found.push(standby(cluster));
  const full = state === "storage_full";
  if (state === "poisoned") bad("not_ready", "The journal cannot be written: nothing more is confirmed, and the daemon stops.", "The disk failed. Check it, run allotd check on the data directory, then start the daemon again. All that was confirmed is kept.");
  if (full) bad("storage_full", "The disk is full: leases fail.", `${disk ? `${bytes(disk.free_bytes)} are free. ` : ""}Free some space on the disk of the data directory; leases then work again without a restart. Nothing that was confirmed is lost.`);
  if (state === "too_few_replicas") bad("not_ready", "Too few standbys are there: changes are refused, as --require-replicas says.", "Start the members that are missing, or lower the figure. allotd cluster status shows who is there.");
  if (state === "draining") found.push({ level: "warn", code: "not_ready", title: "The daemon is shutting down.", todo: "Requests in progress are finished, new connections are refused. Start it again if this was not intended." });
  if (hangs(stats)) bad(undefined, `A write to the disk has not ended for ${duration(stats.journal.waiting_seconds)}: nothing is confirmed meanwhile.`, "Look at the disk; leases go on when it ends.");
  found.push(...poolTroubles(pools, shown, known));
  if (!full && disk?.total_bytes && disk.free_bytes < DISK_NEARLY_FULL * disk.total_bytes) found.push({ level: "warn", title: `The disk of the data directory is nearly full: ${bytes(disk.free_bytes)} of ${bytes(disk.total_bytes)} are free.`, todo: "Leases still work in the space that the journal has; when it needs more, every change is refused. Free some space or enlarge the disk." });
  found.push(...upkeepTroubles(stats, known));
  return found;
}

/** What does not keep leases from working, and should not stay so. */
function upkeepTroubles(stats, { restarts }) {
  const { reload, backup, clock: system, connections, principals = {}, refusals = {}, pools, lists = {}, journal, uptime_seconds: uptime } = stats;
  const found = [];
  const warn = (title, todo) => found.push({ level: "warn", word: "Look at", title, todo });
  if (reload?.error) warn("The last reload of the configuration failed: the daemon goes on with what it had.", `The next start will fail too: ${reload.error}`);
  if (restarts?.count && Date.now() - restarts.at < RESTART_TOLD_MS) warn(`The daemon has been restarted ${many(restarts.count, "time")} since this page was opened, last at ${clock(restarts.at)}.`, "Its log says why: journalctl -u allotd");
  const { sync_1m_us: sync, commit_wait_1m_us: wait } = journal ?? {};
  if (sync?.p50 > SLOW_SYNC_US || wait?.p99 > SLOW_COMMIT_US) warn(`The disk is slow: a sync takes ${usual(sync)}, leases wait for it.`, `They waited ${usual(wait)} in the last minute. See what else uses the disk, or take a faster one.`);
  if (backup?.error) warn("The last backup failed.", `${backup.error}. ${backup.as_of ? `The newest good one is of ${clock(backup.as_of)}.` : "There is no good one."}`);
  else if (backup && !backup.as_of && uptime > NO_BACKUP_SECONDS && Object.values(pools).some(({ numbers }) => numbers)) warn("There is no backup.", "Make one each night: allotd backup --verify --keep 14");
  else if (backup?.as_of && Date.now() - Date.parse(backup.as_of) > BACKUP_OLD_MS) warn(`The newest backup is of ${clock(backup.as_of)}.`, "Make one each night: allotd backup --verify --keep 14");
  if (Math.abs(system?.ahead_seconds ?? 0) > CLOCK_OFF_SECONDS) {
    warn(`The system's clock is ${duration(Math.abs(system.ahead_seconds))} ${system.ahead_seconds > 0 ? "ahead of" : "behind"} the time that leases are counted in.`, "Leases last as long as they were given. Hours of pools and times of leases, events and refusals follow that time; those of backups and of the log follow the system's clock. Check it: timedatectl");
  }
  const places = placesOf(connections);
  if (connections.open > MANY_CONNECTIONS * places) warn(`Most of the ${count(places)} connections that the daemon serves over TCP are open.`, "Have callers keep theirs, or raise --max-connections: beyond it new ones are refused.");
  for (const [code, todo] of Object.entries(REFUSED)) {
    if (refusals[code]?.count_1m > MANY_REFUSED) warn(`More than one call a second is refused with ${code}: ${MEANS[code]}.`, todo);
  }
  for (const [name, { ends_at: ends }] of Object.entries(principals)) {
    const left = ends ? Date.parse(ends) - Date.now() : Infinity;
    if (left < TOKEN_ENDS_MS) warn(`The tokens of ${name} ${left > 0 ? "end" : "ended"} at ${clock(ends)}.`, "From then on its calls are refused. Give it a new one: allotd token new");
  }
  for (const [name, { numbers }] of Object.entries(lists)) {
    if (numbers > 0 && name.startsWith(GIVEN_UP)) warn(`${many(numbers, "number")} of ${name.slice(GIVEN_UP.length)} ${numbers === 1 ? "was" : "were"} retired, as damage has lost what they were.`, `They are on the list ${name}. Reinstate them when the longest lease has ended, then delete it.`);
  }
  for (const [name, { holders, numbers }] of Object.entries(pools)) {
    const most = holders?.top[0];
    if (most?.leased > Math.min(MANY_HELD, MANY_HELD_SHARE * numbers) && 2 * most.leased > holders.leased && holders.count > 1) {
      warn(`${most.holder} has more leases of ${name} than all others together.`, `It may have stopped returning numbers, or several workers use one name. If it is gone, return what it has: allotd pool return-holder ${name} ${most.holder}. The setting max_per_holder limits each.`);
    }
  }
  return found;
}

/** The shown pool says all; the others share a line of what fails, and one of what will. */
function poolTroubles(pools, shown, known) {
  const each = Object.entries(pools).map(([name, pool]) => troubleOf(name, pool, name === shown ? known : undefined)).filter(Boolean);
  const own = each.filter(({ pool }) => pool === shown).map((trouble) => ({ ...trouble, own: true }));
  const others = ["bad", "warn"].map((level) => each.filter((trouble) => trouble.level === level && trouble.pool !== shown));
  return [...own, ...others.filter((those) => those.length).map(together)];
}

function together(those) {
  const [{ level, word, code, title }] = those;
  const links = those.slice(0, MAX_POOLS_NAMED).map(({ pool }) => pool);
  if (those.length === 1) return { level, word, code, title, links };
  const causes = new Map();
  for (const { cause } of those) causes.set(cause, (causes.get(cause) ?? 0) + 1);
  const told = [...causes].map(([cause, pools]) => `${count(pools)} ${cause}`).join(", ");
  const what = level === "bad" ? `Leases from ${count(those.length)} other pools fail` : `${count(those.length)} other pools are closed, refuse some leases, or will soon have no number`;
  return { level, title: `${what}: ${told}.`, links, more: those.length - links.length, act: level === "bad" ? "only-trouble" : undefined };
}

const ACTS = { token: "Use another token", resume: "Resume", round: "Next round", reinstate: "Reinstate", "only-trouble": "Show them" };
const WORDS = { bad: "Problem", warn: "Soon", ok: "All well" };

/** Shows what is wrong, and announces changes to screen readers. Returns whether anything fails. */
export function showStatus(stats, lost, shown, known) {
  const found = troubles(stats, lost, shown, known);
  if (stats && found.length === 0) {
    const pools = Object.keys(stats.pools).length;
    found.push({ level: "ok", title: pools ? `${pools === 1 ? "The pool hands" : `All ${count(pools)} pools hand`} out numbers, and the journal and the disk are healthy.` : "The daemon runs and has no pool yet.", todo: "" });
  }
  const section = byId("status");
  const failing = found.some(({ level }) => level === "bad");
  const key = JSON.stringify([found, NARROW.matches]);
  if (section.dataset.key === key) return failing;
  section.dataset.key = key;
  section.replaceChildren(...arrange(found));
  setText("status-said", found.map((trouble) => trouble.title).join(" "));
  return failing;
}

/** On a narrow screen, folds what is neither the first line nor that of the shown pool, so that the pool is not pushed down. */
function arrange(found) {
  if (!NARROW.matches) return found.map(line);
  const folded = found.filter(({ own }, index) => index > 0 && !own);
  const open = found.filter((trouble) => !folded.includes(trouble)).map(line);
  if (folded.length === 0) return open;
  const bad = folded.filter(({ level }) => level === "bad").length;
  const words = `${many(folded.length, "more message")}${bad ? `, ${bad === folded.length ? "" : `${count(bad)} of them `}${bad === 1 ? "a problem" : "problems"}` : ""}`;
  return [...open, make("details", {}, make("summary", {}, words), ...folded.map(line))];
}

const linkTo = (pool) => make("a", { href: `#pool=${encodeURIComponent(pool)}` }, pool);

function line({ level, word, title, todo, act, pool, code, links = [], more = 0 }) {
  const words = make("div", { className: "trouble-words" }, make("p", { className: "trouble-title" }, title));
  if (todo) words.append(make("p", {}, todo));
  if (links.length) words.append(make("p", {}, "See why: ", ...links.flatMap((name, index) => [index ? ", " : "", linkTo(name)]), more > 0 ? ` and ${count(more)} more in the list` : ""));
  const parts = [make("strong", { className: "trouble-word" }, word ?? WORDS[level]), words];
  if (code) words.firstChild.append(" ", make("code", {}, code));
  if (act) parts.push(make("button", { type: "button", "data-act": act, "data-pool": pool ?? "" }, ACTS[act]));
  return make("div", { className: "trouble", "data-level": level }, ...parts);
}
