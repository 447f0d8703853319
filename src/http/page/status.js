// What is wrong and what to do, derived from the stats alone.

import { byId, make, setText } from "./dom.js";
import { bytes, clock, count, duration, many } from "./format.js";
import { MEANS } from "./refusals.js";

/** The disk is nearly full if less than this share of it is free. */
const DISK_NEARLY_FULL = 0.05;
/** A backup is old after this many milliseconds, */
const BACKUP_OLD_MS = 2 * 24 * 3600 * 1000;
/** and the clock is off by more than this many seconds. */
const CLOCK_OFF_SECONDS = 60;
/** Tokens end soon if fewer milliseconds are left. */
const TOKEN_ENDS_MS = 7 * 24 * 3600 * 1000;
/** More than this share of the connections are many; so many, or a quarter, are left for Unix sockets. */
const MANY_CONNECTIONS = 0.8;
const RESERVED_CONNECTIONS = 64;
/** Of refusals with these codes, more in a minute are many. */
const MANY_REFUSED = 60;
const REFUSED = ["unauthorized", "forbidden", "quota_exceeded", "overloaded"];
/** The beginning of the names of lists of numbers that were given up. */
const GIVEN_UP = "given-up-";
/** A holder has many leases: more than this, and than all others, if there are so many. */
const MANY_HELD = 100;
const FEWEST_HOLDERS = 5;
/** A pool is nearly exhausted if less time than this is left, in seconds. */
const SOON_SECONDS = 3600;
/** Most pools that the line of those beside the shown one names. */
const MAX_POOLS_NAMED = 3;
/** On a screen this narrow, only the first line and that of the shown pool are open. */
const NARROW = matchMedia("(max-width: 760px)");

/** Whether the hours of a pool leave no number open. */
export const isClosed = (pool) => pool.open === 0 && pool.numbers > 0;

/** A pool that is closed: as it should be, unless it never opens. */
function closed(name, { next_open_at: opens }) {
  if (opens) return { level: "warn", word: "Closed", cause: "closed", pool: name, code: "exhausted", title: `${name} is outside its hours until ${clock(opens)}.`, todo: "Leases are refused until then." };
  return { level: "bad", cause: "closed", pool: name, code: "exhausted", title: `Leases from ${name} fail: its hours leave no number open, and that does not change soon.`, todo: `Look at its rules and at the time zones of its numbers: allotd pool show ${name}, allotd pool zones ${name}` };
}

/** Who paused a pool, when and why, as far as it is known. */
function pausedBy({ pause, reason, until }) {
  if (until) return ` A restore paused it until ${clock(until)}: leases that it does not know may live until then.`;
  return `${pause ? ` Paused by ${pause.principal ?? pause.peer} at ${clock(pause.at)}.` : ""}${reason ? ` The reason: “${reason}”.` : ""}`;
}

/** The lists that block a pool, as far as they are known. */
function blockers(name, { blockedBy = [], lists = {} }) {
  const each = blockedBy.filter((list) => list in lists).map((list) => `${list} (${count(lists[list].numbers)}, changed last at ${clock(lists[list].changed_at)})`);
  return each.length ? `Its lists: ${each.join(", ")}. Take off, under “Lists”, what is on one by mistake.` : `Its lists: allotd pool show ${name}.`;
}

/** Why leases of a pool fail, if they do: { level, cause, title, todo, act }; `cause` is the title in two words. */
export function troubleOf(name, pool, known = {}) {
  const bad = (cause, title, todo, act, code = "exhausted") => ({ level: "bad", cause, pool: name, title: `Leases from ${name} fail: ${title}`, todo: pool.waiters ? `${todo} Calls wait for a number: “Exhausted in” says how many.` : todo, act, code });
  if (pool.paused) return bad("paused", "the pool is paused.", `Existing leases can be renewed and returned. Resume it to hand out numbers again.${pausedBy(known)}`, "resume", "paused");
  if (isClosed(pool)) return closed(name, pool);
  if (pool.available > 0) return soon(name, pool);
  if (pool.numbers === 0) return bad("no numbers", "it has no numbers.", `Add some: allotd pool add ${name} FILE`);
  const { leased, resting, done } = pool;
  if (pool.closed && pool.next_open_at) {
    return bad("none open", `no open number is available, ${count(pool.closed)} are outside their hours.`,
      `The first of them open at ${clock(pool.next_open_at)}. If that is too late, add numbers that are open now: allotd pool add ${name} FILE.`);
  }
  const round = done ? ` Or start the next round: it makes ${many(done, "number")} available that ${done === 1 ? "is" : "are"} done.` : "";
  const act = done ? "round" : undefined;
  const add = `allotd pool add ${name} FILE.`;
  const next = pool.next_available_at ? clock(pool.next_available_at) : null;
  if (leased && resting) {
    return bad("leased or resting", `none is available, ${count(leased)} are leased and ${count(resting)} are resting.`,
      `${next ? `The first of them can become available at ${next}, or sooner if one is returned.` : "Wait for one."} If that is too late, add numbers: ${add}${round}`, act);
  }
  if (resting) {
    return bad("all resting", `none is available, all of its numbers are resting (${count(resting)}).`,
      `${next ? `The first rest ends at ${next} at the earliest.` : "Wait for a rest to end."} If that is too late, add numbers: ${add}${round}`, act);
  }
  if (leased) {
    return bad("all leased", `none is available, all of its numbers are leased (${count(leased)}).`,
      `${next ? `The first of these leases ends at ${next} at the earliest, unless a number is returned sooner.` : "Wait for one to be returned."} Add numbers: ${add} If holders forget to return numbers, make new leases shorter: allotd pool set ${name} --ttl SECONDS.${round}`, act);
  }
  if (done) return bad("all done", `every number that is in use is done (${count(done)}).`, "Start the next round: all done numbers become available again.", "round");
  if (pool.blocked) {
    return bad("all blocked", `every number that is in use is blocked by lists (${count(pool.blocked)}).`, `${blockers(name, known)} Or add numbers: ${add}`);
  }
  return bad("all retired", `every number is retired (${count(pool.retired)}).`, "Reinstate some, or add numbers.", "reinstate");
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

/** Everything that is wrong, the worst first. `lostSince` is a time, or null; `shown` is the pool of this page, or null, and
 *  `known` what else is known of it. */
export function troubles(stats, lostSince, shown, known) {
  const found = [];
  if (lostSince) {
    found.push({ level: "bad", title: `No response from the daemon since ${clock(lostSince)}.`, todo: `${stats ? "The figures below are of that time. " : ""}Check whether it runs (systemctl status allotd) and read its log: if its disk failed, it has stopped and the log says so. This page continues when the daemon responds again.` });
  }
  if (!stats) return found;
  const { state, disk, pools, cluster } = stats;
  if (isStandby(stats)) found.push(standby(cluster));
  const full = state === "storage_full";
  if (state === "poisoned") found.push({ level: "bad", code: "not_ready", title: "The journal cannot be written: nothing more is confirmed, and the daemon stops.", todo: "The disk failed. Check it, run allotd check on the data directory, then start the daemon again. All that was confirmed is kept." });
  if (full) found.push({ level: "bad", code: "storage_full", title: "The disk is full: leases fail.", todo: `${disk ? `${bytes(disk.free_bytes)} are free. ` : ""}Free some space on the disk of the data directory; leases then work again without a restart. Nothing that was confirmed is lost.` });
  if (state === "too_few_replicas") found.push({ level: "bad", code: "not_ready", title: "Too few standbys are there: changes are refused, as --require-replicas says.", todo: "Start the members that are missing, or lower the figure. allotd cluster status shows who is there." });
  if (state === "draining") found.push({ level: "warn", code: "not_ready", title: "The daemon is shutting down.", todo: "Requests in progress are finished, new connections are refused. Start it again if this was not intended." });
  found.push(...poolTroubles(pools, shown, known));
  if (!full && disk?.total_bytes && disk.free_bytes < DISK_NEARLY_FULL * disk.total_bytes) found.push({ level: "warn", title: `The disk of the data directory is nearly full: ${bytes(disk.free_bytes)} of ${bytes(disk.total_bytes)} are free.`, todo: "Leases still work in the space that the journal has; when it needs more, every change is refused. Free some space or enlarge the disk." });
  found.push(...upkeepTroubles(stats));
  return found;
}

/** What does not keep leases from working, and should not stay so. */
function upkeepTroubles(stats) {
  const { reload, backup, clock: system, connections, principals = {}, refusals = {}, pools, lists = {} } = stats;
  const found = [];
  const warn = (title, todo) => found.push({ level: "warn", word: "Look at", title, todo });
  if (reload?.error) warn("The last reload of the configuration failed: the daemon goes on with what it had.", `The next start will fail too: ${reload.error}`);
  if (backup?.error) warn("The last backup failed.", backup.error);
  else if (backup?.as_of && Date.now() - Date.parse(backup.as_of) > BACKUP_OLD_MS) warn(`The newest backup is of ${clock(backup.as_of)}.`, "Make one each night: allotd backup --verify --keep 14");
  if (Math.abs(system?.ahead_seconds ?? 0) > CLOCK_OFF_SECONDS) {
    warn(`The system's clock is ${duration(Math.abs(system.ahead_seconds))} ${system.ahead_seconds > 0 ? "ahead of" : "behind"} the time that leases are counted in.`, "Leases last as long as they were given, but the times that are shown are off. Check the clock: timedatectl");
  }
  const places = connections.limit - Math.min(RESERVED_CONNECTIONS, connections.limit / 4);
  if (connections.open > MANY_CONNECTIONS * places) warn(`Most of the ${count(connections.limit)} connections that the daemon serves are open.`, "Have callers keep theirs, or raise --max-connections: beyond it new ones are refused.");
  for (const code of REFUSED) {
    if (refusals[code]?.count_1m > MANY_REFUSED) warn(`More than one call a second is refused with ${code}: ${MEANS[code]}.`, "The log has who, as access_refused; of those with a token, so has “Callers”.");
  }
  for (const [name, { ends_at: ends }] of Object.entries(principals)) {
    const left = ends ? Date.parse(ends) - Date.now() : Infinity;
    if (left < TOKEN_ENDS_MS) warn(`The tokens of ${name} ${left > 0 ? "end" : "ended"} at ${clock(ends)}.`, "From then on its calls are refused. Give it a new one: allotd token new");
  }
  for (const [name, { numbers }] of Object.entries(lists)) {
    if (numbers > 0 && name.startsWith(GIVEN_UP)) warn(`${many(numbers, "number")} of ${name.slice(GIVEN_UP.length)} ${numbers === 1 ? "was" : "were"} retired, as damage has lost what they were.`, `They are on the list ${name}. Reinstate them when the longest lease has ended, then delete it.`);
  }
  for (const [name, { holders }] of Object.entries(pools)) {
    const most = holders?.top[0];
    if (most?.leased > MANY_HELD && 2 * most.leased > holders.leased && holders.count >= FEWEST_HOLDERS) {
      warn(`${most.holder} has more leases of ${name} than all others together.`, "It may have stopped returning numbers, or several workers use one name.");
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
  const what = level === "bad" ? `Leases from ${count(those.length)} other pools fail` : `${count(those.length)} other pools are closed, or will soon have no number`;
  return { level, title: `${what}: ${told}.`, links, more: those.length - links.length, act: level === "bad" ? "only-trouble" : undefined };
}

const ACTS = { resume: "Resume", round: "Next round", reinstate: "Reinstate", "only-trouble": "Show them" };
const WORDS = { bad: "Problem", warn: "Soon", ok: "All well" };

/** Shows what is wrong, and announces changes to screen readers. Returns whether anything fails. */
export function showStatus(stats, lostSince, shown, known) {
  const found = troubles(stats, lostSince, shown, known);
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
  setText(byId("status-said"), found.map((trouble) => trouble.title).join(" "));
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
